//! What a caller asks for and what comes back.

use std::time::Duration;

use crate::{
    error::{Error, ErrorKind, Result},
    metrics::Timings,
};

/// A token id of the model's vocabulary.
pub type Token = i32;

/// Identifies a request within one engine; never reused.
pub type RequestId = u64;

/// The text or the tokens to continue.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Prompt {
    /// Text. Special tokens written out in it (`<|user|>`) are recognised, and BOS is added where the model wants it.
    Text(String),
    /// Text of which nothing is read as a special token; BOS is added where the model wants it.
    PlainText(String),
    /// Token ids, used as they are.
    Tokens(Vec<Token>),
}

impl Prompt {
    /// Whether there is nothing to continue; a BOS that the model adds does not count.
    pub fn is_empty(&self) -> bool {
        match self {
            Prompt::Text(text) | Prompt::PlainText(text) => text.is_empty(),
            Prompt::Tokens(tokens) => tokens.is_empty(),
        }
    }
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Prompt::Text(text.to_owned())
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Prompt::Text(text)
    }
}

impl From<&String> for Prompt {
    fn from(text: &String) -> Self {
        Prompt::Text(text.clone())
    }
}

impl From<Vec<Token>> for Prompt {
    fn from(tokens: Vec<Token>) -> Self {
        Prompt::Tokens(tokens)
    }
}

/// Who goes first when slots or prefill time are short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Somebody waits for the answer.
    #[default]
    Interactive,
    /// Fills what interactive requests leave; ordered as if it had arrived
    /// [`batch_aging`](crate::EngineConfig::batch_aging) later, so it is never starved.
    Batch,
}

/// How the next token is chosen. The defaults are greedy: the same prompt gives the same text.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// Output tokens at most; `None` goes on until the slot's context is full.
    pub max_tokens: Option<u32>,
    /// 0 takes the likeliest token (greedy); 1 samples the model's own distribution.
    pub temperature: f32,
    /// Keep the `top_k` likeliest tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the likeliest tokens whose probabilities add up to this; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens less likely than this share of the likeliest; 0 keeps all.
    pub min_p: f32,
    /// Divides the logits of tokens seen in the last [`penalty_last_n`](Self::penalty_last_n); 1 is off.
    pub repetition_penalty: f32,
    /// Subtracted once for each time a token was seen in that window; 0 is off.
    pub frequency_penalty: f32,
    /// Subtracted once if a token was seen in that window; 0 is off.
    pub presence_penalty: f32,
    /// Window of the penalties in tokens, over prompt and output, as in llama.cpp.
    pub penalty_last_n: u32,
    /// Seed of the random choice. Equal seeds give equal draws from equal distributions.
    pub seed: u32,
    /// Added to the logits of single tokens; minus infinity forbids a token.
    pub logit_bias: Vec<(Token, f32)>,
    /// Texts that end the generation and are never part of the output.
    pub stop: Vec<String>,
    /// Do not end at the model's end-of-generation tokens; they are made impossible instead.
    pub ignore_eos: bool,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            max_tokens: None,
            temperature: 0.0,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            penalty_last_n: 64,
            seed: 0,
            logit_bias: Vec::new(),
            stop: Vec::new(),
            ignore_eos: false,
        }
    }
}

impl SamplingParams {
    /// Whether the likeliest token is taken each time.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    /// Whether any of the three penalties is on.
    pub fn has_penalties(&self) -> bool {
        self.penalty_last_n > 0
            && (self.repetition_penalty != 1.0 || self.frequency_penalty != 0.0 || self.presence_penalty != 0.0)
    }

    /// Checks every range; `n_vocab` bounds the ids of `logit_bias`.
    pub(crate) fn validate(&self, n_vocab: usize) -> Result<()> {
        let require = |holds: bool, field: &str, value: String, range: &str| {
            if holds {
                return Ok(());
            }
            Err(Error::new(ErrorKind::InvalidRequest, format!("{field} is {value}, but must be {range}")))
        };
        let finite = |x: f32| x.is_finite();
        require(self.max_tokens != Some(0), "max_tokens", "0".into(), "at least 1, or absent to fill the context")?;
        require(
            finite(self.temperature) && self.temperature >= 0.0,
            "temperature",
            self.temperature.to_string(),
            "0 (greedy) or a positive number",
        )?;
        require(self.top_k <= i32::MAX as u32, "top_k", self.top_k.to_string(), "0 (off) to 2147483647")?;
        require(self.top_p > 0.0 && self.top_p <= 1.0, "top_p", self.top_p.to_string(), "above 0 and at most 1 (off)")?;
        require((0.0..=1.0).contains(&self.min_p), "min_p", self.min_p.to_string(), "between 0 (off) and 1")?;
        require(
            finite(self.repetition_penalty) && self.repetition_penalty > 0.0,
            "repetition_penalty",
            self.repetition_penalty.to_string(),
            "a positive number (1 is off)",
        )?;
        require(
            finite(self.frequency_penalty),
            "frequency_penalty",
            self.frequency_penalty.to_string(),
            "a finite number (0 is off)",
        )?;
        require(
            finite(self.presence_penalty),
            "presence_penalty",
            self.presence_penalty.to_string(),
            "a finite number (0 is off)",
        )?;
        require(
            self.penalty_last_n <= 65_536,
            "penalty_last_n",
            self.penalty_last_n.to_string(),
            "at most 65536 tokens",
        )?;
        require(self.stop.iter().all(|s| !s.is_empty()), "a stop string", "empty".into(), "at least one character")?;
        for &(token, bias) in &self.logit_bias {
            require(
                usize::try_from(token).is_ok_and(|t| t < n_vocab),
                "a token of logit_bias",
                token.to_string(),
                &format!("an id below the vocabulary's size of {n_vocab}"),
            )?;
            require(
                !bias.is_nan() && bias != f32::INFINITY,
                "a bias of logit_bias",
                bias.to_string(),
                "a number below infinity",
            )?;
        }
        Ok(())
    }
}

