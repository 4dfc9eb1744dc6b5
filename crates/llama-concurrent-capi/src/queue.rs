//! Completion queues: events for programs with an event loop of their own, which poll instead of taking callbacks.

use std::{
    collections::BTreeMap,
    ffi::c_int,
    os::fd::AsRawFd,
    sync::{Arc, Mutex, PoisonError, TryLockError, Weak},
    time::{Duration, Instant},
};

use crate::{
    boundary::boundary,
    call::{Call, EventQueue},
    event::{OwnedEvent, llama_infer_event},
    handles::Handles,
    pointers,
    ready_queue::{ReadyQueue, Signal, Taken},
    reentrancy,
    status::llama_infer_status as Status,
    types::{Failure, Result, limit, llama_infer_id, llama_infer_queue},
};

static QUEUES: Handles<Queue> = Handles::new("queue");

/// The object behind a queue handle.
pub struct Queue {
    ready_queue: ReadyQueue<Call>,
    descriptor: c_int,
    /// The event that the caller got from the last poll.
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

    fn attached(&self) -> std::sync::MutexGuard<'_, Attached> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
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
                Taken::TimedOut => return Err(Failure::new(Status::Timeout, "no event arrived within timeout_ms")),
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
        // A thread that polls has been woken and returns; the event that it got is freed here.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).take();
        calls.values().filter_map(Weak::upgrade).for_each(|call| call.abandon());
    }
}

impl EventQueue for Queue {
    fn ready_queue(&self) -> &ReadyQueue<Call> {
        &self.ready_queue
    }

    fn attach(&self, call: &Arc<Call>) -> Result<()> {
        let mut attached = self.attached();
        if attached.closed {
            return Err(freed());
        }
        attached.calls.insert(call.id(), Arc::downgrade(call));
        Ok(())
    }

    fn detach(&self, id: llama_infer_id) {
        self.attached().calls.remove(&id);
    }
}

fn freed() -> Failure {
    Failure::new(Status::InvalidHandle, "the queue was freed")
}

/// Creates a completion queue, for programs with an event loop that do not want callbacks on other threads.
///
/// On success `*queue` is a handle; free it with `llama_infer_queue_free`. Set `llama_infer_params.queue` to use it. Any
/// number of requests, of any number of engines, may share a queue.
///
/// Returns `INVALID_ARGUMENT` if `queue` is NULL, and `OUT_OF_MEMORY` if the process has no file descriptors left.
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

/// Returns a file descriptor that is readable while the queue has events, for use with `poll`, `epoll`, `kqueue`, `select`
/// or an event loop. Returns -1 if the queue is NULL or was freed.
///
/// The library owns the descriptor: do not read from it, write to it or close it. It is level-triggered, and may be readable
/// when there is no event. Call `llama_infer_poll` with a timeout of 0 until it returns `TIMEOUT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_queue_fd(queue: *const llama_infer_queue) -> c_int {
    let mut descriptor = -1;
    boundary(|| {
        descriptor = Queue::get(queue)?.descriptor;
        Ok(())
    });
    descriptor
}

/// Retrieves the next event of a queue.
///
/// Waits for at most `timeout_ms` milliseconds; a negative value means no limit, and 0 returns immediately. The events of
/// one request are delivered in order; the requests of a queue are served in turn.
///
/// `*event` is owned by the library and is valid until the next poll of this queue or `llama_infer_queue_free`. Only one
/// thread at a time may poll a queue. `event` must not be NULL.
///
/// Returns `TIMEOUT` if there is no event, `BUSY` if another thread is polling the queue, `INVALID_HANDLE` if the queue was
/// freed, including during the wait, and `IN_CALLBACK` in the log callback.
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

/// Frees a queue and closes its descriptor.
///
/// Unfinished requests of the queue are cancelled, and their remaining events are discarded. The event that the last poll
/// returned becomes invalid. A thread that is polling the queue is woken and waited for; the function waits for nothing
/// else.
///
/// If `queue` is NULL, nothing happens. Returns `INVALID_HANDLE` if the queue was freed already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_queue_free(queue: *mut llama_infer_queue) -> Status {
    boundary(|| {
        if !queue.is_null() {
            QUEUES.remove(queue)?.close();
        }
        Ok(())
    })
}
