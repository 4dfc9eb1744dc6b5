//! GGUF files: read and judged before llama.cpp opens them, and written for tests and benchmarks. The crate
//! `llama-concurrent` exports this one as its module `gguf`.
//!
//! llama.cpp answers a damaged or unsuitable model file with an abort of the whole process, a `SIGBUS` on first
//! touch of a mapped page, or one line in its log. The engine lives inside somebody else's program, so it reads the
//! header itself first: [`Header::read`] finds damage (cut short, overlapping, duplicate, absurd lengths) and
//! [`Header::check_model`] finds what llama.cpp's loader asserts on, each with a [`GgufError`] that says what to do.
//!
//! [`synth`] writes models of well-known shapes with random weights: they run at the speed of the real thing and
//! need no download.
//!
//! The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Where that text and llama.cpp's loader
//! differ, the loader of the pinned build (llama-cpp-sys-2 0.1.161) decides.

mod architecture;
mod encode;
mod error;
mod header;
mod hyperparameters;
mod layout;
#[doc(hidden)]
pub mod made_up;
mod model;
mod parts;
mod reader;
mod split;
mod summary;
pub mod synth;
mod tensor;
mod value;
mod vocabulary;
mod window;

#[cfg(test)]
mod tests;

pub use architecture::graph_faults;
pub use error::{GgufError, GgufErrorKind};
pub use header::Header;
pub use parts::{Parts, TensorPart};
pub use summary::{GraphFaults, MatrixGroup, ModelSummary, ModelWork, products};
pub use tensor::{TensorInfo, TensorType, is_matrix, is_of_experts};
pub use value::{Array, Value, ValueType};
pub use vocabulary::VocabularySummary;
pub use window::SlidingWindow;
