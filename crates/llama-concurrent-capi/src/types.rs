//! Types used throughout this crate: handles, ids, `bool`, failures, time limits and strings.

use std::{ffi::CString, time::Duration};

use llama_concurrent::{Error, ErrorKind};

use crate::status::llama_infer_status as Status;

/// An engine: a loaded model with its contexts, threads and request queue.
///
/// The pointer is an opaque handle and is never dereferenced. Every function validates it, so a freed handle is detected.
pub struct llama_engine {
    _private: [u8; 0],
}

/// A completion queue: holds the events of requests until `llama_infer_poll` retrieves them.
///
/// The pointer is an opaque handle and is never dereferenced. Every function validates it, so a freed handle is detected.
pub struct llama_infer_queue {
    _private: [u8; 0],
}

/// Identifies a request or a batch. Never 0, and never reused within a process.
pub type llama_infer_id = u64;

/// C's `bool`, as a byte because uninitialised memory may hold any value.
pub type c_bool = u8;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub status: Status,
    pub message: String,
    /// The engine's own error kind, if any: some carry numbers.
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

    /// A number that is not a value of an enum.
    pub fn unknown(status: Status, field: &str, number: i32, of: &str) -> Self {
        Self::new(status, format!("{field} is {number}, which is not a value of enum {of}"))
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

/// A `timeout_ms` argument as a duration; negative means no limit.
pub fn limit(timeout_ms: i32) -> Option<Duration> {
    u64::try_from(timeout_ms).ok().map(Duration::from_millis)
}

/// A C string. An embedded NUL would end it early, so it becomes a visible character.
pub fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{2400}")).unwrap_or_default()
}
