//! The ready queue of a small task scheduler: calls that have events, first in, first out.
//!
//! Callback threads and [`llama_infer_poll`](crate::queue) both take calls from a ready queue. A call is in it at most once
//! and is read by one thread at a time, so its events stay in order. After each event it goes to the back of the queue.

use std::{
    collections::VecDeque,
    io::{PipeReader, PipeWriter, Read, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

/// Where a call is: idle, in the ready queue, with a reader, or with a reader while more events have arrived. A new call
/// starts as being read by the thread that creates it, so that no event is delivered too early.
pub struct TaskState(AtomicU8);

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const READ: u8 = 2;
const READ_MORE: u8 = 3;

impl TaskState {
    pub fn new() -> Self {
        Self(AtomicU8::new(READ))
    }

    /// Notes that an event has arrived. Returns whether the caller must put the call into the ready queue.
    #[must_use]
    pub fn wake(&self) -> bool {
        let next = |state| match state {
            IDLE => Some(QUEUED),
            READ => Some(READ_MORE),
            _ => None,
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(IDLE)
    }

    /// The call was taken out of the ready queue.
    pub fn begin(&self) {
        self.0.store(READ, Ordering::Release);
    }

    /// The reader found no more events. Returns whether one has arrived since, so that the call must be put back.
    #[must_use]
    pub fn end(&self) -> bool {
        if self.0.compare_exchange(READ, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return false;
        }
        self.0.store(QUEUED, Ordering::Release);
        true
    }

    /// The call may have more events; the caller puts it back.
    pub fn again(&self) {
        self.0.store(QUEUED, Ordering::Release);
    }
}

/// A blocking queue of calls that have events.
pub struct ReadyQueue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

struct State<T> {
    ready: VecDeque<Arc<T>>,
    closed: bool,
    signal: Option<Signal>,
}

/// The result of [`ReadyQueue::take`].
pub enum Taken<T> {
    /// An item that is ready to be read.
    Ready(Arc<T>),
    /// The deadline passed.
    TimedOut,
    /// The queue was closed.
    Closed,
}

impl<T> ReadyQueue<T> {
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State { ready: VecDeque::new(), closed: false, signal: None }),
            filled: Condvar::new(),
        }
    }

    /// With a descriptor that is readable while the queue is not empty.
    pub fn with_signal(signal: Signal) -> Self {
        let ready_queue = Self::new();
        ready_queue.lock().signal = Some(signal);
        ready_queue
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn put(&self, item: Arc<T>) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        state.ready.push_back(item);
        state.update_signal();
        drop(state);
        self.filled.notify_one();
    }

    /// Takes the first item. Waits until `deadline`, or indefinitely without one.
    pub fn take(&self, deadline: Option<Instant>) -> Taken<T> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Taken::Closed;
            }
            if let Some(item) = state.ready.pop_front() {
                state.update_signal();
                return Taken::Ready(item);
            }
            state = match deadline {
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left == Duration::ZERO {
                        return Taken::TimedOut;
                    }
                    self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Discards all items. Every current and later reader gets [`Taken::Closed`].
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let rest = std::mem::take(&mut state.ready);
        state.signal = None;
        drop(state);
        self.filled.notify_all();
        // Outside of the lock: what is dropped here may wake others.
        drop(rest);
    }
}

impl<T> State<T> {
    /// Makes the descriptor readable or not, to match the queue.
    fn update_signal(&mut self) {
        let full = !self.ready.is_empty();
        if let Some(signal) = &mut self.signal {
            signal.set(full);
        }
    }
}

/// A pipe that holds one byte while it is readable.
pub struct Signal {
    reader: PipeReader,
    writer: PipeWriter,
    readable: bool,
}

impl Signal {
    pub fn new() -> std::io::Result<Self> {
        let (reader, writer) = std::io::pipe()?;
        Ok(Self { reader, writer, readable: false })
    }

    pub fn reader(&self) -> &PipeReader {
        &self.reader
    }

    fn set(&mut self, readable: bool) {
        if self.readable == readable {
            return;
        }
        // Neither blocks: there is at most one byte, and it is only read while it is there.
        let done = if readable { self.writer.write_all(&[1]) } else { self.reader.read_exact(&mut [0]) };
        if done.is_ok() {
            self.readable = readable;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_queued_once() {
        let state = TaskState::new();
        assert!(!state.wake(), "its creator has not released it yet");
        assert!(state.end());
        state.begin();
        assert!(!state.end());
        assert!(state.wake());
        assert!(!state.wake(), "it is queued already");
        state.begin();
        assert!(!state.wake(), "its reader will see the event");
        assert!(state.end(), "and puts it back");
        state.begin();
        assert!(!state.end());
        assert!(state.wake());
    }

    #[test]
    fn the_queue_is_first_in_first_out_until_it_is_closed() {
        let ready_queue = ReadyQueue::new();
        ready_queue.put(Arc::new(1));
        ready_queue.put(Arc::new(2));
        for expected in [1, 2] {
            assert!(matches!(ready_queue.take(None), Taken::Ready(item) if *item == expected));
        }
        assert!(matches!(ready_queue.take(Some(Instant::now())), Taken::TimedOut));
        ready_queue.put(Arc::new(3));
        ready_queue.close();
        ready_queue.put(Arc::new(4));
        assert!(matches!(ready_queue.take(None), Taken::Closed));
    }

    #[test]
    fn a_waiting_reader_is_woken() {
        let ready_queue = Arc::new(ReadyQueue::new());
        let reader = std::thread::spawn({
            let ready_queue = ready_queue.clone();
            move || matches!(ready_queue.take(None), Taken::Ready(_))
        });
        ready_queue.put(Arc::new(()));
        assert!(reader.join().unwrap());
    }
}
