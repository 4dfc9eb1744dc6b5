//! `/slots`: what each slot is doing, and who waits.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{
    app::App,
    error::{ApiError, json_response},
    live::Live,
    params::settings,
};

pub(crate) async fn slots(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let stats = app.engine.stats();
    let live = app.observe();
    let in_slot = |slot: usize| live.iter().find(|live| live.slot() == slot as i64);
    let list: Vec<Value> = (0..stats.slots).map(|slot| describe(slot, stats.n_ctx, in_slot(slot))).collect();
    let is_full = list.iter().all(|slot| slot["is_processing"] == true);
    if query.is_some_and(|query| query.contains("fail_on_no_slot")) && is_full {
        return ApiError::unavailable("no slot is free").into_response();
    }
    json_response(StatusCode::OK, &Value::Array(list))
}

fn describe(slot: usize, n_ctx: usize, live: Option<&Arc<Live>>) -> Value {
    let Some(live) = live else {
        return json!({"id": slot, "n_ctx": n_ctx, "speculative": false, "is_processing": false});
    };
    let n_output = live.n_output();
    let n_remain = live.params.max_tokens.map_or(-1, |max| i64::from(max) - n_output as i64);
    json!({
        "id": slot,
        "id_task": live.id,
        "n_ctx": n_ctx,
        "speculative": false,
        "is_processing": true,
        "params": settings(&live.params, true),
        "n_prompt_tokens": live.n_prompt,
        "next_token": {"has_next_token": true, "n_remain": n_remain, "n_decoded": n_output},
        "state": live.phase().as_str(),
        "elapsed_ms": live.since.elapsed().as_millis() as u64,
    })
}
