//! Flags that several commands share.

mod engine;
mod placement;
mod sampling;

pub use engine::EngineOptions;
pub use placement::PlacementOptions;
pub use sampling::SamplingOptions;
