//! How the next token is chosen, and the ranges of what can be wished for.

use std::fmt::Display;

use crate::{
    Constraint,
    error::{Error, ErrorKind, Result},
    request::Token,
};

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
    /// Texts that end the generation and are never part of the output. One that is the text of a special token, such as
    /// `<|im_end|>`, ends it at that token, also where [`special`](Self::special) is off.
    pub stop: Vec<String>,
    /// Do not end at the model's end-of-generation tokens; they are made impossible instead.
    pub ignore_eos: bool,
    /// With each token its log probability and this many of the likeliest tokens (0: only the token's own), at most
    /// [`MAX_LOGPROBS`](Self::MAX_LOGPROBS). See [`TokenLogprobs`](crate::TokenLogprobs).
    pub logprobs: Option<u32>,
    /// What the output has to look like.
    pub constraint: Option<Constraint>,
    /// Keep the tokens whose surprise is closest to the expected one, until their probabilities add up to this; 1 is off.
    pub typical_p: f32,
    /// Drop tokens whose logit is more than this many standard deviations below the largest; 0 is off.
    pub top_n_sigma: f32,
    /// How probable it is that of the tokens above [`xtc_threshold`](Self::xtc_threshold) only the least likely stays; 0
    /// is off.
    pub xtc_probability: f32,
    /// Probability from which a token counts for XTC; above 0.5 it is off.
    pub xtc_threshold: f32,
    /// Moves the temperature by up to this much, up where the model is undecided and down where it is sure; 0 is off.
    pub dynatemp_range: f32,
    /// How the uncertainty is mapped to that range; 1 is linear.
    pub dynatemp_exponent: f32,
    /// Mirostat 1 or 2 in place of all cuts above (top_k, top_p and so on); 0 is off.
    pub mirostat: u32,
    /// Mirostat's wished-for surprise, in bits.
    pub mirostat_tau: f32,
    /// Mirostat's learning rate.
    pub mirostat_eta: f32,
    /// Write special tokens into the text, such as `[TOOL_CALLS]` or `<|channel|>`, which are left out otherwise. The token
    /// that ends a generation is never part of it.
    pub special: bool,
    /// Output tokens before which neither an end-of-generation token nor one of [`stop_token_ids`](Self::stop_token_ids)
    /// may come; 0 is off. Stop strings end a text before, and so does a constraint under which it is complete.
    pub min_tokens: u32,
    /// Tokens that end the generation as the model's own end-of-generation tokens do, and are no part of the output.
    pub stop_token_ids: Vec<Token>,
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
            logprobs: None,
            constraint: None,
            typical_p: 1.0,
            top_n_sigma: 0.0,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            dynatemp_range: 0.0,
            dynatemp_exponent: 1.0,
            mirostat: 0,
            mirostat_tau: 5.0,
            mirostat_eta: 0.1,
            special: false,
            min_tokens: 0,
            stop_token_ids: Vec::new(),
        }
    }
}

impl SamplingParams {
    /// The most of [`logprobs`](Self::logprobs) that may be asked for.
    pub const MAX_LOGPROBS: u32 = 1000;

    /// The most strings that [`stop`](Self::stop) may have: each is compared with every byte of the answer.
    pub const MAX_STOPS: usize = 1000;

    /// Whether the likeliest token is taken each time.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    /// Whether any of the three penalties is on.
    pub fn has_penalties(&self) -> bool {
        self.penalty_last_n > 0
            && (self.repetition_penalty != 1.0 || self.frequency_penalty != 0.0 || self.presence_penalty != 0.0)
    }

    /// Checks every range; `n_vocab` bounds the ids of `logit_bias`. Constraints are checked where they are compiled.
    pub fn validate(&self, n_vocab: usize) -> Result<()> {
        self.validate_numbers()?;
        let in_vocabulary = |token: Token| usize::try_from(token).is_ok_and(|t| t < n_vocab);
        for &token in &self.stop_token_ids {
            let range = format!("an id below the vocabulary's size of {n_vocab}");
            require(in_vocabulary(token), "a token of stop_token_ids", token, &range)?;
        }
        if let Some(most) = self.max_tokens {
            require(self.min_tokens <= most, "min_tokens", self.min_tokens, &format!("at most max_tokens, {most}"))?;
        }
        require(self.stop.len() <= Self::MAX_STOPS, "the number of stop strings", self.stop.len(), "at most 1000")?;
        require(self.stop.iter().all(|s| !s.is_empty()), "a stop string", "empty", "at least one character")?;
        for &(token, bias) in &self.logit_bias {
            require(
                in_vocabulary(token),
                "a token of logit_bias",
                token,
                &format!("an id below the vocabulary's size of {n_vocab}"),
            )?;
            require(!bias.is_nan() && bias != f32::INFINITY, "a bias of logit_bias", bias, "a number below infinity")?;
        }
        Ok(())
    }

