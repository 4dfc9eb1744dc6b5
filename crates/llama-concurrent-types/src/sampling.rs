//! How the next token is chosen, and the ranges of what can be wished for.

use std::{
    fmt::Display,
    sync::{Arc, LazyLock},
};

use crate::{
    Constraint,
    error::{Error, ErrorKind, Result},
    ids::Token,
    parameters::{above_to, from, from_to, no_number, whole},
    speculation::Speculation,
};

crate::parameters! {
    /// How the next token is chosen. The defaults are greedy: the same prompt gives the same text.
    #[derive(Clone, Debug, PartialEq)]
    pub struct SamplingParams {
        /// Maximum number of output tokens. Unset: until the slot is full.
        max_tokens: Option<u32> = None, from(1.0, "at least 1, or absent to fill the context")
            .c(1).http(&["max_completion_tokens", "max_tokens", "n_predict"])
            .flags(&["max-tokens", "n-predict", "predict"], "N");
        /// 0 takes the likeliest token each time (greedy); 1 samples the model's own distribution.
        temperature: f32 = 0.0, from(0.0, "0 (greedy) or a positive number")
            .c(1).http(&["temperature"]).lenient(f64::NEG_INFINITY, 0.0).flags(&["temp", "temperature"], "T");
        /// Keep only this many of the likeliest tokens; 0 keeps all.
        top_k: u32 = 40, from_to(0.0, i32::MAX as f64, "0 (off) to 2147483647")
            .c(1).http(&["top_k"]).lenient(i32::MIN as f64, 0.0).flags(&["top-k"], "K");
        /// Keep only the likeliest tokens whose probabilities add up to this; 1 keeps all.
        top_p: f32 = 0.95, above_to(0.0, 1.0, "above 0 and at most 1 (off)")
            .c(1).http(&["top_p"]).lenient(f64::NEG_INFINITY, f32::MIN_POSITIVE as f64).flags(&["top-p"], "P");
        /// Drop tokens whose probability is below this fraction of the likeliest token's; 0 keeps all.
        min_p: f32 = 0.05, from_to(0.0, 1.0, "between 0 (off) and 1")
            .c(1).http(&["min_p"]).flags(&["min-p"], "P");
        /// Divides the logits of tokens that occur among the last `penalty_last_n`; 1 is off.
        repetition_penalty: f32 = 1.0, above_to(0.0, f64::INFINITY, "a positive number (1 is off)")
            .c(1).http(&["repeat_penalty", "repetition_penalty"]).flags(&["repeat-penalty", "repetition-penalty"], "X");
        /// Subtracted from a token's logit for each time that it occurs among the last `penalty_last_n`; 0 is off.
        frequency_penalty: f32 = 0.0, from(f64::NEG_INFINITY, "a finite number (0 is off)")
            .c(1).http(&["frequency_penalty"]).flags(&["frequency-penalty"], "X");
        /// Subtracted from a token's logit if it occurs among the last `penalty_last_n`; 0 is off.
        presence_penalty: f32 = 0.0, from(f64::NEG_INFINITY, "a finite number (0 is off)")
            .c(1).http(&["presence_penalty"]).flags(&["presence-penalty"], "X");
        /// How many tokens, of prompt and output, the three penalties look back on; 0 turns them off.
        penalty_last_n: u32 = 64, from_to(0.0, 65_536.0, "at most 65536 tokens")
            .c(1).http(&["repeat_last_n", "penalty_last_n"]).lenient(-1.0, 65_536.0)
            .flags(&["repeat-last-n", "penalty-last-n"], "N");
        /// Seed of the random number generator: equal seeds draw equally from equal distributions. Of several prompts,
        /// number i uses this seed + i.
        seed: u32 = 0, whole().c(1).http(&["seed"]).flags(&["seed"], "N");
        /// Strings that end the generation; they are never part of the output. One that spells a special token, such as
        /// `<|im_end|>`, ends it at that token, even where special tokens are not written.
        stop: Vec<String> = Vec::new(), no_number().c(2).http(&["stop"]).flags(&["stop"], "TEXT");
        /// Values added to the logits of individual tokens; minus infinity forbids a token.
        logit_bias: Vec<(Token, f32)> = Vec::new(), no_number()
            .c(2).http(&["logit_bias"]).flags(&["logit-bias"], "ID+BIAS");
        /// Do not end at the model's end-of-generation tokens, which are made impossible instead.
        ignore_eos: bool = false, no_number().c(3).http(&["ignore_eos"]).flags(&["ignore-eos"], "");
        /// What the output has to look like. Unset: anything.
        constraint: Option<Constraint> = None, no_number();
        /// Report the log probability of each token and of this many of the likeliest tokens, at most 1000; 0 reports
        /// only its own. Unset: no log probabilities.
        logprobs: Option<u32> = None, from_to(0.0, Self::MAX_LOGPROBS as f64, "at most 1000")
            .c(4).http(&["logprobs", "top_logprobs", "n_probs"]).flags(&["logprobs"], "N");
        /// Write special tokens, such as `[TOOL_CALLS]` or `<|channel|>`, into the text; otherwise they are left out.
        /// The token that ends a generation is never part of it.
        special: bool = false, no_number().c(5).http(&["special"]).flags(&["special"], "");
        /// Tokens that end the generation as the model's own end-of-generation tokens do; they are not part of the
        /// output.
        stop_token_ids: Vec<Token> = Vec::new(), no_number()
            .c(6).http(&["stop_token_ids"]).flags(&["stop-token-id"], "ID");
        /// Number of output tokens before which no token may end the generation; 0 is off. A stop string still may, and
        /// so may a constraint whose text is complete.
        min_tokens: u32 = 0, whole().c(6).http(&["min_tokens"]).flags(&["min-tokens"], "N");
        /// Keep the tokens whose surprise is closest to the expected one, until their probabilities add up to this; 1
        /// is off.
        typical_p: f32 = 1.0, above_to(0.0, 1.0, "above 0 and at most 1 (off)")
            .c(6).http(&["typical_p"]).flags(&["typical-p", "typical"], "P");
        /// Drop tokens whose logit is more than this many standard deviations below the largest; 0 is off.
        top_n_sigma: f32 = 0.0, from(0.0, "0 (off) or a positive number")
            .c(6).http(&["top_n_sigma"]).lenient(f64::NEG_INFINITY, 0.0).flags(&["top-n-sigma", "top-nsigma"], "X");
        /// Probability that XTC drops all but the least likely of the tokens above `xtc_threshold`; 0 is off.
        xtc_probability: f32 = 0.0, from_to(0.0, 1.0, "between 0 (off) and 1")
            .c(6).http(&["xtc_probability"]).flags(&["xtc-probability"], "P");
        /// Probability at and above which a token counts for XTC; above 0.5, XTC is off.
        xtc_threshold: f32 = 0.1, from_to(0.0, 1.0, "between 0 and 1")
            .c(6).http(&["xtc_threshold"]).flags(&["xtc-threshold"], "P");
        /// Lets the temperature vary by up to this: up where the model is undecided, down where it is sure; 0 is off.
        dynatemp_range: f32 = 0.0, from(0.0, "0 (off) or a positive number")
            .c(6).http(&["dynatemp_range"]).flags(&["dynatemp-range"], "X");
        /// How uncertainty maps to `dynatemp_range`; 1 is linear.
        dynatemp_exponent: f32 = 1.0, from(0.0, "0 or a positive number")
            .c(6).http(&["dynatemp_exponent"]).flags(&["dynatemp-exponent", "dynatemp-exp"], "X");
        /// Use Mirostat 1 or 2 in place of `top_k`, `top_p` and the other cuts; 0 is off.
        mirostat: u32 = 0, from_to(0.0, 2.0, "0 (off), 1 or 2")
            .c(6).http(&["mirostat"]).flags(&["mirostat"], "N");
        /// Mirostat's target surprise, in bits.
        mirostat_tau: f32 = 5.0, from(0.0, "0 or a positive number of bits")
            .c(6).http(&["mirostat_tau"]).flags(&["mirostat-tau", "mirostat-ent"], "X");
        /// Mirostat's learning rate.
        mirostat_eta: f32 = 0.1, from_to(0.0, 1.0, "between 0 and 1")
            .c(6).http(&["mirostat_eta"]).flags(&["mirostat-eta", "mirostat-lr"], "X");
        /// DRY: strength of the penalty on tokens that would continue a repetition; 0 is off.
        dry_multiplier: f32 = 0.0, from(0.0, "0 (off) or a positive number")
            .http(&["dry_multiplier"]).lenient(f64::NEG_INFINITY, 0.0).flags(&["dry-multiplier"], "X");
        /// DRY: factor by which the penalty grows with each token of repetition beyond `dry_allowed_length`.
        dry_base: f32 = 1.75, from(1.0, "1 or more")
            .http(&["dry_base"]).lenient(f64::NEG_INFINITY, 1.75).flags(&["dry-base"], "X");
        /// DRY: length in tokens up to which a repetition goes unpenalised.
        dry_allowed_length: u32 = 2, from_to(0.0, 65_536.0, "at most 65536 tokens")
            .http(&["dry_allowed_length"]).flags(&["dry-allowed-length"], "N");
        /// DRY: how many tokens, of prompt and output, are searched for repetitions; 0 is off.
        dry_penalty_last_n: u32 = 64, from_to(0.0, 65_536.0, "at most 65536 tokens")
            .http(&["dry_penalty_last_n"]).lenient(-1.0, 65_536.0).flags(&["dry-penalty-last-n"], "N");
        /// DRY: strings that no repetition extends across, of at most 40 bytes each.
        dry_sequence_breakers: Arc<[String]> = usual_breakers(), no_number()
            .http(&["dry_sequence_breakers"]).flags(&["dry-sequence-breaker"], "TEXT");
        /// Adaptive-p, in place of the final draw: prefer tokens of about this probability among those that the cuts
        /// leave; below 0 it is off.
        adaptive_target: f32 = -1.0, from_to(-1.0, 1.0, "at most 1, or -1 (off)")
            .http(&["adaptive_target"]).lenient(f64::NEG_INFINITY, -1.0).flags(&["adaptive-target"], "P");
        /// Adaptive-p: how slowly the probabilities of earlier tokens are forgotten; about 1 / (1 - this) of them
        /// count.
        adaptive_decay: f32 = 0.9, from_to(0.0, 0.99, "between 0 and 0.99")
            .http(&["adaptive_decay"]).flags(&["adaptive-decay"], "X");
        /// Report the log probabilities that the token was drawn with, after bias, constraint and samplers, in the place of the
        /// model's own; those of a greedy choice are certain.
        post_sampling_probs: bool = false, no_number()
            .http(&["post_sampling_probs"]).flags(&["post-sampling-probs"], "");
        /// Whether the next tokens are guessed and computed beforehand: as the engine's `speculation` says (auto), not at all (off),
        /// whenever they can be looked up in what was written before (lookup), or by the engine's draft model (draft).
        /// The latter two weigh no costs, unless requests run beside this one that did not ask for that. What is generated is
        /// the same.
        speculation: Speculation = Speculation::default(), no_number().http(&["speculation"]);
        /// Maximum number of tokens guessed at a time; 0 is none. A call has room for 15 beside a single request, and fewer beside
        /// others.
        draft_max: u32 = 16, whole().http(&["speculative.n_max"]).flags(&["draft-max", "spec-draft-n-max"], "N");
    }
}

