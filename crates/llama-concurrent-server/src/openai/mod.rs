//! The routes of OpenAI.

mod answers;
pub(crate) mod chat;
mod chunks;
pub(crate) mod completions;
pub(crate) mod embeddings;
pub(crate) mod messages;
pub(crate) mod models;
pub(crate) mod tools;

/// Told to clients that compare results: the version of this server.
pub(crate) const FINGERPRINT: &str = concat!("llama-concurrent-", env!("CARGO_PKG_VERSION"));
