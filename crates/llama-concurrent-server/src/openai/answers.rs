//! Responses of both generating routes: streamed or whole.

use axum::response::Response;
use llama_concurrent::{Engine, Reply, ReplyForm};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    FINGERPRINT,
    chunks::{ChatChunks, TextChunks},
};
use crate::{
    active_generation::{self, ActiveGeneration, FinishedGeneration, collect_all},
    answer::{self, Usage},
    app::App,
    chat::reply::Replies,
    error::{ApiError, ApiResult, json_text},
    guard::Peer,
    logprobs::{Entries, OfChat, OfText, Offset},
    params::RequestOptions,
    sse,
};

/// What is answered.
pub(super) enum Form {
    /// A chat.
    Chat(ReplyForm),
    /// A text, for which `echo` has the text that each prompt's answers begin with, if any.
    Text { echo: Vec<String> },
}

/// Responds with `options.n` answers to each prompt.
pub(super) async fn respond(
    app: &App,
    peer: &Peer,
    options: &RequestOptions,
    form: Form,
    all: Vec<ActiveGeneration>,
) -> ApiResult<Response> {
    let keep_alive = app.config.limits.keep_alive;
    match form {
        Form::Chat(form) if options.stream => {
            let chunks = Replies::new(form, options.silent, ChatChunks::new(app, options));
            Ok(sse::respond(all, chunks, keep_alive, peer))
        }
        Form::Text { echo } if options.stream => {
            Ok(sse::respond(all, TextChunks::new(app, options, echo), keep_alive, peer))
        }
        form => whole(app, options, form, all).await,
    }
}

async fn whole(app: &App, options: &RequestOptions, form: Form, all: Vec<ActiveGeneration>) -> ApiResult<Response> {
    let mut outcomes = collect_all(all).await?;
    let mut usage = Usage::default();
    for (index, outcome) in outcomes.iter().enumerate() {
        usage.add(&outcome.finish.timings, index % options.n == 0, options.silent);
    }
    if options.silent {
        for outcome in &mut outcomes {
            outcome.text.clear();
            outcome.logprobs.clear();
            outcome.tokens.clear();
        }
    }
    let (form, prefix, object) = match form {
        Form::Chat(form) => (Some(form), "chatcmpl", "chat.completion"),
        Form::Text { echo } => {
            for (index, outcome) in outcomes.iter_mut().enumerate() {
                outcome.text.insert_str(0, echo.get(index / options.n).map_or("", String::as_str));
            }
            (None, "cmpl", "text_completion")
        }
    };
    let load = active_generation::load(&outcomes);
    let timings = outcomes.first().map_or(Value::Null, |outcome| answer::timings(&outcome.finish.timings));
    let (engine, model) = (app.engine.clone(), app.config.model_name.clone());
    let scored = options.params.logprobs.is_some() && (options.score_prompt || !options.silent);
    let verbose = options.verbose && form.is_some();
    let write = move |_: &_| {
        let choice = |(index, outcome)| Choice::new(form.as_ref(), &engine, index, outcome, scored);
        let answer = Answer {
            id: answer::id(prefix),
            object,
            created: answer::now(),
            model: &model,
            system_fingerprint: FINGERPRINT,
            choices: outcomes.iter().enumerate().map(choice).collect(),
            usage: usage.json(),
            timings,
            verbose: outcomes.first().filter(|_| verbose).map(|outcome| {
                let prompt = engine.detokenize_with(&outcome.running.prompt, true);
                json!({"prompt": prompt, "content": outcome.text, "tokens": outcome.tokens})
            }),
        };
        serde_json::to_string(&answer).map_err(|error| ApiError::internal(error.to_string()))
    };
    Ok(json_text(app.lanes.run(load, write).await?))
}

#[derive(Serialize)]
struct Answer<'a> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: Vec<Choice<'a>>,
    usage: Value,
    timings: Value,
    #[serde(rename = "__verbose", skip_serializing_if = "Option::is_none")]
    verbose: Option<Value>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    logprobs: Option<Logprobs<'a>>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Logprobs<'a> {
    Chat(OfChat<'a>),
    Text(OfText<'a>),
}

impl<'a> Choice<'a> {
    fn new(
        form: Option<&ReplyForm>,
        engine: &'a Engine,
        index: usize,
        outcome: &'a FinishedGeneration,
        scored: bool,
    ) -> Self {
        let text = outcome.text.as_str();
        let entries = Entries(engine, &outcome.logprobs);
        let reply = form.map(|form| form.read(text));
        let logprobs = match &reply {
            Some(_) => Logprobs::Chat(OfChat(entries)),
            None => {
                let (prompt, special) = (&*outcome.scored_prompt, outcome.running.in_flight.params.special);
                let start = Offset::of_prompt(special, engine, prompt, text);
                Logprobs::Text(OfText { prompt, output: entries, start })
            }
        };
        let has_calls = reply.as_ref().is_some_and(|reply| !reply.calls.is_empty());
        Self {
            index,
            text: reply.is_none().then_some(text),
            message: reply.as_ref().map(message),
            logprobs: scored.then_some(logprobs),
            finish_reason: answer::finish_reason(&outcome.finish, has_calls),
        }
    }
}

/// An answer as a message, which is never a refusal.
fn message(reply: &Reply) -> Value {
    let mut message = reply.to_message();
    message["refusal"] = Value::Null;
    message
}
