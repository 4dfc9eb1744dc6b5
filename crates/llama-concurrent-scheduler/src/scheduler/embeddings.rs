//! Texts to embed: they wait in a line of their own, since they need no slot. One call in each turn is theirs. Where a model
//! attends to whole texts, it takes as many of them as it has room for; otherwise it takes the next part of the first.

use std::{collections::VecDeque, time::Duration};

use llama_concurrent_types::{Embedding, Error, ErrorKind, FinishReason, Pooling, RequestId, Result, Token};

use super::{Effect, Scheduler};
use crate::backend::{CallError, EmbedCall, EmbedLimits, EmbedPart};

/// A text to embed, in the scheduler's terms.
#[derive(Clone, Debug)]
pub struct NewEmbedding {
    /// The request.
    pub id: RequestId,
    /// The text, at least one token and at most `n_ctx`.
    pub tokens: Vec<Token>,
    /// How the vectors of the tokens become one, or what is wanted instead.
    pub pooling: Pooling,
    /// Scale the result to length 1.
    pub normalize: bool,
}

/// The line of texts.
#[derive(Debug, Default)]
pub(super) struct Embeddings(VecDeque<Text>);

#[derive(Debug)]
struct Text {
    new: NewEmbedding,
    /// Leading tokens that are computed; more than none only for the first in line.
    computed: usize,
    /// Of the vectors that pooling takes.
    sums: Vec<f64>,
    /// The vectors of all tokens, where those are wanted.
    all: Vec<f32>,
}

impl Embeddings {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Texts that have begun and texts that wait.
    pub(super) fn running_and_waiting(&self) -> (usize, usize) {
        let running = self.0.iter().filter(|text| text.computed > 0).count();
        (running, self.0.len() - running)
    }

    /// The next call, of `n` tokens at most if texts can be cut, and otherwise if it has more than one.
    pub(super) fn next_call(&self, n: usize, limits: EmbedLimits) -> Option<EmbedCall> {
        let first = self.0.front()?;
        let ranks = first.new.pooling == Pooling::Rank;
        let left = &first.new.tokens[first.computed..];
        let n_first = if limits.whole { left.len() } else { n.min(left.len()) };
        let mut call =
            EmbedCall { parts: vec![EmbedPart { computed: first.computed, tokens: left[..n_first].to_vec() }], ranks };
        let (mut n_rows, most) = (n_first, n.min(limits.rows));
        for Text { new, .. } in self.0.iter().skip(1).take(limits.texts.saturating_sub(1)) {
            n_rows += new.tokens.len();
            if !limits.whole || n_rows > most || (new.pooling == Pooling::Rank) != ranks {
                break;
            }
            call.parts.push(EmbedPart { computed: 0, tokens: new.tokens.clone() });
        }
        Some(call)
    }

    fn remove(&mut self, id: RequestId) -> Option<Text> {
        let index = self.0.iter().position(|text| text.new.id == id)?;
        self.0.remove(index)
    }

    pub(super) fn check_invariants(&self, n_ctx: usize, limits: EmbedLimits) {
        for (index, Text { new, computed, .. }) in self.0.iter().enumerate() {
            assert!((1..=n_ctx).contains(&new.tokens.len()), "a text within the context");
            assert!(*computed < new.tokens.len(), "a text that is computed is no longer here");
            assert!(*computed == 0 || (index == 0 && !limits.whole), "one text at a time is cut");
        }
    }
}

impl Scheduler {
    /// Puts a text in line. It was checked before: at least one token, at most `n_ctx`.
    pub fn embed(&mut self, new: NewEmbedding) {
        debug_assert!(!new.tokens.is_empty() && new.tokens.len() <= self.config.shape.n_ctx);
        self.totals.requests.submitted += 1;
        self.embeddings.0.push_back(Text::new(new));
    }

    pub(super) fn cancel_embedding(&mut self, id: RequestId) {
        if let Some(text) = self.embeddings.remove(id) {
            let error = Error::new(ErrorKind::ShuttingDown, "the engine was shut down before the text was embedded");
            self.end_embedding(text, FinishReason::Cancelled, Err(error));
        }
    }

    pub(super) fn cancel_all_embeddings(&mut self) {
        let ids: Vec<RequestId> = self.embeddings.0.iter().map(|text| text.new.id).collect();
        ids.into_iter().for_each(|id| self.cancel_embedding(id));
    }

