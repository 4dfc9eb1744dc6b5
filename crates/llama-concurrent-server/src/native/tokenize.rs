//! `/tokenize`, `/detokenize` and `/apply-template`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde_json::{Value, json};

use crate::{
    app::App,
    body::Body,
    error::{ApiResult, json_text},
    fields::wrong,
    openai::messages,
    prompt,
};

pub(crate) async fn tokenize(State(app): State<Arc<App>>, body: Body) -> ApiResult<Response> {
    let read = body.read(&app, |app, fields, job| {
        let text = match fields.get("content") {
            Some(Value::String(text)) => text.as_str(),
            Some(other) => return Err(wrong("content", "a string", other)),
            None => "",
        };
        let add_special = fields.boolean("add_special")?.unwrap_or(false);
        let parse_special = fields.boolean("parse_special")?.unwrap_or(true);
        let with_pieces = fields.boolean("with_pieces")?.unwrap_or(false);
        let tokens = app.engine.tokenize_with(text, add_special, parse_special)?;
        job.check()?;
        if !with_pieces {
            return Ok(json!({ "tokens": tokens }).to_string());
        }
        let table = app.engine.token_table();
        let pieces: Vec<Value> = tokens
            .into_iter()
            .map(|token| match std::str::from_utf8(table.piece(token)) {
                Ok(piece) => json!({"id": token, "piece": piece}),
                Err(_) => json!({"id": token, "piece": table.piece(token)}),
            })
            .collect();
        Ok(json!({ "tokens": pieces }).to_string())
    });
    Ok(json_text(read.await?))
}

pub(crate) async fn detokenize(State(app): State<Arc<App>>, body: Body) -> ApiResult<Response> {
    let read = body.read(&app, |app, fields, job| {
        let tokens = prompt::tokens("tokens", fields.list("tokens")?.map_or(&[][..], Vec::as_slice))?;
        job.check()?;
        Ok(json!({"content": app.engine.detokenize(&tokens)}).to_string())
    });
    Ok(json_text(read.await?))
}

pub(crate) async fn apply_template(State(app): State<Arc<App>>, body: Body) -> ApiResult<Response> {
    let read = body.read(&app, |app, fields, job| {
        let prompt = messages::render(app, fields, job)?;
        Ok(json!({ "prompt": prompt }).to_string())
    });
    Ok(json_text(read.await?))
}
