//! `/v1/chat/completions`.

use std::sync::Arc;

use axum::{extract::State, response::Response};

use super::{answers, chunks::Kind, messages, tools};
use crate::{app::App, body::JsonBody, clients::Client, error::ApiResult, fields::Fields, params::Wish, start::start};

pub(crate) async fn chat(State(app): State<Arc<App>>, client: Client, JsonBody(body): JsonBody) -> ApiResult<Response> {
    let fields = Fields::body(&body)?;
    tools::refuse(&fields)?;
    let wish = Wish::read(&fields, &app.config, &app.engine)?;
    let prompt = messages::render(&app, &fields).await?;
    let all = start(&app, client, vec![prompt.into()], &wish).await?;
    answers::respond(Kind::Chat, &app, &wish, all).await
}
