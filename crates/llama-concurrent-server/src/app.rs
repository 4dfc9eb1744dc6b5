//! What all requests share, and which route is whose.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, Uri},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use llama_concurrent::{Engine, SlotStats};
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::{
    answer,
    body::LARGE_BODIES,
    clients::Clients,
    config::ServerConfig,
    error::{ApiError, json_response},
    guard,
    live::{Live, Registry},
    metrics::{self, Metrics},
    native, openai, page, ws,
};

pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) config: ServerConfig,
    pub(crate) live: Registry,
    pub(crate) clients: Clients,
    pub(crate) metrics: Metrics,
    /// KiB of bodies that may be read at the same time.
    pub(crate) body_room: Semaphore,
    /// Constraints are compiled one after the other, so that hostile ones take one core at most.
    pub(crate) compiling: Arc<Semaphore>,
    /// Seconds since 1970.
    pub(crate) started: u64,
    /// Whether the server is to stop.
    pub(crate) stopping: watch::Sender<bool>,
}

impl App {
    pub(crate) fn new(engine: Engine, config: ServerConfig) -> Arc<Self> {
        let clients = Clients::new(&config.limits);
        let kib = (config.limits.max_body_bytes >> 10).saturating_add(1).saturating_mul(LARGE_BODIES);
        let body_room = Semaphore::new(kib.min(Semaphore::MAX_PERMITS));
        let (live, metrics, stopping) = (Registry::default(), Metrics::new(), watch::Sender::new(false));
        Arc::new(Self {
            engine,
            config,
            live,
            clients,
            metrics,
            body_room,
            compiling: Arc::new(Semaphore::new(1)),
            started: answer::now(),
            stopping,
        })
    }

    /// Waits until the server is to stop.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        let _ = stopping.wait_for(|&stopping| stopping).await;
    }

    /// The slots of this moment, and whose they are.
    pub(crate) fn slots(&self) -> (Vec<SlotStats>, Vec<Option<Arc<Live>>>) {
        let slots = self.engine.slots();
        let seated = self.live.seated(&slots);
        (slots, seated)
    }
}

pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new()
        .route("/health", get(health))
        .route("/v1/health", get(health))
        .route("/metrics", get(metrics::metrics))
        .route("/openapi.json", get(page::openapi))
        .route("/ws", get(ws::connect))
        .route("/v1/models", get(openai::models::models))
        .route("/models", get(openai::models::models))
        .route("/v1/models/{id}", get(openai::models::model))
        .route("/props", get(native::props::props))
        .route("/tokenize", post(native::tokenize::tokenize))
        .route("/detokenize", post(native::tokenize::detokenize))
        .route("/apply-template", post(native::tokenize::apply_template));
    for path in ["/v1/chat/completions", "/chat/completions"] {
        router = router.route(path, post(openai::chat::chat));
    }
    router = router
        .route("/v1/embeddings", post(openai::embeddings::openai))
        .route("/embeddings", post(openai::embeddings::native))
        .route("/embedding", post(openai::embeddings::native));
    router = router.route("/v1/completions", post(openai::completions::completions));
    for path in ["/completion", "/completions"] {
        router = router.route(path, post(native::completion::completion));
    }
    if app.config.slots {
        router = router.route("/slots", get(native::slots::slots));
    }
    if app.config.page {
        router = router.route("/", get(page::page));
    }
    let router = router
        .fallback(|uri: Uri| async move {
            let message = format!("there is nothing at {}", uri.path());
            ApiError::new(StatusCode::NOT_FOUND, "not_found_error", message)
        })
        .method_not_allowed_fallback(|| async {
            let message = "this route wants another method; /openapi.json lists them";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message)
        })
        .layer(middleware::from_fn_with_state(app.clone(), guard::guard));
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
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
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
