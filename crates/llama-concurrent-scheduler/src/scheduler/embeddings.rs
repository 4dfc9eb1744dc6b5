//! Texts to embed: they wait in a line of their own, since they need no slot. The one in front is computed part by part,
//! one call in each turn.

use std::{collections::VecDeque, time::Duration};

use llama_concurrent_types::{Embedding, Error, ErrorKind, FinishReason, Pooling, RequestId, Result, Token};

use super::{Effect, Scheduler};
use crate::backend::{CallError, EmbedCall};

/// A text to embed, in the scheduler's terms.
#[derive(Clone, Debug)]
pub struct NewEmbedding {
    /// The request.
    pub id: RequestId,
    /// The text, at least one token and at most `n_ctx`.
    pub tokens: Vec<Token>,
    /// How the vectors of the tokens become one.
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

    /// The next `n` tokens of the text that is first in line.
    pub(super) fn next_call(&self, n: usize) -> Option<EmbedCall> {
        let text = self.0.front()?;
        let left = &text.new.tokens[text.computed..];
        Some(EmbedCall { computed: text.computed, tokens: left[..n.min(left.len())].to_vec() })
    }

    fn remove(&mut self, id: RequestId) -> Option<Text> {
        let index = self.0.iter().position(|text| text.new.id == id)?;
        self.0.remove(index)
    }

    pub(super) fn check_invariants(&self, n_ctx: usize) {
        for (index, Text { new, computed, .. }) in self.0.iter().enumerate() {
            assert!((1..=n_ctx).contains(&new.tokens.len()), "a text within the context");
            assert!(*computed < new.tokens.len(), "a text that is computed is no longer here");
            assert!(index == 0 || *computed == 0, "one text at a time");
        }
    }
}

impl Scheduler {
    /// Puts a text in line. It was checked before: at least one token, at most `n_ctx`.
    pub fn embed(&mut self, new: NewEmbedding) {
        debug_assert!(!new.tokens.is_empty() && new.tokens.len() <= self.config.shape.n_ctx);
        self.totals.requests.submitted += 1;
        self.embeddings.0.push_back(Text { new, computed: 0, sums: Vec::new() });
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

    /// Takes the vectors of the tokens that were computed last.
    pub(super) fn apply_vectors(&mut self, vectors: Result<Vec<Vec<f32>>, CallError>, elapsed: Duration) {
        let Some(mut text) = self.embeddings.0.pop_front() else { return };
        match vectors {
            Ok(vectors) => {
                self.totals.prefill.add(vectors.len(), elapsed);
                self.embed_cost.observe(vectors.len(), elapsed);
                if text.computed == 0 {
                    self.effects.push(Effect::LeftQueue { id: text.new.id });
                }
                text.take(&vectors);
                if text.computed < text.new.tokens.len() {
                    return self.embeddings.0.push_front(text);
                }
                match text.pooled() {
                    Ok(embedding) => self.end_embedding(text, FinishReason::Stop, Ok(embedding)),
                    Err(error) => self.end_embedding(text, FinishReason::Error, Err(error)),
                }
            }
            Err(error) => {
                let error = Error::new(ErrorKind::Decode, format!("the text was not embedded: {}", error.message));
                self.end_embedding(text, FinishReason::Error, Err(error));
            }
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
    fn take(&mut self, vectors: &[Vec<f32>]) {
        for vector in vectors {
            if self.new.pooling.takes(self.computed, self.new.tokens.len()) {
                self.sums.resize(vector.len(), 0.0);
                self.sums.iter_mut().zip(vector).for_each(|(sum, &value)| *sum += f64::from(value));
            }
            self.computed += 1;
        }
    }

    fn pooled(&mut self) -> Result<Embedding> {
        let mut sums = std::mem::take(&mut self.sums);
        let n_tokens = self.new.tokens.len();
        let length = sums.iter().map(|x| x * x).sum::<f64>().sqrt();
        if !length.is_finite() {
            return Err(Error::new(ErrorKind::Decode, "the model's output is not a number"));
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
        let mut text = Text { new, computed: 0, sums: Vec::new() };
        text.take(&[vec![1.0, 2.0], vec![3.0, 2.0]]);
        text.take(&[vec![2.0, -1.0]]);
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
    }
}
