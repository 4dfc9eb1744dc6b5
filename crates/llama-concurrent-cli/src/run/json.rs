//! Outcomes as JSON lines.

use std::time::Duration;

use llama_concurrent::{Timings, Token, TokenLogprobs};
use llama_concurrent_bench::numbers::millis;
use serde::Serialize;

use super::job::{Answer, Outcome};
use crate::{console::print_json, failure::Failure};

#[derive(Serialize)]
struct Line<'a> {
    index: usize,
    text: &'a str,
    tokens: &'a [Token],
    finish_reason: &'a str,
    n_prompt_tokens: usize,
    n_cached_tokens: usize,
    n_output_tokens: usize,
    queue_ms: f64,
    ttft_ms: Option<f64>,
    e2e_ms: f64,
    itl_ms: Gaps,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logprobs: Vec<Logprobs>,
}

/// The log probability of a token, and the most likely tokens at its position.
#[derive(Serialize)]
struct Logprobs {
    token: Token,
    logprob: f32,
    top: Vec<Logprob>,
}

#[derive(Serialize)]
struct Logprob {
    token: Token,
    logprob: f32,
}

/// Gaps between two tokens; null with fewer than two.
#[derive(Serialize)]
struct Gaps {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
}

#[derive(Serialize)]
struct ErrorLine<'a> {
    index: usize,
    error: &'a str,
    finish_reason: &'a str,
}

/// Prints the line of request `index`.
pub fn print(index: usize, outcome: &Outcome) -> Result<(), Failure> {
    match outcome {
        Outcome::Done(answer) => print_json(&line(index, answer)),
        Outcome::Refused(error) | Outcome::Failed(error) => {
            print_json(&ErrorLine { index, error, finish_reason: "error" })
        }
    }
}

fn line(index: usize, answer: &Answer) -> Line<'_> {
    let timings = &answer.finish.timings;
    Line {
        index,
        text: &answer.text,
        tokens: &answer.tokens,
        finish_reason: answer.finish.reason.as_str(),
        n_prompt_tokens: timings.n_prompt_tokens,
        n_cached_tokens: timings.n_cached_tokens,
        n_output_tokens: timings.n_output_tokens,
        queue_ms: millis(timings.queue),
        ttft_ms: timings.ttft.map(millis),
        e2e_ms: millis(timings.e2e),
        itl_ms: gaps(timings),
        logprobs: answer.tokens.iter().zip(&answer.logprobs).map(|(&token, of)| logprobs(token, of)).collect(),
    }
}

fn logprobs(token: Token, of: &TokenLogprobs) -> Logprobs {
    let top = of.top.iter().map(|one| Logprob { token: one.token, logprob: one.logprob });
    Logprobs { token, logprob: of.logprob, top: top.collect() }
}

fn gaps(timings: &Timings) -> Gaps {
    let quantile = |q: f64| timings.itl_quantile(q).map(millis);
    let max: Option<Duration> = timings.itl.iter().max().copied();
    Gaps { p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99), max: max.map(millis) }
}
