//! GGUF files, written: what tests and benchmarks need, and sizing a machine. No program needs it to run a model.
//!
//! [`write()`] makes models of well-known shapes with random weights: they run at the speed of the real thing and need no
//! download. [`write_architecture`] makes a tiny model of any architecture. [`Parts`] is a file taken apart, to be changed
//! and put together again.

mod architecture;
mod encode;
pub mod metadata;
mod model;
mod parts;
mod shape;
mod tensors;
mod tiny;
mod unfinished;
mod vocabulary;
mod weights;

pub use architecture::{NOT_SYNTHESIZED, encoder_names as encoder_architectures, names as architectures};
pub use encode::{FilePlan, TensorPlan};
pub use model::{SynthOptions, SynthReport, parameters, write};
pub use parts::{Parts, TensorPart};
pub use shape::{Family, Shape};
pub use tiny::write_architecture;
pub use weights::WeightType;
