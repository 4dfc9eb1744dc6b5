//! The routes of Anthropic's Messages API. A request becomes one of the chat API, and its answer is written in Anthropic's form,
//! as are errors.

mod answer;
pub(crate) mod errors;
mod request;
mod stream;

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::json;

use crate::{
    active_generation::{self, collect_all},
    app::App,
    body::Body,
    chat::{self, reply::Replies},
    clients::Client,
    error::{ApiError, ApiResult, json_response, json_text},
    fields::Fields,
    guard::Peer,
    sse,
    start::start,
    unsupported_fields,
    work::Job,
};

/// `/v1/messages`.
pub(crate) async fn messages(
    State(app): State<Arc<App>>,
    client: Client,
    peer: Peer,
    body: Body,
) -> ApiResult<Response> {
    let ready = body.read(&app, |app, fields, job| with_chat(app, fields, job, chat::prepare)).await?;
    let all = start(&app, client, &ready).await?;
    let (form, options) = (ready.form()?, &ready.options);
    if options.stream {
        let events = stream::Events::new(app.config.model_name.clone(), ready.n_prompt(), options);
        return Ok(sse::respond(all, Replies::new(form, options.silent, events), app.config.limits.keep_alive, &peer));
    }
    let outcomes = collect_all(all).await?;
    let (model, options) = (app.config.model_name.clone(), options.clone());
    let load = active_generation::load(&outcomes);
    let write = move |_: &Job| match outcomes.first() {
        Some(outcome) => Ok(answer::whole(&model, &form, outcome, &options).to_string()),
        None => Err(ApiError::internal("a request without a generation")),
    };
    Ok(json_text(app.lanes.run(load, write).await?))
}

/// `/v1/messages/count_tokens`.
pub(crate) async fn count_tokens(State(app): State<Arc<App>>, body: Body) -> ApiResult<Response> {
    let count = body.read(&app, |app, fields, job| with_chat(app, fields, job, chat::count)).await?;
    Ok(json_response(StatusCode::OK, &json!({"input_tokens": count})))
}

/// Does something with a request as one of the chat API.
fn with_chat<T>(
    app: &App,
    fields: &Fields<'_>,
    job: &Job,
    work: impl FnOnce(&App, &Fields<'_>, &Job) -> ApiResult<T>,
) -> ApiResult<T> {
    unsupported_fields::check_messages(fields)?;
    let chat = request::to_chat(fields, job)?;
    work(app, &Fields::body(&chat)?, job).map_err(|error| error.renamed_by(request::NAMES))
}
