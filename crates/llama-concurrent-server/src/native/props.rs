//! `/props`: the properties of this server.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use llama_concurrent::ChatCapabilities;
use serde_json::json;

use crate::{app::App, error::json_response, openai::FINGERPRINT, params::settings};

pub(crate) async fn props(State(app): State<Arc<App>>) -> Response {
    let stats = app.engine.stats();
    let mut params = settings(&app.config.defaults, true);
    // llama-server uses the highest seed for a random one.
    params["seed"] = app.config.seed.unwrap_or(u32::MAX).into();
    let (bos, eos) = app.engine.bos_and_eos_text();
    let props = json!({
        "default_generation_settings": {"n_ctx": stats.n_ctx, "is_processing": false, "params": params},
        "total_slots": stats.slots,
        "model_alias": app.config.model_name,
        "model_path": app.config.model_path,
        "bos_token": bos,
        "eos_token": eos,
        "chat_template": app.engine.chat_template(),
        "chat_template_caps": app.engine.chat_capabilities().map(ChatCapabilities::to_json),
        "has_chat_template": app.engine.model().has_chat_template,
        "modalities": {"vision": false, "audio": false},
        "build_info": FINGERPRINT,
        "is_sleeping": false,
        "strategy": stats.strategy.as_str(),
        "workers": stats.workers,
        "contexts": stats.contexts,
        "threads": stats.threads,
        "kernels": stats.kernels,
        "kernels_share": stats.kernels_share(),
        "products": stats.describe_products(),
        "pack_cache": stats.pack_cache,
    });
    json_response(StatusCode::OK, &props)
}
