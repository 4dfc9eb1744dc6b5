//! Reading a request's body: bounded in bytes and in time, and JSON.

use std::sync::Arc;

use axum::{
    body::to_bytes,
    extract::{FromRequest, Request},
};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    app::App,
    error::{ApiError, ApiResult},
    prompt::off_thread,
};

/// Bodies beyond this are parsed off the threads that serve connections.
const LONG_BODY: usize = 256 << 10;

/// A body of JSON. Its content type is not asked for, as curl's users leave it out.
pub(crate) struct JsonBody(pub(crate) Value);

impl FromRequest<Arc<App>> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> ApiResult<Self> {
        let limits = &app.config.limits;
        let most = limits.max_body_bytes;
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
