//! The bounded queue: how much may wait, decided at submit without asking a worker.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use llama_concurrent_types::{Error, ErrorKind, Result};

/// Weight of the newest request in the average time that one occupies a slot.
const SERVICE_WEIGHT: f64 = 0.2;
/// Hint while no request has finished yet.
const UNKNOWN_RETRY: Duration = Duration::from_secs(1);
const MIN_RETRY: Duration = Duration::from_millis(50);

/// Counts what is in the engine against its limits.
#[derive(Debug)]
pub struct Admission {
    slots: usize,
    max_requests: usize,
    max_tokens: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Requests accepted and not finished.
    requests: usize,
    /// Prompt tokens of requests without a slot.
    tokens: usize,
    /// Why no more requests are taken.
    closed: Option<Error>,
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

    /// A permit for a request with a prompt of `tokens` tokens, or why there is none.
    pub fn reserve(self: &Arc<Self>, tokens: usize) -> Result<Permit> {
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
            return Ok(Permit { admission: self.clone(), waiting_tokens: tokens, worker: None, service: None });
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

    /// Takes no more requests; the first reason stands.
    pub fn close(&self, reason: Error) {
        self.lock().closed.get_or_insert(reason);
        self.changed.notify_all();
    }

    /// Waits until no request is left; whether that was so within `limit`.
    pub fn wait_until_empty(&self, limit: Duration) -> bool {
        let busy = |state: &mut State| state.requests > 0;
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

/// What a request counts for: a place among all requests, its prompt while it waits, and its worker's load. The request
/// carries it from submit to its end, and dropping it gives everything back, wherever the request is lost.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    /// Tokens of the prompt until the request has a slot.
    waiting_tokens: usize,
    /// The unfinished requests of its worker.
    worker: Option<Arc<AtomicUsize>>,
    service: Option<Duration>,
}

impl Permit {
    /// Counts the request among the unfinished ones of the worker that it is sent to.
    pub fn assign(&mut self, unfinished: &Arc<AtomicUsize>) {
        unfinished.fetch_add(1, Ordering::AcqRel);
        self.worker = Some(unfinished.clone());
    }

    /// The request no longer waits: its prompt counts no more.
    pub fn leave_queue(&mut self) {
        self.admission.lock().tokens -= std::mem::take(&mut self.waiting_tokens);
        self.admission.changed.notify_all();
    }

    /// Gives the permit back after `service` in a slot; none if that was no time.
    pub fn finish(mut self, service: Duration) {
        self.service = (service > Duration::ZERO).then_some(service);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(unfinished) = &self.worker {
            unfinished.fetch_sub(1, Ordering::AcqRel);
        }
        let mut state = self.admission.lock();
        state.tokens -= self.waiting_tokens;
        state.requests -= 1;
        if let Some(seconds) = self.service.map(|service| service.as_secs_f64()) {
            state.service = Some(state.service.map_or(seconds, |mean| mean + SERVICE_WEIGHT * (seconds - mean)));
        }
        drop(state);
        self.admission.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(slots: usize, requests: usize, tokens: usize) -> Arc<Admission> {
        Arc::new(Admission::new(slots, requests, tokens))
    }

    #[test]
    fn requests_are_bounded_beyond_the_slots() {
        let admission = admission(2, 1, 1000);
        let mut permits: Vec<Permit> = (0..3).map(|_| admission.reserve(10).unwrap()).collect();
        let error = admission.reserve(10).unwrap_err();
        assert!(error.retry_after().is_some() && error.to_string().contains("limit is 1"), "{error}");
        permits.remove(0).finish(Duration::from_secs(4));
        permits.push(admission.reserve(10).unwrap());
        assert_eq!(admission.reserve(1).unwrap_err().retry_after(), Some(Duration::from_secs(4)));
        assert_eq!(admission.rejected(), 2);
    }

    #[test]
    fn prompt_tokens_are_bounded_while_they_wait() {
        let admission = admission(1, 10, 100);
        let mut first = admission.reserve(60).unwrap();
        assert!(admission.reserve(50).unwrap_err().to_string().contains("limit is 100"));
        first.leave_queue();
        let second = admission.reserve(500).expect("alone, any prompt is taken");
        assert!(admission.reserve(1).is_err());
        drop(second);
        assert!(admission.reserve(1).is_ok(), "one that is dropped waits no more");
    }

    #[test]
    fn a_closed_queue_says_so() {
        let admission = admission(1, 1, 1);
        let permit = admission.reserve(1).unwrap();
        admission.close(Error::new(ErrorKind::ShuttingDown, "over"));
        admission.close(Error::new(ErrorKind::Internal, "later"));
        assert_eq!(*admission.reserve(1).unwrap_err().kind(), ErrorKind::ShuttingDown);
        assert!(!admission.wait_until_empty(Duration::ZERO));
        drop(permit);
        assert!(admission.wait_until_empty(Duration::ZERO));
    }

    #[test]
    fn a_permit_counts_on_its_worker_until_it_is_dropped() {
        let (admission, unfinished) = (admission(1, 1, 1), Arc::default());
        let mut permit = admission.reserve(1).unwrap();
        permit.assign(&unfinished);
        assert_eq!(unfinished.load(Ordering::Acquire), 1);
        permit.finish(Duration::ZERO);
        assert_eq!(unfinished.load(Ordering::Acquire), 0);
        assert_eq!(admission.reserve(1).unwrap().admission.lock().service, None, "no time in a slot is no measurement");
    }
}
