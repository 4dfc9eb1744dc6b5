//! Texts to embed: they wait in a line of their own, since they need no slot. One call in each turn is theirs. Where a model
//! attends to whole texts, it takes as many of them as it has room for; otherwise it takes the next part of the first.

use std::{collections::BTreeMap, time::Duration};

use llama_concurrent_types::{
    Embedding, Error, ErrorKind, Event, Finish, FinishReason, Pooling, Priority, RequestId, Result, Timings, Token,
};

use super::{Effect, Scheduler, queue::QueueKey};
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
    /// Who goes first.
    pub priority: Priority,
    /// When it came.
    pub submitted: Duration,
    /// Give up if it has not begun by then.
    pub queue_deadline: Option<Duration>,
    /// Give up if it has not ended by then.
    pub deadline: Option<Duration>,
}

/// The line of texts, in the order in which they go.
#[derive(Debug, Default)]
pub(super) struct Embeddings {
    /// A text that is computed in part: it goes on whoever else has come.
    begun: Option<Text>,
    waiting: BTreeMap<QueueKey, Text>,
    /// The tokens of each part that the backend is working on.
    in_flight: Vec<usize>,
}

#[derive(Debug)]
struct Text {
    new: NewEmbedding,
    /// Leading tokens that are computed.
    computed: usize,
    timings: Timings,
    /// Of the vectors that pooling takes.
    sums: Vec<f64>,
    /// The vectors of all tokens, where those are wanted.
    all: Vec<f32>,
}

impl Embeddings {
    pub(super) fn is_empty(&self) -> bool {
        self.begun.is_none() && self.waiting.is_empty()
    }

    pub(super) fn is_batch_only(&self) -> bool {
        self.texts().all(|text| text.new.priority == Priority::Batch)
    }

    /// In the order in which they go.
    fn texts(&self) -> impl Iterator<Item = &Text> {
        self.begun.iter().chain(self.waiting.values())
    }

    /// Texts that have begun and texts that wait.
    pub(super) fn running_and_waiting(&self) -> (usize, usize) {
        (usize::from(self.begun.is_some()), self.waiting.len())
    }

    /// The next call, of `n` tokens at most if texts can be cut, and otherwise if it has more than one.
    pub(super) fn next_call(&mut self, n: usize, limits: EmbedLimits) -> Option<EmbedCall> {
        let mut texts = self.texts();
        let first = texts.next()?;
        let ranks = first.new.pooling == Pooling::Rank;
        let left = &first.new.tokens[first.computed..];
        let n_first = if limits.whole { left.len() } else { n.min(left.len()) };
        let mut parts = vec![EmbedPart { computed: first.computed, tokens: left[..n_first].to_vec() }];
        let (mut n_rows, most) = (n_first, n.min(limits.rows));
        for Text { new, .. } in texts.take(limits.texts.saturating_sub(1)) {
            n_rows += new.tokens.len();
            if !limits.whole || n_rows > most || (new.pooling == Pooling::Rank) != ranks {
                break;
            }
            parts.push(EmbedPart { computed: 0, tokens: new.tokens.clone() });
        }
        self.in_flight = parts.iter().map(|part| part.tokens.len()).collect();
        Some(EmbedCall { parts, ranks })
    }

    /// Takes out the text that goes first.
    fn pop(&mut self) -> Option<Text> {
        self.begun.take().or_else(|| self.waiting.pop_first().map(|(_, text)| text))
    }

    /// Takes out the texts for which this holds.
    fn remove(&mut self, which: impl Fn(&Text) -> bool) -> Vec<Text> {
        let keys: Vec<QueueKey> = self.waiting.iter().filter(|(_, text)| which(text)).map(|(key, _)| *key).collect();
        let begun = self.begun.take_if(|text| which(text));
        begun.into_iter().chain(keys.into_iter().filter_map(|key| self.waiting.remove(&key))).collect()
    }

    /// The next moment at which a deadline may strike.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.texts().filter_map(Text::next_deadline).min()
    }

    pub(super) fn check_invariants(&self, n_ctx: usize, limits: EmbedLimits) {
        assert!(self.begun.is_none() || !limits.whole, "whole texts are not cut");
        for Text { new, computed, .. } in self.texts() {
            assert!((1..=n_ctx).contains(&new.tokens.len()), "a text within the context");
            assert!(*computed < new.tokens.len(), "a text that is computed is no longer here");
        }
        assert!(self.waiting.values().all(|text| text.computed == 0), "one text at a time is cut");
    }
}

