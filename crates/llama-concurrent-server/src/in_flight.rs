//! The requests in flight, for `/slots`, `/metrics`, WebSockets and responses: the state of each, and its last known slot.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use llama_concurrent::{RequestId, SamplingParams, SlotStats};

/// The phase of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Waiting,
    Prefill,
    Decode,
}

impl Phase {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Phase::Waiting => "waiting",
            Phase::Prefill => "prefill",
            Phase::Decode => "decode",
        }
    }
}

/// The shared state of one generation.
#[derive(Debug)]
pub(crate) struct InFlightRequest {
    pub(crate) id: RequestId,
    pub(crate) n_prompt: usize,
    pub(crate) params: SamplingParams,
    pub(crate) since: Instant,
    /// When its first token came.
    first: OnceLock<Instant>,
    /// Output tokens so far.
    n_output: AtomicUsize,
    /// The slot, or -1.
    slot: AtomicI64,
}

impl InFlightRequest {
    pub(crate) fn new(id: RequestId, n_prompt: usize, params: SamplingParams) -> Self {
        let (n_output, slot) = (AtomicUsize::new(0), AtomicI64::new(-1));
        Self { id, n_prompt, params, since: Instant::now(), first: OnceLock::new(), n_output, slot }
    }

    /// Counts a token and records its slot.
    pub(crate) fn token(&self, slot: usize) {
        self.first.get_or_init(Instant::now);
        self.n_output.fetch_add(1, Ordering::Relaxed);
        self.set_slot(slot);
    }

    fn set_slot(&self, slot: usize) {
        self.slot.store(slot as i64, Ordering::Relaxed);
    }

    pub(crate) fn n_output(&self) -> usize {
        self.n_output.load(Ordering::Relaxed)
    }

    /// When its first token came.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.first.get().copied()
    }

    pub(crate) fn slot(&self) -> i64 {
        self.slot.load(Ordering::Relaxed)
    }

    pub(crate) fn phase(&self) -> Phase {
        match (self.n_output(), self.slot()) {
            (0, -1) => Phase::Waiting,
            (0, _) => Phase::Prefill,
            _ => Phase::Decode,
        }
    }
}

/// All requests in flight, by id.
#[derive(Default)]
pub(crate) struct InFlightRequests(Mutex<HashMap<RequestId, Arc<InFlightRequest>>>);

impl InFlightRequests {
    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, Arc<InFlightRequest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, in_flight: Arc<InFlightRequest>) {
        self.lock().insert(in_flight.id, in_flight);
    }

    pub(crate) fn remove(&self, id: RequestId) {
        self.lock().remove(&id);
    }

    /// The request in each slot, according to the engine; also `None` for a request that did not come through this server.
    pub(crate) fn assigned(&self, slots: &[SlotStats]) -> Vec<Option<Arc<InFlightRequest>>> {
        let all = self.lock();
        let occupant = |(index, slot): (usize, &SlotStats)| {
            let in_flight = all.get(&slot.request?)?;
            in_flight.set_slot(index);
            Some(in_flight.clone())
        };
        slots.iter().enumerate().map(occupant).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_in_the_slot_that_the_engine_reports() {
        let registry = InFlightRequests::default();
        let [first, second] = [1, 2].map(|id| Arc::new(InFlightRequest::new(id, 1, SamplingParams::default())));
        [&first, &second].into_iter().for_each(|in_flight| registry.add(in_flight.clone()));
        let of = |request| SlotStats { request, ..SlotStats::default() };
        let assigned = registry.assigned(&[of(None), of(Some(7)), of(Some(2))]);
        assert_eq!(
            assigned.iter().map(|in_flight| in_flight.as_ref().map(|in_flight| in_flight.id)).collect::<Vec<_>>(),
            [None, None, Some(2)]
        );
        assert_eq!((first.phase(), first.slot()), (Phase::Waiting, -1));
        assert_eq!((second.phase(), second.slot()), (Phase::Prefill, 2));
        second.token(0);
        assert_eq!((second.phase(), second.slot(), second.n_output()), (Phase::Decode, 0, 1));
        registry.remove(2);
        assert!(registry.assigned(&[of(Some(2))])[0].is_none());
    }
}
