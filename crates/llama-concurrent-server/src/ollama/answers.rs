//! Answers, streamed as a line of JSON for each piece, or whole as one. The last line has the figures.

use std::time::Duration;

use axum::response::Response;
use llama_concurrent::{Delta, Engine, Finish, FinishReason, Reply, ReplyEvent, ReplyForm, Timings, ToolCall};
use serde::Serialize;
use serde_json::{Value, json};

use super::request::Common;
use crate::{
    active_generation::{self, ActiveGeneration, collect_all},
    app::App,
    chat::reply::{Ended, Replies, ReplyFormat},
    error::{ApiError, ApiResult, json_text},
    guard::Peer,
    logprobs::{Entries, Scored},
    sse::{self, Format},
};

const CONTENT_TYPE: &str = "application/x-ndjson";
/// White space in front of a line, which readers of JSON skip. An empty line would be an error to most.
const KEEP_ALIVE: &[u8] = b" ";

/// What a route calls its texts.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// `message`.
    Chat,
    /// `response`.
    Text,
}

/// How the answers to a request are written.
pub(super) struct Answers {
    shape: Shape,
    model: String,
    engine: Engine,
    stream: bool,
    unloads: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    model: &'a str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Entries<'a>>,
    done: bool,
    #[serde(flatten)]
    end: Option<End>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tool_calls: &'a [Value],
}

/// How an answer ended.
#[derive(Serialize)]
struct End {
    done_reason: &'static str,
    #[serde(flatten)]
    figures: Option<Figures>,
}

/// Durations are in nanoseconds.
#[derive(Serialize)]
struct Figures {
    total_duration: u64,
    /// The model is loaded; what passes before its work is the wait for a slot.
    load_duration: u64,
    prompt_eval_count: usize,
    prompt_eval_duration: u64,
    eval_count: usize,
    eval_duration: u64,
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl End {
    fn new(finish: &Finish) -> Self {
        let done_reason = if finish.reason == FinishReason::Length { "length" } else { "stop" };
        Self { done_reason, figures: Some(Figures::new(&finish.timings)) }
    }
}

impl Figures {
    fn new(timings: &Timings) -> Self {
        let ttft = timings.ttft.unwrap_or(timings.e2e);
        Self {
            total_duration: nanos(timings.e2e),
            load_duration: nanos(timings.queue),
            prompt_eval_count: timings.n_prompt_tokens,
            prompt_eval_duration: nanos(ttft.saturating_sub(timings.queue)),
            eval_count: timings.n_output_tokens,
            eval_duration: nanos(timings.e2e.saturating_sub(ttft)),
        }
    }
}

/// What a line says.
#[derive(Default)]
struct Said<'a> {
    content: &'a str,
    thinking: &'a str,
    calls: &'a [Value],
    scored: &'a [Scored],
}

impl Answers {
    pub(super) fn new(app: &App, shape: Shape, common: &Common) -> Self {
        let (model, engine) = (common.model.clone(), app.engine.clone());
        Self { shape, model, engine, stream: common.stream, unloads: common.unloads }
    }

    /// The response to a request without a prompt, by which clients load or unload a model.
    pub(super) fn loaded(&self) -> Response {
        let done_reason = if self.unloads { "unload" } else { "load" };
        let mut out = Vec::new();
        self.write(&mut out, &Said::default(), Some(End { done_reason, figures: None }));
        json_text(out)
    }

    /// With a form, the answer is one to a chat.
    pub(super) async fn respond(
        self,
        app: &App,
        peer: &Peer,
        form: Option<ReplyForm>,
        all: Vec<ActiveGeneration>,
    ) -> ApiResult<Response> {
        let keep_alive = app.config.limits.keep_alive;
        match form {
            Some(form) if self.stream => {
                Ok(sse::respond(all, Replies::new(form, false, Lines::new(self)), keep_alive, peer))
            }
            None if self.stream => Ok(sse::respond(all, TextLines(Lines::new(self)), keep_alive, peer)),
            form => self.whole(app, form, all).await,
        }
    }

    async fn whole(self, app: &App, form: Option<ReplyForm>, all: Vec<ActiveGeneration>) -> ApiResult<Response> {
        let outcomes = collect_all(all).await?;
        let load = active_generation::load(&outcomes);
        let write = move |_: &_| {
            let mut outcomes = outcomes.into_iter();
            let outcome = outcomes.next().ok_or_else(|| ApiError::internal("there is no answer"))?;
            let mut reply = match form {
                Some(form) => form.read(&outcome.text),
                None => Reply { content: outcome.text, ..Reply::default() },
            };
            let mut calls = Vec::new();
            for (index, call) in std::mem::take(&mut reply.calls).iter().enumerate() {
                match written(index, call) {
                    Ok(call) => calls.push(call),
                    Err(text) => reply.content += &text,
                }
            }
            let Reply { content, reasoning, .. } = &reply;
            let said = Said { content, thinking: reasoning, calls: &calls, scored: &outcome.logprobs };
            let mut out = Vec::new();
            self.write(&mut out, &said, Some(End::new(&outcome.finish)));
            Ok(out)
        };
        Ok(json_text(app.lanes.run(load, write).await?))
    }