    /// Takes what came of the texts that were computed last: of each part its number of tokens.
    pub(super) fn apply_vectors(
        &mut self,
        parts: Vec<usize>,
        vectors: Result<Vec<Vec<f32>>, CallError>,
        elapsed: Duration,
    ) {
        let n_rows = parts.iter().sum();
        if vectors.is_ok() {
            self.totals.prefill.add(n_rows, elapsed);
            self.embed_cost.observe(n_rows, elapsed);
        }
        let mut vectors = vectors.map(Vec::into_iter);
        let mut unfinished = None;
        for n_tokens in parts {
            let Some(mut text) = self.embeddings.0.pop_front() else { return };
            let vectors = match &mut vectors {
                Ok(vectors) => vectors,
                Err(error) => {
                    let message = format!("the text was not embedded: {}", error.message);
                    self.end_embedding(text, FinishReason::Error, Err(Error::new(ErrorKind::Decode, message)));
                    continue;
                }
            };
            if text.computed == 0 {
                self.effects.push(Effect::LeftQueue { id: text.new.id });
            }
            if text.new.pooling == Pooling::Rank {
                text.computed += n_tokens;
                text.all = vectors.next().unwrap_or_default();
            } else {
                vectors.by_ref().take(n_tokens).for_each(|vector| text.take(&vector));
            }
            if text.computed < text.new.tokens.len() {
                unfinished = Some(text);
                continue;
            }
            match text.pooled() {
                Ok(embedding) => self.end_embedding(text, FinishReason::Stop, Ok(embedding)),
                Err(error) => self.end_embedding(text, FinishReason::Error, Err(error)),
            }
        }
        if let Some(text) = unfinished {
            self.embeddings.0.push_front(text);
        }
    }

    /// The one place where a text ends.
    fn end_embedding(&mut self, text: Text, reason: FinishReason, result: Result<Embedding>) {
        let id = text.new.id;
        if text.computed == 0 {
            self.effects.push(Effect::LeftQueue { id });
        }
        self.totals.requests.count(reason);
        self.effects.push(Effect::Embedded { id, result });
    }
}

impl Text {
    fn new(new: NewEmbedding) -> Self {
        Self { new, computed: 0, sums: Vec::new(), all: Vec::new() }
    }

    /// Takes the vector of the next token.
    fn take(&mut self, vector: &[f32]) {
        let Self { new: NewEmbedding { pooling, tokens, .. }, computed, sums, all } = self;
        if *pooling == Pooling::None {
            all.extend(vector);
        } else if pooling.takes(*computed, tokens.len()) {
            sums.resize(vector.len(), 0.0);
            sums.iter_mut().zip(vector).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        *computed += 1;
    }

    fn pooled(&mut self) -> Result<Embedding> {
        let n_tokens = self.new.tokens.len();
        let not_a_number = || Err(Error::new(ErrorKind::Decode, "the model's output is not a number"));
        if matches!(self.new.pooling, Pooling::None | Pooling::Rank) {
            let all = std::mem::take(&mut self.all);
            return match self.new.pooling {
                _ if all.is_empty() || !all.iter().all(|value| value.is_finite()) => not_a_number(),
                Pooling::None => Ok(Embedding::of_tokens(all, n_tokens)),
                _ => Ok(Embedding::new(all, n_tokens)),
            };
        }
        let mut sums = std::mem::take(&mut self.sums);
        let length = sums.iter().map(|x| x * x).sum::<f64>().sqrt();
        if !length.is_finite() {
            return not_a_number();
        }
        // Pooling sums up; the mean differs from that by a factor.
        let scale =
            if self.new.normalize && length > 0.0 { 1.0 / length } else { 1.0 / self.new.pooling.divisor(n_tokens) };
        sums.iter_mut().for_each(|x| *x *= scale);
        let values = sums.into_iter().map(|x| x as f32).collect();
        Ok(Embedding::new(values, n_tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three tokens with the vectors (1, 2), (3, 2), (2, -1).
    fn embed(pooling: Pooling, normalize: bool) -> Vec<f32> {
        let new = NewEmbedding { id: 1, tokens: vec![7, 8, 9], pooling, normalize };
        let mut text = Text::new(new);
        [[1.0, 2.0], [3.0, 2.0], [2.0, -1.0]].iter().for_each(|vector| text.take(vector));
        let embedding = text.pooled().unwrap();
        assert_eq!(embedding.n_prompt_tokens, 3);
        embedding.values
    }

    #[test]
    fn tokens_are_pooled_and_scaled() {
        assert_eq!(embed(Pooling::Mean, false), [2.0, 1.0]);
        assert_eq!(embed(Pooling::Cls, false), [1.0, 2.0]);
        assert_eq!(embed(Pooling::Last, false), [2.0, -1.0]);
        let root = 5f32.sqrt();
        assert_eq!(embed(Pooling::Mean, true), [2.0 / root, 1.0 / root]);
        assert_eq!(embed(Pooling::Last, true), [2.0 / root, -1.0 / root]);
        assert_eq!(embed(Pooling::None, true), [1.0, 2.0, 3.0, 2.0, 2.0, -1.0]);
    }
}
