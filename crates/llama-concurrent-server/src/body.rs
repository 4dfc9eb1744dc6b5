//! Reading a request's body: bounded in bytes and in time, and JSON.

use std::{error::Error, pin::pin, sync::Arc, time::Duration};

use axum::{
    extract::{FromRequest, Request},
    http::{StatusCode, header::CONTENT_LENGTH},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use crate::{
    app::App,
    error::{ApiError, ApiResult},
    fields::Fields,
    guard::Peer,
    work::{Job, Load},
};

/// A whole body. Its content type is not asked for, as curl's users leave it out.
pub(crate) struct Body {
    bytes: Bytes,
    /// Of all bodies that are being read.
    room: OwnedSemaphorePermit,
}

impl FromRequest<Arc<App>> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> ApiResult<Self> {
        let limits = &app.config.limits;
        let most = limits.max_body_bytes;
        let told = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if told.is_some_and(|told| told > most as u64) {
            return Err(too_large(most));
        }
        // Of one that does not tell its length, the worst is assumed.
        let kib = (told.map_or(most, |told| told as usize) >> 10) as u32 + 1;
        let room = app.body_room.clone().try_acquire_many_owned(kib).map_err(|_| {
            ApiError::unavailable("too many large requests are being read").with_retry(Duration::from_secs(1))
        })?;
        let peer = request.extensions().get::<Peer>().cloned();
        let read =
            timeout(limits.body_timeout, whole(request, told.map_or(0, |told| told as usize), most, peer.as_ref()))
                .await;
        let bytes = read.map_err(|_| {
            let message = "the body of the request did not come in time";
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout_error", message)
        })??;
        if let Some(peer) = peer {
            peer.attendance.read_whole();
        }
        Ok(Self { bytes, room })
    }
}

impl Body {
    /// Reads the object that it is, where that keeps nobody waiting.
    pub(crate) async fn read<T: Send + 'static>(
        self,
        app: &Arc<App>,
        read: impl FnOnce(&App, &Fields<'_>, &Job) -> ApiResult<T> + Send + 'static,
    ) -> ApiResult<T> {
        let Self { bytes, room } = self;
        let (load, of_work) = (Load::Bytes(bytes.len()), app.clone());
        let work = move |job: &Job| {
            let value = parse(&bytes, "body")?;
            // What was read is larger than what came, and both are here until this has ended.
            let _room = room;
            job.check()?;
            read(&of_work, &Fields::body(&value)?, job)
        };
        app.lanes.run(load, work).await
    }
}

/// `told` is how many bytes are announced: room for all of them is made at once, as growing copies what is there.
async fn whole(request: Request, told: usize, most: usize, peer: Option<&Peer>) -> ApiResult<Bytes> {
    let mut parts = request.into_body().into_data_stream();
    let mut whole = BytesMut::with_capacity(told);
    let ended = async {
        match peer {
            Some(peer) => peer.attendance.until_end().await,
            None => std::future::pending().await,
        }
    };
    let mut ended = pin!(ended);
    loop {
        // Before the end is looked at, everything that came before it has been read.
        let part = tokio::select! {
            biased;
            part = parts.next() => part,
            () = &mut ended => return Err(ApiError::bad_request("the body ended before its end")),
        };
        let Some(part) = part else { return Ok(whole.freeze()) };
        let part =
            part.map_err(|error| ApiError::bad_request(format!("the body cannot be read: {}", cause(&error))))?;
        if whole.len() + part.len() > most {
            return Err(too_large(most));
        }
        whole.extend_from_slice(&part);
    }
}

pub(crate) fn parse(bytes: &[u8], what: &str) -> ApiResult<Value> {
    serde_json::from_slice(bytes).map_err(|error| ApiError::bad_request(format!("the {what} is no JSON: {error}")))
}

/// What is at the bottom of an error of the connection.
fn cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn too_large(most: usize) -> ApiError {
    ApiError::too_large(format!("the body must have at most {most} bytes"))
}
