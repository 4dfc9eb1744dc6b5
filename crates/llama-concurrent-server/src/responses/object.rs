//! The object of a response: what was asked, and what came of it.

use std::sync::Arc;

use llama_concurrent::{Engine, Finish, FinishReason, Timings};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    output::{COMPLETED, IN_PROGRESS, INCOMPLETE, Label, Output},
    request::Asked,
    store::{Kept, Owner, Store},
};
use crate::{
    answer,
    app::App,
    chat::parts::Part,
    error::{ApiError, ApiResult},
    logprobs::Entries,
    params::RequestOptions,
};

/// A response that is being made.
pub(super) struct Answer {
    pub(super) id: String,
    created: u64,
    model: String,
    /// Fields of the request that are told again, as JSON without its braces: they may be long, and are written several times.
    echo: String,
    /// Nothing but the end is told.
    silent: bool,
    /// For log probabilities.
    engine: Option<Engine>,
    keep: Option<Keep>,
    /// For what is kept here until the answer is over.
    _room: Option<OwnedSemaphorePermit>,
}

/// For a response that is kept.
struct Keep {
    store: Arc<Store>,
    owner: Owner,
    /// The conversation that it answers: a list in JSON, without its end.
    conversation: String,
}

#[derive(Serialize)]
struct Object<'a> {
    id: &'a str,
    object: &'static str,
    created_at: u64,
    completed_at: Option<u64>,
    status: &'a str,
    background: bool,
    error: Option<Value>,
    incomplete_details: Option<Value>,
    model: &'a str,
    output: Vec<Item<'a>>,
    usage: Option<Value>,
}

impl Answer {
    pub(super) fn new(app: &App, asked: Asked, options: &RequestOptions) -> ApiResult<Self> {
        let Asked { mut echo, conversation, owner, .. } = asked;
        for (name, value) in [("temperature", options.params.temperature), ("top_p", options.params.top_p)] {
            // A float's own digits.
            let value = (f64::from(value) * 1e6).round() / 1e6;
            echo.entry(name).or_insert(value.into());
        }
        let store = app.responses.clone();
        let length = conversation.as_ref().map_or(0, String::len);
        let mut answer = Self {
            id: answer::typed_id("resp"),
            created: answer::now(),
            model: app.config.model_name.clone(),
            echo: inside(&json_of(&echo)).to_owned(),
            silent: options.silent,
            engine: options.params.logprobs.map(|_| app.engine.clone()),
            keep: conversation.map(|conversation| Keep { store, owner, conversation }),
            _room: None,
        };
        answer._room = Some(app.room(length + answer.begun().len())?);
        Ok(answer)
    }

    /// The object before the answer.
    pub(super) fn begun(&self) -> String {
        self.write(&self.object(IN_PROGRESS, &Output::default()))
    }

    /// The whole object, which is kept if it is to be, and its status.
    pub(super) fn finish(mut self, output: Output, finish: &Finish) -> (&'static str, String) {
        self.complete(&output, finish)
    }

    /// As `finish`, once.
    pub(super) fn complete(&mut self, output: &Output, finish: &Finish) -> (&'static str, String) {
        let cut = finish.reason == FinishReason::Length;
        let status = if cut { INCOMPLETE } else { COMPLETED };
        let mut object = self.object(status, output);
        object.completed_at = (!cut).then(answer::now);
        object.incomplete_details = cut.then(|| json!({"reason": "max_output_tokens"}));
        object.usage = Some(usage(&finish.timings, output.reasoning_tokens, self.silent));
        let text = self.write(&object);
        if let Some(Keep { store, owner, mut conversation }) = self.keep.take() {
            // A list of one turn, or of none.
            let turn = json_of(&output.turn());
            if !inside(&turn).is_empty() {
                conversation.push(',');
                conversation.push_str(inside(&turn));
            }
            conversation.push(']');
            let items = output.items().map(|(part, label)| (label.id.clone(), json_of(&Item::new(part, label, None))));
            store.keep(&self.id, owner, Kept { object: text.clone(), conversation, items: items.collect() });
        }
        (status, text)
    }

    /// The object of a response that failed.
    pub(super) fn failed(&self, output: &Output, error: &ApiError) -> String {
        let mut object = self.object("failed", output);
        let code = if error.status.as_u16() == 429 { "rate_limit_exceeded" } else { "server_error" };
        object.error = Some(json!({"code": code, "message": error.message()}));
        self.write(&object)
    }

