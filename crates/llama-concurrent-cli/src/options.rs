//! Flags that several commands share.

mod engine;
mod sampling;

pub use engine::{DEFAULT_N_CTX, DEFAULT_SLOTS, EngineOptions};
pub use sampling::SamplingOptions;
