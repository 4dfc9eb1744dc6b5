//! The generations of this moment, for `/slots`, `/metrics`, WebSockets and answers: what the server knows of each, and in which
//! slot the engine last showed it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use llama_concurrent::{RequestId, SamplingParams, SlotStats};

/// What a generation is doing.
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

/// One generation as others see it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) id: RequestId,
    pub(crate) n_prompt: usize,
    pub(crate) params: SamplingParams,
    pub(crate) since: Instant,
    /// Output tokens so far.
    n_output: AtomicUsize,
    /// -1 without.
    slot: AtomicI64,
}

impl Live {
    pub(crate) fn new(id: RequestId, n_prompt: usize, params: SamplingParams) -> Self {
        let (n_output, slot) = (AtomicUsize::new(0), AtomicI64::new(-1));
        Self { id, n_prompt, params, since: Instant::now(), n_output, slot }
    }

    /// Notes a token and where it came from.
    pub(crate) fn token(&self, slot: usize) {
        self.n_output.fetch_add(1, Ordering::Relaxed);
        self.sits_in(slot);
    }

    fn sits_in(&self, slot: usize) {
        self.slot.store(slot as i64, Ordering::Relaxed);
    }

    pub(crate) fn n_output(&self) -> usize {
        self.n_output.load(Ordering::Relaxed)
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

/// All of them.
#[derive(Default)]
pub(crate) struct Registry(Mutex<HashMap<RequestId, Arc<Live>>>);

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, Arc<Live>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, live: Arc<Live>) {
        self.lock().insert(live.id, live);
    }

    pub(crate) fn remove(&self, id: RequestId) {
        self.lock().remove(&id);
    }

    /// Who sits in each slot, as the engine tells it; `None` too for a request that did not come through this server.
    pub(crate) fn seated(&self, slots: &[SlotStats]) -> Vec<Option<Arc<Live>>> {
        let all = self.lock();
        let occupant = |(index, slot): (usize, &SlotStats)| {
            let live = all.get(&slot.request?)?;
            live.sits_in(index);
            Some(live.clone())
        };
        slots.iter().enumerate().map(occupant).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_where_the_engine_shows_it() {
        let registry = Registry::default();
        let [first, second] = [1, 2].map(|id| Arc::new(Live::new(id, 1, SamplingParams::default())));
        [&first, &second].into_iter().for_each(|live| registry.add(live.clone()));
        let of = |request| SlotStats { request, ..SlotStats::default() };
        let seated = registry.seated(&[of(None), of(Some(7)), of(Some(2))]);
        assert_eq!(
            seated.iter().map(|live| live.as_ref().map(|live| live.id)).collect::<Vec<_>>(),
            [None, None, Some(2)]
        );
        assert_eq!((first.phase(), first.slot()), (Phase::Waiting, -1));
        assert_eq!((second.phase(), second.slot()), (Phase::Prefill, 2));
        second.token(0);
        assert_eq!((second.phase(), second.slot(), second.n_output()), (Phase::Decode, 0, 1));
        registry.remove(2);
        assert!(registry.seated(&[of(Some(2))])[0].is_none());
    }
}
