//! `/slots`: what each slot is doing, and who waits.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use llama_concurrent::SlotStats;
use serde_json::{Value, json};

use crate::{
    app::App,
    error::{ApiError, json_response},
    live::{Live, Phase},
    params::settings,
};

pub(crate) async fn slots(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    if !app.config.slots {
        let message = "this server does not show its slots; start it without --no-slots";
        return ApiError::new(StatusCode::NOT_IMPLEMENTED, "not_supported_error", message).into_response();
    }
    let n_ctx = app.engine.n_ctx();
    let (slots, seated) = app.slots();
    let each = slots.iter().zip(&seated).enumerate();
    let list: Vec<Value> = each.map(|(id, (slot, live))| describe(id, n_ctx, slot, live.as_deref())).collect();
    let is_full = slots.iter().all(|slot| slot.request.is_some());
    if query.is_some_and(|query| query.contains("fail_on_no_slot")) && is_full {
        return ApiError::unavailable("no slot is free").into_response();
    }
    json_response(StatusCode::OK, &Value::Array(list))
}

/// Under llama-server's names; `state` and `elapsed_ms` are ours.
fn describe(id: usize, n_ctx: usize, slot: &SlotStats, live: Option<&Live>) -> Value {
    let mut told = json!({"id": id, "n_ctx": n_ctx, "speculative": false, "is_processing": slot.request.is_some()});
    if slot.request.is_none() {
        return told;
    }
    let n_output = slot.n_output_tokens;
    told["id_task"] = slot.request.into();
    told["state"] = if n_output == 0 { Phase::Prefill } else { Phase::Decode }.as_str().into();
    told["n_prompt_tokens"] = slot.n_prompt_tokens.into();
    told["n_prompt_tokens_processed"] =
        slot.n_tokens.min(slot.n_prompt_tokens).saturating_sub(slot.n_cached_tokens).into();
    told["n_prompt_tokens_cache"] = slot.n_cached_tokens.into();
    let mut next = json!({"has_next_token": true, "n_decoded": n_output});
    // One that did not come through this server has no more to tell.
    if let Some(live) = live {
        next["n_remain"] = live.params.max_tokens.map_or(-1, |max| i64::from(max) - n_output as i64).into();
        told["params"] = settings(&live.params, true);
        told["elapsed_ms"] = (live.since.elapsed().as_millis() as u64).into();
    }
    told["next_token"] = json!([next]);
    told
}
