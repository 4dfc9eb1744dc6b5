//! `/v1/completions`.

use std::sync::Arc;

use axum::{extract::State, response::Response};

use super::answers;
use crate::{
    app::App,
    body::Body,
    clients::Client,
    error::ApiResult,
    guard::Peer,
    params::RequestOptions,
    prompt,
    start::{prepare, start},
};

pub(crate) async fn completions(
    State(app): State<Arc<App>>,
    client: Client,
    peer: Peer,
    body: Body,
) -> ApiResult<Response> {
    let read = body.read(&app, |app, fields, job| {
        let options = RequestOptions::read(fields, app, job)?;
        let (prompts, _) = prompt::read("prompt", fields.required("prompt")?)?;
        prepare(app, &prompts, options, job)
    });
    let ready = read.await?;
    let all = start(&app, client, &ready).await?;
    answers::respond(&app, &peer, &ready.options, None, all).await
}
