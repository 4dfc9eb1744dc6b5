//! What all rooms share: handles, ids, `bool`, failures, times and texts.

use std::{ffi::CString, time::Duration};

use llama_concurrent::{Error, ErrorKind};

use crate::status::llama_infer_status as Status;

/// A loaded model with its contexts, threads and queue.
///
/// A handle, not an address: it is looked up in every call, so one that was freed is refused.
pub struct llama_engine {
    _private: [u8; 0],
}

/// A completion queue: where the events of requests wait until `llama_infer_poll` fetches them.
///
/// A handle, not an address: it is looked up in every call, so one that was freed is refused.
pub struct llama_infer_queue {
    _private: [u8; 0],
}

/// Identifies what one `llama_infer_*` call started. Never 0, never given out twice in a process.
pub type llama_infer_id = u64;

/// `bool` of C. As a byte, because memory that nobody initialised may hold any value.
pub type c_bool = u8;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub status: Status,
    pub message: String,
    /// The engine's own kind, where it has one: some have numbers in them.
    pub kind: Option<ErrorKind>,
}

pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), kind: None }
    }

    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(Status::InvalidArgument, message)
    }

    /// A number of an enum that has no such number.
    pub fn unknown(status: Status, field: &str, number: i32, of: &str) -> Self {
        Self::new(status, format!("{field} is {number}, which is none of enum {of}"))
    }

    pub fn shutting_down() -> Self {
        Self::new(Status::ShuttingDown, "the engine is shutting down and takes no new requests")
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { status: Status::of(error.kind()), message: error.to_string(), kind: Some(error.kind().clone()) }
    }
}

/// `timeout_ms` of the header: negative for no limit.
pub fn limit(timeout_ms: i32) -> Option<Duration> {
    u64::try_from(timeout_ms).ok().map(Duration::from_millis)
}

/// A text for C. A NUL within it would end it early, so it becomes a visible character.
pub fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{2400}")).unwrap_or_default()
}
