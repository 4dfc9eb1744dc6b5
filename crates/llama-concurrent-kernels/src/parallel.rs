//! Parallel work on weights during a load.

use std::sync::{Mutex, PoisonError};

/// The minimum bytes per thread.
const BYTES_PER_THREAD: usize = 1 << 20;
const MOST_THREADS: usize = 8;

/// The number of threads for work on `bytes` bytes.
pub(crate) fn threads(bytes: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.min(MOST_THREADS).min(bytes / BYTES_PER_THREAD).max(1)
}

/// Calls `work` for all items, of `bytes` bytes in all; each thread takes the next item.
pub(crate) fn for_each<T>(items: impl Iterator<Item = T> + Send, bytes: usize, work: impl Fn(T) + Sync) {
    let items = Mutex::new(items);
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        while let Some(item) = next() {
            work(item);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads(bytes) {
            // If no thread can be started, this one does the work.
            let _ = std::thread::Builder::new().spawn_scoped(scope, run);
        }
        run();
    });
}
