//! ggml's tensors and threads, as far as kernels need them.

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

/// The thread that computes and those that compute the same operation with it.
#[derive(Clone, Copy)]
pub(crate) struct Team {
    pub(crate) thread: usize,
    pub(crate) threads: usize,
    pub(crate) pool: *mut sys::ggml_threadpool,
    /// Where not ggml's threads share the operation.
    pub(crate) worker: Option<Worker>,
}

/// Pieces that a thread's even share is cut into where it is not certain that the thread comes.
const PIECES: usize = 4;

unsafe extern "C" {
    fn ggml_barrier(pool: *mut sys::ggml_threadpool);
    fn ggml_threadpool_chunk_set(pool: *mut sys::ggml_threadpool, value: i32);
    fn ggml_threadpool_chunk_add(pool: *mut sys::ggml_threadpool, value: i32) -> i32;
}

impl Team {
    /// This thread's part of `total` things.
    pub(crate) fn share(self, total: usize) -> std::ops::Range<usize> {
        total * self.thread / self.threads..total * (self.thread + 1) / self.threads
    }

    /// Calls `work` with parts of `0 .. total`, for each thread about as much.
    ///
    /// # Safety
    /// All threads come here; what they share comes after `meet`.
    pub(crate) unsafe fn divide(
        self,
        phase: usize,
        total: usize,
        last: bool,
        mut work: impl FnMut(std::ops::Range<usize>),
    ) {
        match self.worker {
            None => work(self.share(total)),
            Some(worker) => {
                let n = (self.threads * PIECES).min(total);
                worker.pieces(phase, n, last, |i| work(total * i / n..total * (i + 1) / n));
            }
        }
    }

    /// Waits for all threads, between what they share out evenly and what they take one by one with `chunks`.
    ///
    /// # Safety
    /// The pool is the one that computes, and all its threads come here.
    pub(crate) unsafe fn meet(self) {
        if self.worker.is_some() {
            return;
        }
        if self.thread == 0 {
            // The first chunk of each thread is the one of its own number.
            ggml_threadpool_chunk_set(self.pool, self.threads as i32);
        }
        self.wait();
    }

    /// Waits for all threads to be done with their chunks. `meet` would count chunks anew while some still take them.
    ///
    /// # Safety
    /// As for `meet`.
    pub(crate) unsafe fn wait(self) {
        if self.worker.is_some() {
            return;
        }
        let _order = Ordered::begin();
        ggml_barrier(self.pool);
    }

    /// Calls `work` with each chunk, of `count`, that falls to this thread, and with the one that comes after it, where
    /// that is known. Towards the end it is not: a chunk that waits for this thread could be another's.
    ///
    /// # Safety
    /// As for `meet`, which came before.
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

    /// The chunks, of `count`, that fall to this thread; each goes to one thread.
    ///
    /// # Safety
    /// As for `meet`, which came before.
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

/// What one thread does before it drops this, another sees after it began one later. ggml's barriers see to that; this
/// tells the thread sanitizer, which does not see into C++. Nothing in other builds.
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
