//! `/api/tags`, `/api/show`, `/api/ps` and `/api/version`: the one model as Ollama describes models.

use std::{sync::Arc, time::SystemTime};

use axum::{extract::State, http::StatusCode, response::Response};
use jiff::Timestamp;
use llama_concurrent::{Chat, ChatMessage};
use serde_json::{Map, Value, json};

use crate::{
    app::App,
    body::Body,
    error::{ApiResult, json_response},
    params::settings,
};

/// The version of Ollama's API that these routes follow. Clients refuse earlier ones than they know.
const VERSION: &str = "0.13.0";
/// The model stays; clients want a time all the same.
const NEVER: &str = "2262-01-01T00:00:00Z";

pub(super) async fn version() -> Response {
    json_response(StatusCode::OK, &json!({"version": VERSION}))
}

pub(super) async fn tags(State(app): State<Arc<App>>) -> Response {
    let mut model = describe(&app);
    model["modified_at"] = modified(&app).into();
    json_response(StatusCode::OK, &json!({"models": [model]}))
}

pub(super) async fn ps(State(app): State<Arc<App>>) -> Response {
    let memory = app.engine.stats().memory;
    let mut model = describe(&app);
    model["size"] = (memory.model_bytes + memory.kv_bytes).into();
    model["size_vram"] = 0.into();
    model["expires_at"] = NEVER.into();
    model["context_length"] = app.engine.n_ctx().into();
    json_response(StatusCode::OK, &json!({"models": [model]}))
}

fn describe(app: &App) -> Value {
    let name = &app.config.model_name;
    json!({
        "name": name,
        "model": name,
        "size": app.engine.model().tensor_bytes,
        // Of a file that was never in a registry. Programs cut it to twelve digits.
        "digest": "0".repeat(64),
        "details": details(app),
    })
}

fn details(app: &App) -> Value {
    let model = app.engine.model();
    json!({
        "parent_model": "",
        "format": "gguf",
        "family": model.architecture,
        "families": [model.architecture],
        "parameter_size": short(model.parameters),
        "quantization_level": model.file_type,
    })
}

/// A number of parameters, such as 1.1B.
fn short(parameters: u64) -> String {
    let n = parameters as f64;
    match parameters {
        0..1_000 => parameters.to_string(),
        1_000..1_000_000 => format!("{:.2}K", n / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2}M", n / 1e6),
        _ => format!("{:.1}B", n / 1e9),
    }
}

/// When the file was written, or else when the server started.
fn modified(app: &App) -> String {
    let written = std::fs::metadata(&app.config.model_path).and_then(|file| file.modified());
    let written = written.ok().and_then(|time: SystemTime| Timestamp::try_from(time).ok());
    let started = || Timestamp::from_second(i64::try_from(app.started).unwrap_or(0)).unwrap_or_default();
    written.unwrap_or_else(started).to_string()
}

pub(super) async fn show(State(app): State<Arc<App>>, body: Body) -> ApiResult<Response> {
    let read = body.read(&app, |_, fields, _| {
        fields.text("model")?;
        fields.text("name")?;
        fields.boolean("verbose").map(drop)
    });
    read.await?;
    let shown = json!({
        "license": "",
        "modelfile": format!("FROM {}\n", app.config.model_name),
        "parameters": parameters(&app),
        "template": app.engine.chat_template().unwrap_or_default(),
        "details": details(&app),
        "model_info": info(&app),
        "capabilities": capabilities(&app),
        "modified_at": modified(&app),
    });
    Ok(json_response(StatusCode::OK, &shown))
}

/// What holds where a request says nothing, in lines.
fn parameters(app: &App) -> String {
    let mut lines = format!("num_ctx {}\n", app.engine.n_ctx());
    let settings = settings(&app.config.defaults, true);
    for name in ["temperature", "top_k", "top_p", "min_p", "repeat_penalty", "repeat_last_n"] {
        lines += &format!("{name} {}\n", settings[name]);
    }
    lines
}

/// Entries of the file under their names there.
fn info(app: &App) -> Map<String, Value> {
    let model = app.engine.model();
    let mut info = Map::new();
    info.insert("general.architecture".into(), model.architecture.as_str().into());
    info.extend(model.name.as_deref().map(|name| ("general.name".to_owned(), name.into())));
    info.insert("general.parameter_count".into(), model.parameters.into());
    for (name, value) in [
        ("context_length", model.n_ctx_train),
        ("embedding_length", model.n_embd),
        ("block_count", model.n_layer),
        ("attention.head_count", model.n_head),
        ("attention.head_count_kv", model.n_head_kv),
        ("attention.key_length", model.head_dim_k),
        ("attention.value_length", model.head_dim_v),
        ("expert_count", model.n_expert),
        ("vocab_size", model.n_vocab),
    ] {
        if value > 0 {
            info.insert(format!("{}.{name}", model.architecture), value.into());
        }
    }
    info.insert("tokenizer.ggml.model".into(), model.tokenizer.as_str().into());
    info
}

/// What the model can do, from its template and its vocabulary.
fn capabilities(app: &App) -> Vec<&'static str> {
    let chat = Chat::new([ChatMessage::new("user", "Hi")]);
    let form = app.engine.prepare_chat(&chat).ok().map(|prepared| prepared.form);
    let all = [
        ("completion", true),
        ("tools", app.engine.chat_capabilities().is_some_and(|template| template.tools)),
        ("thinking", form.is_some_and(|form| form.thought_form().is_some())),
        ("insert", app.engine.fim_tokens().is_some()),
        ("embedding", true),
    ];
    all.into_iter().filter(|(_, can)| *can).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_parameters_are_short() {
        for (n, expected) in [(999, "999"), (260_000, "260.00K"), (134_515_008, "134.52M"), (1_100_048_384, "1.1B")] {
            assert_eq!(short(n), expected);
        }
    }
}
