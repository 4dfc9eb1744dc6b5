//! The handle of one request: blocking for threads, a stream for tasks. Dropping it cancels the request.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_core::Stream;
use llama_concurrent_types::{Collector, Completion, Event, RequestId, Result};

use crate::{
    stream::{Received, StreamSource},
    ticket::Ticket,
};

/// A running generation.
///
/// `for event in generation` and [`next_event`](Self::next_event) block for each event; as a [`futures_core::Stream`]
/// it can be awaited under any executor. All end after [`Event::Finished`]. A reader that falls behind pauses its own
/// request only. (It is not itself an [`Iterator`], so that `next` means the stream's without ambiguity.)
#[must_use = "dropping a generation cancels it"]
pub struct Generation {
    ticket: Ticket,
    source: StreamSource,
    finished: bool,
}

impl Generation {
    pub(crate) fn new(ticket: Ticket, source: StreamSource) -> Self {
        Self { ticket, source, finished: false }
    }

    /// The request's id, as in [`Engine::cancel`](crate::Engine::cancel).
    pub fn id(&self) -> RequestId {
        self.ticket.id()
    }

    /// Whether its [`Event::Finished`] was read.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Ends the request before its next token. What was generated can still be read, up to a `Finished` event.
    pub fn cancel(&self) {
        self.ticket.cancel();
    }

    /// Waits for the next event; `None` once the generation is over.
    pub fn next_event(&mut self) -> Option<Event> {
        if self.finished {
            return None;
        }
        let received = self.source.receive(None)?;
        Some(self.note(received))
    }

    /// The next event, or `None` if it does not come within `limit` or the generation is over.
    pub fn next_within(&mut self, limit: Duration) -> Option<Event> {
        if self.finished {
            return None;
        }
        let received = self.source.receive(Some(Instant::now() + limit))?;
        Some(self.note(received))
    }

    /// Waits for the end and returns everything that was not read yet.
    ///
    /// # Errors
    /// The error of a generation that ended with [`FinishReason::Error`](crate::FinishReason::Error). Cancelled and expired ones are completions.
    pub fn wait(mut self) -> Result<Completion> {
        let mut collector = Collector::default();
        loop {
            let received = self.source.receive(None);
            if let Some(done) = received.and_then(|received| collector.take(self.note(received))) {
                return done;
            }
        }
    }

    fn note(&mut self, received: Received) -> Event {
        if received.resume {
            self.ticket.resume();
        }
        self.finished = matches!(received.event, Event::Finished(_));
        received.event
    }
}

/// The blocking iterator over a generation's events; dropping it cancels what is left.
pub struct Events(Generation);

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.0.next_event()
    }
}

impl IntoIterator for Generation {
    type Item = Event;
    type IntoIter = Events;

    fn into_iter(self) -> Events {
        Events(self)
    }
}

impl Stream for Generation {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Event>> {
        if self.finished {
            return Poll::Ready(None);
        }
        match self.source.poll(task) {
            Poll::Ready(received) => Poll::Ready(Some(self.note(received))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if !self.finished {
            self.ticket.cancel();
        }
    }
}
