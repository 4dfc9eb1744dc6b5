//! The generations of one socket.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use llama_concurrent::{Delta, Event, Finish, FinishReason, ReplyEvent, ReplyReader};
use serde_json::{Value, json};

use super::error;
use crate::{
    active_generation::{ActiveGeneration, failure},
    answer::{self, Usage},
    in_flight::Phase,
};

#[derive(Default)]
pub(super) struct Sessions(Vec<Session>);

struct Session {
    /// The client's id.
    id: String,
    running: ActiveGeneration,
    /// Reads the answer to a chat.
    reader: Option<ReplyReader>,
    silent: bool,
    cancelled: bool,
    /// The state last sent.
    phase: Phase,
}

impl Sessions {
    pub(super) fn add(&mut self, id: String, running: ActiveGeneration, reader: Option<ReplyReader>, silent: bool) {
        self.0.push(Session { id, running, reader, silent, cancelled: false, phase: Phase::Waiting });
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.0.iter().any(|session| session.id == id)
    }

    /// Cancels a generation; its last message follows. An unknown id is ignored, because messages may cross.
    pub(super) fn cancel(&mut self, id: &str) {
        if let Some(session) = self.0.iter_mut().find(|session| session.id == id) {
            session.cancelled = true;
            session.running.cancel();
        }
    }

    pub(super) fn any_without_token(&self) -> bool {
        self.0.iter().any(|session| session.phase != Phase::Decode)
    }

    /// State messages for those that got a slot.
    pub(super) fn changed_states(&mut self) -> Vec<String> {
        let changed = self.0.iter_mut().filter_map(|session| {
            let (phase, slot) = (session.running.in_flight.phase(), session.running.in_flight.slot());
            if phase == session.phase {
                return None;
            }
            session.phase = phase;
            Some(json!({"type": "state", "id": session.id, "state": phase.as_str(), "slot": slot}).to_string())
        });
        changed.collect()
    }

    /// Waits for events and returns all messages that are due; forever without generations.
    pub(super) async fn next(&mut self) -> Vec<String> {
        poll_fn(|task| {
            let mut out = Vec::new();
            self.0.retain_mut(|session| session.collect(task, &mut out));
            if out.is_empty() { Poll::Pending } else { Poll::Ready(out) }
        })
        .await
    }
}

impl Session {
    /// Takes the available events. Returns whether the generation continues.
    fn collect(&mut self, task: &mut Context<'_>, out: &mut Vec<String>) -> bool {
        loop {
            match Pin::new(&mut self.running).poll_next(task) {
                Poll::Pending => return true,
                Poll::Ready(Some(Event::Delta(delta))) => self.delta(&delta, out),
                Poll::Ready(Some(Event::Finished(finish))) => {
                    if let Some(pieces) = self.reader.as_mut().map(ReplyReader::finish) {
                        self.pieces(pieces, out);
                    }
                    out.push(self.end(&finish));
                    return false;
                }
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => return false,
            }
        }
    }

    fn delta(&mut self, delta: &Delta, out: &mut Vec<String>) {
        self.phase = Phase::Decode;
        if let Some(reader) = &mut self.reader {
            let pieces = reader.push(&delta.text);
            return self.pieces(pieces, out);
        }
        if !delta.text.is_empty() && !self.silent {
            out.push(self.piece(json!({"type": "delta", "text": delta.text})));
        }
    }

    /// The pieces of an answer to a chat.
    fn pieces(&self, pieces: Vec<ReplyEvent>, out: &mut Vec<String>) {
        let message = |piece| match piece {
            ReplyEvent::Content(text) => Some(json!({"type": "delta", "text": text})),
            ReplyEvent::Reasoning(text) => Some(json!({"type": "reasoning", "text": text})),
            ReplyEvent::CallStart { index, id, name } => {
                Some(json!({"type": "tool_call", "index": index, "call_id": id, "name": name}))
            }
            ReplyEvent::Arguments { index, json } => {
                Some(json!({"type": "arguments", "index": index, "arguments": json}))
            }
            _ => None,
        };
        if !self.silent {
            out.extend(pieces.into_iter().filter_map(message).map(|message| self.piece(message)));
        }
    }

    /// A piece with what all have.
    fn piece(&self, mut message: Value) -> String {
        message["id"] = json!(self.id);
        message["n"] = json!(self.running.in_flight.n_output());
        message["slot"] = json!(self.running.in_flight.slot());
        message.to_string()
    }

    fn end(&self, finish: &Finish) -> String {
        let by_client = self.cancelled && finish.reason == FinishReason::Cancelled;
        if let (false, Err(problem)) = (by_client, failure(finish)) {
            return error(Some(&self.id), &problem);
        }
        let mut usage = Usage::default();
        usage.add(&finish.timings, true, self.silent);
        let has_calls = self.reader.as_ref().is_some_and(ReplyReader::has_calls);
        let reason = if by_client { "cancelled" } else { answer::finish_reason(finish, has_calls) };
        json!({
            "type": "finished",
            "id": self.id,
            "finish_reason": reason,
            "usage": usage.json(),
            "timings": answer::timings(&finish.timings),
            "slot": self.running.in_flight.slot(),
        })
        .to_string()
    }
}
