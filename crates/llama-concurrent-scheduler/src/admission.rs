//! The bounded queue: how much may wait, decided at submit without asking a worker.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

use llama_concurrent_types::{Error, ErrorKind, Result};

/// Weight of the newest request in the average time that one occupies a slot.
const SERVICE_WEIGHT: f64 = 0.2;
/// Hint while no request has finished yet.
const UNKNOWN_RETRY: Duration = Duration::from_secs(1);
const MIN_RETRY: Duration = Duration::from_millis(50);

/// Counts what is in the engine against its limits.
pub struct Admission {
    slots: usize,
    max_requests: usize,
    max_tokens: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Requests accepted and not finished.
    requests: usize,
    /// Prompt tokens of requests without a slot.
    tokens: usize,
    /// Why no more requests are taken.
    closed: Option<Error>,
    /// The workers are gone: what was still on its way to them will not be counted any more.
    ended: bool,
    rejected: u64,
    /// Seconds that a request occupies a slot, averaged.
    service: Option<f64>,
}

impl Admission {
    /// `max_queued_requests` may wait beyond the `slots` that run.
    pub fn new(slots: usize, max_queued_requests: usize, max_queued_tokens: usize) -> Self {
        Self {
            slots,
            max_requests: slots.saturating_add(max_queued_requests),
            max_tokens: max_queued_tokens,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a request with a prompt of `tokens` tokens, or says why not.
    pub fn reserve(&self, tokens: usize) -> Result<()> {
        let mut state = self.lock();
        if let Some(reason) = &state.closed {
            return Err(reason.clone());
        }
        let limit = if state.requests >= self.max_requests {
            format!(
                "{} requests are waiting, the limit is {}",
                state.requests - self.slots,
                self.max_requests - self.slots
            )
        } else if state.tokens > 0 && state.tokens.saturating_add(tokens) > self.max_tokens {
            // A prompt larger than the limit is still served when nothing else waits: it would never be otherwise.
            format!(
                "{} prompt tokens are waiting and this prompt has {tokens}, the limit is {}",
                state.tokens, self.max_tokens
            )
        } else {
            state.requests += 1;
            state.tokens += tokens;
            return Ok(());
        };
        state.rejected += 1;
        let retry_after = self.retry_after(&state);
        Err(Error::new(
            ErrorKind::Overloaded { retry_after },
            format!("the engine is overloaded: {limit}; try again in about {:.1} s", retry_after.as_secs_f64()),
        ))
    }

    /// Waits until something left the queue or ended, `limit` at most.
    pub fn wait_for_change(&self, limit: Duration) {
        let state = self.lock();
        let _ = self.changed.wait_timeout(state, limit);
    }

    /// A request no longer waits: its prompt counts no more.
    pub fn left_queue(&self, tokens: usize) {
        self.lock().tokens -= tokens;
        self.changed.notify_all();
    }

    /// A request ended after `service` in its slot; `None` if it had none.
    pub fn finished(&self, service: Option<Duration>) {
        let mut state = self.lock();
        state.requests -= 1;
        if let Some(seconds) = service.map(|s| s.as_secs_f64()) {
            state.service = Some(state.service.map_or(seconds, |mean| mean + SERVICE_WEIGHT * (seconds - mean)));
        }
        self.changed.notify_all();
    }

    /// Takes no more requests; the first reason stands.
    pub fn close(&self, reason: Error) {
        self.lock().closed.get_or_insert(reason);
        self.changed.notify_all();
    }

    /// The workers have ended, and with them every request.
    pub fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits until no request is left; whether that was so within `limit`.
    pub fn wait_until_empty(&self, limit: Duration) -> bool {
        let busy = |state: &mut State| state.requests > 0 && !state.ended;
        let waited = self.changed.wait_timeout_while(self.lock(), limit, busy);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !busy(&mut state)
    }

    /// Requests refused because of the limits.
    pub fn rejected(&self) -> u64 {
        self.lock().rejected
    }

    fn retry_after(&self, state: &State) -> Duration {
        let ahead = (state.requests + 1).saturating_sub(self.slots) as f64 / self.slots as f64;
        state.service.map_or(UNKNOWN_RETRY, |seconds| Duration::from_secs_f64(seconds * ahead)).max(MIN_RETRY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_bounded_beyond_the_slots() {
        let admission = Admission::new(2, 1, 1000);
        (0..3).for_each(|_| admission.reserve(10).unwrap());
        let error = admission.reserve(10).unwrap_err();
        assert!(error.retry_after().is_some() && error.to_string().contains("limit is 1"), "{error}");
        admission.finished(Some(Duration::from_secs(4)));
        admission.reserve(10).unwrap();
        assert_eq!(admission.reserve(1).unwrap_err().retry_after(), Some(Duration::from_secs(4)));
        assert_eq!(admission.rejected(), 2);
    }

    #[test]
    fn prompt_tokens_are_bounded_while_they_wait() {
        let admission = Admission::new(1, 10, 100);
        admission.reserve(60).unwrap();
        assert!(admission.reserve(50).unwrap_err().to_string().contains("limit is 100"));
        admission.left_queue(60);
        admission.reserve(500).expect("alone, any prompt is taken");
        assert!(admission.reserve(1).is_err());
    }

    #[test]
    fn a_closed_queue_says_so() {
        let admission = Admission::new(1, 1, 1);
        admission.reserve(1).unwrap();
        admission.close(Error::new(ErrorKind::ShuttingDown, "over"));
        admission.close(Error::new(ErrorKind::Internal, "later"));
        assert_eq!(*admission.reserve(1).unwrap_err().kind(), ErrorKind::ShuttingDown);
        assert!(!admission.wait_until_empty(Duration::ZERO));
        admission.finished(None);
        assert!(admission.wait_until_empty(Duration::ZERO));
    }

    #[test]
    fn nobody_waits_for_what_was_lost_with_the_workers() {
        let admission = Admission::new(1, 1, 1);
        admission.reserve(1).unwrap();
        assert!(!admission.wait_until_empty(Duration::ZERO));
        admission.end();
        assert!(admission.wait_until_empty(Duration::from_secs(3600)));
    }
}
