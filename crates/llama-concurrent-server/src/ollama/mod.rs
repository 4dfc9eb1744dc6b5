//! The routes of Ollama, for programs that know no other server. A chat is written in OpenAI's form first, and answered as
//! all chats are.

mod answers;
mod chat;
mod embed;
mod generate;
mod messages;
mod models;
mod request;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{StatusCode, Uri},
    middleware::Next,
    response::Response,
    routing::{any, get, post},
};
use serde_json::json;

use crate::{app::App, error::ApiError};

pub(crate) fn routes() -> Router<Arc<App>> {
    let mut router = Router::new()
        .route("/api/chat", post(chat::chat))
        .route("/api/generate", post(generate::generate))
        .route("/api/embed", post(embed::embed))
        .route("/api/embeddings", post(embed::embeddings))
        .route("/api/show", post(models::show))
        .route("/api/tags", get(models::tags))
        .route("/api/ps", get(models::ps))
        .route("/api/version", get(models::version));
    for path in ["/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete", "/api/blobs/{digest}"] {
        router = router.route(path, any(refuse));
    }
    router
}

/// What Ollama answers at `/`, by which clients find it.
pub(crate) async fn root() -> &'static str {
    "Ollama is running"
}

async fn refuse(uri: Uri) -> ApiError {
    let message = format!(
        "{} is not supported: this server has one model file, the one that it was started with (serve -m FILE)",
        uri.path()
    );
    ApiError::new(StatusCode::NOT_IMPLEMENTED, "not_supported_error", message)
}

/// Errors in Ollama's form, whoever made them.
pub(crate) async fn errors(request: Request, next: Next) -> Response {
    let is_ours = request.uri().path().starts_with("/api/");
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove::<ApiError>().filter(|_| is_ours) {
        *response.body_mut() = Body::from(json!({"error": error.message()}).to_string());
    }
    response
}
