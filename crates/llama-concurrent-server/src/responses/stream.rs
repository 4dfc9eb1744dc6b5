//! Streamed responses: events of items that begin, grow and end.

use llama_concurrent::{Delta, ReplyEvent};
use serde::Serialize;
use serde_json::json;

use super::{
    object::{Answer, Item, Logprobs, TextPart},
    output::{IN_PROGRESS, INCOMPLETE, Output},
};
use crate::{
    chat::{
        parts::{Change, Part},
        reply::{Ended, ReplyFormat},
    },
    error::ApiError,
    logprobs::{Entries, Scored},
    sse,
};

pub(super) struct Events {
    answer: Answer,
    output: Output,
    sequence: u64,
}

/// What all events have.
#[derive(Serialize)]
struct Event<'a, T> {
    r#type: &'a str,
    sequence_number: u64,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize)]
struct OfItem<'a> {
    output_index: usize,
    item: Item<'a>,
}

#[derive(Serialize)]
struct OfPart<'a> {
    item_id: &'a str,
    output_index: usize,
    content_index: usize,
    part: Option<TextPart<'a>>,
}

#[derive(Serialize)]
struct OfText<'a> {
    item_id: &'a str,
    output_index: usize,
    content_index: usize,
    delta: &'a str,
    logprobs: Logprobs<'a>,
}

impl Events {
    pub(super) fn new(answer: Answer) -> Self {
        Self { answer, output: Output::default(), sequence: 0 }
    }

    /// Writes an event whose response is JSON already.
    fn response(&mut self, name: &str, object: &str, out: &mut Vec<u8>) {
        let head =
            format!("event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":{},\"response\":", self.sequence);
        self.sequence += 1;
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(object.as_bytes());
        out.extend_from_slice(b"}\n\n");
    }

    /// An item begins.
    fn begin(&mut self, index: usize, out: &mut Vec<u8>) {
        let Some((part, label)) = self.output.get(index) else { return };
        let sequence = &mut self.sequence;
        emit(
            sequence,
            out,
            "response.output_item.added",
            OfItem { output_index: index, item: Item::begun(part, label) },
        );
        if let Some(empty) = TextPart::new(part, "", None) {
            let of = OfPart { item_id: &label.id, output_index: index, content_index: 0, part: Some(empty) };
            emit(sequence, out, "response.content_part.added", of);
        }
    }

    /// An item grows from this length.
    fn grow(&mut self, index: usize, from: usize, scored: &[Scored], out: &mut Vec<u8>) {
        let Some((part, label)) = self.output.get(index) else { return };
        let (item_id, delta) = (label.id.as_str(), part.text_from(from));
        if delta.is_empty() {
            return;
        }
        let sequence = &mut self.sequence;
        match part {
            Part::Text(_) => {
                let logprobs = Logprobs(self.answer.engine().map(|engine| Entries(engine, scored)));
                let of = OfText { item_id, output_index: index, content_index: 0, delta, logprobs };
                emit(sequence, out, "response.output_text.delta", of);
            }
            Part::Thought(_) => {
                let of = json!({"item_id": item_id, "output_index": index, "content_index": 0, "delta": delta});
                emit(sequence, out, "response.reasoning_text.delta", of);
            }
            Part::Call(_) => {
                let of = json!({"item_id": item_id, "output_index": index, "delta": delta});
                emit(sequence, out, "response.function_call_arguments.delta", of);
            }
        }
    }

    /// An item has ended.
    fn finish(&mut self, index: usize, out: &mut Vec<u8>) {
        let Some((part, label)) = self.output.get(index) else { return };
        let (item_id, text, sequence) = (label.id.as_str(), part.text_from(0), &mut self.sequence);
        match part {
            Part::Text(_) => {
                let of = json!({"item_id": item_id, "output_index": index, "content_index": 0, "text": text, "logprobs": []});
                emit(sequence, out, "response.output_text.done", of);
            }
            Part::Thought(_) => {
                let of = json!({"item_id": item_id, "output_index": index, "content_index": 0, "text": text});
                emit(sequence, out, "response.reasoning_text.done", of);
            }
            Part::Call(call) => {
                let of = json!({"item_id": item_id, "output_index": index, "name": call.name, "arguments": text});
                emit(sequence, out, "response.function_call_arguments.done", of);
            }
        }
        if let Some(whole) = TextPart::new(part, text, None) {
            let of = OfPart { item_id, output_index: index, content_index: 0, part: Some(whole) };
            emit(sequence, out, "response.content_part.done", of);
        }
        emit(
            sequence,
            out,
            "response.output_item.done",
            OfItem { output_index: index, item: Item::new(part, label, None) },
        );
    }

    /// The item that goes on.
    fn open(&self) -> Option<usize> {
        let last = self.output.len().checked_sub(1)?;
        self.output.get(last).filter(|(_, label)| label.status == IN_PROGRESS).map(|_| last)
    }
}

fn emit<T: Serialize>(sequence: &mut u64, out: &mut Vec<u8>, name: &str, body: T) {
    sse::event(out, name, &Event { r#type: name, sequence_number: *sequence, body });
    *sequence += 1;
}

impl ReplyFormat for Events {
    fn open(&mut self, _: usize, out: &mut Vec<u8>) {
        let begun = self.answer.begun();
        self.response("response.created", &begun, out);
        self.response("response.in_progress", &begun, out);
    }

    fn token(&mut self, _: usize, delta: &mut Delta) {
        self.output.token(delta);
    }

    fn piece(&mut self, _: usize, piece: ReplyEvent, out: &mut Vec<u8>) {
        let before = Events::open(self);
        let Some((change, scored)) = self.output.add(piece) else { return };
        let last = self.output.len() - 1;
        match change {
            Change::Began => {
                if let Some(before) = before {
                    self.finish(before, out);
                }
                self.begin(last, out);
                self.grow(last, 0, &scored, out);
            }
            Change::Grew(from) => self.grow(last, from, &scored, out),
            Change::Ended => {
                self.output.end_last(false);
                self.finish(last, out);
            }
        }
    }

    fn end(&mut self, _: usize, ended: Ended<'_>, out: &mut Vec<u8>) {
        let (before, open) = (self.output.len(), Events::open(self));
        self.output.close(ended.finish);
        // An answer without any item got one.
        if self.output.len() > before {
            self.begin(before, out);
            self.finish(before, out);
        } else if let Some(open) = open {
            self.finish(open, out);
        }
        let (status, object) = self.answer.complete(&self.output, ended.finish);
        let name = if status == INCOMPLETE { "response.incomplete" } else { "response.completed" };
        self.response(name, &object, out);
    }

    fn fail(&mut self, _: usize, error: &ApiError, out: &mut Vec<u8>) {
        let object = self.answer.failed(&self.output, error);
        self.response("response.failed", &object, out);
    }
}

#[cfg(test)]
mod tests;
