//! `/v1/completions`.

use std::sync::Arc;

use axum::{extract::State, response::Response};

use super::{answers, chunks::Kind};
use crate::{
    app::App,
    body::JsonBody,
    clients::Client,
    error::{ApiError, ApiResult},
    fields::Fields,
    params::Wish,
    prompt,
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
    answers::respond(Kind::Text, &app, &wish, all).await
}
