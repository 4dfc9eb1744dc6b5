//! `/v1/completions`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::{Value, json};

use super::{
    FINGERPRINT,
    chunks::{Chunks, Kind},
    collect,
};
use crate::{
    answer::{self, Usage},
    app::App,
    body::JsonBody,
    clients::Client,
    error::{ApiError, ApiResult, json_response},
    fields::Fields,
    logprobs,
    params::Wish,
    prompt, sse,
    start::start,
};

pub(crate) async fn completions(
    State(app): State<Arc<App>>,
    client: Client,
    JsonBody(body): JsonBody,
) -> ApiResult<Response> {
    let fields = Fields::body(&body)?;
    if fields.boolean("echo")? == Some(true) {
        return Err(ApiError::field("echo", "cannot be true: this server answers with the continuation only"));
    }
    if fields.text("suffix")?.is_some_and(|suffix| !suffix.is_empty()) {
        return Err(ApiError::field("suffix", "cannot be used: this server continues texts at their end only"));
    }
    let wish = Wish::read(&fields, &app.config, &app.engine)?;
    let (prompts, _) = prompt::read("prompt", fields.required("prompt")?)?;
    let all = start(&app, client, prompts, &wish).await?;
    if wish.stream {
        let chunks = Chunks::new(Kind::Text, &app, &wish);
        return Ok(sse::respond(all, chunks, app.config.limits.keep_alive));
    }
    let scored = wish.params.logprobs.is_some() && !wish.silent;
    let mut usage = Usage::default();
    let outcomes = collect(all).await?;
    let mut choices = Vec::with_capacity(outcomes.len());
    for (index, outcome) in outcomes.iter().enumerate() {
        usage.add(&outcome.finish.timings, index % wish.n == 0, wish.silent);
        choices.push(json!({
            "index": index,
            "text": if wish.silent { "" } else { &outcome.text },
            "logprobs": scored.then(|| logprobs::of_text(&app.engine, &outcome.logprobs, &mut 0)),
            "finish_reason": answer::finish_reason(&outcome.finish),
        }));
    }
    let timings = outcomes.first().map_or(Value::Null, |outcome| answer::timings(&outcome.finish.timings));
    let answer = json!({
        "id": answer::id("cmpl"),
        "object": "text_completion",
        "created": answer::now(),
        "model": app.config.model_name,
        "system_fingerprint": FINGERPRINT,
        "choices": choices,
        "usage": usage.json(),
        "timings": timings,
    });
    Ok(json_response(StatusCode::OK, &answer))
}
