//! Work on weights while they are loaded, by several threads if there is much of it.

use std::sync::{Mutex, PoisonError};

/// Each thread has at least this many bytes to do.
const BYTES_PER_THREAD: usize = 1 << 20;
const MOST_THREADS: usize = 8;

/// Threads for work on so many bytes.
pub(crate) fn threads(bytes: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.min(MOST_THREADS).min(bytes / BYTES_PER_THREAD).max(1)
}

/// Does `work` for all items, which concern so many bytes in all; each thread takes the next.
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
            // What no thread can be had for, this one does.
            let _ = std::thread::Builder::new().spawn_scoped(scope, run);
        }
        run();
    });
}
