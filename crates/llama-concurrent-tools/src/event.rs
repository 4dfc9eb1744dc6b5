//! What a parser reports.

use std::mem;

use serde_json::{Value, json};

/// A piece of what the model said. Texts are never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// More of a thought.
    Reasoning(String),
    /// More of the answer.
    Content(String),
    /// A call begins. Its arguments follow, and at last its end; calls do not overlap.
    CallStart {
        /// Calls of a message are numbered from 0.
        index: usize,
        /// The id that the model gave it in front of the arguments, if it did.
        id: Option<String>,
        /// The tool's name.
        name: String,
    },
    /// More of the arguments: a piece of a JSON text.
    Arguments {
        /// The call.
        index: usize,
        /// A piece of JSON. The pieces of a complete call make one JSON value.
        json: String,
    },
    /// A call ends.
    CallEnd {
        /// The call.
        index: usize,
        /// The id that the model gave it behind the arguments, if it did.
        id: Option<String>,
        /// Whether the arguments are well-formed JSON up to their end. Otherwise the text broke off, or the model wrote
        /// something else, and the pieces are what it wrote.
        complete: bool,
    },
}

/// A call as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// The id that the model gave it. Most families have none.
    pub id: Option<String>,
    /// The tool's name.
    pub name: String,
    /// JSON as the model wrote it, or what its own form comes to in JSON.
    pub arguments: String,
    /// As in [`Event::CallEnd`].
    pub complete: bool,
}

/// All that a model said, put together from events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Its thoughts.
    pub reasoning: String,
    /// Its answer.
    pub content: String,
    /// Its calls, in their order.
    pub calls: Vec<ToolCall>,
}

impl Message {
    /// As a message of OpenAI's chat API. The content is null where there are calls and nothing else.
    pub fn to_message(&self) -> Value {
        let is_call = self.content.is_empty() && !self.calls.is_empty();
        let content = if is_call { Value::Null } else { self.content.as_str().into() };
        let mut message = json!({"role": "assistant", "content": content});
        if !self.reasoning.is_empty() {
            message["reasoning_content"] = self.reasoning.as_str().into();
        }
        if !self.calls.is_empty() {
            let call = |call: &ToolCall| {
                let function = json!({"name": call.name, "arguments": call.arguments});
                json!({"id": call.id, "type": "function", "function": function})
            };
            message["tool_calls"] = self.calls.iter().map(call).collect();
        }
        message
    }

    /// Adds what an event brings.
    pub fn add(&mut self, event: Event) {
        match event {
            Event::Reasoning(text) => self.reasoning += &text,
            Event::Content(text) => self.content += &text,
            Event::CallStart { id, name, .. } => self.calls.push(ToolCall { id, name, ..ToolCall::default() }),
            Event::Arguments { index, json } => {
                if let Some(call) = self.calls.get_mut(index) {
                    call.arguments += &json;
                }
            }
            Event::CallEnd { index, id, complete } => {
                if let Some(call) = self.calls.get_mut(index) {
                    call.id = mem::take(&mut call.id).or(id);
                    call.complete = complete;
                }
            }
        }
    }
}

impl Extend<Event> for Message {
    fn extend<I: IntoIterator<Item = Event>>(&mut self, events: I) {
        events.into_iter().for_each(|event| self.add(event));
    }
}

impl FromIterator<Event> for Message {
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> Self {
        let mut message = Self::default();
        message.extend(events);
        message
    }
}

/// Events on their way out; pieces of one kind become one.
#[derive(Debug, Default)]
pub(crate) struct Events(Vec<Event>);

impl Events {
    pub(crate) fn take(&mut self) -> Vec<Event> {
        mem::take(&mut self.0)
    }

    pub(crate) fn push(&mut self, event: Event) {
        self.0.push(event);
    }

    pub(crate) fn content(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Event::Content(last)) => last.push_str(text),
            _ => self.0.push(Event::Content(text.into())),
        }
    }

    pub(crate) fn reasoning(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Event::Reasoning(last)) => last.push_str(text),
            _ => self.0.push(Event::Reasoning(text.into())),
        }
    }

    pub(crate) fn arguments(&mut self, index: usize, piece: &str) {
        match self.0.last_mut() {
            _ if piece.is_empty() => {}
            Some(Event::Arguments { json, .. }) => json.push_str(piece),
            _ => self.0.push(Event::Arguments { index, json: piece.into() }),
        }
    }
}
