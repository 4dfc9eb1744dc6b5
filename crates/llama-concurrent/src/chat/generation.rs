//! The handle of one answer.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_core::Stream;
use llama_concurrent_tools::{Event as ReplyEvent, Message as Reply};
use llama_concurrent_types::{Collector, Completion, Event, Finish, RequestId, Result};

use super::ReplyReader;
use crate::generation::Generation;

/// What an answer tells its caller: any number of pieces, then exactly one `Finished`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ChatEvent {
    /// A piece of a thought, of the content or of a call.
    Reply(ReplyEvent),
    /// The end; nothing follows.
    Finished(Box<Finish>),
}

/// A whole answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChatCompletion {
    /// Thoughts, content and calls.
    pub reply: Reply,
    /// What the model wrote, and why it ended.
    pub completion: Completion,
}

/// A running answer, which is used as a [`Generation`] is: blocking, or as a [`futures_core::Stream`]. Dropping it cancels
/// the request.
#[must_use = "dropping a generation cancels it"]
pub struct ChatGeneration {
    generation: Generation,
    reader: ReplyReader,
    collector: Collector,
    ready: VecDeque<ChatEvent>,
}

impl ChatGeneration {
    pub(crate) fn new(generation: Generation, reader: ReplyReader) -> Self {
        Self { generation, reader, collector: Collector::default(), ready: VecDeque::new() }
    }

    /// The request's id, as in [`Engine::cancel`](crate::Engine::cancel).
    pub fn id(&self) -> RequestId {
        self.generation.id()
    }

    /// Ends the request before its next token. What was generated can still be read, up to a `Finished` event.
    pub fn cancel(&self) {
        self.generation.cancel();
    }

    /// Waits for the next event; `None` once the answer is over.
    pub fn next_event(&mut self) -> Option<ChatEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let event = self.generation.next_event()?;
            self.take(event);
        }
    }

    /// The next event, or `None` if it does not come within `limit` or the answer is over.
    pub fn next_within(&mut self, limit: Duration) -> Option<ChatEvent> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let event = self.generation.next_within(deadline.saturating_duration_since(Instant::now()))?;
            self.take(event);
        }
    }

    /// Waits for the end and returns everything that was not read yet.
    ///
    /// # Errors
    /// The error of a generation that ended with [`FinishReason::Error`](crate::FinishReason::Error). Cancelled and expired
    /// ones are completions.
    pub fn wait(mut self) -> Result<ChatCompletion> {
        let mut reply = Reply::default();
        while let Some(event) = self.next_event() {
            match event {
                ChatEvent::Reply(event) => reply.add(event),
                ChatEvent::Finished(finish) => {
                    let completion = self.collector.finish(*finish).into_result()?;
                    return Ok(ChatCompletion { reply, completion });
                }
            }
        }
        unreachable!("a generation ends with its Finished event")
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Delta(mut delta) => {
                let events = self.reader.push(&delta.text);
                self.ready.extend(events.into_iter().map(ChatEvent::Reply));
                self.collector.add(&mut delta);
            }
            Event::Finished(finish) => {
                let events = self.reader.finish();
                self.ready.extend(events.into_iter().map(ChatEvent::Reply));
                self.ready.push_back(ChatEvent::Finished(finish));
            }
            _ => {}
        }
    }
}

/// The blocking iterator over the events of an answer; dropping it cancels what is left.
pub struct ChatEvents(ChatGeneration);

impl Iterator for ChatEvents {
    type Item = ChatEvent;

    fn next(&mut self) -> Option<ChatEvent> {
        self.0.next_event()
    }
}

impl IntoIterator for ChatGeneration {
    type Item = ChatEvent;
    type IntoIter = ChatEvents;

    fn into_iter(self) -> ChatEvents {
        ChatEvents(self)
    }
}

impl Stream for ChatGeneration {
    type Item = ChatEvent;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<ChatEvent>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(event));
            }
            match ready!(Pin::new(&mut self.generation).poll_next(task)) {
                Some(event) => self.take(event),
                None => return Poll::Ready(None),
            }
        }
    }
}
