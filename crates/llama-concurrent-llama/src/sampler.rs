//! From logits to a token: llama.cpp's own samplers, and a shortcut for the plain greedy choice.

use llama_concurrent_constraint::{Allowed, Grammar};
use llama_concurrent_scheduler::Sampled;
use llama_concurrent_types::{SamplingParams, Token, TokenLogprobs, TokenTable};
use llama_cpp_2::{
    sampling::LlamaSampler,
    token::{LlamaToken, data::LlamaTokenData, data_array::LlamaTokenDataArray},
};

/// Tokens from which the first mirostat estimates how probabilities fall off, as in its paper and in llama.cpp.
const MIROSTAT_TOKENS: i32 = 100;

/// The sampling state of one sequence.
pub(super) struct Sampler {
    /// Added to the logits first.
    bias: Vec<(Token, f32)>,
    /// `None`: the likeliest token, nothing else.
    chain: Option<LlamaSampler>,
    grammar: Option<Box<Grammar>>,
    /// Tokens that end the text: the model's own, and the caller's.
    ends: Vec<Token>,
    /// Tokens that have to come before one of those may.
    before_end: u32,
    logprobs: Option<usize>,
    /// The logits as the model gave them, kept while a token is chosen.
    raw: Vec<f32>,
}

impl Sampler {
    pub(super) fn new(
        params: &SamplingParams,
        history: &[Token],
        grammar: Option<Box<Grammar>>,
        vocab: &TokenTable,
    ) -> Self {
        let mut bias = params.logit_bias.clone();
        if params.ignore_eos {
            bias.extend(vocab.end_of_generation().iter().map(|&token| (token, f32::NEG_INFINITY)));
        }
        let mut stages = Vec::new();
        if params.has_penalties() {
            stages.push(LlamaSampler::penalties(
                vocab.len() as i32,
                params.penalty_last_n as i32,
                params.repetition_penalty,
                params.frequency_penalty,
                params.presence_penalty,
            ));
        }
        if !params.is_greedy() {
            stages.extend(random_stages(params, vocab.len()));
        } else if !stages.is_empty() {
            stages.push(LlamaSampler::greedy());
        }
        let chain = (!stages.is_empty()).then(|| {
            let mut chain = LlamaSampler::chain_simple(stages);
            chain.accept_many(history.iter().map(|&token| LlamaToken(token)));
            chain
        });
        let mut ends = if params.ignore_eos { Vec::new() } else { vocab.end_of_generation().to_vec() };
        ends.extend(&params.stop_token_ids);
        let logprobs = params.logprobs.map(|n| n as usize);
        Self { bias, chain, grammar, ends, before_end: params.min_tokens, logprobs, raw: Vec::new() }
    }

    /// Chooses a token and remembers it. `candidates` is scratch space.
    pub(super) fn sample(&mut self, logits: &mut [f32], candidates: &mut LlamaTokenDataArray) -> Sampled {
        if self.logprobs.is_some() {
            self.raw.clear();
            self.raw.extend_from_slice(logits);
        }
        for &(token, bias) in &self.bias {
            logits[token as usize] += bias;
        }
        if self.before_end > 0 {
            self.before_end -= 1;
            self.ends.iter().for_each(|&end| logits[end as usize] = f32::NEG_INFINITY);
        }
        match self.restrict(logits) {
            Ok(true) => {}
            Ok(false) => return Sampled::Complete,
            Err(why) => return Sampled::Impossible(why),
        }
        let Some(token) = self.choose(logits, candidates) else {
            let also = if self.grammar.is_some() { ", or the constraint and logit_bias together do" } else { "" };
            return Sampled::Impossible(format!(
                "the model's output is not a number, or logit_bias forbids every token{also}"
            ));
        };
        // An end that the grammar allows is not part of its text.
        let last = match &mut self.grammar {
            Some(grammar) if !self.ends.contains(&token) => grammar.accept(token),
            _ => Ok(false),
        };
        match last {
            Ok(last) => {
                let logprobs = self.logprobs.map(|n_top| Box::new(TokenLogprobs::of(&self.raw, token, n_top)));
                Sampled::Token { token, logprobs, last }
            }
            Err(why) => Sampled::Impossible(why),
        }
    }

