//! Who has something to tell: calls with events, in the order in which they should be heard.
//!
//! Callback threads and [`llama_infer_poll`](crate::queue) both read from a mailbox. A call lies in it at most once and
//! is read by one thread at a time, so its events stay in order; after each event it goes to the end of the line.

use std::{
    collections::VecDeque,
    io::{PipeReader, PipeWriter, Read, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

/// Where a call is: nowhere, in the mailbox, with a reader, or with a reader while there is more already. A new call is
/// with the one who makes it, so that nobody hears of it too early.
pub struct Turn(AtomicU8);

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const READ: u8 = 2;
const READ_MORE: u8 = 3;

impl Turn {
    pub fn new() -> Self {
        Self(AtomicU8::new(READ))
    }

    /// There is something to read. Whether it must be put into the mailbox for that.
    #[must_use]
    pub fn wake(&self) -> bool {
        let next = |state| match state {
            IDLE => Some(QUEUED),
            READ => Some(READ_MORE),
            _ => None,
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(IDLE)
    }

    /// It was taken out of the mailbox.
    pub fn begin(&self) {
        self.0.store(READ, Ordering::Release);
    }

    /// It had nothing more to read. Whether that changed meanwhile, and it must be put back.
    #[must_use]
    pub fn end(&self) -> bool {
        if self.0.compare_exchange(READ, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return false;
        }
        self.0.store(QUEUED, Ordering::Release);
        true
    }

    /// It may have more; it must be put back.
    pub fn again(&self) {
        self.0.store(QUEUED, Ordering::Release);
    }
}

/// The line.
pub struct Mailbox<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

struct State<T> {
    ready: VecDeque<Arc<T>>,
    closed: bool,
    signal: Option<Signal>,
}

/// What came of waiting.
pub enum Taken<T> {
    /// Somebody with something to tell.
    Ready(Arc<T>),
    /// Nobody had until the time was over.
    Nothing,
    /// Nobody ever will.
    Closed,
}

impl<T> Mailbox<T> {
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State { ready: VecDeque::new(), closed: false, signal: None }),
            filled: Condvar::new(),
        }
    }

    /// With a descriptor that is readable while the mailbox is not empty.
    pub fn with_signal(signal: Signal) -> Self {
        let mailbox = Self::new();
        mailbox.lock().signal = Some(signal);
        mailbox
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
        state.show();
        drop(state);
        self.filled.notify_one();
    }

    /// The first of the line; waits for one until `deadline` if there is one, and for ever otherwise.
    pub fn take(&self, deadline: Option<Instant>) -> Taken<T> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Taken::Closed;
            }
            if let Some(item) = state.ready.pop_front() {
                state.show();
                return Taken::Ready(item);
            }
            state = match deadline {
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left == Duration::ZERO {
                        return Taken::Nothing;
                    }
                    self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Throws everything away; every reader, now and later, is told.
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
    /// Makes the descriptor tell the truth.
    fn show(&mut self) {
        let full = !self.ready.is_empty();
        if let Some(signal) = &mut self.signal {
            signal.set(full);
        }
    }
}

/// A pipe with one byte in it, or none.
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
    fn a_call_is_put_into_the_line_once() {
        let turn = Turn::new();
        assert!(!turn.wake(), "it is not finished yet");
        assert!(turn.end());
        turn.begin();
        assert!(!turn.end());
        assert!(turn.wake());
        assert!(!turn.wake(), "it lies there already");
        turn.begin();
        assert!(!turn.wake(), "its reader will see");
        assert!(turn.end(), "and puts it back");
        turn.begin();
        assert!(!turn.end());
        assert!(turn.wake());
    }

    #[test]
    fn the_line_is_first_in_first_out_and_ends_when_closed() {
        let mailbox = Mailbox::new();
        mailbox.put(Arc::new(1));
        mailbox.put(Arc::new(2));
        for expected in [1, 2] {
            assert!(matches!(mailbox.take(None), Taken::Ready(item) if *item == expected));
        }
        assert!(matches!(mailbox.take(Some(Instant::now())), Taken::Nothing));
        mailbox.put(Arc::new(3));
        mailbox.close();
        mailbox.put(Arc::new(4));
        assert!(matches!(mailbox.take(None), Taken::Closed));
    }

    #[test]
    fn a_waiting_reader_is_woken() {
        let mailbox = Arc::new(Mailbox::new());
        let reader = std::thread::spawn({
            let mailbox = mailbox.clone();
            move || matches!(mailbox.take(None), Taken::Ready(_))
        });
        mailbox.put(Arc::new(()));
        assert!(reader.join().unwrap());
    }
}
