//! `/v1/chat/completions`.

use std::sync::Arc;

use axum::{extract::State, response::Response};

use super::{answers, chunks::Kind, messages, tools};
use crate::{
    app::App,
    body::Body,
    clients::Client,
    error::ApiResult,
    guard::Peer,
    params::RequestOptions,
    start::{prepare, start},
};

pub(crate) async fn chat(State(app): State<Arc<App>>, client: Client, peer: Peer, body: Body) -> ApiResult<Response> {
    let read = body.read(&app, |app, fields, job| {
        tools::refuse(fields)?;
        let options = RequestOptions::read(fields, app, job)?;
        let prompt = messages::render(app, fields, job)?;
        prepare(app, &[prompt.into()], options, job)
    });
    let ready = read.await?;
    let all = start(&app, client, &ready).await?;
    answers::respond(Kind::Chat, &app, &peer, &ready.options, all).await
}
