//! Flags that several commands share.

mod engine;
mod sampling;

pub use engine::EngineOptions;
pub use sampling::SamplingOptions;
