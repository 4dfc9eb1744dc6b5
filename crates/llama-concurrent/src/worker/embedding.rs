//! The way of a vector from a worker to its caller.

use std::panic::{AssertUnwindSafe, catch_unwind};

use llama_concurrent_scheduler::Permit;
use llama_concurrent_types::{Embedding, Error, ErrorKind, Result};

type Done = Box<dyn FnOnce(Result<Embedding>) + Send>;

/// The caller of a text to embed, and what the text counts for. One that is dropped before the end tells its caller so.
pub(crate) struct EmbedCaller {
    permit: Option<Permit>,
    done: Option<Done>,
}

impl EmbedCaller {
    pub(crate) fn new(permit: Permit, done: Done) -> Self {
        Self { permit: Some(permit), done: Some(done) }
    }

    /// The text no longer waits.
    pub(super) fn leave_queue(&mut self) {
        self.permit.iter_mut().for_each(Permit::leave_queue);
    }

    /// Gives the permit back, then hands over the result: whoever hears of the end finds its place free.
    pub(super) fn finish(mut self, result: Result<Embedding>) {
        self.answer(result);
    }

    /// Gives the request up without a word: its caller learns of it otherwise.
    pub(crate) fn disarm(mut self) {
        self.done = None;
    }

    fn answer(&mut self, result: Result<Embedding>) {
        self.permit = None;
        if let Some(done) = self.done.take() {
            // A panic of the caller's function is the caller's own.
            let _ = catch_unwind(AssertUnwindSafe(|| done(result)));
        }
    }
}

impl Drop for EmbedCaller {
    fn drop(&mut self) {
        self.answer(Err(Error::new(ErrorKind::ShuttingDown, "the engine ended before the text was embedded")));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, mpsc},
        time::Duration,
    };

    use llama_concurrent_scheduler::Admission;

    use super::*;

    #[test]
    fn one_that_is_lost_tells_its_caller() {
        let (sender, result) = mpsc::channel();
        let admission = Arc::new(Admission::new(1, 1, 10));
        let permit = admission.reserve(1).unwrap();
        drop(EmbedCaller::new(permit, Box::new(move |r| sender.send(r).unwrap())));
        assert!(admission.wait_until_empty(Duration::ZERO));
        assert_eq!(*result.recv().unwrap().unwrap_err().kind(), ErrorKind::ShuttingDown);
    }
}
