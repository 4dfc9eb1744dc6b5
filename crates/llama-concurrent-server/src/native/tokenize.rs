//! `/tokenize`, `/detokenize` and `/apply-template`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::{Value, json};

use crate::{
    app::App,
    body::JsonBody,
    error::{ApiResult, json_response},
    fields::{Fields, wrong},
    openai::messages,
    prompt::{self, off_thread},
};

/// Texts beyond this are tokenized off the threads that serve connections.
const LONG_TEXT: usize = 16 << 10;

pub(crate) async fn tokenize(State(app): State<Arc<App>>, JsonBody(body): JsonBody) -> ApiResult<Response> {
    let fields = Fields::body(&body)?;
    let text = match fields.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(other) => return Err(wrong("content", "a string", other)),
        None => String::new(),
    };
    let add_special = fields.boolean("add_special")?.unwrap_or(false);
    let parse_special = fields.boolean("parse_special")?.unwrap_or(true);
    let with_pieces = fields.boolean("with_pieces")?.unwrap_or(false);
    let engine = app.engine.clone();
    let tokens =
        off_thread(text.len() > LONG_TEXT, move || Ok(engine.tokenize_with(&text, add_special, parse_special)?))
            .await?;
    if !with_pieces {
        return Ok(json_response(StatusCode::OK, &json!({ "tokens": tokens })));
    }
    let table = app.engine.token_table();
    let pieces: Vec<Value> = tokens
        .into_iter()
        .map(|token| match std::str::from_utf8(table.piece(token)) {
            Ok(piece) => json!({"id": token, "piece": piece}),
            Err(_) => json!({"id": token, "piece": table.piece(token)}),
        })
        .collect();
    Ok(json_response(StatusCode::OK, &json!({ "tokens": pieces })))
}

pub(crate) async fn detokenize(State(app): State<Arc<App>>, JsonBody(body): JsonBody) -> ApiResult<Response> {
    let fields = Fields::body(&body)?;
    let tokens = prompt::tokens("tokens", fields.list("tokens")?.map_or(&[][..], Vec::as_slice))?;
    Ok(json_response(StatusCode::OK, &json!({"content": app.engine.detokenize(&tokens)})))
}

pub(crate) async fn apply_template(State(app): State<Arc<App>>, JsonBody(body): JsonBody) -> ApiResult<Response> {
    let prompt = messages::render(&app, &Fields::body(&body)?).await?;
    Ok(json_response(StatusCode::OK, &json!({ "prompt": prompt })))
}
