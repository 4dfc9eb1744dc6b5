//! From logits to a token: llama.cpp's own samplers, and a shortcut for the plain greedy choice.

use std::{
    ffi::{CString, c_char},
    ptr::{NonNull, null, null_mut},
};

use llama_concurrent_scheduler::Sampled;
use llama_concurrent_types::{Allowed, Matcher, SamplingParams, Token, TokenLogprobs, TokenTable};
use llama_cpp_sys_2 as sys;

use crate::model::Model;

/// Tokens from which the first mirostat estimates how probabilities fall off, as in its paper and in llama.cpp.
const MIROSTAT_TOKENS: i32 = 100;

/// The sampling state of one sequence.
pub(super) struct Sampler {
    /// Added to the logits first.
    bias: Vec<(Token, f32)>,
    /// `None`: always the most likely token.
    chain: Option<Chain>,
    matcher: Option<Box<dyn Matcher>>,
    /// Tokens that end the generation: the model's own, and the caller's.
    ends: Vec<Token>,
    /// Tokens that must still be generated before one of those is allowed.
    before_end: u32,
    logprobs: Option<usize>,
    /// Of the draw, not of the model.
    of_draw: bool,
    is_greedy: bool,
    /// The model's logits, kept while a token is sampled.
    raw: Vec<f32>,
    /// Whether the sequence has drafts.
    drafts: bool,
}

impl Sampler {
    pub(super) fn new(
        params: &SamplingParams,
        history: &[Token],
        matcher: Option<Box<dyn Matcher>>,
        drafts: bool,
        vocab: &TokenTable,
        model: Option<&Model>,
    ) -> Self {
        let mut bias = params.logit_bias.clone();
        if params.ignore_eos {
            bias.extend(vocab.end_of_generation().iter().map(|&token| (token, f32::NEG_INFINITY)));
        }
        let needs_history = SAMPLERS.iter().any(|one| matches!(one.when, When::Always) && (one.is_on)(params));
        let chain = (needs_history || !params.is_greedy()).then(|| {
            let mut chain = Chain::new(params, vocab.len(), model);
            if needs_history {
                history.iter().for_each(|&token| chain.accept(token));
            }
            chain
        });
        let mut ends = if params.ignore_eos { Vec::new() } else { vocab.end_of_generation().to_vec() };
        ends.extend(&params.stop_token_ids);
        let logprobs = params.logprobs.map(|n| n as usize);
        Self {
            bias,
            chain,
            matcher,
            ends,
            before_end: params.min_tokens,
            logprobs,
            of_draw: params.post_sampling_probs,
            is_greedy: params.is_greedy(),
            raw: Vec::new(),
            drafts,
        }
    }

    /// One that goes on as this one would, with the same random numbers, and tells no probabilities.
    pub(super) fn copy(&self) -> Self {
        Self {
            bias: self.bias.clone(),
            chain: self.chain.as_ref().map(Chain::copy),
            matcher: self.matcher.clone(),
            ends: self.ends.clone(),
            logprobs: None,
            raw: Vec::new(),
            ..*self
        }
    }

    /// The tokens that the constraint of a sequence with drafts lets follow in any case.
    pub(super) fn forced(&self, vocab: &TokenTable) -> Option<Vec<Token>> {
        let bytes = self.matcher.as_ref().filter(|_| self.drafts)?.forced();
        vocab.spelled(&bytes).filter(|tokens| !tokens.is_empty())
    }