    fn validate_numbers(&self) -> Result<()> {
        let at_least_0 = |x: f32| x.is_finite() && x >= 0.0;
        let share = |x: f32| (0.0..=1.0).contains(&x);
        let keeps = |x: f32| x > 0.0 && x <= 1.0;
        #[rustfmt::skip]
        let ranges: [(bool, &str, &dyn Display, &str); 19] = [
            (self.max_tokens != Some(0), "max_tokens", &0, "at least 1, or absent to fill the context"),
            (at_least_0(self.temperature), "temperature", &self.temperature, "0 (greedy) or a positive number"),
            (self.top_k <= i32::MAX as u32, "top_k", &self.top_k, "0 (off) to 2147483647"),
            (keeps(self.top_p), "top_p", &self.top_p, "above 0 and at most 1 (off)"),
            (share(self.min_p), "min_p", &self.min_p, "between 0 (off) and 1"),
            (at_least_0(self.repetition_penalty) && self.repetition_penalty > 0.0, "repetition_penalty",
                &self.repetition_penalty, "a positive number (1 is off)"),
            (self.frequency_penalty.is_finite(), "frequency_penalty", &self.frequency_penalty, "a finite number (0 is off)"),
            (self.presence_penalty.is_finite(), "presence_penalty", &self.presence_penalty, "a finite number (0 is off)"),
            (self.penalty_last_n <= 65_536, "penalty_last_n", &self.penalty_last_n, "at most 65536 tokens"),
            (self.logprobs.is_none_or(|n| n <= Self::MAX_LOGPROBS), "logprobs", &self.logprobs.unwrap_or(0), "at most 1000"),
            (keeps(self.typical_p), "typical_p", &self.typical_p, "above 0 and at most 1 (off)"),
            (at_least_0(self.top_n_sigma), "top_n_sigma", &self.top_n_sigma, "0 (off) or a positive number"),
            (share(self.xtc_probability), "xtc_probability", &self.xtc_probability, "between 0 (off) and 1"),
            (share(self.xtc_threshold), "xtc_threshold", &self.xtc_threshold, "between 0 and 1"),
            (at_least_0(self.dynatemp_range), "dynatemp_range", &self.dynatemp_range, "0 (off) or a positive number"),
            (at_least_0(self.dynatemp_exponent), "dynatemp_exponent", &self.dynatemp_exponent, "0 or a positive number"),
            (self.mirostat <= 2, "mirostat", &self.mirostat, "0 (off), 1 or 2"),
            (at_least_0(self.mirostat_tau), "mirostat_tau", &self.mirostat_tau, "0 or a positive number of bits"),
            (share(self.mirostat_eta), "mirostat_eta", &self.mirostat_eta, "between 0 and 1"),
        ];
        ranges.into_iter().try_for_each(|(holds, field, value, range)| require(holds, field, value, range))
    }
}

fn require(holds: bool, field: &str, value: impl Display, range: &str) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidRequest, format!("{field} is {value}, but must be {range}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_range_is_checked_and_named() {
        let good = SamplingParams::default();
        assert!(good.validate(10).is_ok());
        let bad: [(&str, SamplingParams); 21] = [
            ("max_tokens", SamplingParams { max_tokens: Some(0), ..good.clone() }),
            ("temperature", SamplingParams { temperature: f32::NAN, ..good.clone() }),
            ("top_p", SamplingParams { top_p: 0.0, ..good.clone() }),
            ("min_p", SamplingParams { min_p: 1.5, ..good.clone() }),
            ("repetition_penalty", SamplingParams { repetition_penalty: 0.0, ..good.clone() }),
            ("frequency_penalty", SamplingParams { frequency_penalty: f32::INFINITY, ..good.clone() }),
            ("presence_penalty", SamplingParams { presence_penalty: f32::NAN, ..good.clone() }),
            ("logprobs", SamplingParams { logprobs: Some(1001), ..good.clone() }),
            ("typical_p", SamplingParams { typical_p: 0.0, ..good.clone() }),
            ("top_n_sigma", SamplingParams { top_n_sigma: -1.0, ..good.clone() }),
            ("xtc_probability", SamplingParams { xtc_probability: f32::NAN, ..good.clone() }),
            ("xtc_threshold", SamplingParams { xtc_threshold: 2.0, ..good.clone() }),
            ("dynatemp_range", SamplingParams { dynatemp_range: f32::INFINITY, ..good.clone() }),
            ("mirostat", SamplingParams { mirostat: 3, ..good.clone() }),
            ("mirostat_eta", SamplingParams { mirostat_eta: -0.1, ..good.clone() }),
            ("stop string", SamplingParams { stop: vec![String::new()], ..good.clone() }),
            ("stop strings", SamplingParams { stop: vec!["a".into(); 1001], ..good.clone() }),
            ("stop_token_ids", SamplingParams { stop_token_ids: vec![10], ..good.clone() }),
            ("min_tokens", SamplingParams { min_tokens: 5, max_tokens: Some(4), ..good.clone() }),
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