    /// Makes impossible what the grammar does not allow; whether anything may follow.
    fn restrict(&mut self, logits: &mut [f32]) -> Result<bool, String> {
        let Some(grammar) = &mut self.grammar else { return Ok(true) };
        let (mut mask, may_end) = match grammar.allowed()? {
            Allowed::Nothing => return Ok(false),
            Allowed::Tokens { mask, may_end } => (mask, may_end),
        };
        for &end in &self.ends {
            if may_end { mask.allow_token(end as u32) } else { mask.disallow_token(end as u32) }
        }
        for (logits, &bits) in logits.chunks_mut(32).zip(mask.as_slice()) {
            if bits == u32::MAX {
                continue;
            }
            for (bit, logit) in logits.iter_mut().enumerate() {
                *logit = if bits >> bit & 1 == 1 { *logit } else { f32::NEG_INFINITY };
            }
        }
        Ok(true)
    }

    fn choose(&mut self, logits: &[f32], candidates: &mut LlamaTokenDataArray) -> Option<Token> {
        let likeliest = argmax(logits)?;
        let Some(chain) = &mut self.chain else { return Some(likeliest as Token) };
        let all = logits.iter().enumerate().map(|(id, &logit)| LlamaTokenData::new(LlamaToken(id as i32), logit, 0.0));
        candidates.data.clear();
        match self.grammar {
            // Most are impossible then.
            Some(_) => candidates.data.extend(all.filter(|one| one.logit() > f32::NEG_INFINITY)),
            None => candidates.data.extend(all),
        }
        candidates.sorted = false;
        candidates.selected = None;
        // Some samplers cannot do with a single token.
        let token = if let [only] = candidates.data[..] {
            only.id()
        } else {
            chain.apply(candidates);
            candidates.selected_token()?
        };
        chain.accept(token);
        Some(token.0)
    }
}

/// The samplers of a random choice, in llama-server's order.
fn random_stages(params: &SamplingParams, n_vocab: usize) -> Vec<LlamaSampler> {
    let temperature = LlamaSampler::temp_ext(params.temperature, params.dynatemp_range, params.dynatemp_exponent);
    match params.mirostat {
        1 => {
            let (tau, eta) = (params.mirostat_tau, params.mirostat_eta);
            return vec![temperature, LlamaSampler::mirostat(n_vocab as i32, params.seed, tau, eta, MIROSTAT_TOKENS)];
        }
        2 => {
            return vec![temperature, LlamaSampler::mirostat_v2(params.seed, params.mirostat_tau, params.mirostat_eta)];
        }
        _ => {}
    }
    let mut stages = Vec::new();
    let mut push = |wanted: bool, stage: &dyn Fn() -> LlamaSampler| {
        if wanted {
            stages.push(stage());
        }
    };
    push(params.top_n_sigma > 0.0, &|| LlamaSampler::top_n_sigma(params.top_n_sigma));
    push(params.top_k > 0, &|| LlamaSampler::top_k(params.top_k as i32));
    push(params.typical_p < 1.0, &|| LlamaSampler::typical(params.typical_p, 1));
    push(params.top_p < 1.0, &|| LlamaSampler::top_p(params.top_p, 1));
    push(params.min_p > 0.0, &|| LlamaSampler::min_p(params.min_p, 1));
    push(params.xtc_probability > 0.0, &|| {
        LlamaSampler::xtc(params.xtc_probability, params.xtc_threshold, 1, params.seed)
    });
    stages.extend([temperature, LlamaSampler::dist(params.seed)]);
    stages
}

/// A choice of tokens from logits as the engine makes it, for `benches/parts.rs`. It may change the logits.
#[doc(hidden)]
pub fn chooser(params: &SamplingParams, vocab: &TokenTable) -> impl FnMut(&mut [f32]) -> Option<Token> + use<> {
    let mut sampler = Sampler::new(params, &[], None, vocab);
    let mut candidates = LlamaTokenDataArray::new(Vec::new(), false);
    move |logits| match sampler.sample(logits, &mut candidates) {
        Sampled::Token { token, .. } => Some(token),
        _ => None,
    }
}

