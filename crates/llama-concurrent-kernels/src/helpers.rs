//! Helper threads, which take pieces of another thread's operations when they are scheduled.
//!
//! ggml's own threads have a barrier after every operation, where early threads spin until the last one arrives. If other
//! programs use the cores, this wastes whole time slices, because the last thread waits for a CPU. Here one thread computes
//! the graph and offers large operations in pieces. Helpers take pieces when they run. The operation waits for a helper only
//! if that has started a piece, and a waiting thread sleeps after a short spin, which frees its CPU.

use std::{
    cell::Cell,
    hint::spin_loop,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

/// Maximum number of successive phases of an operation.
const PHASES: usize = 4;
/// Spins before sleeping, while another thread is about to change a value; some ten microseconds.
const SPINS: u32 = 300;
/// The same, before the next operation of a graph; some hundred microseconds, since to wake a processor that idles takes longer than most
/// operations that are not given away.
const IDLE_SPINS: u32 = 4000;

/// A set of helper threads, owned by the thread that they help.
pub struct Helpers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Changes with each job, and when the helpers must end.
    ticket: AtomicU32,
    /// Helpers that sleep until it changes.
    sleeping: AtomicU32,
    /// Helpers that may join, the first ones; the others sleep until it changes.
    invited: AtomicU32,
    stop: AtomicBool,
    /// The job that may be joined; null between jobs.
    job: AtomicPtr<Job>,
    /// Helpers between reading `job` and leaving it.
    inside: AtomicU32,
}

/// An operation that is offered in pieces.
pub(crate) struct Job {
    run: unsafe fn(*const (), Worker),
    data: *const (),
    threads: usize,
    joined: AtomicUsize,
    phases: [Phase; PHASES],
}

#[derive(Default)]
struct Phase {
    next: AtomicUsize,
    done: AtomicU32,
    sleeping: AtomicBool,
}

/// One of the threads that compute a job.
#[derive(Clone, Copy)]
pub(crate) struct Worker {
    job: *const Job,
    pub(crate) thread: usize,
}

thread_local! {
    static OWN: Cell<*const Helpers> = const { Cell::new(std::ptr::null()) };
}

/// The number of threads that this thread's operations are offered to, including itself; `None` without helpers.
pub(crate) fn threads() -> Option<usize> {
    let helpers = OWN.get();
    if helpers.is_null() {
        return None;
    }
    // SAFETY: set by the owner for the duration of a call.
    let invited = unsafe { (*helpers).invited() };
    (invited > 0).then_some(invited + 1)
}

/// Runs `work` on this thread and on those of its helpers that join.
///
/// # Safety
/// `threads` returns `Some`, and `work` may run on several threads at once.
pub(crate) unsafe fn run<F: Fn(Worker)>(work: &F) {
    unsafe fn call<F: Fn(Worker)>(data: *const (), worker: Worker) {
        // SAFETY: `data` is the closure below, which lives until all have left.
        unsafe { (*data.cast::<F>())(worker) }
    }
    // SAFETY: as in `threads`.
    let helpers = unsafe { &*OWN.get() };
    helpers.run(call::<F>, std::ptr::from_ref(work).cast());
}

impl Helpers {
    /// Starts `count` helpers, each of which calls `start` first.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn new(count: usize, start: impl Fn() + Send + Sync + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            ticket: AtomicU32::new(0),
            sleeping: AtomicU32::new(0),
            invited: AtomicU32::new(count as u32),
            stop: AtomicBool::new(false),
            job: AtomicPtr::new(std::ptr::null_mut()),
            inside: AtomicU32::new(0),
        });
        let start = Arc::new(start);
        let threads = (0..count)
            .map(|index| {
                let (shared, start) = (shared.clone(), start.clone());
                std::thread::Builder::new().name("llama-helper".into()).spawn(move || {
                    start();
                    shared.help(index as u32);
                })
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self { shared, threads })
    }

    /// Offers the operations that this thread computes during `call` to `count` of the helpers, or to all if there are fewer.
    pub fn during<T>(&self, count: usize, call: impl FnOnce() -> T) -> T {
        struct Reset(*const Helpers);
        impl Drop for Reset {
            fn drop(&mut self) {
                OWN.set(self.0);
            }
        }
        let count = count.min(self.threads.len()) as u32;
        if self.shared.invited.swap(count, Ordering::SeqCst) < count {
            atomic_wait::wake_all(&self.shared.invited);
        }
        let _reset = Reset(OWN.replace(self));
        call()
    }

    fn invited(&self) -> usize {
        self.shared.invited.load(Ordering::SeqCst) as usize
    }

    fn run(&self, run: unsafe fn(*const (), Worker), data: *const ()) {
        let threads = self.invited() + 1;
        let job = Job { run, data, threads, joined: AtomicUsize::new(1), phases: Default::default() };
        let shared = &*self.shared;
        shared.job.store(std::ptr::from_ref(&job).cast_mut(), Ordering::SeqCst);
        shared.ticket.fetch_add(1, Ordering::SeqCst);
        if shared.sleeping.load(Ordering::SeqCst) > 0 {
            atomic_wait::wake_all(&shared.ticket);
        }
        // SAFETY: the job's own condition.
        unsafe { run(data, Worker { job: &job, thread: 0 }) };
        // From here on no helper joins, and those inside leave.
        shared.job.store(std::ptr::null_mut(), Ordering::SeqCst);
        let mut spins = 0;
        loop {
            let inside = shared.inside.load(Ordering::SeqCst);
            if inside == 0 {
                return;
            }
            if spins < SPINS {
                spins += 1;
                spin_loop();
            } else {
                atomic_wait::wait(&shared.inside, inside);
            }
        }
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.invited.store(u32::MAX, Ordering::SeqCst);
        atomic_wait::wake_all(&self.shared.invited);
        self.shared.ticket.fetch_add(1, Ordering::SeqCst);
        atomic_wait::wake_all(&self.shared.ticket);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn help(&self, index: u32) {
        let mut seen = 0;
        loop {
            let invited = self.invited.load(Ordering::SeqCst);
            if index >= invited {
                atomic_wait::wait(&self.invited, invited);
                continue;
            }
            let mut spins = 0;
            let ticket = loop {
                let ticket = self.ticket.load(Ordering::SeqCst);
                if ticket != seen {
                    break ticket;
                }
                if spins < IDLE_SPINS {
                    spins += 1;
                    spin_loop();
                } else {
                    self.sleeping.fetch_add(1, Ordering::SeqCst);
                    atomic_wait::wait(&self.ticket, seen);
                    self.sleeping.fetch_sub(1, Ordering::SeqCst);
                    spins = 0;
                }
            };
            seen = ticket;
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            self.inside.fetch_add(1, Ordering::SeqCst);
            let job = self.job.load(Ordering::SeqCst);
            if !job.is_null() {
                // SAFETY: its owner waits for all that are inside.
                unsafe {
                    let thread = (*job).joined.fetch_add(1, Ordering::SeqCst);
                    if thread < (*job).threads {
                        ((*job).run)((*job).data, Worker { job, thread });
                    }
                }
            }
            if self.inside.fetch_sub(1, Ordering::SeqCst) == 1 {
                atomic_wait::wake_all(&self.inside);
            }
        }
    }
}

