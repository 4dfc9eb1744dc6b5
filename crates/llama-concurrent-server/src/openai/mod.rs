//! The routes of OpenAI.

pub(crate) mod chat;
mod chunks;
pub(crate) mod completions;
pub(crate) mod embeddings;
pub(crate) mod messages;
pub(crate) mod models;

use futures_util::future::join_all;

use crate::{
    error::ApiResult,
    running::{Outcome, Running, failure},
};

/// Told to clients that compare results: the version of this server.
pub(crate) const FINGERPRINT: &str = concat!("llama-concurrent-", env!("CARGO_PKG_VERSION"));

/// Waits for all generations; the first that fails is the answer, and ends the others.
pub(crate) async fn collect(all: Vec<Running>) -> ApiResult<Vec<Outcome>> {
    let outcomes = join_all(all.into_iter().map(Running::collect)).await;
    for outcome in &outcomes {
        failure(&outcome.finish)?;
    }
    Ok(outcomes)
}
