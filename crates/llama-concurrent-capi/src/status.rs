//! Status codes.

use std::ffi::{CStr, c_char};

use llama_concurrent::ErrorKind;

/// Status codes. A number is never reused for another meaning. Later versions may add codes: treat an unknown one as an
/// error.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_infer_status {
    /// Success.
    Ok = 0,
    /// A required pointer is NULL, a string is not UTF-8, or an element count or struct size is impossible.
    InvalidArgument = 1,
    /// The handle was never issued, or was freed.
    InvalidHandle = 2,
    // kinds of errors: begin
    /// A setting of the engine is out of range or contradicts another.
    InvalidConfig = 3,
    /// The prompt, a message or a parameter of the request is out of range.
    InvalidRequest = 4,
    /// Prompt and requested output do not fit into one slot. `llama_infer_last_error_detail` has the numbers.
    PromptTooLong = 5,
    /// The model file does not exist or cannot be opened.
    ModelNotFound = 6,
    /// The model file is damaged, cut short or not a GGUF file.
    ModelInvalid = 7,
    /// The model file is sound, but this build cannot run it.
    ModelUnsupported = 8,
    /// Memory for weights, KV cache, buffers or threads could not be allocated.
    OutOfMemory = 9,
    /// The queue is full. `llama_infer_last_error_detail` has the numbers.
    Overloaded = 10,
    /// The model has no chat template.
    NoChatTemplate = 11,
    /// The chat template could not be compiled or rendered.
    ChatTemplate = 12,
    /// The engine is draining or shut down and takes no new requests.
    ShuttingDown = 13,
    /// llama.cpp refused or failed a computation.
    Decode = 14,
    /// The progress callback stopped the load.
    LoadCancelled = 15,
    /// A bug in this library; load the engine again.
    Internal = 16,
    // kinds of errors: end
    /// The operation did not complete within `timeout_ms`.
    Timeout = 17,
    /// Called in a callback where the function would deadlock; it had no effect.
    InCallback = 18,
    /// This engine never issued the id, or there is no last error.
    NotFound = 19,
    /// The buffer is too small; the required size was written.
    BufferTooSmall = 20,
    /// Another thread is polling this queue.
    Busy = 21,
    // later kinds of errors: begin
    // later kinds of errors: end
}

use llama_infer_status as Status;

impl Status {
    /// Every status and its name.
    pub const ALL: &[(Status, &CStr)] = &[
        (Status::Ok, c"ok"),
        (Status::InvalidArgument, c"invalid argument"),
        (Status::InvalidHandle, c"invalid handle"),
        (Status::Timeout, c"timeout"),
        (Status::InCallback, c"called from a callback"),
        (Status::NotFound, c"not found"),
        (Status::BufferTooSmall, c"buffer too small"),
        (Status::Busy, c"busy"),
        // names of kinds: begin
        (Status::InvalidConfig, c"invalid configuration"),
        (Status::InvalidRequest, c"invalid request"),
        (Status::PromptTooLong, c"prompt too long"),
        (Status::ModelNotFound, c"model not found"),
        (Status::ModelInvalid, c"invalid model file"),
        (Status::ModelUnsupported, c"unsupported model"),
        (Status::OutOfMemory, c"out of memory"),
        (Status::Overloaded, c"overloaded"),
        (Status::NoChatTemplate, c"no chat template"),
        (Status::ChatTemplate, c"chat template failed"),
        (Status::ShuttingDown, c"shutting down"),
        (Status::Decode, c"decode failed"),
        (Status::LoadCancelled, c"load cancelled"),
        (Status::Internal, c"internal error"),
        // names of kinds: end
    ];

    pub fn of(kind: &ErrorKind) -> Self {
        Self::named(kind.interfaces().c_status).map_or(Status::Internal, |(status, _)| status)
    }

    fn named(number: i32) -> Option<(Status, &'static CStr)> {
        Self::ALL.iter().copied().find(|&(status, _)| status as i32 == number)
    }
}

/// Returns the name of a status, such as "prompt too long", or "unknown status" for an unknown number. The string is
/// static and never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn llama_infer_status_name(status: i32) -> *const c_char {
    Status::named(status).map_or(c"unknown status", |(_, name)| name).as_ptr()
}
