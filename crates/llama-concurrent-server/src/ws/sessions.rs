//! The generations of one socket.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use llama_concurrent::{Delta, Event, Finish, FinishReason};
use serde_json::json;

use super::error;
use crate::{
    active_generation::{ActiveGeneration, failure},
    answer::{self, Usage},
    in_flight::Phase,
};

#[derive(Default)]
pub(super) struct Sessions(Vec<Session>);

struct Session {
    id: String,
    running: ActiveGeneration,
    silent: bool,
    /// The client's id.
    cancelled: bool,
    /// The state last sent.
    phase: Phase,
}

impl Sessions {
    pub(super) fn add(&mut self, id: String, running: ActiveGeneration, silent: bool) {
        self.0.push(Session { id, running, silent, cancelled: false, phase: Phase::Waiting });
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
        if delta.text.is_empty() || self.silent {
            return;
        }
        let (slot, n) = (self.running.in_flight.slot(), delta.index + 1);
        out.push(json!({"type": "delta", "id": self.id, "text": delta.text, "n": n, "slot": slot}).to_string());
    }

    fn end(&self, finish: &Finish) -> String {
        let by_client = self.cancelled && finish.reason == FinishReason::Cancelled;
        if let (false, Err(problem)) = (by_client, failure(finish)) {
            return error(Some(&self.id), &problem);
        }
        let mut usage = Usage::default();
        usage.add(&finish.timings, true, self.silent);
        let reason = if by_client { "cancelled" } else { answer::finish_reason(finish) };
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
