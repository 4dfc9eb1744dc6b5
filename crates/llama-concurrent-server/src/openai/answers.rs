//! Responses of both generating routes: streamed or whole.

use axum::response::Response;
use llama_concurrent::Engine;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    FINGERPRINT,
    chunks::{Chunks, Kind},
};
use crate::{
    active_generation::{self, ActiveGeneration, FinishedGeneration, collect_all},
    answer::{self, Usage},
    app::App,
    error::{ApiError, ApiResult, json_text},
    guard::Peer,
    logprobs::{Entries, OfChat, OfText, Offset},
    params::RequestOptions,
    sse,
};

/// Responds with generations, `options.n` for each prompt.
pub(super) async fn respond(
    kind: Kind,
    app: &App,
    peer: &Peer,
    options: &RequestOptions,
    all: Vec<ActiveGeneration>,
) -> ApiResult<Response> {
    if options.stream {
        let chunks = Chunks::new(kind, app, options);
        return Ok(sse::respond(all, chunks, app.config.limits.keep_alive, peer));
    }
    let outcomes = collect_all(all).await?;
    let mut usage = Usage::default();
    for (index, outcome) in outcomes.iter().enumerate() {
        usage.add(&outcome.finish.timings, index % options.n == 0, options.silent);
    }
    let (prefix, object) = match kind {
        Kind::Chat => ("chatcmpl", "chat.completion"),
        Kind::Text => ("cmpl", "text_completion"),
    };
    let load = active_generation::load(&outcomes);
    let timings = outcomes.first().map_or(Value::Null, |outcome| answer::timings(&outcome.finish.timings));
    let (engine, model, silent) = (app.engine.clone(), app.config.model_name.clone(), options.silent);
    let scored = options.params.logprobs.is_some() && !silent;
    let write = move |_: &_| {
        let choice = |(index, outcome)| Choice::new(kind, &engine, index, outcome, silent, scored);
        let answer = Answer {
            id: answer::id(prefix),
            object,
            created: answer::now(),
            model: &model,
            system_fingerprint: FINGERPRINT,
            choices: outcomes.iter().enumerate().map(choice).collect(),
            usage: usage.json(),
            timings,
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
        kind: Kind,
        engine: &'a Engine,
        index: usize,
        outcome: &'a FinishedGeneration,
        silent: bool,
        scored: bool,
    ) -> Self {
        let text = if silent { "" } else { outcome.text.as_str() };
        let entries = Entries(engine, &outcome.logprobs);
        let (message, text, logprobs) = match kind {
            Kind::Chat => {
                let message = json!({"role": "assistant", "content": text, "refusal": null});
                (Some(message), None, Logprobs::Chat(OfChat(entries)))
            }
            Kind::Text => (
                None,
                Some(text),
                Logprobs::Text(OfText(entries, Offset::start(outcome.running.in_flight.params.special))),
            ),
        };
        let finish_reason = answer::finish_reason(&outcome.finish);
        Self { index, message, text, logprobs: scored.then_some(logprobs), finish_reason }
    }
}
