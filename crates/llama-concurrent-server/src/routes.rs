//! The route table.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, Uri},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::{
    anthropic,
    app::App,
    error::{ApiError, json_response},
    guard, native, ollama, openai, page, rerank, responses, scrape, ws,
};

pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new()
        .route("/health", get(health))
        .route("/v1/health", get(health))
        .route("/metrics", get(scrape::metrics))
        .route("/openapi.json", get(page::openapi))
        .route("/ws", get(ws::connect))
        .route("/v1/models", get(openai::models::models))
        .route("/models", get(openai::models::models))
        .route("/v1/models/{id}", get(openai::models::model))
        .route("/props", get(native::props::props))
        .route("/tokenize", post(native::tokenize::tokenize))
        .route("/tokenizer_info", get(native::tokenize::tokenizer_info))
        .route("/detokenize", post(native::tokenize::detokenize))
        .route("/apply-template", post(native::tokenize::apply_template));
    for path in ["/v1/chat/completions", "/chat/completions"] {
        router = router
            .route(path, post(openai::chat::chat))
            .route(&format!("{path}/input_tokens"), post(openai::chat::input_tokens));
    }
    router = router
        .route("/v1/messages", post(anthropic::messages))
        .route("/v1/messages/count_tokens", post(anthropic::count_tokens));
    for path in ["/v1/responses", "/responses"] {
        router = router
            .route(path, post(responses::create))
            .route(&format!("{path}/input_tokens"), post(responses::input_tokens))
            .route(&format!("{path}/{{id}}"), get(responses::get).delete(responses::delete));
    }
    router = router
        .route("/v1/embeddings", post(openai::embeddings::openai))
        .route("/embeddings", post(openai::embeddings::native))
        .route("/embedding", post(openai::embeddings::native));
    for path in ["/v1/rerank", "/v1/reranking", "/rerank", "/reranking"] {
        router = router.route(path, post(rerank::rerank));
    }
    router = router.route("/v1/completions", post(openai::completions::completions));
    for path in ["/completion", "/completions"] {
        router = router.route(path, post(native::completion::completion));
    }
    router = router.route("/infill", post(native::infill::infill));
    router = router.route("/slots", get(native::slots::slots));
    router = router.merge(ollama::routes());
    router = match app.config.page {
        true => router.route("/", get(page::page)).route("/page/{name}", get(page::file)),
        false => router.route("/", get(ollama::root)),
    };
    let router = router
        .fallback(|uri: Uri| async move {
            let message = format!("there is nothing at {}", uri.path());
            ApiError::new(StatusCode::NOT_FOUND, "not_found_error", message)
        })
        .method_not_allowed_fallback(|| async {
            let message = "this route has another method; /openapi.json lists them";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message)
        })
        .layer(middleware::from_fn_with_state(app.clone(), guard::guard))
        .layer(middleware::from_fn(anthropic::errors::layer))
        .layer(middleware::from_fn(ollama::errors));
    let router = match cors(&app.config.cors_origins) {
        Some(layer) => router.layer(layer),
        None => router,
    };
    router.with_state(app)
}

fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        let origins = origins.to_vec();
        AllowOrigin::predicate(move |origin: &HeaderValue, _| {
            origin.to_str().is_ok_and(|origin| guard::is_allowed(&origins, origin))
        })
    };
    let layer = CorsLayer::new().allow_origin(allowed).allow_methods(Any).allow_headers(Any).expose_headers(Any);
    Some(layer.max_age(Duration::from_secs(3600)))
}

async fn health(State(app): State<Arc<App>>) -> Response {
    if *app.stopping.borrow() {
        return ApiError::unavailable("the server is shutting down").into_response();
    }
    json_response(StatusCode::OK, &json!({"status": "ok"}))
}
