//! Which kernels compute: ours, or those of ggml.

use std::sync::{Mutex, PoisonError};

use llama_concurrent_kernels::{Mode, install, set_attention, set_enabled};

/// Models that are in memory. Whether attention is computed by our kernels cannot change while any of them computes: the
/// threads of one operation must agree.
static MODELS: Mutex<usize> = Mutex::new(0);

/// What a model is computed with; one for as long as the model lives.
pub(super) struct Kernels {
    /// The instruction set of our kernels; `None` where ggml computes the weights.
    pub(super) level: Option<&'static str>,
    /// Why there are none though they were wished for, if somebody should hear of it.
    pub(super) warning: Option<String>,
}

impl Kernels {
    /// For the model that is loaded next; loads come one after the other.
    pub(super) fn choose(wished: bool) -> Self {
        let status = install(Mode::Auto);
        let mut models = MODELS.lock().unwrap_or_else(PoisonError::into_inner);
        if *models == 0 {
            set_attention(wished);
        }
        *models += 1;
        set_enabled(wished);
        Self {
            level: status.level.filter(|_| wished).map(|level| level.name()),
            warning: (status.warning && wished).then(|| status.reason.clone()),
        }
    }
}

impl Drop for Kernels {
    fn drop(&mut self) {
        *MODELS.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}