    fn write(&self, out: &mut Vec<u8>, said: &Said<'_>, end: Option<End>) {
        let thinking = (!said.thinking.is_empty()).then_some(said.thinking);
        let (message, response, thinking) = match self.shape {
            Shape::Text => (None, Some(said.content), thinking),
            Shape::Chat => {
                let (content, tool_calls) = (said.content, said.calls);
                (Some(Message { role: "assistant", content, thinking, tool_calls }), None, None)
            }
        };
        let line = Line {
            model: &self.model,
            created_at: jiff::Timestamp::now().to_string(),
            message,
            response,
            thinking,
            logprobs: (!said.scored.is_empty()).then_some(Entries(&self.engine, said.scored)),
            done: end.is_some(),
            end,
        };
        sse::json(out, &line);
        out.push(b'\n');
    }
}

/// A call, whose arguments are an object. What is none has broken off or is no JSON, and must not be carried out: it is
/// given as text.
fn written(index: usize, call: &ToolCall) -> Result<Value, String> {
    let ToolCall { id, name, arguments, .. } = call;
    let arguments = match arguments.trim() {
        "" => json!({}),
        text => match serde_json::from_str(text) {
            Ok(value @ Value::Object(_)) => value,
            _ => return Err(format!("{name}({arguments}")),
        },
    };
    Ok(json!({"id": id, "function": {"index": index, "name": name, "arguments": arguments}}))
}

/// Lines of an answer to a chat.
struct Lines {
    answers: Answers,
    /// The calls so far.
    calls: Reply,
    /// Tokens that were in no line yet.
    scored: Vec<Scored>,
}

impl Lines {
    fn new(answers: Answers) -> Self {
        Self { answers, calls: Reply::default(), scored: Vec::new() }
    }

    fn score(&mut self, delta: &mut Delta) {
        if let (Some(token), Some(found)) = (delta.token, delta.logprobs.take()) {
            self.scored.push((token, *found));
        }
    }

    fn line(&mut self, out: &mut Vec<u8>, said: Said<'_>, end: Option<End>) {
        let scored = std::mem::take(&mut self.scored);
        self.answers.write(out, &Said { scored: &scored, ..said }, end);
    }

    fn error(error: &ApiError, out: &mut Vec<u8>) {
        sse::json(out, &json!({"error": error.message()}));
        out.push(b'\n');
    }
}

impl ReplyFormat for Lines {
    const CONTENT_TYPE: &'static str = CONTENT_TYPE;
    const KEEP_ALIVE: &'static [u8] = KEEP_ALIVE;

    fn token(&mut self, _: usize, delta: &mut Delta) {
        self.score(delta);
    }

    fn piece(&mut self, _: usize, piece: ReplyEvent, out: &mut Vec<u8>) {
        match piece {
            ReplyEvent::Content(content) => self.line(out, Said { content: &content, ..Said::default() }, None),
            ReplyEvent::Reasoning(thinking) => self.line(out, Said { thinking: &thinking, ..Said::default() }, None),
            piece => {
                let ended = if let ReplyEvent::CallEnd { index, .. } = piece { Some(index) } else { None };
                self.calls.add(piece);
                let call = ended.and_then(|index| Some((index, self.calls.calls.get(index)?)));
                match call.map(|(index, call)| written(index, call)) {
                    None => {}
                    Some(Ok(call)) => self.line(out, Said { calls: &[call], ..Said::default() }, None),
                    Some(Err(text)) => self.line(out, Said { content: &text, ..Said::default() }, None),
                }
            }
        }
    }

    fn end(&mut self, _: usize, ended: Ended<'_>, out: &mut Vec<u8>) {
        self.line(out, Said::default(), Some(End::new(ended.finish)));
    }

    fn fail(&mut self, _: usize, error: &ApiError, out: &mut Vec<u8>) {
        Self::error(error, out);
    }
}

/// Lines of a text.
struct TextLines(Lines);

impl Format for TextLines {
    const CONTENT_TYPE: &'static str = CONTENT_TYPE;
    const KEEP_ALIVE: &'static [u8] = KEEP_ALIVE;

    fn delta(&mut self, _: usize, _: &ActiveGeneration, mut delta: Delta, out: &mut Vec<u8>) {
        self.0.score(&mut delta);
        if !delta.text.is_empty() {
            self.0.line(out, Said { content: &delta.text, ..Said::default() }, None);
        }
    }

    fn end(&mut self, _: usize, _: &ActiveGeneration, finish: &Finish, out: &mut Vec<u8>) {
        self.0.line(out, Said::default(), Some(End::new(finish)));
    }

    fn fail(&mut self, _: usize, error: &ApiError, out: &mut Vec<u8>) {
        Lines::error(error, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_call_is_one() {
        let call = |arguments: &str| ToolCall {
            id: Some("x".into()),
            name: "f".into(),
            arguments: arguments.into(),
            complete: true,
        };
        let function =
            |arguments: Value| json!({"id": "x", "function": {"index": 1, "name": "f", "arguments": arguments}});
        assert_eq!(written(1, &call(r#"{"a": 1}"#)), Ok(function(json!({"a": 1}))));
        assert_eq!(written(1, &call("")), Ok(function(json!({}))));
        assert_eq!(written(1, &call(r#"{"a": "#)), Err(r#"f({"a": "#.to_owned()));
        assert!(written(1, &call("[1]")).is_err());
    }

    #[test]
    fn an_error_is_a_line() {
        let mut out = Vec::new();
        Lines::error(&ApiError::unavailable("later"), &mut out);
        assert_eq!(out, b"{\"error\":\"later\"}\n");
    }
}
