//! A text on its way to its vector.

use llama_concurrent_scheduler::Permit;
use llama_concurrent_types::{Embedding, Error, ErrorKind, Pooling, Result, Token};

type Done = Box<dyn FnOnce(Result<Embedding>) + Send>;

/// A text on its way to its vector. One that is dropped before tells its caller so.
pub(crate) struct EmbedJob {
    tokens: Vec<Token>,
    pooling: Pooling,
    normalize: bool,
    computed: usize,
    sums: Vec<f64>,
    permit: Option<Permit>,
    done: Option<Done>,
}

impl EmbedJob {
    /// A text of at least one token.
    pub(crate) fn new(tokens: Vec<Token>, pooling: Pooling, normalize: bool, permit: Permit, done: Done) -> Self {
        let (permit, done) = (Some(permit), Some(done));
        Self { tokens, pooling, normalize, computed: 0, sums: Vec::new(), permit, done }
    }

    /// Tokens that are computed already.
    pub(crate) fn computed(&self) -> usize {
        self.computed
    }

    /// The tokens to compute next, `n` at most; none at the end. From the first ones on it does not wait any more.
    pub(crate) fn next_tokens(&mut self, n: usize) -> Vec<Token> {
        if let Some(permit) = self.permit.as_mut().filter(|_| self.computed == 0) {
            permit.leave_queue();
        }
        self.tokens[self.computed..].iter().take(n).copied().collect()
    }

    /// Takes the vectors of the next tokens; whether those were the last.
    pub(crate) fn take(&mut self, vectors: &[Vec<f32>]) -> bool {
        for vector in vectors {
            let position = self.computed;
            self.computed += 1;
            if self.pooling.takes(position, self.tokens.len()) {
                self.sums.resize(vector.len(), 0.0);
                self.sums.iter_mut().zip(vector).for_each(|(sum, &value)| *sum += f64::from(value));
            }
        }
        self.computed >= self.tokens.len()
    }

    /// Hands the result to the caller.
    pub(crate) fn finish(mut self) {
        let result = self.pooled();
        self.answer(result);
    }

    /// Tells the caller why there is none.
    pub(crate) fn fail(mut self, error: Error) {
        self.answer(Err(error));
    }

    /// Gives it up without a word: its caller learns of it otherwise.
    pub(crate) fn disarm(mut self) {
        self.done = None;
    }

    fn pooled(&mut self) -> Result<Embedding> {
        let mut sums = std::mem::take(&mut self.sums);
        let length = sums.iter().map(|x| x * x).sum::<f64>().sqrt();
        if !length.is_finite() {
            return Err(Error::new(ErrorKind::Decode, "the model's output is not a number"));
        }
        // Pooling sums up; the mean differs from that by a factor.
        let scale =
            if self.normalize && length > 0.0 { 1.0 / length } else { 1.0 / self.pooling.divisor(self.tokens.len()) };
        sums.iter_mut().for_each(|x| *x *= scale);
        let values = sums.into_iter().map(|x| x as f32).collect();
        Ok(Embedding { values, n_prompt_tokens: self.tokens.len() })
    }

    /// Whoever hears of the end finds its place free.
    fn answer(&mut self, result: Result<Embedding>) {
        self.permit = None;
        if let Some(done) = self.done.take() {
            // A panic of the caller's function is the caller's own.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| done(result)));
        }
    }
}

impl Drop for EmbedJob {
    fn drop(&mut self) {
        self.answer(Err(Error::new(ErrorKind::ShuttingDown, "the engine ended before the text was embedded")));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use llama_concurrent_scheduler::Admission;

    use super::*;

    /// Three tokens with the vectors (1, 2), (3, 2), (2, -1).
    fn embed(pooling: Pooling, normalize: bool) -> Vec<f32> {
        let (sender, result) = mpsc::channel();
        let done = Box::new(move |result| sender.send(result).unwrap());
        let permit = Arc::new(Admission::new(1, 1, 10)).reserve(3).unwrap();
        let mut job = EmbedJob::new(vec![7, 8, 9], pooling, normalize, permit, done);
        assert_eq!(job.next_tokens(2), [7, 8]);
        assert!(!job.take(&[vec![1.0, 2.0], vec![3.0, 2.0]]));
        assert_eq!(job.next_tokens(2), [9]);
        assert!(job.take(&[vec![2.0, -1.0]]));
        job.finish();
        let embedding: Embedding = result.recv().unwrap().unwrap();
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

    #[test]
    fn one_that_is_lost_tells_its_caller() {
        let (sender, result) = mpsc::channel();
        let admission = Arc::new(Admission::new(1, 1, 10));
        let permit = admission.reserve(1).unwrap();
        drop(EmbedJob::new(vec![1], Pooling::Mean, true, permit, Box::new(move |r| sender.send(r).unwrap())));
        assert!(admission.wait_until_empty(std::time::Duration::ZERO));
        assert_eq!(*result.recv().unwrap().unwrap_err().kind(), ErrorKind::ShuttingDown);
    }
}
