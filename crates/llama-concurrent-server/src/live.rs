//! The generations of this moment, for `/slots`, `/metrics` and the page.
//!
//! The engine says how many sequences have a slot, not which. As it admits in order of arrival, the earliest of those
//! without a token are the ones whose prompt is being computed. The numbers of slots are the server's own, given in
//! order of admission.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use llama_concurrent::{Priority, RequestId, SamplingParams};

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
    pub(crate) priority: Priority,
    pub(crate) since: Instant,
    /// Output tokens so far.
    n_output: AtomicUsize,
    /// -1 without.
    slot: AtomicI64,
}

impl Live {
    pub(crate) fn new(id: RequestId, n_prompt: usize, params: SamplingParams, priority: Priority) -> Self {
        let (n_output, slot) = (AtomicUsize::new(0), AtomicI64::new(-1));
        Self { id, n_prompt, params, priority, since: Instant::now(), n_output, slot }
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

/// All of them, in order of arrival.
pub(crate) struct Registry {
    n_slots: usize,
    all: Mutex<BTreeMap<RequestId, Arc<Live>>>,
}

impl Registry {
    pub(crate) fn new(n_slots: usize) -> Self {
        Self { n_slots, all: Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<RequestId, Arc<Live>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, live: Arc<Live>) {
        self.lock().insert(live.id, live);
    }

    pub(crate) fn remove(&self, id: RequestId) {
        self.lock().remove(&id);
    }

    /// Notes a token. The first one proves that there is a slot.
    pub(crate) fn token(&self, live: &Live) {
        if live.n_output.fetch_add(1, Ordering::Relaxed) == 0 && live.slot() < 0 {
            seat(&self.lock(), live, self.n_slots);
        }
    }

    /// All generations, with `running` of them in a slot as the engine counts them.
    pub(crate) fn observe(&self, running: usize) -> Vec<Arc<Live>> {
        let all = self.lock();
        let mut seated = all.values().filter(|live| live.slot() >= 0).count();
        // Interactive requests go first; a batch request that has waited long may be ahead of what is shown here.
        for priority in [Priority::Interactive, Priority::Batch] {
            for live in all.values().filter(|live| live.priority == priority && live.slot() < 0) {
                if seated >= running {
                    break;
                }
                seat(&all, live, self.n_slots);
                seated += 1;
            }
        }
        all.values().cloned().collect()
    }
}

/// Gives the lowest free number; none is free when requests end and begin faster than they are told.
fn seat(all: &BTreeMap<RequestId, Arc<Live>>, live: &Live, n_slots: usize) {
    let taken: Vec<i64> = all.values().map(|other| other.slot()).collect();
    let free = (0..n_slots as i64).find(|slot| !taken.contains(slot));
    live.slot.store(free.unwrap_or(n_slots as i64 - 1), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(id: RequestId, priority: Priority) -> Arc<Live> {
        Arc::new(Live::new(id, 1, SamplingParams::default(), priority))
    }

    #[test]
    fn slots_are_given_by_arrival_and_class_and_used_again() {
        let registry = Registry::new(2);
        let (batch, first, second) =
            (live(1, Priority::Batch), live(2, Priority::Interactive), live(3, Priority::Interactive));
        [&batch, &first, &second].into_iter().for_each(|live| registry.add(live.clone()));
        registry.observe(2);
        assert_eq!(
            [&batch, &first, &second].map(|live| live.phase()),
            [Phase::Waiting, Phase::Prefill, Phase::Prefill]
        );
        registry.token(&second);
        assert_eq!((second.phase(), second.slot()), (Phase::Decode, 1));
        registry.remove(first.id);
        registry.observe(2);
        assert_eq!((batch.phase(), batch.slot()), (Phase::Prefill, 0));
    }
}
