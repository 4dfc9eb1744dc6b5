//! The compute threads of one worker: our own, to control affinity, polling and waiting.

use std::{
    ptr::NonNull,
    time::{Duration, Instant},
};

use llama_concurrent_kernels::Helpers;
use llama_concurrent_scheduler::{Contention, Waiting};
use llama_concurrent_topology::{MemoryPolicy, WorkerPlan};
use llama_concurrent_types::{EngineConfig, Error, ErrorKind, Result, WaitPolicy};
use llama_cpp_sys_2 as sys;

use super::numa::{self, RunDelay};

/// A ggml thread pool. The thread that creates it is its first member and must be the one that decodes.
struct Pool {
    raw: NonNull<sys::ggml_threadpool>,
    n_threads: usize,
}

impl Pool {
    fn new(mut params: sys::ggml_threadpool_params) -> Result<Self> {
        let n_threads = params.n_threads;
        // SAFETY: `params` is initialised and only read.
        let raw = unsafe { sys::ggml_threadpool_new(&mut params) };
        let raw = NonNull::new(raw).ok_or_else(|| {
            Error::new(ErrorKind::OutOfMemory, format!("could not start {n_threads} compute threads; lower threads"))
        })?;
        Ok(Self { raw, n_threads: n_threads as usize })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: created by us, freed once; every context that uses it was dropped before (see `LlamaBackend`).
        unsafe { sys::ggml_threadpool_free(self.raw.as_ptr()) }
    }
}

/// The threads of a worker, for both wait policies: ggml's own, which spin until all have finished an operation, and one
/// thread with helpers, which take parts of large operations when they run and sleep otherwise.
pub(super) struct Threads {
    active: Pool,
    alone: Pool,
    helpers: Helpers,
    contention: Contention,
    /// Workers that compute on the same CPUs, this one included: in the next calls, and whether there were others in the last.
    sharers: usize,
    is_shared: bool,
    /// CPUs that this worker may use.
    n_cpus: usize,
    waiting: Waiting,
    /// Ids of ggml's threads, the calling one first.
    ids: Vec<i32>,
    /// How long ggml's threads, and this one with its helpers, have waited for a CPU.
    active_delay: RunDelay,
    passive_delay: RunDelay,
    /// The CPUs of this thread in ggml's pool, and those that it may use with helpers; empty if threads are not bound.
    own_cpus: Vec<usize>,
    all_cpus: Vec<usize>,
    /// The total time that the threads in use had waited for a CPU at the last check.
    delayed: Option<Duration>,
    /// Computing time since then.
    wall: Duration,
    /// When the last call ended.
    last_call: Option<Instant>,
}

/// Computing time between two checks of the threads, each of which reads a small system file.
const INTERVAL: Duration = Duration::from_millis(20);

/// After a pause this long nothing is known of the neighbours.
const PAUSE: Duration = Duration::from_millis(100);

impl Threads {
    /// Creates `plan.threads - 1` threads of each kind and pins them and the calling thread according to the plan.
    pub(super) fn new(plan: &WorkerPlan, config: &EngineConfig) -> Result<Self> {
        let n_threads = plan.threads;
        let failed = |e: std::io::Error| {
            Error::new(
                ErrorKind::OutOfMemory,
                format!("could not start {n_threads} compute threads ({e}); lower threads"),
            )
        };
        let all_cpus = if plan.pin { plan.cpus.clone() } else { Vec::new() };
        let cpus = all_cpus.clone();
        let passive = config.wait_policy != WaitPolicy::Active;
        let n_helpers = if passive { n_threads - 1 } else { 0 };
        let (helpers, helper_ids) = numa::started_threads(|| {
            let helpers = Helpers::new(n_helpers, move || numa::bind_thread(&cpus, &MemoryPolicy::System));
            helpers.map_err(failed)
        });
        // SAFETY: a plain constructor.
        let defaults = |n: usize| unsafe { sys::ggml_threadpool_params_default(n as i32) };
        let alone = Pool::new(defaults(1))?;
        let mut params = defaults(n_threads);
        params.poll = config.poll;
        if plan.pin {
            for &cpu in &plan.cpus {
                if let Some(allowed) = params.cpumask.get_mut(cpu) {
                    *allowed = true;
                }
            }
            params.strict_cpu = plan.one_core_each;
        }
        let (active, ids) = numa::started_threads(|| Pool::new(params));
        let own_cpus = if plan.pin { ids.first().map_or(Vec::new(), |&id| numa::affinity_of(id)) } else { Vec::new() };
        Ok(Self {
            active: active?,
            alone,
            helpers: helpers?,
            contention: match config.wait_policy {
                WaitPolicy::Auto => Contention::default(),
                WaitPolicy::Active => Contention::fixed(Waiting::Active),
                WaitPolicy::Passive => Contention::fixed(Waiting::Passive),
            },
            sharers: 1,
            is_shared: false,
            n_cpus: plan.cpus.len().max(n_threads),
            waiting: Waiting::Active,
            active_delay: RunDelay::of(&ids),
            passive_delay: RunDelay::of(&helper_ids),
            ids,
            own_cpus,
            all_cpus,
            delayed: None,
            wall: Duration::ZERO,
            last_call: None,
        })
    }