impl Scheduler {
    /// Puts a text in line. It was checked before: at least one token, at most `n_ctx`.
    pub fn embed(&mut self, new: NewEmbedding) {
        debug_assert!(!new.tokens.is_empty() && new.tokens.len() <= self.config.shape.n_ctx);
        self.arrivals += 1;
        self.totals.requests.submitted += 1;
        let key = QueueKey::new(new.priority, new.submitted, self.arrivals, self.config.batch_aging);
        let text = Text::new(new);
        self.next_deadline = self.next_deadline.into_iter().chain(text.next_deadline()).min();
        self.embeddings.waiting.insert(key, text);
    }

    pub(super) fn cancel_embedding(&mut self, id: RequestId, now: Duration) {
        for text in self.embeddings.remove(|text| text.new.id == id) {
            self.end_embedding(text, FinishReason::Cancelled, None, now);
        }
    }

    pub(super) fn cancel_all_embeddings(&mut self, now: Duration) {
        for text in self.embeddings.remove(|_| true) {
            self.end_embedding(text, FinishReason::Cancelled, None, now);
        }
    }

    pub(super) fn expire_embeddings(&mut self, now: Duration) {
        for text in self.embeddings.remove(|text| text.next_deadline().is_some_and(|deadline| now >= deadline)) {
            self.end_embedding(text, FinishReason::Deadline, None, now);
        }
    }

    /// Takes what came of the texts that were computed last.
    pub(super) fn apply_vectors(
        &mut self,
        vectors: Result<Vec<Vec<f32>>, CallError>,
        elapsed: Duration,
        now: Duration,
    ) {
        let parts = std::mem::take(&mut self.embeddings.in_flight);
        let n_rows = parts.iter().sum();
        let vectors = match vectors {
            Ok(vectors) => vectors,
            Err(error) => {
                for _ in parts {
                    let Some(text) = self.embeddings.pop() else { return };
                    let message = format!("the text was not embedded: {}", error.message);
                    let error = Error::new(ErrorKind::Decode, message);
                    self.end_embedding(text, FinishReason::Error, Some(error), now);
                }
                return;
            }
        };
        self.totals.prefill.add(n_rows, elapsed);
        self.embed_cost.observe(n_rows, elapsed);
        let mut vectors = vectors.into_iter();
        for n_tokens in parts {
            let Some(mut text) = self.embeddings.pop() else { return };
            if text.computed == 0 {
                text.timings.queue = now.saturating_sub(text.new.submitted).saturating_sub(elapsed);
                self.effects.push(Effect::LeftQueue { id: text.new.id });
            }
            if text.new.pooling == Pooling::Rank {
                text.computed += n_tokens;
                text.all = vectors.next().unwrap_or_default();
            } else {
                vectors.by_ref().take(n_tokens).for_each(|vector| text.take(&vector));
            }
            if text.computed < text.new.tokens.len() {
                self.embeddings.begun = Some(text);
                return;
            }
            match text.pooled() {
                Ok(embedding) => {
                    let event = Event::Embedding(Box::new(embedding));
                    self.effects.push(Effect::Event { id: text.new.id, event });
                    self.end_embedding(text, FinishReason::Stop, None, now);
                }
                Err(error) => self.end_embedding(text, FinishReason::Error, Some(error), now),
            }
        }
    }

    /// The one place where a text ends.
    fn end_embedding(&mut self, text: Text, reason: FinishReason, error: Option<Error>, now: Duration) {
        let Text { new: NewEmbedding { id, submitted, .. }, computed, mut timings, .. } = text;
        timings.e2e = now.saturating_sub(submitted);
        if computed == 0 {
            timings.queue = timings.e2e;
            self.effects.push(Effect::LeftQueue { id });
        }
        self.totals.requests.count(reason);
        let mut finish = Finish::new(reason, timings);
        finish.error = error;
        self.effects.push(Effect::Event { id, event: Event::Finished(Box::new(finish)) });
    }
}

impl Text {
    fn new(new: NewEmbedding) -> Self {
        let mut timings = Timings::default();
        timings.n_prompt_tokens = new.tokens.len();
        Self { new, computed: 0, timings, sums: Vec::new(), all: Vec::new() }
    }

    fn next_deadline(&self) -> Option<Duration> {
        let queue = self.new.queue_deadline.filter(|_| self.computed == 0);
        queue.into_iter().chain(self.new.deadline).min()
    }

    /// Takes the vector of the next token.
    fn take(&mut self, vector: &[f32]) {
        let Self { new: NewEmbedding { pooling, tokens, .. }, computed, sums, all, .. } = self;
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
        let new = NewEmbedding {
            id: 1,
            tokens: vec![7, 8, 9],
            pooling,
            normalize,
            priority: Priority::Interactive,
            submitted: Duration::ZERO,
            queue_deadline: None,
            deadline: None,
        };
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
