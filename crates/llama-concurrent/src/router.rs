//! Which worker gets a request.

use std::sync::atomic::Ordering;

use crate::worker::WorkerShared;

/// The worker with the fewest unfinished requests, the first of equals.
pub(crate) fn least_loaded<'a>(workers: impl Iterator<Item = &'a WorkerShared>) -> Option<usize> {
    workers.enumerate().min_by_key(|(_, worker)| worker.load.load(Ordering::Relaxed)).map(|(index, _)| index)
}