/// Index of the largest value, the first of equals; `None` if there is no number above minus infinity.
fn argmax(values: &[f32]) -> Option<usize> {
    // Lanes let the compiler use vector instructions; comparisons with NaN are false, so NaN never wins.
    let mut lanes = [f32::NEG_INFINITY; 16];
    let chunks = values.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    let largest = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
    if largest == f32::NEG_INFINITY { None } else { values.iter().position(|&value| value == largest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argmax_takes_the_first_largest_number() {
        let mut values: Vec<f32> = (0..100).map(|i| ((i * 37) % 90) as f32).collect();
        let expected = values.iter().position(|&v| v == 89.0);
        assert_eq!(argmax(&values), expected);
        values[99] = 1000.0;
        assert_eq!(argmax(&values), Some(99));
        values[3] = f32::NAN;
        values[4] = 1000.0;
        assert_eq!(argmax(&values), Some(4));
        assert_eq!(argmax(&[f32::NAN; 40]), None);
        assert_eq!(argmax(&[f32::NEG_INFINITY; 3]), None);
    }

    fn choose(params: &SamplingParams, logits: &[f32]) -> Option<Token> {
        let vocab = TokenTable::new((0..logits.len()).map(|_| b"x"), vec![0]);
        let mut candidates = LlamaTokenDataArray::new(Vec::new(), false);
        match Sampler::new(params, &[1, 1], None, &vocab).sample(&mut logits.to_vec(), &mut candidates) {
            Sampled::Token { token, .. } => Some(token),
            _ => None,
        }
    }

    #[test]
    fn each_parameter_does_its_part() {
        let greedy = SamplingParams::default();
        let logits = [9.0, 5.0, 4.0, 3.0];
        assert_eq!(choose(&greedy, &logits), Some(0));
        assert_eq!(choose(&SamplingParams { ignore_eos: true, ..greedy.clone() }, &logits), Some(1));
        let biased = SamplingParams { logit_bias: vec![(0, f32::NEG_INFINITY), (3, 10.0)], ..greedy.clone() };
        assert_eq!(choose(&biased, &logits), Some(3));
        let penalised = SamplingParams { ignore_eos: true, presence_penalty: 2.0, ..greedy.clone() };
        assert_eq!(choose(&penalised, &logits), Some(2), "token 1 was in the prompt");
        let warm = SamplingParams { temperature: 50.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..greedy.clone() };
        let seen: std::collections::BTreeSet<_> =
            (0..64).filter_map(|seed| choose(&SamplingParams { seed, ..warm.clone() }, &logits)).collect();
        assert_eq!(seen.len(), 4, "a high temperature reaches every token");
        let top_two = SamplingParams { top_k: 2, ..warm.clone() };
        let seen: std::collections::BTreeSet<_> =
            (0..64).filter_map(|seed| choose(&SamplingParams { seed, ..top_two.clone() }, &logits)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1]);
        for cut in
            [SamplingParams { top_p: 0.5, temperature: 1.0, ..warm.clone() }, SamplingParams { min_p: 0.9, ..warm }]
        {
            assert!((0..32).all(|seed| choose(&SamplingParams { seed, ..cut.clone() }, &logits) == Some(0)));
        }
        let mut vocab_end = SamplingParams { min_tokens: 1, ..greedy.clone() };
        assert_eq!(choose(&vocab_end, &logits), Some(1), "token 0 ends, which may not come yet");
        vocab_end.stop_token_ids = vec![1];
        assert_eq!(choose(&vocab_end, &logits), Some(2));
        let nothing = SamplingParams { logit_bias: (0..4).map(|t| (t, f32::NEG_INFINITY)).collect(), ..greedy };
        assert_eq!(choose(&nothing, &logits), None);
    }
}