    pub(super) fn n_threads(&self) -> usize {
        self.active.n_threads
    }

    /// The ids of ggml's threads, the creating one first; empty if the system does not report them.
    pub(super) fn thread_ids(&self) -> &[i32] {
        &self.ids
    }

    pub(super) fn contention(&self) -> Contention {
        self.contention
    }

    /// So many workers, this one included, compute on these CPUs in the next calls.
    pub(super) fn share(&mut self, sharers: usize) {
        self.sharers = sharers;
    }

    /// Lets ggml's threads sleep instead of spinning until the next call.
    pub(super) fn rest(&self) {
        // SAFETY: alive, and no call is under way. The next call wakes them.
        unsafe { sys::ggml_threadpool_pause(self.active.raw.as_ptr()) }
    }

    /// Selects the wait policy for the next call.
    pub(super) fn select_mode(&mut self) {
        if self.last_call.is_none_or(|last| last.elapsed() > PAUSE) && numa::is_overrun() {
            self.contention.expect_neighbours();
        }
        let is_shared = self.sharers > 1;
        if is_shared != self.is_shared {
            self.check();
            self.is_shared = is_shared;
        }
        let waiting = if is_shared { Waiting::Passive } else { self.contention.waiting() };
        if waiting != self.waiting {
            if waiting == Waiting::Passive {
                self.rest();
            }
            self.waiting = waiting;
            self.delayed = self.total_delay();
            self.wall = Duration::ZERO;
            let cpus = if waiting == Waiting::Active { &self.own_cpus } else { &self.all_cpus };
            numa::bind_thread(cpus, &MemoryPolicy::System);
            tracing::debug!(?waiting, share = self.contention.share(), "compute threads change their way of waiting");
        }
    }

    /// Runs a call of a context on these threads.
    pub(super) fn run<T>(&self, context: NonNull<sys::llama_context>, call: impl FnOnce() -> T) -> T {
        let (pool, n) = match self.waiting {
            Waiting::Active => (&self.active, self.active.n_threads as i32),
            Waiting::Passive => (&self.alone, 1),
        };
        // SAFETY: all are alive, and no call of the context is under way. A pool that is no longer used sleeps.
        unsafe {
            sys::llama_attach_threadpool(context.as_ptr(), pool.raw.as_ptr(), pool.raw.as_ptr());
            sys::llama_set_n_threads(context.as_ptr(), n, n);
        }
        match self.waiting {
            Waiting::Active => call(),
            Waiting::Passive => {
                let n_threads = self.n_threads().min(self.n_cpus.div_ceil(self.sharers));
                self.helpers.during(n_threads - 1, call)
            }
        }
    }

    /// Updates the statistics after a call of this duration.
    pub(super) fn observe(&mut self, elapsed: Duration) {
        self.last_call = Some(Instant::now());
        self.wall += elapsed;
        if self.wall >= INTERVAL {
            self.check();
        }
    }

    /// How long the threads in use have waited for a CPU since they were started.
    fn total_delay(&self) -> Option<Duration> {
        match self.waiting {
            Waiting::Active => self.active_delay.read(),
            Waiting::Passive => self.passive_delay.read(),
        }
    }

    /// Takes into account how long they have waited since the last check.
    fn check(&mut self) {
        let (wall, total) = (std::mem::take(&mut self.wall), self.total_delay());
        if let (Some(total), Some(before)) = (total, self.delayed) {
            let delayed = total.saturating_sub(before) / self.n_threads() as u32;
            if self.is_shared {
                self.contention.observe_shared(wall, delayed);
            } else {
                self.contention.observe(wall, delayed);
            }
        }
        self.delayed = total;
    }
}
