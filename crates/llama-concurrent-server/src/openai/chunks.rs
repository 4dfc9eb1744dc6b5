//! Chunks of a streamed response. Their common parts are serialised once and copied.

use llama_concurrent::{Delta, Engine, Finish};
use serde_json::{Value, json};

use super::FINGERPRINT;
use crate::{
    active_generation::ActiveGeneration,
    answer::{self, Usage},
    app::App,
    logprobs::{Entries, OfChat, OfText, Offset, Scored},
    params::RequestOptions,
    sse::{self, Format},
};

/// The route.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Chat,
    Text,
}

pub(crate) struct Chunks {
    kind: Kind,
    /// An event up to its choices.
    head: Vec<u8>,
    /// The rest of an event, after its choices.
    tail: &'static [u8],
    include_usage: bool,
    silent: bool,
    special: bool,
    n: usize,
    usage: Usage,
    timings: Value,
    engine: Engine,
    /// For each choice: tokens whose text is incomplete, and their offset in the output.
    scored: Vec<(Vec<Scored>, Offset)>,
}

impl Chunks {
    pub(crate) fn new(kind: Kind, app: &App, options: &RequestOptions) -> Self {
        let (prefix, object) = match kind {
            Kind::Chat => ("chatcmpl", "chat.completion.chunk"),
            Kind::Text => ("cmpl", "text_completion"),
        };
        let common = json!({
            "id": answer::id(prefix),
            "object": object,
            "created": answer::now(),
            "model": app.config.model_name,
            "system_fingerprint": FINGERPRINT,
        });
        let mut head = b"data: ".to_vec();
        sse::json(&mut head, &common);
        head.pop();
        head.extend_from_slice(b",\"choices\":[");
        Self {
            kind,
            head,
            tail: if options.include_usage { b"],\"usage\":null}\n\n" } else { b"]}\n\n" },
            include_usage: options.include_usage,
            silent: options.silent,
            special: options.params.special,
            n: options.n,
            usage: Usage::default(),
            timings: Value::Null,
            engine: app.engine.clone(),
            scored: Vec::new(),
        }
    }

    fn choice(&mut self, out: &mut Vec<u8>, index: usize, text: Option<&str>, role: bool, reason: Option<&str>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":");
        sse::json(out, &index);
        match (self.kind, text) {
            (Kind::Chat, Some(text)) if role => {
                out.extend_from_slice(b",\"delta\":{\"role\":\"assistant\",\"content\":");
                sse::json(out, text);
                out.push(b'}');
            }
            (Kind::Chat, Some(text)) => {
                out.extend_from_slice(b",\"delta\":{\"content\":");
                sse::json(out, text);
                out.push(b'}');
            }
            (Kind::Chat, None) => out.extend_from_slice(b",\"delta\":{}"),
            (Kind::Text, text) => {
                out.extend_from_slice(b",\"text\":");
                sse::json(out, text.unwrap_or_default());
            }
        }
        out.extend_from_slice(b",\"logprobs\":");
        match self.scored.get_mut(index) {
            Some((scored, offset)) if !scored.is_empty() => {
                let scored = std::mem::take(scored);
                let entries = Entries(&self.engine, &scored);
                match self.kind {
                    Kind::Chat => sse::json(out, &OfChat(entries)),
                    Kind::Text => {
                        let logprobs = OfText(entries, std::mem::take(offset));
                        sse::json(out, &logprobs);
                        *offset = logprobs.offsets().1;
                    }
                }
            }
            _ => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"finish_reason\":");
        sse::json(out, &reason);
        out.push(b'}');
        out.extend_from_slice(self.tail);
    }
}

impl Format for Chunks {
    fn open(&mut self, count: usize, out: &mut Vec<u8>) {
        let offset = Offset::start(self.special);
        self.scored.resize(count, (Vec::new(), offset));
        if self.kind == Kind::Chat {
            (0..count).for_each(|index| self.choice(out, index, Some(""), true, None));
        }
    }

    fn delta(&mut self, index: usize, _: &ActiveGeneration, delta: Delta, out: &mut Vec<u8>) {
        if let (Some(token), Some(found), false) = (delta.token, delta.logprobs, self.silent) {
            self.scored[index].0.push((token, *found));
        }
        if !delta.text.is_empty() && !self.silent {
            self.choice(out, index, Some(&delta.text), false, None);
        }
    }

    fn end(&mut self, index: usize, _: &ActiveGeneration, finish: &Finish, out: &mut Vec<u8>) {
        self.usage.add(&finish.timings, index.is_multiple_of(self.n), self.silent);
        if self.timings.is_null() {
            self.timings = answer::timings(&finish.timings);
        }
        self.choice(out, index, None, false, Some(answer::finish_reason(finish)));
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.include_usage {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"],\"usage\":");
            sse::json(out, &self.usage.json());
            out.extend_from_slice(b",\"timings\":");
            sse::json(out, &self.timings);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}
