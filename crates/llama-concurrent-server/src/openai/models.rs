//! `/v1/models`: the one model, under its name.

use std::sync::Arc;

use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{
    app::App,
    error::{ApiError, json_response},
};

pub(crate) async fn models(State(app): State<Arc<App>>) -> Response {
    let name = &app.config.model_name;
    let list = json!({
        "object": "list",
        "data": [describe(&app)],
        // As in llama-server, for clients of Ollama.
        "models": [{"name": name, "model": name, "type": "model"}],
    });
    json_response(StatusCode::OK, &list)
}

pub(crate) async fn model(State(app): State<Arc<App>>, id: Result<Path<String>, PathRejection>) -> Response {
    // A path that is not UTF-8 is not a model name.
    let id = id.map_or_else(|_| String::new(), |Path(id)| id);
    if id == app.config.model_name || app.config.aliases.contains(&id) {
        return json_response(StatusCode::OK, &describe(&app));
    }
    let message = format!("there is no model '{id}'; this server has '{}'", app.config.model_name);
    ApiError::new(StatusCode::NOT_FOUND, "not_found_error", message).into_response()
}

fn describe(app: &App) -> Value {
    let model = app.engine.model();
    json!({
        "id": app.config.model_name,
        "aliases": app.config.aliases,
        "tags": app.config.tags,
        "object": "model",
        "created": app.started,
        "owned_by": "llamacpp",
        "meta": {
            "n_vocab": model.n_vocab,
            "n_ctx": app.engine.n_ctx(),
            "n_ctx_train": model.n_ctx_train,
            "n_embd": model.n_embd,
            "n_params": model.parameters,
            "size": model.tensor_bytes,
        },
    })
}
