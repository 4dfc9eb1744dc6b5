//! `/v1/chat/completions`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::json;

use super::answers::{self, Form};
use crate::{
    app::App,
    body::Body,
    chat,
    clients::Client,
    error::{ApiResult, json_response},
    guard::Peer,
    start::start,
};

/// `/v1/chat/completions/input_tokens`, which llama-server has.
pub(crate) async fn input_tokens(State(app): State<Arc<App>>, body: Body) -> ApiResult<Response> {
    let count = body.read(&app, chat::count).await?;
    Ok(json_response(StatusCode::OK, &json!({"object": "response.input_tokens", "input_tokens": count})))
}

pub(crate) async fn chat(State(app): State<Arc<App>>, client: Client, peer: Peer, body: Body) -> ApiResult<Response> {
    let ready = body.read(&app, chat::prepare).await?;
    let all = start(&app, client, &ready).await?;
    let form = ready.reply.map_or(Form::Text { echo: Vec::new() }, Form::Chat);
    answers::respond(&app, &peer, &ready.options, form, all).await
}
