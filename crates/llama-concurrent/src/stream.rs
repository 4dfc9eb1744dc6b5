//! From a worker to a reader: a bounded buffer that a thread can block on and a task can poll.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use llama_concurrent_types::Event;

/// Whether a request should go on being decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Keep the slot, but decode nothing until [`Engine::resume`](crate::Engine::resume).
    Pause,
}

/// Where the events of one request go.
///
/// Called on the worker thread between two decodes, so it must return quickly and never wait. If it panics, the
/// request is cancelled and nothing more is sent to it.
pub trait EventSink: Send {
    /// Takes one event. After an [`Event::Finished`] nothing follows.
    fn send(&mut self, event: Event) -> Flow;
}

impl<F: FnMut(Event) -> Flow + Send> EventSink for F {
    fn send(&mut self, event: Event) -> Flow {
        self(event)
    }
}

struct Buffer {
    events: VecDeque<Event>,
    /// Events that may lie here before the writer is asked to pause.
    capacity: usize,
    paused: bool,
    waker: Option<Waker>,
}

struct Shared {
    buffer: Mutex<Buffer>,
    readable: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worker's end.
pub(crate) struct StreamSink(Arc<Shared>);

/// The reader's end.
pub(crate) struct StreamSource(Arc<Shared>);

/// What a read gave, and whether the writer waits to be resumed.
pub(crate) struct Received {
    pub(crate) event: Event,
    pub(crate) resume: bool,
}

/// A buffer that asks its writer to pause at `capacity` events and to resume at half of that.
pub(crate) fn stream(capacity: usize) -> (StreamSink, StreamSource) {
    let buffer = Buffer { events: VecDeque::new(), capacity, paused: false, waker: None };
    let shared = Arc::new(Shared { buffer: Mutex::new(buffer), readable: Condvar::new() });
    (StreamSink(shared.clone()), StreamSource(shared))
}

impl EventSink for StreamSink {
    fn send(&mut self, event: Event) -> Flow {
        let mut buffer = self.0.lock();
        buffer.events.push_back(event);
        buffer.paused |= buffer.events.len() >= buffer.capacity;
        let flow = if buffer.paused { Flow::Pause } else { Flow::Continue };
        let waker = buffer.waker.take();
        drop(buffer);
        self.0.readable.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
        flow
    }
}

impl Buffer {
    fn take(&mut self) -> Option<Received> {
        let event = self.events.pop_front()?;
        let resume = self.paused && self.events.len() <= self.capacity / 2;
        self.paused &= !resume;
        Some(Received { event, resume })
    }
}

impl StreamSource {
    /// Waits for an event until `deadline`, if there is one.
    pub(crate) fn receive(&self, deadline: Option<Instant>) -> Option<Received> {
        let mut buffer = self.0.lock();
        loop {
            if let Some(received) = buffer.take() {
                return Some(received);
            }
            buffer = match deadline {
                None => self.0.readable.wait(buffer).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left == Duration::ZERO {
                        return None;
                    }
                    self.0.readable.wait_timeout(buffer, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// An event, or a promise to wake the task.
    pub(crate) fn poll(&self, task: &mut Context<'_>) -> Poll<Received> {
        let mut buffer = self.0.lock();
        match buffer.take() {
            Some(received) => Poll::Ready(received),
            None => {
                buffer.waker = Some(task.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama_concurrent_types::Delta;

    fn delta(index: usize) -> Event {
        let mut delta = Delta::default();
        delta.index = index;
        Event::Delta(delta)
    }

    #[test]
    fn a_full_buffer_asks_to_pause_and_an_emptied_one_to_resume() {
        let (mut sink, source) = stream(4);
        let flows: Vec<_> = (0..5).map(|i| sink.send(delta(i))).collect();
        assert_eq!(flows, [Flow::Continue, Flow::Continue, Flow::Continue, Flow::Pause, Flow::Pause]);
        let resumes: Vec<_> = (0..5).map(|_| source.receive(None).unwrap().resume).collect();
        assert_eq!(resumes, [false, false, true, false, false], "once, at half");
        assert!(source.receive(Some(Instant::now())).is_none());
        assert_eq!(sink.send(delta(5)), Flow::Continue);
    }

    #[test]
    fn a_blocked_reader_wakes_up() {
        let (mut sink, source) = stream(4);
        let reader = std::thread::spawn(move || matches!(source.receive(None).unwrap().event, Event::Delta(_)));
        sink.send(delta(0));
        assert!(reader.join().unwrap());
    }
}
