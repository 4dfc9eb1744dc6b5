//! GGUF files, read and judged before llama.cpp opens them.
//!
//! llama.cpp answers a damaged or unsuitable model file with an abort of the whole process, a `SIGBUS` on first
//! touch of a mapped page, or one line in its log. The engine lives inside somebody else's program, so it reads the
//! header itself first: [`Header::read`] finds damage (cut short, overlapping, duplicate, absurd lengths) and
//! [`Header::check_model`] finds what llama.cpp's loader asserts on, each with a [`GgufError`] that says what to do.
//!
//! Files are written by the crate `llama-concurrent-gguf-synth`, which no program needs to run a model.
//!
//! The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Where that text and llama.cpp's loader
//! differ, the loader of the pinned build (llama-cpp-sys-2 0.1.161) decides.

mod check;
mod error;
mod header;
mod layout;
#[cfg(test)]
mod pinned_source;
mod reader;
mod split;
mod summary;
mod tensor;
mod value;
mod window;

pub use check::{PRE_TOKENIZERS, VocabularySummary, encoders, generators, graph_faults};
pub use error::{GgufError, GgufErrorKind};
pub use header::{DEFAULT_ALIGNMENT, Header, MAGIC};
pub use summary::{GraphFaults, MatrixGroup, ModelSummary, ModelWork, products, size};
pub use tensor::{TensorInfo, TensorType, is_matrix, is_of_experts};
pub use value::{Array, Value, ValueType};
pub use window::SlidingWindow;