    /// Samples a token and adds it to the history. `candidates` is scratch space.
    pub(super) fn sample(&mut self, logits: &mut [f32], candidates: &mut Candidates) -> Sampled {
        if self.logprobs.is_some() && !self.of_draw {
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
        let Some(token) = self.select(logits, candidates) else {
            let also = if self.matcher.is_some() { ", or the constraint and logit_bias together do" } else { "" };
            return Sampled::Impossible(format!(
                "the model's output is not a number, or logit_bias forbids every token{also}"
            ));
        };
        // An end token that the constraint allows is not part of its text.
        let last = match &mut self.matcher {
            Some(matcher) if !self.ends.contains(&token) => matcher.accept(token),
            _ => Ok(false),
        };
        match last {
            Ok(last) => {
                let logprobs = self.logprobs.map(|n_top| Box::new(self.logprobs_of(token, n_top, candidates)));
                Sampled::Token { token, logprobs, last }
            }
            Err(why) => Sampled::Impossible(why),
        }
    }

    /// Masks the tokens that the constraint does not allow. Returns whether any token may follow.
    fn restrict(&mut self, logits: &mut [f32]) -> Result<bool, String> {
        let Some(matcher) = &mut self.matcher else { return Ok(true) };
        let (mut mask, may_end) = match matcher.allowed()? {
            Allowed::Nothing => return Ok(false),
            Allowed::Anything { may_end } => {
                if !may_end {
                    self.ends.iter().for_each(|&end| logits[end as usize] = f32::NEG_INFINITY);
                }
                return Ok(true);
            }
            Allowed::Tokens { mask, may_end } => (mask, may_end),
        };
        for &end in &self.ends {
            mask.set(end, may_end);
        }
        mask.apply(logits);
        Ok(true)
    }

    fn logprobs_of(&self, token: Token, n_top: usize, candidates: &Candidates) -> TokenLogprobs {
        if !self.of_draw {
            return TokenLogprobs::of(&self.raw, token, n_top);
        }
        let left: Vec<(Token, f32)> = match &self.chain {
            Some(_) if !self.is_greedy => candidates.iter().map(|one| (one.id, one.logit)).collect(),
            _ => vec![(token, 0.0)],
        };
        TokenLogprobs::among(&left, token, n_top)
    }

    fn select(&mut self, logits: &[f32], candidates: &mut Candidates) -> Option<Token> {
        let likeliest = argmax(logits)?;
        let Some(chain) = &mut self.chain else { return Some(likeliest as Token) };
        let all =
            logits.iter().enumerate().map(|(id, &logit)| sys::llama_token_data { id: id as Token, logit, p: 0.0 });
        candidates.clear();
        match self.matcher {
            // Most tokens are masked.
            Some(_) => candidates.extend(all.filter(|one| one.logit > f32::NEG_INFINITY)),
            None => candidates.extend(all),
        }
        // Some samplers fail on a single candidate.
        let token = if let [only] = candidates[..] { only.id } else { chain.select(candidates)? };
        chain.accept(token);
        Some(token)
    }
}

/// Scratch space for the candidates.
pub(super) type Candidates = Vec<sys::llama_token_data>;

/// A chain of llama.cpp's samplers; the last one selects the token.
struct Chain(NonNull<sys::llama_sampler>);

// SAFETY: a sampler belongs to no thread, and this one is used by its owner only.
unsafe impl Send for Chain {}

impl Chain {
    /// The enabled samplers; the last one selects a token.
    fn new(params: &SamplingParams, n_vocab: usize, model: Option<&Model>) -> Self {
        // SAFETY: a plain call.
        let raw = unsafe { sys::llama_sampler_chain_init(sys::llama_sampler_chain_default_params()) };
        let chain = Self(NonNull::new(raw).expect("llama.cpp allocates or throws"));
        // SAFETY: the chain lives, and owns the new sampler from here on.
        let push = |sampler| unsafe { sys::llama_sampler_chain_add(chain.0.as_ptr(), sampler) };
        let of = Of { n_vocab: n_vocab as i32, model };
        let (is_random, has_cuts) = (!params.is_greedy(), !params.is_greedy() && params.mirostat == 0);
        for one in SAMPLERS {
            let runs = match one.when {
                When::Always => true,
                When::Random => is_random,
                When::Cutting => has_cuts,
            };
            if runs && (one.is_on)(params) {
                push((one.make)(params, &of));
            }
        }
        if !(has_cuts && draws_adaptively(params)) {
            push(draw(params, &of));
        }
        chain
    }

