//! Selects the kernels of a model: ours, or ggml's.

use std::sync::{Mutex, PoisonError};

use llama_concurrent_kernels::{Mode, install, set_attention, set_enabled, set_floats};

/// The models in memory.
struct Models {
    count: usize,
    /// Whether our kernels compute attention. Cannot change while a model exists: the threads of an operation must agree.
    own_attention: bool,
}

static MODELS: Mutex<Models> = Mutex::new(Models { count: 0, own_attention: true });

/// The kernels of a model, held for as long as the model lives.
pub(super) struct Kernels {
    /// The instruction set of our kernels; `None` where ggml computes the weights.
    pub(super) level: Option<&'static str>,
    /// Whether our kernels compute attention.
    pub(super) attention: bool,
    /// Which kernels are in use, or why none are.
    pub(super) reason: String,
    /// Why kernels that were requested are not available, if the user should be warned.
    pub(super) warning: Option<String>,
}

impl Kernels {
    /// Selects the kernels of the model that is about to be loaded, also for weights that are floats or not. Loads are
    /// serialised.
    pub(super) fn acquire(requested: bool, floats: bool) -> Self {
        let status = install(Mode::Auto);
        let mut models = MODELS.lock().unwrap_or_else(PoisonError::into_inner);
        if models.count == 0 {
            models.own_attention = requested;
            set_attention(requested);
        }
        models.count += 1;
        set_enabled(requested);
        set_floats(floats);
        Self {
            attention: status.level.is_some() && models.own_attention,
            level: status.level.filter(|_| requested).map(|level| level.name()),
            reason: if requested { status.reason.clone() } else { "the kernels are off".to_owned() },
            warning: (status.warning && requested).then(|| status.reason.clone()),
        }
    }
}

impl Drop for Kernels {
    fn drop(&mut self) {
        MODELS.lock().unwrap_or_else(PoisonError::into_inner).count -= 1;
    }
}

/// Whether ggml computes the attention of the models in memory, and so of those loaded beside them.
pub(crate) fn attention_is_left_to_ggml() -> bool {
    let models = MODELS.lock().unwrap_or_else(PoisonError::into_inner);
    models.count > 0 && !models.own_attention
}
