//! The boundary around every exported function: panics are caught, and every failure is recorded as the last error.

use std::{
    cell::RefCell,
    ffi::{CString, c_char},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
    time::Duration,
};

use llama_concurrent::ErrorKind;

use crate::{
    pointers::{self, Versioned},
    status::llama_infer_status as Status,
    types::{Failure, Result, c_text},
};

struct LastError {
    failure: Failure,
    text: CString,
}

thread_local! {
    static LAST_ERROR: RefCell<Option<LastError>> = const { RefCell::new(None) };
}

/// Runs the body of an exported function.
pub fn boundary(body: impl FnOnce() -> Result<()>) -> Status {
    // The host owns stderr, so a panic is logged, not printed.
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}"))));

    let outcome = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown cause");
        Err(Failure::new(Status::Internal, format!("a bug in this library: {message}; please report it")))
    });
    match outcome {
        Ok(()) => Status::Ok,
        Err(failure) => {
            let status = failure.status;
            let text = c_text(&failure.message);
            // The thread-local may be destroyed already while a thread ends; only the status is left then.
            let _ = LAST_ERROR.try_with(|last| last.replace(Some(LastError { failure, text })));
            status
        }
    }
}

/// Details of the last error of a thread. Fields that do not apply are 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama_infer_error_detail {
    /// `sizeof(llama_infer_error_detail)`, set by the caller.
    pub size: usize,
    /// The status that the function returned.
    pub status: Status,
    /// `LLAMA_INFER_STATUS_OVERLOADED`: estimated milliseconds until the queue has room.
    pub retry_after_ms: u32,
    /// `LLAMA_INFER_STATUS_PROMPT_TOO_LONG`: tokens of the prompt.
    pub n_prompt_tokens: u32,
    /// `LLAMA_INFER_STATUS_PROMPT_TOO_LONG`: output tokens requested; 1 if `max_tokens` was 0.
    pub max_tokens: u32,
    /// `LLAMA_INFER_STATUS_PROMPT_TOO_LONG`: tokens that a slot holds.
    pub n_ctx: u32,
    /// Reserved; always 0.
    pub reserved: u32,
}

// SAFETY: `#[repr(C)]`, starts with its size; numbers, and a status that is only ever written.
unsafe impl Versioned for llama_infer_error_detail {
    const INITIALIZER: &'static str = "set it to sizeof(llama_infer_error_detail)";
}

crate::assert_no_tail_padding!(llama_infer_error_detail, reserved: u32);

/// Returns a message that describes the last failed call on this thread: what was requested, which limit applied, and what
/// to change.
///
/// Successful calls do not change it. The string is owned by the library and is valid until the next call that fails on
/// this thread, or until the thread ends. It is never NULL, and empty if no call has failed yet.
#[unsafe(no_mangle)]
pub extern "C" fn llama_infer_last_error() -> *const c_char {
    let text = LAST_ERROR.try_with(|last| last.borrow().as_ref().map(|last| last.text.as_ptr()));
    text.ok().flatten().unwrap_or(c"".as_ptr())
}

/// Fills `*detail` with the numbers that belong to `llama_infer_last_error`. The caller sets `detail->size` first.
///
/// Returns `NOT_FOUND` if no call has failed on this thread yet. A failure of this function does not change the last error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_last_error_detail(detail: *mut llama_infer_error_detail) -> Status {
    let failure = LAST_ERROR.try_with(|last| last.borrow().as_ref().map(|last| last.failure.clone()));
    let Some(failure) = failure.ok().flatten() else { return Status::NotFound };
    let clip = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut filled = llama_infer_error_detail {
        size: 0,
        status: failure.status,
        retry_after_ms: 0,
        n_prompt_tokens: 0,
        max_tokens: 0,
        n_ctx: 0,
        reserved: 0,
    };
    match failure.kind {
        Some(ErrorKind::Overloaded { retry_after }) => filled.retry_after_ms = millis(retry_after),
        Some(ErrorKind::PromptTooLong { n_prompt, max_tokens, n_ctx }) => {
            (filled.n_prompt_tokens, filled.max_tokens, filled.n_ctx) = (clip(n_prompt), clip(max_tokens), clip(n_ctx));
        }
        _ => {}
    }
    // SAFETY: `detail` is NULL or a struct with its size, as the header asks.
    match unsafe { pointers::write_sized(detail, filled, "detail") } {
        Ok(()) => Status::Ok,
        Err(failure) => failure.status,
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
