//! `/slots`: the state of each slot.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use llama_concurrent::{SlotStats, Speculation};
use serde_json::{Value, json};

use crate::{
    app::App,
    error::{ApiError, json_response},
    in_flight::{InFlightRequest, Phase},
    params::settings,
};

pub(crate) async fn slots(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    if !app.config.slots {
        let message = "this server does not show its slots; start it without --no-slots";
        return ApiError::new(StatusCode::NOT_IMPLEMENTED, "not_supported_error", message).into_response();
    }
    let n_ctx = app.engine.n_ctx();
    let speculates = app.engine.stats().speculation != Speculation::Off;
    let (slots, assigned) = app.slots();
    let each = slots.iter().zip(&assigned).enumerate();
    let list: Vec<Value> =
        each.map(|(id, (slot, in_flight))| describe(id, n_ctx, speculates, slot, in_flight.as_deref())).collect();
    let is_full = slots.iter().all(|slot| slot.request.is_some());
    if query.is_some_and(|query| query.contains("fail_on_no_slot")) && is_full {
        return ApiError::unavailable("no slot is free").into_response();
    }
    json_response(StatusCode::OK, &Value::Array(list))
}

/// Under llama-server's names; `state` and `elapsed_ms` are ours.
fn describe(id: usize, n_ctx: usize, speculates: bool, slot: &SlotStats, in_flight: Option<&InFlightRequest>) -> Value {
    let mut described =
        json!({"id": id, "n_ctx": n_ctx, "speculative": speculates, "is_processing": slot.request.is_some()});
    if slot.request.is_none() {
        return described;
    }
    let n_output = slot.n_output_tokens;
    described["id_task"] = slot.request.into();
    described["state"] = if n_output == 0 { Phase::Prefill } else { Phase::Decode }.as_str().into();
    described["n_prompt_tokens"] = slot.n_prompt_tokens.into();
    described["n_prompt_tokens_processed"] =
        slot.n_tokens.min(slot.n_prompt_tokens).saturating_sub(slot.n_cached_tokens).into();
    described["n_prompt_tokens_cache"] = slot.n_cached_tokens.into();
    let mut next = json!({"has_next_token": true, "n_decoded": n_output});
    // No more is known of a request that did not come through this server.
    if let Some(in_flight) = in_flight {
        next["n_remain"] = in_flight.params.max_tokens.map_or(-1, |max| i64::from(max) - n_output as i64).into();
        described["params"] = settings(&in_flight.params, true);
        described["elapsed_ms"] = (in_flight.since.elapsed().as_millis() as u64).into();
    }
    described["next_token"] = json!([next]);
    described
}
