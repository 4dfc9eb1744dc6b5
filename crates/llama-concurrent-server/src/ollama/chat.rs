//! `/api/chat`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde_json::Value;

use super::{
    answers::{Answers, Shape},
    messages,
    request::{Common, original},
};
use crate::{
    app::App,
    body::Body,
    chat,
    clients::Client,
    error::{ApiError, ApiResult},
    fields::Fields,
    guard::Peer,
    start::{Ready, start},
    work::Job,
};

pub(super) async fn chat(State(app): State<Arc<App>>, client: Client, peer: Peer, body: Body) -> ApiResult<Response> {
    let read = body.read(&app, |app, fields, job| {
        let mut common = Common::read(app, fields)?;
        let messages = messages::read(fields, job)?;
        let answers = Answers::new(app, Shape::Chat, &common);
        if messages.is_empty() {
            return Ok((answers, None));
        }
        common.form.insert("messages".into(), messages.into());
        common.form.extend(fields.get("tools").map(|tools| ("tools".to_owned(), tools.clone())));
        Ok((answers, Some(prepare(app, common, job)?)))
    });
    let (answers, ready) = read.await?;
    let Some(ready) = ready else { return Ok(answers.loaded()) };
    let all = start(&app, client, &ready).await?;
    answers.respond(&app, &peer, ready.reply, all).await
}

/// A chat in OpenAI's form.
pub(super) fn prepare(app: &App, common: Common, job: &Job) -> ApiResult<Ready> {
    let form = Value::Object(common.form);
    let ready = chat::prepare(app, &Fields::body(&form)?, job).map_err(original)?;
    let has_thoughts = ready.reply.as_ref().is_some_and(|form| form.thought_form().is_some());
    if common.thinks && !has_thoughts {
        let must = "cannot be used: the chat template of this model has no form for thoughts";
        return Err(ApiError::field("think", must));
    }
    Ok(ready)
}
