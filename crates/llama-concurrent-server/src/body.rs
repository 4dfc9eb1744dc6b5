//! Reading a request's body: bounded in bytes and in time, and JSON.

use std::{sync::Arc, time::Duration};

use axum::{
    body::to_bytes,
    extract::{FromRequest, Request},
    http::header::CONTENT_LENGTH,
};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    app::App,
    error::{ApiError, ApiResult},
    prompt::off_thread,
};

/// Bodies beyond this are parsed off the threads that serve connections.
const LONG_BODY: usize = 64 << 10;
/// So many bodies of the largest size may be read at the same time, or more smaller ones.
pub(crate) const LARGE_BODIES: usize = 32;

/// A body of JSON. Its content type is not asked for, as curl's users leave it out.
pub(crate) struct JsonBody(pub(crate) Value);

impl FromRequest<Arc<App>> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> ApiResult<Self> {
        let limits = &app.config.limits;
        let most = limits.max_body_bytes;
        let told = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        // Of one that does not tell its length, the worst is assumed.
        let kib = (told.unwrap_or(most).min(most) >> 10) as u32 + 1;
        let _room = app.body_room.try_acquire_many(kib).map_err(|_| {
            ApiError::unavailable("too many large requests are being read").with_retry(Duration::from_secs(1))
        })?;
        let read = timeout(limits.body_timeout, to_bytes(request.into_body(), most)).await;
        let bytes = read
            .map_err(|_| {
                let status = axum::http::StatusCode::REQUEST_TIMEOUT;
                ApiError::new(status, "timeout_error", "the body of the request did not come in time")
            })?
            .map_err(|_| ApiError::too_large(format!("the body must be whole and have at most {most} bytes")))?;
        off_thread(bytes.len() > LONG_BODY, move || {
            let parsed = serde_json::from_slice(&bytes);
            parsed.map(Self).map_err(|error| ApiError::bad_request(format!("the body is no JSON: {error}")))
        })
        .await
    }
}
