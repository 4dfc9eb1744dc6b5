//! Queues: events for programs with a loop of their own, which fetch them instead of being called back.

use std::{
    collections::BTreeMap,
    ffi::c_int,
    os::fd::AsRawFd,
    sync::{Arc, Mutex, PoisonError, TryLockError, Weak},
    time::{Duration, Instant},
};

use crate::{
    boundary::boundary,
    call::Call,
    event::{OwnedEvent, llama_infer_event},
    handles::Handles,
    pointers,
    ready_queue::{ReadyQueue, Signal, Taken},
    reentrancy,
    status::llama_infer_status as Status,
    types::{Failure, Result, limit, llama_infer_id, llama_infer_queue},
};

static QUEUES: Handles<Queue> = Handles::new("queue");

/// What a queue handle stands for.
pub struct Queue {
    ready_queue: ReadyQueue<Call>,
    descriptor: c_int,
    /// The event that the caller looks at.
    shown: Mutex<Option<Box<OwnedEvent>>>,
    attached: Mutex<Attached>,
}

#[derive(Default)]
struct Attached {
    calls: BTreeMap<llama_infer_id, Weak<Call>>,
    closed: bool,
}

impl Queue {
    /// The queue of a handle.
    pub fn get(handle: *const llama_infer_queue) -> Result<Arc<Self>> {
        QUEUES.get(handle)
    }

    pub fn ready_queue(&self) -> &ReadyQueue<Call> {
        &self.ready_queue
    }

    fn attached(&self) -> std::sync::MutexGuard<'_, Attached> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call whose events come here.
    pub fn attach(&self, call: &Arc<Call>) -> Result<()> {
        let mut attached = self.attached();
        if attached.closed {
            return Err(freed());
        }
        attached.calls.insert(call.id(), Arc::downgrade(call));
        Ok(())
    }

    /// Forgets a call that is over.
    pub fn detach(&self, id: llama_infer_id) {
        self.attached().calls.remove(&id);
    }

    fn poll(&self, limit: Option<Duration>) -> Result<*const llama_infer_event> {
        let mut shown = match self.shown.try_lock() {
            Ok(shown) => shown,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new(
                    Status::Busy,
                    "another thread is polling this queue; poll with one thread at a time, or use several queues",
                ));
            }
        };
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            match self.ready_queue.take(deadline) {
                Taken::Ready(call) => {
                    let Some(event) = call.read() else { continue };
                    call.done(&event);
                    if self.attached().closed {
                        return Err(freed());
                    }
                    return Ok(shown.insert(event).raw());
                }
                Taken::TimedOut => return Err(Failure::new(Status::Timeout, "no event came in that time")),
                Taken::Closed => return Err(freed()),
            }
        }
    }

    fn close(&self) {
        let calls = {
            let mut attached = self.attached();
            attached.closed = true;
            std::mem::take(&mut attached.calls)
        };
        self.ready_queue.close();
        // Who polls has been woken and leaves; what it found in time is its last event, and gone now.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).take();
        calls.values().filter_map(Weak::upgrade).for_each(|call| call.abandon());
    }
}

fn freed() -> Failure {
    Failure::new(Status::InvalidHandle, "the queue was freed")
}

/// Makes a completion queue, for programs that have an event loop and do not want callbacks on other threads.
///
/// Pass it in `llama_infer_params.queue`; any number of requests, also of different engines, may share one. Ends with
/// `llama_infer_queue_free`. Fails with `OUT_OF_MEMORY` if the process has no descriptors left.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_queue_new(queue: *mut *mut llama_infer_queue) -> Status {
    boundary(|| {
        pointers::required(queue, "queue")?;
        let signal = Signal::new()
            .map_err(|error| Failure::new(Status::OutOfMemory, format!("cannot make a pipe for the queue: {error}")))?;
        let descriptor = signal.reader().as_raw_fd();
        let handle = QUEUES.insert(|_| Queue {
            ready_queue: ReadyQueue::with_signal(signal),
            descriptor,
            shown: Mutex::default(),
            attached: Mutex::default(),
        });
        // SAFETY: `queue` is not NULL, and writable as the header asks.
        unsafe { pointers::write(queue, std::ptr::without_provenance_mut(handle), "queue") }
    })
}

/// The descriptor that is readable while the queue has events, for `poll`, `epoll`, `kqueue`, `select` or any event
/// loop. -1 if the queue is NULL or was freed.
///
/// Wait on it and nothing else: reading from it, writing and closing are left to the library. It stays readable until
/// everything was fetched (it is level-triggered), and may be readable when there is nothing to fetch; so poll the queue
/// with a timeout of 0, and until it returns `TIMEOUT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_queue_fd(queue: *const llama_infer_queue) -> c_int {
    let mut descriptor = -1;
    boundary(|| {
        descriptor = Queue::get(queue)?.descriptor;
        Ok(())
    });
    descriptor
}

/// Fetches the next event of a queue.
///
/// Waits for one for `timeout_ms` milliseconds, for ever if that is negative, not at all if it is 0. `*event` belongs to
/// the library and lives until the next poll of this queue or `llama_infer_queue_free`. Events of one request come in
/// order; requests take turns.
///
/// `TIMEOUT` if there was none. `BUSY` if another thread is polling this queue. `INVALID_HANDLE` if the queue was
/// freed, also while this function waits. `IN_CALLBACK` inside the log callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_poll(
    queue: *mut llama_infer_queue,
    timeout_ms: i32,
    event: *mut *const llama_infer_event,
) -> Status {
    boundary(|| {
        pointers::required(event, "event")?;
        reentrancy::refuse_in_log("polling")?;
        let next = Queue::get(queue)?.poll(limit(timeout_ms))?;
        // SAFETY: `event` is not NULL, and writable as the header asks.
        unsafe { pointers::write(event, next, "event") }
    })
}

/// Frees a queue and closes its descriptor. Requests whose events would still come to it are cancelled, and their
/// events are lost; nobody may still look at one. Waits for nothing but a thread that is polling it, which is woken.
/// NULL is allowed and does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_queue_free(queue: *mut llama_infer_queue) -> Status {
    boundary(|| {
        if !queue.is_null() {
            QUEUES.remove(queue)?.close();
        }
        Ok(())
    })
}