impl SamplingParams {
    /// The most of [`logprobs`](Self::logprobs) that may be asked for.
    pub const MAX_LOGPROBS: u32 = 1000;

    /// The most strings that [`stop`](Self::stop) may have: each is compared with every byte of the answer.
    pub const MAX_STOPS: usize = 1000;

    /// The most [`dry_sequence_breakers`](Self::dry_sequence_breakers): the vocabulary is searched for each.
    pub const MAX_BREAKERS: usize = 16;

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
        let refused = Self::FIELDS.iter().find_map(|field| field.check(self).err());
        if let Some(message) = refused {
            return Err(Error::new(ErrorKind::InvalidRequest, message));
        }
        let in_vocabulary = |token: Token| usize::try_from(token).is_ok_and(|t| t < n_vocab);
        let id = format!("an id below the vocabulary's size of {n_vocab}");
        for &token in &self.stop_token_ids {
            require(in_vocabulary(token), "a token of stop_token_ids", token, &id)?;
        }
        if let Some(most) = self.max_tokens {
            require(self.min_tokens <= most, "min_tokens", self.min_tokens, &format!("at most max_tokens, {most}"))?;
        }
        let breakers = &self.dry_sequence_breakers;
        require(
            breakers.len() <= Self::MAX_BREAKERS,
            "the number of dry_sequence_breakers",
            breakers.len(),
            "at most 16",
        )?;
        let is_breaker = |text: &String| (1..=40).contains(&text.len()) && !text.contains('\0');
        require(breakers.iter().all(is_breaker), "one of dry_sequence_breakers", "unfit", "1 to 40 bytes without NUL")?;
        require(self.stop.len() <= Self::MAX_STOPS, "the number of stop strings", self.stop.len(), "at most 1000")?;
        require(self.stop.iter().all(|s| !s.is_empty()), "a stop string", "empty", "at least one character")?;
        for &(token, bias) in &self.logit_bias {
            require(in_vocabulary(token), "a token of logit_bias", token, &id)?;
            require(!bias.is_nan() && bias != f32::INFINITY, "a bias of logit_bias", bias, "a number below infinity")?;
        }
        Ok(())
    }
}

