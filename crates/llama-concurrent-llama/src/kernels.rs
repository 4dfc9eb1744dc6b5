//! Which kernels compute: ours, or those of ggml.

use std::sync::{Mutex, PoisonError};

use llama_concurrent_kernels::{Mode, install, set_attention, set_enabled};

/// Models that are in memory, and whether our kernels compute their attention. Whether attention is computed by our kernels cannot change while any of them computes: the
/// threads of one operation must agree.
static MODELS: Mutex<(usize, bool)> = Mutex::new((0, true));

/// What a model is computed with; one for as long as the model lives.
pub(super) struct Kernels {
    /// The instruction set of our kernels; `None` where ggml computes the weights.
    pub(super) level: Option<&'static str>,
    /// Whether our kernels compute attention.
    pub(super) attention: bool,
    /// In words: what there is, or why nothing.
    pub(super) reason: String,
    /// Why there are none though they were wished for, if somebody should hear of it.
    pub(super) warning: Option<String>,
}

impl Kernels {
    /// For the model that is loaded next; loads come one after the other.
    pub(super) fn choose(wished: bool) -> Self {
        let status = install(Mode::Auto);
        let mut models = MODELS.lock().unwrap_or_else(PoisonError::into_inner);
        if models.0 == 0 {
            models.1 = wished;
            set_attention(wished);
        }
        models.0 += 1;
        set_enabled(wished);
        Self {
            attention: status.level.is_some() && models.1,
            level: status.level.filter(|_| wished).map(|level| level.name()),
            reason: if wished { status.reason.clone() } else { "the kernels are off".to_owned() },
            warning: (status.warning && wished).then(|| status.reason.clone()),
        }
    }
}

impl Drop for Kernels {
    fn drop(&mut self) {
        MODELS.lock().unwrap_or_else(PoisonError::into_inner).0 -= 1;
    }
}

/// Whether a model that lives leaves attention to ggml, and with it those that are loaded meanwhile.
pub(crate) fn attention_is_left_to_ggml() -> bool {
    let models = MODELS.lock().unwrap_or_else(PoisonError::into_inner);
    models.0 > 0 && !models.1
}
