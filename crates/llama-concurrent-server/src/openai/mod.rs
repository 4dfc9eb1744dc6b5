//! The routes of OpenAI.

mod answers;
pub(crate) mod chat;
mod chunks;
pub(crate) mod completions;
pub(crate) mod embeddings;
pub(crate) mod models;

/// The version of this server, for clients that compare results.
pub(crate) const FINGERPRINT: &str = concat!("llama-concurrent-", env!("CARGO_PKG_VERSION"));
