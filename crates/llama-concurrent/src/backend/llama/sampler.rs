//! From logits to a token: llama.cpp's own samplers, and a shortcut for the plain greedy choice.

use llama_cpp_2::{
    sampling::LlamaSampler,
    token::{LlamaToken, data::LlamaTokenData, data_array::LlamaTokenDataArray},
};

use crate::{
    request::{SamplingParams, Token},
    vocab::TokenTable,
};

/// The sampling state of one sequence.
pub(super) struct Sampler {
    /// Added to the logits first.
    bias: Vec<(Token, f32)>,
    /// `None`: the likeliest token, nothing else.
    chain: Option<LlamaSampler>,
}

impl Sampler {
    pub(super) fn new(params: &SamplingParams, history: &[Token], vocab: &TokenTable) -> Self {
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
            if params.top_k > 0 {
                stages.push(LlamaSampler::top_k(params.top_k as i32));
            }
            if params.top_p < 1.0 {
                stages.push(LlamaSampler::top_p(params.top_p, 1));
            }
            if params.min_p > 0.0 {
                stages.push(LlamaSampler::min_p(params.min_p, 1));
            }
            stages.push(LlamaSampler::temp(params.temperature));
            stages.push(LlamaSampler::dist(params.seed));
        } else if !stages.is_empty() {
            stages.push(LlamaSampler::greedy());
        }
        let chain = (!stages.is_empty()).then(|| {
            let mut chain = LlamaSampler::chain_simple(stages);
            chain.accept_many(history.iter().map(|&token| LlamaToken(token)));
            chain
        });
        Self { bias, chain }
    }

    /// Chooses a token and remembers it; `None` if none is possible. `candidates` is scratch space.
    pub(super) fn sample(&mut self, logits: &mut [f32], candidates: &mut LlamaTokenDataArray) -> Option<Token> {
        for &(token, bias) in &self.bias {
            logits[token as usize] += bias;
        }
        let likeliest = argmax(logits)?;
        let Some(chain) = &mut self.chain else { return Some(likeliest as Token) };
        candidates.data.clear();
        candidates.data.extend(
            logits.iter().enumerate().map(|(id, &logit)| LlamaTokenData::new(LlamaToken(id as i32), logit, 0.0)),
        );
        candidates.sorted = false;
        candidates.selected = None;
        chain.apply(candidates);
        let token = candidates.selected_token()?;
        chain.accept(token);
        Some(token.0)
    }
}

/// A choice of tokens from logits as the engine makes it, for `benches/parts.rs`. It may change the logits.
#[doc(hidden)]
pub fn chooser(params: &SamplingParams, vocab: &TokenTable) -> impl FnMut(&mut [f32]) -> Option<Token> + use<> {
    let mut sampler = Sampler::new(params, &[], vocab);
    let mut candidates = LlamaTokenDataArray::new(Vec::new(), false);
    move |logits| sampler.sample(logits, &mut candidates)
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
        Sampler::new(params, &[1, 1], &vocab).sample(&mut logits.to_vec(), &mut candidates)
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
        let nothing = SamplingParams { logit_bias: (0..4).map(|t| (t, f32::NEG_INFINITY)).collect(), ..greedy };
        assert_eq!(choose(&nothing, &logits), None);
    }
}