    fn object<'a>(&'a self, status: &'a str, output: &'a Output) -> Object<'a> {
        Object {
            id: &self.id,
            object: "response",
            created_at: self.created,
            completed_at: None,
            status,
            background: false,
            error: None,
            incomplete_details: None,
            model: &self.model,
            output: output.items().map(|(part, label)| Item::new(part, label, self.engine.as_ref())).collect(),
            usage: None,
        }
    }

    fn write(&self, object: &Object<'_>) -> String {
        let mut text = json_of(object);
        text.pop();
        text.reserve(self.echo.len() + 2);
        text.push(',');
        text.push_str(&self.echo);
        text.push('}');
        text
    }

    pub(super) fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    #[cfg(test)]
    pub(super) fn of_test(store: Arc<Store>) -> Self {
        let (owner, conversation) = (None, r#"[{"role":"user","texts":["Hi"]}"#.to_owned());
        let echo = r#""metadata":{"a":"b"}"#.to_owned();
        let keep = Some(Keep { store, owner, conversation });
        Self {
            id: "resp_1".into(),
            created: 1,
            model: "m".into(),
            echo,
            silent: false,
            engine: None,
            keep,
            _room: None,
        }
    }
}

fn json_of<T: Serialize>(value: &T) -> String {
    // Serialising plain data into memory cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}

/// A list or an object without what is around it.
fn inside(text: &str) -> &str {
    text.get(1..text.len().saturating_sub(1)).unwrap_or_default()
}

fn usage(timings: &Timings, reasoning_tokens: usize, silent: bool) -> Value {
    let (input, output) = (timings.n_prompt_tokens, if silent { 0 } else { timings.n_output_tokens });
    json!({
        "input_tokens": input,
        "input_tokens_details": {"cached_tokens": timings.n_cached_tokens, "cache_write_tokens": 0},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning_tokens},
        "total_tokens": input + output,
    })
}

/// An item of the output.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Item<'a> {
    Message { id: &'a str, status: &'a str, role: &'static str, content: Vec<TextPart<'a>> },
    Reasoning { id: &'a str, status: &'a str, summary: [(); 0], content: Vec<TextPart<'a>>, encrypted_content: () },
    FunctionCall { id: &'a str, status: &'a str, call_id: &'a str, name: &'a str, arguments: &'a str },
}

/// A part of an item.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum TextPart<'a> {
    OutputText { text: &'a str, annotations: [(); 0], logprobs: Logprobs<'a> },
    ReasoningText { text: &'a str },
}

/// Log probabilities, none without an engine that knows the tokens.
pub(super) struct Logprobs<'a>(pub(super) Option<Entries<'a>>);

impl Serialize for Logprobs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(entries) => entries.serialize(serializer),
            None => serializer.collect_seq([(); 0]),
        }
    }
}

impl<'a> Item<'a> {
    pub(super) fn new(part: &'a Part, label: &'a Label, engine: Option<&'a Engine>) -> Self {
        let Label { id, status, scored } = label;
        match part {
            Part::Text(_) | Part::Thought(_) => {
                let entries = engine.map(|engine| Entries(engine, scored));
                let content = TextPart::new(part, part.text_from(0), entries).into_iter().collect();
                Self::with_content(part, id, status, content)
            }
            Part::Call(call) => {
                let call_id = call.id.as_deref().unwrap_or_default();
                Self::FunctionCall { id, status, call_id, name: &call.name, arguments: &call.arguments }
            }
        }
    }

    /// The item before it says anything.
    pub(super) fn begun(part: &'a Part, label: &'a Label) -> Self {
        match part {
            Part::Text(_) | Part::Thought(_) => Self::with_content(part, &label.id, IN_PROGRESS, Vec::new()),
            Part::Call(call) => {
                let call_id = call.id.as_deref().unwrap_or_default();
                Self::FunctionCall { id: &label.id, status: IN_PROGRESS, call_id, name: &call.name, arguments: "" }
            }
        }
    }

    fn with_content(part: &Part, id: &'a str, status: &'a str, content: Vec<TextPart<'a>>) -> Self {
        match part {
            Part::Thought(_) => Self::Reasoning { id, status, summary: [], content, encrypted_content: () },
            _ => Self::Message { id, status, role: "assistant", content },
        }
    }
}

impl<'a> TextPart<'a> {
    /// None for a call.
    pub(super) fn new(part: &Part, text: &'a str, logprobs: Option<Entries<'a>>) -> Option<Self> {
        match part {
            Part::Text(_) => Some(Self::OutputText { text, annotations: [], logprobs: Logprobs(logprobs) }),
            Part::Thought(_) => Some(Self::ReasoningText { text }),
            Part::Call(_) => None,
        }
    }
}