    /// Selects a token among the candidates. Those that the samplers did not cut are left, reordered and modified.
    fn select(&mut self, candidates: &mut Candidates) -> Option<Token> {
        let mut array = sys::llama_token_data_array {
            data: candidates.as_mut_ptr(),
            size: candidates.len(),
            selected: -1,
            sorted: false,
        };
        // SAFETY: the array is that of the candidates, and samplers write inside of it only.
        unsafe { sys::llama_sampler_apply(self.0.as_ptr(), &mut array) };
        let selected = usize::try_from(array.selected).ok().filter(|&at| at < array.size)?;
        // SAFETY: an index into the array that the samplers left.
        let token = unsafe { (*array.data.add(selected)).id };
        // One that cuts at the front, XTC, moves the start.
        // SAFETY: what the samplers leave is a part of the candidates.
        let start = unsafe { array.data.cast_const().offset_from(candidates.as_ptr()) } as usize;
        candidates.truncate(start + array.size);
        candidates.drain(..start);
        Some(token)
    }

    fn copy(&self) -> Self {
        // SAFETY: the chain lives.
        let raw = unsafe { sys::llama_sampler_clone(self.0.as_ptr()) };
        Self(NonNull::new(raw).expect("llama.cpp allocates or throws"))
    }

    fn accept(&mut self, token: Token) {
        // SAFETY: the chain lives.
        unsafe { sys::llama_sampler_accept(self.0.as_ptr(), token) };
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // SAFETY: it is not used after this; its samplers are freed with it.
        unsafe { sys::llama_sampler_free(self.0.as_ptr()) };
    }
}

/// One of llama.cpp's samplers, and how to turn it on and off.
pub struct NamedSampler {
    /// Its names in llama-server's `samplers`, the usual one first.
    pub names: &'static [&'static str],
    /// Its letter in `samplers`.
    pub letter: char,
    /// Turns it off.
    pub turn_off: fn(&mut SamplingParams),
    is_on: fn(&SamplingParams) -> bool,
    when: When,
    make: fn(&SamplingParams, &Of) -> *mut sys::llama_sampler,
}

/// When a sampler that is on runs.
enum When {
    /// Always, also in greedy sampling. It has a history.
    Always,
    /// In random sampling.
    Random,
    /// In random sampling without mirostat, which truncates itself.
    Cutting,
}

/// The context in which a sampler is created.
struct Of<'a> {
    n_vocab: i32,
    model: Option<&'a Model>,
}

macro_rules! samplers {
    ($p:ident, $of:ident: $($names:expr, $letter:literal, $when:ident, if $is_on:expr, off { $off:expr } => $make:expr;)+) => {
        /// llama.cpp's samplers that may be on or off, in the order in which they run, which is llama-server's.
        #[allow(unused_variables, unused_unsafe, reason = "not every sampler looks at everything, and one is safe")]
        pub const SAMPLERS: &[NamedSampler] = &[$(NamedSampler {
            names: &$names,
            letter: $letter,
            turn_off: |$p| $off,
            is_on: |$p| $is_on,
            when: When::$when,
            // SAFETY: constructors of llama.cpp that take numbers, which were checked.
            make: |$p, $of| unsafe { $make },
        },)+];
    };
}

samplers! { p, of:
    ["penalties"], 'e', Always, if p.has_penalties(), off { p.penalty_last_n = 0 }
        => sys::llama_sampler_init_penalties(
            of.n_vocab, p.penalty_last_n as i32, p.repetition_penalty, p.frequency_penalty, p.presence_penalty);
    ["dry"], 'd', Always, if p.dry_multiplier > 0.0 && p.dry_penalty_last_n > 0, off { p.dry_multiplier = 0.0 }
        => dry(p, of);
    ["top_n_sigma"], 's', Cutting, if p.top_n_sigma > 0.0, off { p.top_n_sigma = 0.0 }
        => sys::llama_sampler_init_top_n_sigma(p.top_n_sigma);
    ["top_k", "top-k"], 'k', Cutting, if p.top_k > 0, off { p.top_k = 0 }
        => sys::llama_sampler_init_top_k(p.top_k as i32);
    ["typ_p", "typical_p"], 'y', Cutting, if p.typical_p < 1.0, off { p.typical_p = 1.0 }
        => sys::llama_sampler_init_typical(p.typical_p, 1);
    ["top_p", "top-p"], 'p', Cutting, if p.top_p < 1.0, off { p.top_p = 1.0 }
        => sys::llama_sampler_init_top_p(p.top_p, 1);
    ["min_p", "min-p"], 'm', Cutting, if p.min_p > 0.0, off { p.min_p = 0.0 }
        => sys::llama_sampler_init_min_p(p.min_p, 1);
    ["xtc"], 'x', Cutting, if p.xtc_probability > 0.0, off { p.xtc_probability = 0.0 }
        => sys::llama_sampler_init_xtc(p.xtc_probability, p.xtc_threshold, 1, p.seed);
    ["temperature", "temp"], 't', Random, if true, off { no_temperature(p) }
        => sys::llama_sampler_init_temp_ext(p.temperature, p.dynatemp_range, p.dynatemp_exponent);
    ["adaptive_p", "adaptive-p"], 'a', Cutting, if draws_adaptively(p), off { p.adaptive_target = -1.0 }
        => sys::llama_sampler_init_adaptive_p(p.adaptive_target, p.adaptive_decay, p.seed);
}

