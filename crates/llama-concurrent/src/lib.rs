//! Concurrent inference on CPU over llama.cpp: one mapped model, many callers, no stalls.
//!
//! ```no_run
//! use llama_concurrent::{Engine, EngineConfig, SamplingParams};
//!
//! let engine = Engine::load("models/demo.gguf", EngineConfig::default())?;
//! let params = SamplingParams::default().max_tokens(64);
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
//! is one thread that repeats three lines: its scheduler plans one `llama_decode`, a backend carries it out, the scheduler
//! turns the result into events. DESIGN.md in the repository has the reasons and figures.

mod batch;
mod chat;
mod embed;
mod engine;
mod generation;
mod score;
mod stream;
mod ticket;
mod turnstile;
mod worker;

pub use chat::{Chat, ChatCompletion, ChatEvent, ChatGeneration, PreparedChat, ReplyForm, ReplyReader};
pub use embed::Rank;
pub use engine::Engine;
pub use generation::{Events, Generation};
pub use llama_concurrent_gguf::ModelSummary;
pub use llama_concurrent_llama::{NamedSampler, SAMPLERS, Tokenizer, system_info};
pub use llama_concurrent_template::{
    BUILTIN_NAMES as BUILTIN_TEMPLATES, Capabilities as ChatCapabilities, ChatMessage, ChatOptions, Continuation,
};
pub use llama_concurrent_tools::{
    Event as ReplyEvent, Message as Reply, Thoughts, Tool, ToolCall, ToolChoice, ToolError, UnknownTools,
};
pub use llama_concurrent_topology::Placement;
pub use llama_concurrent_types::{
    CallTotals, Collector, Completion, Constraint, Delta, EmbedOptions, Embedding, EngineConfig, EngineStats, Error,
    ErrorKind, Event, Figure, FigureKind, FigureValue, FimTokens, Finish, FinishReason, Guide, Interfaces, KvType,
    LoadProgress, MarkedText, MemoryStats, PackCache, PlacementPolicy, Pooling, Priority, ProductShare, Prompt,
    PromptProgress, PromptToken, Replicate, Request, RequestId, RequestTotals, Result, SamplingParams, SlotStats,
    Speculation, Strategy, Timings, Token, TokenLogprob, TokenLogprobs, WaitPolicy, WorkerStats, WorkerTotals,
    parameters,
};
pub use score::Score;
pub use stream::{EventSink, Flow};
pub use ticket::Ticket;
