//! Common parts of responses: token counts, timings and finish reasons.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use llama_concurrent::{Finish, FinishReason, Timings};
use serde_json::{Value, json};

/// Seconds since 1970, as `created`.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A unique id for a response.
pub(crate) fn id(prefix: &str) -> String {
    format!("{prefix}-{:032x}", fastrand::u128(..))
}

/// A unique id, as APIs with typed ids write it: `resp_...`.
pub(crate) fn typed_id(prefix: &str) -> String {
    format!("{prefix}_{:032x}", fastrand::u128(..))
}

/// OpenAI's finish reason.
pub(crate) fn finish_reason(finish: &Finish, has_calls: bool) -> &'static str {
    match finish.reason {
        FinishReason::Length => "length",
        _ if has_calls => "tool_calls",
        _ => "stop",
    }
}

/// Token counts of a response, over all choices.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    prompt: usize,
    cached: usize,
    completion: usize,
}

impl Usage {
    /// Adds a generation; only the first choice of a prompt counts the prompt. `silent` ones have no output.
    pub(crate) fn add(&mut self, timings: &Timings, is_first: bool, silent: bool) {
        if is_first {
            self.prompt += timings.n_prompt_tokens;
            self.cached += timings.n_cached_tokens;
        }
        if !silent {
            self.completion += timings.n_output_tokens;
        }
    }

    pub(crate) fn json(self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        })
    }
}

/// Timings under llama-server's names, and the queue time.
pub(crate) fn timings(timings: &Timings) -> Value {
    let ttft = timings.ttft.unwrap_or(timings.e2e);
    let prompt = ttft.saturating_sub(timings.queue);
    let predicted = timings.e2e.saturating_sub(ttft);
    let computed = timings.n_prompt_tokens.saturating_sub(timings.n_cached_tokens);
    // The first token comes with the prompt, so it costs no step of its own; as in llama-server.
    let steps = timings.n_output_tokens.saturating_sub(1);
    let mut described = json!({
        "cache_n": timings.n_cached_tokens,
        "prompt_n": computed,
        "prompt_ms": millis(prompt),
        "prompt_per_token_ms": per_token(prompt, computed),
        "prompt_per_second": rate(computed, prompt),
        "predicted_n": timings.n_output_tokens,
        "predicted_ms": millis(predicted),
        "predicted_per_token_ms": per_token(predicted, steps),
        "predicted_per_second": if millis(predicted) == 0.0 { 0.0 } else { steps as f64 * 1e3 / millis(predicted) },
        "queue_ms": millis(timings.queue),
    });
    // As llama-server, only where there was a draft.
    if timings.n_drafted_tokens > 0 {
        described["draft_n"] = timings.n_drafted_tokens.into();
        described["draft_n_accepted"] = timings.n_accepted_tokens.into();
    }
    described
}

pub(crate) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn per_token(time: Duration, tokens: usize) -> f64 {
    if tokens == 0 { 0.0 } else { millis(time) / tokens as f64 }
}

fn rate(tokens: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { tokens as f64 / time.as_secs_f64() }
}
