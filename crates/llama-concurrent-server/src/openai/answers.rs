//! Answers of both routes that generate: as a stream, or whole.

use axum::{http::StatusCode, response::Response};
use serde_json::{Value, json};

use super::{
    FINGERPRINT,
    chunks::{Chunks, Kind},
};
use crate::{
    answer::{self, Usage},
    app::App,
    error::{ApiResult, json_response},
    logprobs,
    params::Wish,
    running::{Outcome, Running, collect_all},
    sse,
};

/// Answers with generations, `wish.n` for each prompt.
pub(super) async fn respond(kind: Kind, app: &App, wish: &Wish, all: Vec<Running>) -> ApiResult<Response> {
    if wish.stream {
        let chunks = Chunks::new(kind, app, wish);
        return Ok(sse::respond(all, chunks, app.config.limits.keep_alive));
    }
    let outcomes = collect_all(all).await?;
    let mut usage = Usage::default();
    for (index, outcome) in outcomes.iter().enumerate() {
        usage.add(&outcome.finish.timings, index % wish.n == 0, wish.silent);
    }
    let choices: Vec<Value> =
        outcomes.iter().enumerate().map(|(index, outcome)| choice(kind, app, wish, index, outcome)).collect();
    let (prefix, object) = match kind {
        Kind::Chat => ("chatcmpl", "chat.completion"),
        Kind::Text => ("cmpl", "text_completion"),
    };
    let timings = outcomes.first().map_or(Value::Null, |outcome| answer::timings(&outcome.finish.timings));
    let answer = json!({
        "id": answer::id(prefix),
        "object": object,
        "created": answer::now(),
        "model": app.config.model_name,
        "system_fingerprint": FINGERPRINT,
        "choices": choices,
        "usage": usage.json(),
        "timings": timings,
    });
    Ok(json_response(StatusCode::OK, &answer))
}

fn choice(kind: Kind, app: &App, wish: &Wish, index: usize, outcome: &Outcome) -> Value {
    let scored = wish.params.logprobs.is_some() && !wish.silent;
    let text = if wish.silent { "" } else { &outcome.text };
    let reason = answer::finish_reason(&outcome.finish);
    match kind {
        Kind::Chat => json!({
            "index": index,
            "message": {"role": "assistant", "content": text, "refusal": null},
            "logprobs": scored.then(|| logprobs::of_chat(&app.engine, &outcome.logprobs)),
            "finish_reason": reason,
        }),
        Kind::Text => json!({
            "index": index,
            "text": text,
            "logprobs": scored.then(|| logprobs::of_text(&app.engine, &outcome.logprobs, &mut 0)),
            "finish_reason": reason,
        }),
    }
}