/// A greedy choice stays one.
fn no_temperature(params: &mut SamplingParams) {
    if !params.is_greedy() {
        (params.temperature, params.dynatemp_range) = (1.0, 0.0);
    }
}

fn draws_adaptively(params: &SamplingParams) -> bool {
    params.adaptive_target >= 0.0
}

/// The choice of a token among those that are left.
fn draw(params: &SamplingParams, of: &Of) -> *mut sys::llama_sampler {
    let &SamplingParams { seed, mirostat_tau: tau, mirostat_eta: eta, .. } = params;
    // SAFETY: constructors of llama.cpp that take numbers, which were checked.
    unsafe {
        match params.mirostat {
            _ if params.is_greedy() => sys::llama_sampler_init_greedy(),
            1 => sys::llama_sampler_init_mirostat(of.n_vocab, seed, tau, eta, MIROSTAT_TOKENS),
            2 => sys::llama_sampler_init_mirostat_v2(seed, tau, eta),
            _ => sys::llama_sampler_init_dist(seed),
        }
    }
}

/// The DRY sampler. Without a model it has no vocabulary, and so no sequence breakers.
fn dry(params: &SamplingParams, of: &Of) -> *mut sys::llama_sampler {
    let model = of.model;
    let breakers = model.map_or(&[][..], |_| &params.dry_sequence_breakers);
    // Texts with NUL were refused before.
    let breakers: Vec<CString> = breakers.iter().filter_map(|text| CString::new(text.as_str()).ok()).collect();
    let mut pointers: Vec<*const c_char> = breakers.iter().map(|text| text.as_ptr()).collect();
    // SAFETY: the texts live until it returns; the vocabulary is looked at for them only, and lives as long as the model.
    unsafe {
        sys::llama_sampler_init_dry(
            model.map_or(null(), Model::vocab),
            params.dry_multiplier,
            params.dry_base,
            params.dry_allowed_length as i32,
            params.dry_penalty_last_n as i32,
            if pointers.is_empty() { null_mut() } else { pointers.as_mut_ptr() },
            pointers.len(),
        )
    }
}

