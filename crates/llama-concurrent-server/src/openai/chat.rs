//! `/v1/chat/completions`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::{Value, json};

use super::{
    FINGERPRINT,
    chunks::{Chunks, Kind},
    collect, messages,
};
use crate::{
    answer::{self, Usage},
    app::App,
    body::JsonBody,
    clients::Client,
    error::{ApiResult, json_response},
    fields::Fields,
    logprobs,
    params::Wish,
    sse,
    start::start,
};

pub(crate) async fn chat(State(app): State<Arc<App>>, client: Client, JsonBody(body): JsonBody) -> ApiResult<Response> {
    let fields = Fields::body(&body)?;
    let wish = Wish::read(&fields, &app.config, &app.engine)?;
    let prompt = messages::render(&app, &fields).await?;
    let all = start(&app, client, vec![prompt.into()], &wish).await?;
    if wish.stream {
        let chunks = Chunks::new(Kind::Chat, &app, &wish);
        return Ok(sse::respond(all, chunks, app.config.limits.keep_alive));
    }
    let scored = wish.params.logprobs.is_some() && !wish.silent;
    let mut usage = Usage::default();
    let outcomes = collect(all).await?;
    let mut choices = Vec::with_capacity(outcomes.len());
    for (index, outcome) in outcomes.iter().enumerate() {
        usage.add(&outcome.finish.timings, index == 0, wish.silent);
        let text = if wish.silent { "" } else { &outcome.text };
        choices.push(json!({
            "index": index,
            "message": {"role": "assistant", "content": text, "refusal": null},
            "logprobs": scored.then(|| logprobs::of_chat(&app.engine, &outcome.logprobs)),
            "finish_reason": answer::finish_reason(&outcome.finish),
        }));
    }
    let timings = outcomes.first().map_or(Value::Null, |outcome| answer::timings(&outcome.finish.timings));
    let answer = json!({
        "id": answer::id("chatcmpl"),
        "object": "chat.completion",
        "created": answer::now(),
        "model": app.config.model_name,
        "system_fingerprint": FINGERPRINT,
        "choices": choices,
        "usage": usage.json(),
        "timings": timings,
    });
    Ok(json_response(StatusCode::OK, &answer))
}
