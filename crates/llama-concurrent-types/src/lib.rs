//! The words that all parts of the engine share: tokens, requests, parameters, events, statistics and errors.
//!
//! Values only: nothing here knows llama.cpp, a thread or a clock.

mod choices;
mod collector;
mod config;
mod constraint;
mod cpu_list;
mod embedding;
mod error;
mod figures;
mod guide;
mod ids;
mod logprobs;
mod named;
pub mod parameters;
mod placement;
mod products;
mod request;
mod sampling;
mod speculation;
mod stats;
mod vocab;

pub use choices::{KvType, LoadProgress, PackCache, Strategy};
pub use collector::Collector;
pub use config::{DEFAULT_N_CTX, DEFAULT_SLOTS, EngineConfig, MAX_SLOTS, PoolShape};
pub use constraint::{Allowed, Constraint, Matcher, TokenMask};
pub use cpu_list::{format_list, parse_list};
pub use embedding::{EmbedOptions, Embedding, Pooling};
pub use error::{Error, ErrorKind, Interfaces, Result};
pub use figures::{Figure, FigureKind, FigureValue};
pub use guide::Guide;
pub use ids::{FinishReason, RequestId, Token};
pub use logprobs::{PromptToken, TokenLogprob, TokenLogprobs};
pub use placement::{PlacementPolicy, Replicate, WaitPolicy};
pub use products::{GGML, ProductShare, describe_products, share_of_kernels};
pub use request::{Completion, Delta, Event, Finish, MarkedText, Priority, Prompt, PromptProgress, Request};
pub use sampling::SamplingParams;
pub use speculation::Speculation;
pub use stats::{
    CallTotals, EngineStats, MemoryStats, RequestTotals, SlotStats, Timings, WorkerStats, WorkerTotals, quantile,
};
pub use vocab::{FimTokens, TokenTable};
