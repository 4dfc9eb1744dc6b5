//! Reads a request's body with limits on size and time, and parses it as JSON.

use std::{error::Error, pin::pin, sync::Arc};

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

/// A complete body. Its content type is not checked, because users of curl omit it.
pub(crate) struct Body {
    bytes: Bytes,
    /// A part of the memory for all bodies being read.
    room: OwnedSemaphorePermit,
}

impl FromRequest<Arc<App>> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> ApiResult<Self> {
        let limits = &app.config.limits;
        let most = limits.max_body_bytes;
        let announced =
            request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|announced| announced > most as u64) {
            return Err(too_large(most));
        }
        // Without a length, the largest body is assumed.
        let room = app.room(announced.map_or(most, |announced| announced as usize))?;
        let peer = request.extensions().get::<Peer>().cloned();
        let read = timeout(
            limits.body_timeout,
            whole(request, announced.map_or(0, |announced| announced as usize), most, peer.as_ref()),
        )
        .await;
        let bytes = read.map_err(|_| {
            let message = "the body of the request did not arrive in time";
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout_error", message)
        })??;
        if let Some(peer) = peer {
            peer.connection.read_whole();
        }
        Ok(Self { bytes, room })
    }
}

impl Body {
    /// Parses it as JSON, in the lane for its size.
    pub(crate) async fn read<T: Send + 'static>(
        self,
        app: &Arc<App>,
        read: impl FnOnce(&App, &Fields<'_>, &Job) -> ApiResult<T> + Send + 'static,
    ) -> ApiResult<T> {
        self.read_with(app, |_, _| 0, read).await
    }

    /// As [`read`](Self::read), for a body that refers to more than it has: to how many bytes, `refers` says. They are work
    /// as those of the body are.
    pub(crate) async fn read_with<T: Send + 'static>(
        self,
        app: &Arc<App>,
        refers: impl FnOnce(&App, &Fields<'_>) -> usize + Send + 'static,
        read: impl FnOnce(&App, &Fields<'_>, &Job) -> ApiResult<T> + Send + 'static,
    ) -> ApiResult<T> {
        let Self { bytes, room } = self;
        let (length, of_work) = (bytes.len(), app.clone());
        let first = move |job: &Job| {
            let value = parse(&bytes, "body")?;
            job.check()?;
            let more = refers(&of_work, &Fields::body(&value)?);
            if more > 0 {
                return Ok(Step::Refers { value, more, read, room });
            }
            // The parsed value is larger than the body, and both are in memory until this ends.
            let _room = room;
            read(&of_work, &Fields::body(&value)?, job).map(Step::Read)
        };
        let (value, more, read, room) = match app.lanes.run(Load::Bytes(length), first).await? {
            Step::Read(read) => return Ok(read),
            Step::Refers { value, more, read, room } => (value, more, read, room),
        };
        let of_work = app.clone();
        let second = move |job: &Job| {
            let _room = room;
            read(&of_work, &Fields::body(&value)?, job)
        };
        app.lanes.run(Load::Bytes(length.saturating_add(more)), second).await
    }
}

/// How far the reading of a body got.
enum Step<T, R> {
    Read(T),
    /// It goes on elsewhere.
    Refers {
        value: Value,
        more: usize,
        read: R,
        room: OwnedSemaphorePermit,
    },
}

/// `announced` is the content length: the buffer is allocated at once, because growing it would copy.
async fn whole(request: Request, announced: usize, most: usize, peer: Option<&Peer>) -> ApiResult<Bytes> {
    let mut parts = request.into_body().into_data_stream();
    let mut whole = BytesMut::with_capacity(announced);
    let ended = async {
        match peer {
            Some(peer) => peer.connection.until_end().await,
            None => std::future::pending().await,
        }
    };
    let mut ended = pin!(ended);
    loop {
        // Everything received before the end is read before the end is handled.
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
    serde_json::from_slice(bytes).map_err(|error| ApiError::bad_request(format!("the {what} is not JSON: {error}")))
}

/// The root cause of a connection error.
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
