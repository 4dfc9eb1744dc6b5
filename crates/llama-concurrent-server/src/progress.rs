//! How far prompts are computed, for clients that ask for it by `return_progress`.

use std::time::Duration;

use llama_concurrent::Timings;
use serde::Serialize;

/// Tokens of a prompt, under llama-server's names.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct PromptProgress {
    pub(crate) total: usize,
    /// Those whose KV was there already.
    pub(crate) cache: usize,
    /// Those that are computed, or were there.
    pub(crate) processed: usize,
    /// Milliseconds since the request was accepted.
    pub(crate) time_ms: u64,
    /// The same for figures that divide by it.
    #[serde(skip)]
    pub(crate) elapsed: Duration,
}

impl PromptProgress {
    /// So long after the request was accepted.
    pub(crate) fn new(told: llama_concurrent::PromptProgress, elapsed: Duration) -> Self {
        let (total, cache, processed) = (told.n_prompt_tokens, told.n_cached_tokens, told.n_computed_tokens);
        Self { total, cache, processed, time_ms: elapsed.as_millis() as u64, elapsed }
    }

    /// The timings so far. Before anything is computed, nothing took time.
    pub(crate) fn timings(&self) -> Timings {
        let mut timings = Timings::default();
        let time = if self.processed == self.cache { Duration::ZERO } else { self.elapsed };
        (timings.ttft, timings.e2e) = (Some(time), time);
        (timings.n_prompt_tokens, timings.n_cached_tokens) = (self.processed, self.cache);
        timings
    }
}
