//! Requests that wait for a slot, in the order in which they should get one.

use std::{collections::BTreeSet, time::Duration};

use llama_concurrent_types::Priority;

use crate::backend::SeqKey;

/// The key by which requests wait, a virtual time: smaller goes first. Fixed at submit, so nothing is ever re-sorted and nobody starves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueueKey {
    virtual_arrival: Duration,
    arrival: u64,
}

impl QueueKey {
    /// A batch request stands where an interactive one would that arrives `batch_aging` later.
    pub(super) fn new(priority: Priority, submitted: Duration, arrival: u64, batch_aging: Duration) -> Self {
        let virtual_arrival = match priority {
            Priority::Interactive => submitted,
            Priority::Batch => submitted.saturating_add(batch_aging),
        };
        Self { virtual_arrival, arrival }
    }
}

/// The queue.
#[derive(Clone, Debug, Default)]
pub(super) struct WaitQueue(BTreeSet<(QueueKey, SeqKey)>);

impl WaitQueue {
    pub(super) fn insert(&mut self, queue_key: QueueKey, key: SeqKey) {
        self.0.insert((queue_key, key));
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, queue_key: QueueKey, key: SeqKey) -> bool {
        self.0.remove(&(queue_key, key))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = SeqKey> + '_ {
        self.0.iter().map(|&(_, key)| key)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interactive_goes_first_until_batch_has_aged() {
        let aging = Duration::from_secs(10);
        let at = |priority, second, arrival| QueueKey::new(priority, Duration::from_secs(second), arrival, aging);
        let batch = at(Priority::Batch, 0, 0);
        assert!(at(Priority::Interactive, 9, 1) < batch);
        assert!(batch < at(Priority::Interactive, 11, 2));
        assert!(batch < at(Priority::Batch, 0, 3));
    }
}