/// One generation to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What to continue.
    pub prompt: Prompt,
    /// How to continue it.
    pub params: SamplingParams,
    /// Who goes first.
    pub priority: Priority,
    /// Give up if no slot was found by then, counted from submit.
    pub queue_timeout: Option<Duration>,
    /// Give up if not finished by then, counted from submit; what was generated so far was delivered.
    pub timeout: Option<Duration>,
}

impl Request {
    /// A request with default sampling, interactive, without deadlines.
    pub fn new(prompt: impl Into<Prompt>) -> Self {
        Self {
            prompt: prompt.into(),
            params: SamplingParams::default(),
            priority: Priority::default(),
            queue_timeout: None,
            timeout: None,
        }
    }

    /// The same request with these sampling parameters.
    pub fn with_params(mut self, params: SamplingParams) -> Self {
        self.params = params;
        self
    }

    /// The same request in this priority class.
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// The same request with a limit on its time in the queue.
    pub fn with_queue_timeout(mut self, limit: Duration) -> Self {
        self.queue_timeout = Some(limit);
        self
    }

    /// The same request with a limit on its whole time.
    pub fn with_timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FinishReason {
    /// The model ended its text, or a stop string appeared.
    Stop,
    /// `max_tokens` was reached, or the slot's context is full.
    Length,
    /// The caller cancelled, dropped the handle, or shut the engine down.
    Cancelled,
    /// The queue or the total deadline passed.
    Deadline,
    /// llama.cpp or the engine failed; the error is beside it.
    Error,
}

impl FinishReason {
    /// The name that the command line, the C API and the bindings use.
    pub fn as_str(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::Cancelled => "cancelled",
            FinishReason::Deadline => "deadline",
            FinishReason::Error => "error",
        }
    }
}

/// What a generation tells its caller: any number of deltas, then exactly one `Finished`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Text grew.
    Delta(Delta),
    /// The end; nothing follows.
    Finished(Box<Finish>),
}

/// One output token and the text that became certain with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Whole characters; empty while a character or a possible stop string is incomplete.
    pub text: String,
    /// The token; `None` where text that was held back is released at the end.
    pub token: Option<Token>,
    /// Position of the token in the output, from 0.
    pub index: usize,
}

/// The last word on a request.
#[derive(Clone, Debug)]
pub struct Finish {
    /// Why it ended.
    pub reason: FinishReason,
    /// Which of the request's stop strings ended it.
    pub stop: Option<usize>,
    /// What failed, where the reason is [`FinishReason::Error`].
    pub error: Option<Error>,
    /// When what happened, and how many tokens.
    pub timings: Timings,
}

/// A whole generation.
#[derive(Clone, Debug)]
pub struct Completion {
    /// All text.
    pub text: String,
    /// All output tokens, without the end-of-generation token.
    pub tokens: Vec<Token>,
    /// Why it ended, and its timings.
    pub finish: Finish,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_range_is_checked_and_named() {
        let good = SamplingParams::default();
        assert!(good.validate(10).is_ok());
        let bad: [(&str, SamplingParams); 10] = [
            ("max_tokens", SamplingParams { max_tokens: Some(0), ..good.clone() }),
            ("temperature", SamplingParams { temperature: f32::NAN, ..good.clone() }),
            ("top_p", SamplingParams { top_p: 0.0, ..good.clone() }),
            ("min_p", SamplingParams { min_p: 1.5, ..good.clone() }),
            ("repetition_penalty", SamplingParams { repetition_penalty: 0.0, ..good.clone() }),
            ("frequency_penalty", SamplingParams { frequency_penalty: f32::INFINITY, ..good.clone() }),
            ("presence_penalty", SamplingParams { presence_penalty: f32::NAN, ..good.clone() }),
            ("stop string", SamplingParams { stop: vec![String::new()], ..good.clone() }),
            ("logit_bias", SamplingParams { logit_bias: vec![(10, 0.0)], ..good.clone() }),
            ("logit_bias", SamplingParams { logit_bias: vec![(1, f32::INFINITY)], ..good.clone() }),
        ];
        for (field, params) in bad {
            let error = params.validate(10).unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::InvalidRequest);
            assert!(error.to_string().contains(field), "{error}");
        }
        let forbid = SamplingParams { logit_bias: vec![(1, f32::NEG_INFINITY)], ..good };
        assert!(forbid.validate(10).is_ok());
    }
}