/// Those of llama.cpp. Shared, because a request's parameters are copied a few times and these are seldom others.
fn usual_breakers() -> Arc<[String]> {
    static USUAL: LazyLock<Arc<[String]>> = LazyLock::new(|| ["\n", ":", "\"", "*"].map(str::to_owned).into());
    Arc::clone(&USUAL)
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
        let bad: [(&str, SamplingParams); 27] = [
            ("max_tokens", good.clone().max_tokens(0)),
            ("temperature", good.clone().temperature(f32::NAN)),
            ("top_p", good.clone().top_p(0.0)),
            ("min_p", good.clone().min_p(1.5)),
            ("repetition_penalty", good.clone().repetition_penalty(0.0)),
            ("frequency_penalty", good.clone().frequency_penalty(f32::INFINITY)),
            ("presence_penalty", good.clone().presence_penalty(f32::NAN)),
            ("logprobs", good.clone().logprobs(1001)),
            ("typical_p", good.clone().typical_p(0.0)),
            ("top_n_sigma", good.clone().top_n_sigma(-1.0)),
            ("xtc_probability", good.clone().xtc_probability(f32::NAN)),
            ("xtc_threshold", good.clone().xtc_threshold(2.0)),
            ("dynatemp_range", good.clone().dynatemp_range(f32::INFINITY)),
            ("mirostat", good.clone().mirostat(3)),
            ("mirostat_eta", good.clone().mirostat_eta(-0.1)),
            ("dry_multiplier", good.clone().dry_multiplier(f32::NAN)),
            ("dry_base", good.clone().dry_base(0.5)),
            ("dry_sequence_breakers", good.clone().dry_sequence_breakers(vec!["x".repeat(41)])),
            ("dry_sequence_breakers", good.clone().dry_sequence_breakers(vec!["x".into(); 17])),
            ("adaptive_target", good.clone().adaptive_target(1.5)),
            ("adaptive_decay", good.clone().adaptive_decay(1.0)),
            ("stop string", good.clone().stop(vec![String::new()])),
            ("stop strings", good.clone().stop(vec!["a".into(); 1001])),
            ("stop_token_ids", good.clone().stop_token_ids(vec![10])),
            ("min_tokens", good.clone().min_tokens(5).max_tokens(4)),
            ("logit_bias", good.clone().logit_bias(vec![(10, 0.0)])),
            ("logit_bias", good.clone().logit_bias(vec![(1, f32::INFINITY)])),
        ];
        for (field, params) in bad {
            let error = params.validate(10).unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::InvalidRequest);
            assert!(error.to_string().contains(field), "{error}");
        }
        let forbid = good.logit_bias(vec![(1, f32::NEG_INFINITY)]);
        assert!(forbid.validate(10).is_ok());
    }
}