/// Samples tokens from logits as the engine does, for `benches/parts.rs`. It may modify the logits.
#[doc(hidden)]
pub fn sample_fn(params: &SamplingParams, vocab: &TokenTable) -> impl FnMut(&mut [f32]) -> Option<Token> + use<> {
    let mut sampler = Sampler::new(params, &[], None, false, vocab, None);
    let mut candidates = Candidates::new();
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
    fn what_is_told_of_a_draw_is_what_the_samplers_left() {
        let params = SamplingParams::default().temperature(1.0).top_k(0).top_p(1.0).min_p(0.0).logprobs(9);
        let params = params.post_sampling_probs(true).xtc_probability(1.0).xtc_threshold(0.1);
        let vocab = TokenTable::new((0..5).map(|_| b"x"), vec![]);
        let mut sampler = Sampler::new(&params, &[], None, false, &vocab, None);
        for _ in 0..50 {
            let sampled = sampler.sample(&mut [3.0, 2.5, 0.1, 2.8, 0.0], &mut Candidates::new());
            let Sampled::Token { token, logprobs: Some(found), .. } = sampled else { panic!("{sampled:?}") };
            let left: Vec<Token> = found.top.iter().map(|one| one.token).collect();
            assert_eq!(left, [1, 2, 4], "XTC drops all likely ones but the last");
            let sum: f32 = found.top.iter().map(|one| one.logprob.exp()).sum();
            assert!((sum - 1.0).abs() < 1e-4 && left.contains(&token) && found.logprob.is_finite(), "{found:?}");
        }
    }

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

    fn sample(params: &SamplingParams, logits: &[f32]) -> Option<Token> {
        let vocab = TokenTable::new((0..logits.len()).map(|_| b"x"), vec![0]);
        let mut candidates = Candidates::new();
        match Sampler::new(params, &[1, 1], None, false, &vocab, None).sample(&mut logits.to_vec(), &mut candidates) {
            Sampled::Token { token, .. } => Some(token),
            _ => None,
        }
    }

    fn warm_all(greedy: &SamplingParams) -> SamplingParams {
        greedy.clone().top_k(0).top_p(1.0).min_p(0.0)
    }

    #[test]
    fn each_parameter_has_its_effect() {
        let greedy = SamplingParams::default();
        let logits = [9.0, 5.0, 4.0, 3.0];
        assert_eq!(sample(&greedy, &logits), Some(0));
        assert_eq!(sample(&greedy.clone().ignore_eos(true), &logits), Some(1));
        let biased = greedy.clone().logit_bias(vec![(0, f32::NEG_INFINITY), (3, 10.0)]);
        assert_eq!(sample(&biased, &logits), Some(3));
        let penalised = greedy.clone().ignore_eos(true).presence_penalty(2.0);
        assert_eq!(sample(&penalised, &logits), Some(2), "token 1 was in the prompt");
        let warm = greedy.clone().temperature(50.0).top_k(0).top_p(1.0).min_p(0.0);
        let seen: std::collections::BTreeSet<_> =
            (0..64).filter_map(|seed| sample(&warm.clone().seed(seed), &logits)).collect();
        assert_eq!(seen.len(), 4, "a high temperature reaches every token");
        let top_two = warm.clone().top_k(2);
        let seen: std::collections::BTreeSet<_> =
            (0..64).filter_map(|seed| sample(&top_two.clone().seed(seed), &logits)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1]);
        for cut in [warm.clone().top_p(0.5).temperature(1.0), warm.min_p(0.9)] {
            assert!((0..32).all(|seed| sample(&cut.clone().seed(seed), &logits) == Some(0)));
        }
        // The history is 1, 1: a third 1 would continue the repetition.
        let dry = greedy.clone().ignore_eos(true).dry_multiplier(5.0).dry_allowed_length(1);
        assert_eq!(sample(&dry, &logits), Some(2));
        assert_eq!(sample(&dry.clone().dry_penalty_last_n(0), &logits), Some(1));
        assert_eq!(sample(&dry.dry_allowed_length(2), &logits), Some(1));
        // Of tokens with 88, 9 and 3 %, the target takes the one in the middle.
        let adaptive = warm_all(&greedy).temperature(1.0).adaptive_target(0.1);
        let seen = (0..32).filter(|&seed| sample(&adaptive.clone().seed(seed), &[4.0, 1.7, 0.6]) == Some(1));
        let plain = adaptive.clone().adaptive_target(-1.0);
        let rarely = (0..32).filter(|&seed| sample(&plain.clone().seed(seed), &[4.0, 1.7, 0.6]) == Some(1));
        assert!(seen.count() > 2 * rarely.count());
        let mut vocab_end = greedy.clone().min_tokens(1);
        assert_eq!(sample(&vocab_end, &logits), Some(1), "token 0 ends, which may not come yet");
        vocab_end.stop_token_ids = vec![1];
        assert_eq!(sample(&vocab_end, &logits), Some(2));
        let nothing = greedy.logit_bias((0..4).map(|t| (t, f32::NEG_INFINITY)).collect::<Vec<_>>());
        assert_eq!(sample(&nothing, &logits), None);
    }
}