impl Worker {
    /// Takes pieces of this phase, of `count`. When it returns, all pieces are done, unless it is the `last` phase.
    pub(crate) fn pieces(self, phase: usize, count: usize, last: bool, mut work: impl FnMut(usize)) {
        // SAFETY: the job lives while anyone is inside.
        let job = unsafe { &*self.job };
        let phase = &job.phases[phase];
        loop {
            let index = phase.next.fetch_add(1, Ordering::SeqCst);
            if index >= count {
                break;
            }
            work(index);
            if phase.done.fetch_add(1, Ordering::SeqCst) + 1 == count as u32 && phase.sleeping.load(Ordering::SeqCst) {
                atomic_wait::wake_all(&phase.done);
            }
        }
        if last && self.thread > 0 {
            return;
        }
        let mut spins = 0;
        loop {
            let done = phase.done.load(Ordering::SeqCst);
            if done == count as u32 {
                return;
            }
            if spins < SPINS {
                spins += 1;
                spin_loop();
            } else {
                phase.sleeping.store(true, Ordering::SeqCst);
                atomic_wait::wait(&phase.done, done);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn each_piece_goes_to_one_thread_and_phases_follow_each_other() {
        // All helpers, or only some of them.
        for (helpers, invited) in [(1, 1), (3, 3), (3, 1), (3, 2)] {
            let helpers = Helpers::new(helpers, || ()).unwrap();
            for round in 0..200 {
                let (first, second) = (round % 17, 1 + round % 40);
                let seen: Vec<AtomicU32> = (0..first + second).map(|_| AtomicU32::new(0)).collect();
                let seen_threads = Mutex::new(Vec::new());
                let work = |worker: Worker| {
                    worker.pieces(0, first, false, |piece| {
                        seen[piece].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(
                        seen[..first].iter().all(|n| n.load(Ordering::Relaxed) == 1),
                        "all of the first phase is done"
                    );
                    worker.pieces(1, second, true, |piece| {
                        seen[first + piece].fetch_add(1, Ordering::Relaxed);
                    });
                    seen_threads.lock().unwrap().push(worker.thread);
                };
                assert_eq!(helpers.during(invited, threads), Some(invited + 1));
                // SAFETY: called while the operations of this thread are shared out.
                helpers.during(invited, || unsafe { run(&work) });
                assert!(seen.iter().all(|n| n.load(Ordering::Relaxed) == 1));
                let mut threads = seen_threads.into_inner().unwrap();
                threads.sort_unstable();
                threads.dedup();
                assert!(threads.contains(&0) && threads.iter().all(|&thread| thread <= invited));
            }
        }
        assert_eq!(threads(), None, "outside of a call nothing is shared out");
        let helpers = Helpers::new(2, || ()).unwrap();
        assert_eq!(helpers.during(0, threads), None, "without helpers neither");
        assert_eq!(helpers.during(5, threads), Some(3));
    }

    #[test]
    fn helpers_that_sleep_are_woken_and_end() {
        let helpers = Helpers::new(2, || ()).unwrap();
        let met = std::sync::Barrier::new(3);
        for _ in 0..3 {
            while helpers.shared.sleeping.load(Ordering::SeqCst) < 2 {
                std::thread::yield_now();
            }
            // All three have to come, each with one piece.
            let work = |worker: Worker| {
                worker.pieces(0, 3, true, |_| {
                    met.wait();
                });
            };
            // SAFETY: called while the operations of this thread are shared out.
            helpers.during(2, || unsafe { run(&work) });
        }
        // Those that are left out for a while come back.
        for count in [0, 1, 0, 2] {
            let met = std::sync::Barrier::new(count + 1);
            let work = |worker: Worker| {
                worker.pieces(0, count + 1, true, |_| {
                    met.wait();
                });
            };
            if count > 0 {
                // SAFETY: as above.
                helpers.during(count, || unsafe { run(&work) });
            } else {
                helpers.during(count, || assert_eq!(threads(), None));
            }
        }
    }
}
