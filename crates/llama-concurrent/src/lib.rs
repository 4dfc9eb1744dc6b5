//! Concurrent inference on CPU over llama.cpp: one mapped model, many callers, no stalls.
//!
//! ```no_run
//! use llama_concurrent::{Engine, EngineConfig, SamplingParams};
//!
//! let engine = Engine::load("models/demo.gguf", EngineConfig::default())?;
//! let params = SamplingParams { max_tokens: Some(64), ..SamplingParams::default() };
//!
//! // From any number of threads:
//! let answer = engine.generate("Once upon a time", params.clone())?;
//! println!("{}", answer.text);
//!
//! // Or a list, in order:
//! for result in engine.generate_batch(["A fox", "A boat"], &params, |done, total| eprintln!("{done}/{total}")) {
//!     println!("{}", result?.text);
//! }
//! # Ok::<(), llama_concurrent::Error>(())
//! ```
//!
//! An [`Engine`] owns a pool of `workers x contexts x slots`; a [`Strategy`] names the useful shapes of it. Each worker
//! is one thread that repeats three lines: its [scheduler] plans one `llama_decode`, a [backend]
//! carries it out, the scheduler turns the result into events. DESIGN.md in the repository has the reasons and figures.

mod admission;
pub mod backend;
mod batch;
mod config;
mod constraint;
mod embedding;
mod engine;
mod error;
mod figures;
mod generation;
mod logprobs;
mod metrics;
pub mod parameters;
mod products;
mod request;
mod router;
mod sampling;
pub mod scheduler;
mod stream;
pub mod text;
mod tokenizer;
pub mod topology;
pub mod vocab;
mod worker;

#[doc(hidden)]
pub use backend::llama::chooser;
pub use backend::llama::{system_info, write_tiny_model};
pub use config::{DEFAULT_N_CTX, DEFAULT_SLOTS, EngineConfig, KvType, LoadProgress, PackCache, PoolShape, Strategy};
pub use constraint::{Constraint, Grammar};
pub use embedding::{EmbedOptions, Embedding, Pooling};
pub use engine::{Engine, Ticket};
pub use error::{Error, ErrorKind, Interfaces, Result};
pub use figures::{Figure, FigureKind, FigureValue};
pub use generation::{Events, Generation};
pub use llama_concurrent_gguf as gguf;
pub use llama_concurrent_template::BUILTIN_NAMES as BUILTIN_TEMPLATES;
pub use logprobs::{TokenLogprob, TokenLogprobs};
pub use metrics::{
    CallTotals, EngineStats, MemoryStats, RequestTotals, SlotStats, Timings, WorkerStats, WorkerTotals, quantile,
};
pub use products::{ProductShare, describe_products, planned_products, share_of_kernels};
pub use request::{
    Completion, Delta, Event, Finish, FinishReason, MarkedText, Priority, Prompt, Request, RequestId, SamplingParams,
    Token,
};
pub use stream::{EventSink, Flow};
pub use text::{ChatCapabilities, ChatMessage, ChatOptions, Continuation};
pub use tokenizer::Tokenizer;
pub use topology::{Placement, PlacementPolicy, Replicate};
