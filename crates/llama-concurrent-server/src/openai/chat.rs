//! `/v1/chat/completions`.

use std::sync::Arc;

use axum::{extract::State, response::Response};

use super::answers::{self, Form};
use crate::{app::App, body::Body, chat, clients::Client, error::ApiResult, guard::Peer, start::start};

pub(crate) async fn chat(State(app): State<Arc<App>>, client: Client, peer: Peer, body: Body) -> ApiResult<Response> {
    let ready = body.read(&app, chat::prepare).await?;
    let all = start(&app, client, &ready).await?;
    let form = ready.reply.map_or(Form::Text { echo: Vec::new() }, Form::Chat);
    answers::respond(&app, &peer, &ready.options, form, all).await
}
