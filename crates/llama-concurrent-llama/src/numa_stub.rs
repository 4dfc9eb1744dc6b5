//! Systems on which threads and memory cannot be bound.

use std::time::Duration;

use llama_concurrent_topology::MemoryPolicy;

use super::{Range, WorkerPlan};

/// On macOS, asks for the class of service that keeps a thread on performance cores.
pub fn bind_worker(_: &WorkerPlan) {
    #[cfg(target_os = "macos")]
    // SAFETY: concerns the calling thread only.
    unsafe {
        libc::pthread_set_qos_class_self_np(libc::qos_class_t::QOS_CLASS_USER_INITIATED, 0);
    }
}

pub fn bind_thread(_: &[usize], _: &MemoryPolicy) {}

pub(super) fn move_to(_: usize, _: &[Range]) {}

pub(super) fn fraction_on(_: usize, _: &[Range]) -> Option<f64> {
    None
}

pub(super) fn started_threads<T>(start: impl FnOnce() -> T) -> (T, Vec<i32>) {
    (start(), Vec::new())
}

pub(super) struct RunDelay;

impl RunDelay {
    pub(super) fn of(_: &[i32]) -> Self {
        Self
    }

    pub(super) fn read(&self) -> Option<Duration> {
        None
    }
}

pub(super) fn is_overrun() -> bool {
    false
}

pub fn affinity_of(_: i32) -> Vec<usize> {
    Vec::new()
}
