//! ggml's tensors and threads, as used by the kernels.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.

use llama_cpp_sys_2 as sys;

use crate::helpers::Worker;

/// An operation and its sources.
#[derive(Clone, Copy)]
pub(crate) struct Op<'a> {
    pub(crate) out: &'a sys::ggml_tensor,
}

impl<'a> Op<'a> {
    /// # Safety
    /// The sources of the operation live as long as it does.
    pub(crate) unsafe fn new(out: &'a sys::ggml_tensor) -> Self {
        Self { out }
    }

    /// Source `index`, if there is one.
    pub(crate) fn source(self, index: usize) -> Option<&'a sys::ggml_tensor> {
        // SAFETY: the constructor's condition.
        unsafe { self.out.src[index].as_ref() }
    }
}

/// The threads that compute an operation, and the index of the calling one.
#[derive(Clone, Copy)]
pub(crate) struct ThreadTeam {
    pub(crate) thread: usize,
    pub(crate) threads: usize,
    pub(crate) pool: *mut sys::ggml_threadpool,
    /// Set if helper threads compute the operation instead of ggml's threads.
    pub(crate) worker: Option<Worker>,
}

/// Pieces per thread of an even division, if helper threads may join late or not at all.
const PIECES: usize = 4;

unsafe extern "C" {
    fn ggml_barrier(pool: *mut sys::ggml_threadpool);
    fn ggml_threadpool_chunk_set(pool: *mut sys::ggml_threadpool, value: i32);
    fn ggml_threadpool_chunk_add(pool: *mut sys::ggml_threadpool, value: i32) -> i32;
}

impl ThreadTeam {
    /// This thread's range of `total` items.
    pub(crate) fn range_of(self, total: usize) -> std::ops::Range<usize> {
        total * self.thread / self.threads..total * (self.thread + 1) / self.threads
    }

    /// Calls `work` with ranges of `0 .. total`, divided about evenly among the threads.
    ///
    /// # Safety
    /// All threads make this call; shared results may be read after `begin_chunks`.
    pub(crate) unsafe fn divide(
        self,
        phase: usize,
        total: usize,
        last: bool,
        mut work: impl FnMut(std::ops::Range<usize>),
    ) {
        match self.worker {
            None => work(self.range_of(total)),
            Some(worker) => {
                let n = (self.threads * PIECES).min(total);
                worker.pieces(phase, n, last, |i| work(total * i / n..total * (i + 1) / n));
            }
        }
    }

    /// A barrier that also resets the chunk counter. Call it after `divide` and before `chunks`.
    ///
    /// # Safety
    /// The pool is the one that computes, and all its threads make this call.
    pub(crate) unsafe fn begin_chunks(self) {
        if self.worker.is_some() {
            return;
        }
        if self.thread == 0 {
            // Each thread starts with the chunk of its own index.
            ggml_threadpool_chunk_set(self.pool, self.threads as i32);
        }
        self.barrier();
    }

    /// Waits until all threads have finished their chunks. `begin_chunks` would reset the counter while some are still in use.
    ///
    /// # Safety
    /// As for `begin_chunks`.
    pub(crate) unsafe fn barrier(self) {
        if self.worker.is_some() {
            return;
        }
        let _order = Ordered::begin();
        ggml_barrier(self.pool);
    }

    /// Calls `work` with each chunk of this thread, of `count`, and with the thread's next chunk if it is known. Towards the
    /// end it is not: a chunk reserved for this thread could be computed by another one.
    ///
    /// # Safety
    /// As for `begin_chunks`, which must have been called before.
    pub(crate) unsafe fn each_chunk(self, phase: usize, count: usize, mut work: impl FnMut(usize, Option<usize>)) {
        if let Some(worker) = self.worker {
            return worker.pieces(phase, count, true, |index| work(index, None));
        }
        let next = || usize::try_from(ggml_threadpool_chunk_add(self.pool, 1)).unwrap_or(count);
        let mut index = self.thread;
        while index < count {
            let known = (index + 2 * self.threads < count).then(next).filter(|next| *next < count);
            work(index, known);
            index = known.unwrap_or_else(next);
        }
    }

    /// The chunks of this thread, of `count`; each chunk goes to one thread.
    ///
    /// # Safety
    /// As for `begin_chunks`, which must have been called before.
    pub(crate) unsafe fn chunks(self, phase: usize, count: usize, last: bool, mut work: impl FnMut(usize)) {
        if let Some(worker) = self.worker {
            return worker.pieces(phase, count, last, work);
        }
        let mut index = self.thread;
        while index < count {
            work(index);
            index = usize::try_from(ggml_threadpool_chunk_add(self.pool, 1)).unwrap_or(count);
        }
    }
}

/// Makes the ordering of ggml's barriers visible to the thread sanitizer, which does not see into C++: what a thread does
/// before it drops this happens before what another does after a later `begin`. No code in other builds.
pub(crate) struct Ordered;

impl Ordered {
    pub(crate) fn begin() -> Self {
        tell_sanitizer();
        Self
    }
}

impl Drop for Ordered {
    fn drop(&mut self) {
        tell_sanitizer();
    }
}

#[cfg(races)]
fn tell_sanitizer() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    static MEETINGS: AtomicUsize = AtomicUsize::new(0);
    MEETINGS.fetch_add(1, Ordering::AcqRel);
}

#[cfg(not(races))]
fn tell_sanitizer() {}
