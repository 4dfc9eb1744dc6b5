//! The routes of OpenAI's Responses API. A request becomes one of the chat API, its answer is written as a list of items, and
//! it is kept for requests that go on from it.

mod input;
mod object;
mod output;
mod request;
mod store;
mod stream;

use std::sync::Arc;

use axum::{
    extract::{Path, RawQuery, State, rejection::PathRejection},
    http::StatusCode,
    response::Response,
};
use serde_json::json;

pub(crate) use store::Store;

use crate::{
    active_generation::{self, collect_all},
    app::App,
    body::Body,
    chat::{self, reply::Replies},
    clients::Client,
    error::{ApiError, ApiResult, json_response, json_text},
    fields::Fields,
    guard::Peer,
    responses::{object::Answer, output::Output},
    sse,
    start::start,
    work::Job,
};

/// `POST /v1/responses`.
pub(crate) async fn create(State(app): State<Arc<App>>, client: Client, peer: Peer, body: Body) -> ApiResult<Response> {
    let owner = store::owner(client);
    let read = body.read_with(&app, refers_to(owner), move |app, fields, job| {
        let asked = request::read(app, owner, fields, job)?;
        let ready = Fields::body(&asked.chat).and_then(|fields| chat::prepare(app, &fields, job));
        let ready = ready.map_err(|error| error.renamed_by(request::NAMES))?;
        let answer = Answer::new(app, asked, &ready.options)?;
        Ok((ready, answer))
    });
    let (ready, answer) = read.await?;
    let all = start(&app, client, &ready).await?;
    let (form, silent) = (ready.form()?, ready.options.silent);
    if ready.options.stream {
        let replies = Replies::new(form, silent, stream::Events::new(answer));
        return Ok(sse::respond(all, replies, app.config.limits.keep_alive, &peer));
    }
    let outcomes = collect_all(all).await?;
    let load = active_generation::load(&outcomes);
    let write = move |_: &Job| match outcomes.into_iter().next() {
        Some(outcome) => {
            let finish = outcome.finish.clone();
            Ok(answer.finish(Output::read(&form, outcome, silent), &finish).1)
        }
        None => Err(ApiError::internal("a request without a generation")),
    };
    Ok(json_text(app.lanes.run(load, write).await?))
}

/// `POST /v1/responses/input_tokens`.
pub(crate) async fn input_tokens(State(app): State<Arc<App>>, client: Client, body: Body) -> ApiResult<Response> {
    let owner = store::owner(client);
    let read = body.read_with(&app, refers_to(owner), move |app, fields, job| {
        let asked = request::read(app, owner, fields, job)?;
        let count = Fields::body(&asked.chat).and_then(|fields| chat::count(app, &fields, job));
        count.map_err(|error| error.renamed_by(request::NAMES))
    });
    let count = json!({"object": "response.input_tokens", "input_tokens": read.await?});
    Ok(json_response(StatusCode::OK, &count))
}

/// `GET /v1/responses/{id}`.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    client: Client,
    RawQuery(query): RawQuery,
    id: Result<Path<String>, PathRejection>,
) -> ApiResult<Response> {
    if query.is_some_and(|query| query.split('&').any(|pair| pair == "stream=true")) {
        return Err(ApiError::field("stream", "cannot be true: a response that is kept has ended; get it whole"));
    }
    // A path that is not UTF-8 is no id.
    let id = id.map_or_else(|_| String::new(), |Path(id)| id);
    match app.responses.get(&id, store::owner(client)) {
        Some(kept) => Ok(json_text(kept.object.clone())),
        None => Err(not_found(&app, &id)),
    }
}

/// `DELETE /v1/responses/{id}`.
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    client: Client,
    id: Result<Path<String>, PathRejection>,
) -> ApiResult<Response> {
    let id = id.map_or_else(|_| String::new(), |Path(id)| id);
    if !app.responses.remove(&id, store::owner(client)) {
        return Err(not_found(&app, &id));
    }
    Ok(json_response(StatusCode::OK, &json!({"id": id, "object": "response", "deleted": true})))
}

fn not_found(app: &App, id: &str) -> ApiError {
    let message = format!("Response with id '{id}' not found. {}", app.responses.rules());
    ApiError::new(StatusCode::NOT_FOUND, "not_found_error", message)
}

/// The bytes of what a request refers to, which are work as its own are.
fn refers_to(owner: store::Owner) -> impl FnOnce(&App, &Fields<'_>) -> usize + Send + 'static {
    move |app, fields| {
        let previous = fields.get("previous_response_id").and_then(|id| app.responses.get(id.as_str()?, owner));
        let items = fields.get("input").and_then(|items| items.as_array()).into_iter().flatten();
        let items = items.filter_map(|item| app.responses.item_bytes(item.get("id")?.as_str()?, owner));
        previous.map_or(0, |kept| kept.conversation.len()).saturating_add(items.sum())
    }
}
