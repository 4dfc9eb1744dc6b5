//! How likely the model found its tokens.

use crate::ids::Token;

/// A token and its log probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub token: Token,
    /// Natural logarithm of its probability; minus infinity for an impossible token.
    pub logprob: f32,
}

/// A token of a prompt, and how likely the model found it where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptToken {
    /// The token.
    pub token: Token,
    /// With as many alternatives as [`SamplingParams::logprobs`](crate::SamplingParams::logprobs) asks for; `None` for the
    /// first token of a prompt, which stands behind nothing.
    pub logprobs: Option<TokenLogprobs>,
}

/// How likely the model found an output token, and which tokens it found likeliest in its place.
///
/// The probabilities are the model's own: the softmax of its logits before bias, penalties, temperature, constraint and
/// every other part of the sampling, as those of llama-server are; with
/// [`post_sampling_probs`](crate::SamplingParams::post_sampling_probs) those behind all that.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenLogprobs {
    /// Log probability of the token that was chosen.
    pub logprob: f32,
    /// The likeliest tokens, the likeliest first, equal ones by their ids; the chosen one may be among them.
    pub top: Vec<TokenLogprob>,
}

impl TokenLogprobs {
    /// Of a choice from these logits, with the `n_top` likeliest tokens.
    pub fn of(logits: &[f32], chosen: Token, n_top: usize) -> Self {
        let log_sum = log_sum_exp(logits);
        let logprob =
            |token: usize| logits.get(token).map_or(f32::NEG_INFINITY, |&logit| (f64::from(logit) - log_sum) as f32);
        let top = likeliest(logits, n_top)
            .into_iter()
            .map(|id| TokenLogprob { token: id as Token, logprob: logprob(id) })
            .collect();
        Self { logprob: logprob(chosen as usize), top }
    }
}

impl TokenLogprobs {
    /// Of a choice among tokens with these logits, all others being impossible.
    pub fn among(candidates: &[(Token, f32)], chosen: Token, n_top: usize) -> Self {
        let (ids, logits): (Vec<Token>, Vec<f32>) = candidates.iter().copied().unzip();
        let at = ids.iter().position(|&id| id == chosen).unwrap_or(usize::MAX);
        let mut found = Self::of(&logits, Token::try_from(at).unwrap_or(Token::MAX), n_top);
        for one in &mut found.top {
            one.token = ids[one.token as usize];
        }
        found
    }
}

/// In double precision, as 150,000 small terms add up.
fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from((logit - max).exp())).sum();
    f64::from(max) + sum.ln()
}

/// Indices of the `n` largest values, in order.
fn likeliest(logits: &[f32], n: usize) -> Vec<usize> {
    let n = n.min(logits.len());
    if n == 0 {
        return Vec::new();
    }
    let order = |&a: &usize, &b: &usize| logits[b].total_cmp(&logits[a]).then(a.cmp(&b));
    let mut ids: Vec<usize> = (0..logits.len()).collect();
    if n < ids.len() {
        ids.select_nth_unstable_by(n - 1, order);
        ids.truncate(n);
    }
    ids.sort_unstable_by(order);
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_logarithms_of_the_softmax() {
        let logits = [1.0f32, 3.0, -2.0, 3.0, f32::NEG_INFINITY];
        let total: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        let expected = |id: usize| (f64::from(logits[id]).exp() / total).ln();
        let got = TokenLogprobs::of(&logits, 2, 3);
        assert!((f64::from(got.logprob) - expected(2)).abs() < 1e-6);
        let tokens: Vec<Token> = got.top.iter().map(|one| one.token).collect();
        assert_eq!(tokens, [1, 3, 0], "the likeliest first, equal ones by id");
        for one in got.top {
            assert!((f64::from(one.logprob) - expected(one.token as usize)).abs() < 1e-6);
        }
        assert_eq!(TokenLogprobs::of(&logits, 4, 0), TokenLogprobs { logprob: f32::NEG_INFINITY, top: vec![] });
        assert_eq!(TokenLogprobs::of(&logits, 0, 100).top.len(), logits.len());
    }

    #[test]
    fn those_of_a_choice_are_of_what_was_left() {
        let got = TokenLogprobs::among(&[(70, 1.0), (5, 3.0), (9, 3.0)], 70, 2);
        let total = 2.0 * 3f64.exp() + 1f64.exp();
        assert!((f64::from(got.logprob) - (1.0 - total.ln())).abs() < 1e-6);
        assert_eq!(got.top.iter().map(|one| one.token).collect::<Vec<_>>(), [5, 9]);
        assert_eq!(TokenLogprobs::among(&[(3, 0.5)], 3, 5).logprob, 0.0);
        assert_eq!(TokenLogprobs::among(&[(3, 0.5)], 4, 0).logprob, f32::NEG_INFINITY);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let got = TokenLogprobs::of(&[1000.0, 1000.0, -1000.0], 1, 1);
        assert!((got.logprob - 0.5f32.ln()).abs() < 1e-6);
        assert_eq!(got.top[0].token, 0);
    }
}
