//! The compute threads of one worker. The pool is our own, to control affinity and polling.

use std::ptr::NonNull;

use llama_concurrent_topology::WorkerPlan;
use llama_concurrent_types::{Error, ErrorKind, Result};
use llama_cpp_sys_2 as sys;

use super::numa;

/// A ggml thread pool. The thread that creates it is its first member and must be the one that decodes.
pub(super) struct Threadpool {
    raw: NonNull<sys::ggml_threadpool>,
    n_threads: usize,
    thread_ids: Vec<i32>,
}

impl Threadpool {
    /// Creates `plan.threads - 1` threads, and pins them and the calling thread according to the plan.
    pub(super) fn new(plan: &WorkerPlan, poll: u32) -> Result<Self> {
        let n_threads = plan.threads;
        // SAFETY: a plain constructor.
        let mut params = unsafe { sys::ggml_threadpool_params_default(n_threads as i32) };
        params.poll = poll;
        if plan.pin {
            for &cpu in &plan.cpus {
                if let Some(allowed) = params.cpumask.get_mut(cpu) {
                    *allowed = true;
                }
            }
            params.strict_cpu = plan.one_core_each;
        }
        // SAFETY: `params` is initialised and only read.
        let (raw, thread_ids) = numa::started_threads(|| unsafe { sys::ggml_threadpool_new(&mut params) });
        let raw = NonNull::new(raw).ok_or_else(|| {
            Error::new(ErrorKind::OutOfMemory, format!("could not start {n_threads} compute threads; lower threads"))
        })?;
        Ok(Self { raw, n_threads, thread_ids })
    }

    pub(super) fn n_threads(&self) -> usize {
        self.n_threads
    }

    /// The ids of its threads, the creating one first; empty if the system does not report them.
    pub(super) fn thread_ids(&self) -> &[i32] {
        &self.thread_ids
    }

    pub(super) fn as_ptr(&self) -> *mut sys::ggml_threadpool {
        self.raw.as_ptr()
    }
}

impl Drop for Threadpool {
    fn drop(&mut self) {
        // SAFETY: created by us, freed once; every context that uses it was dropped before (see `LlamaBackend`).
        unsafe { sys::ggml_threadpool_free(self.raw.as_ptr()) }
    }
}
