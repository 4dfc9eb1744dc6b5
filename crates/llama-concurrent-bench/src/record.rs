//! The record of a request.

use std::time::Duration;

use serde::Serialize;

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All tokens arrived.
    Done,
    /// It was refused because of overload.
    Overloaded,
    /// It was refused or failed, and why.
    Failed(String),
}

/// One request as its user saw it. Times are since the start of the run.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Which script it belongs to.
    pub user: usize,
    /// The kind of the script.
    pub kind: &'static str,
    /// When it was sent; in an open loop, when it should have been sent.
    pub sent: Duration,
    /// When each piece of text arrived. In this process a piece is a token; a server may join tokens.
    pub pieces: Vec<Duration>,
    /// When it ended.
    pub ended: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// Tokens in the prompt, if the target reports it.
    pub n_prompt_tokens: usize,
    /// Prompt tokens reused from a cache, if the target reports it.
    pub n_cached_tokens: usize,
    /// Output tokens that were drafted, if the target reports it.
    pub n_drafted_tokens: usize,
    /// Of these, the ones that came.
    pub n_accepted_tokens: usize,
    /// Output tokens; the number of pieces if the target does not report it.
    pub n_output_tokens: usize,
    /// How long it waited for a slot, if the target reports it.
    pub queue: Option<Duration>,
}

impl Record {
    /// Time to the first token, including queue time.
    pub fn ttft(&self) -> Option<Duration> {
        self.pieces.first().map(|first| first.saturating_sub(self.sent))
    }

    /// The gaps between pieces.
    pub fn gaps(&self) -> impl Iterator<Item = Duration> + '_ {
        self.pieces.windows(2).map(|pair| pair[1].saturating_sub(pair[0]))
    }

    /// From the sending to the end.
    pub fn e2e(&self) -> Duration {
        self.ended.saturating_sub(self.sent)
    }

    /// Tokens per second after the first; `None` for one token.
    pub fn decode_rate(&self) -> Option<f64> {
        let (first, last) = (self.pieces.first()?, self.pieces.last()?);
        let time = last.saturating_sub(*first).as_secs_f64();
        (time > 0.0).then(|| (self.n_output_tokens.max(1) - 1) as f64 / time)
    }
}
