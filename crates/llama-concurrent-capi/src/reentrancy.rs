//! The callback re-entrancy guard: which callback the current thread is in. An operation that would wait for that
//! callback is refused there.

use std::cell::Cell;

use crate::{
    status::llama_infer_status as Status,
    types::{Failure, Result, llama_infer_id},
};

/// The callback that a thread is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackContext {
    /// Not in a callback.
    None,
    /// The event callback of a request.
    Event(llama_infer_id),
    /// `llama_engine_params.progress`; other loads wait for this one.
    Progress,
    /// The log callback, which any function may cause.
    Log,
}

thread_local! {
    static CONTEXT: Cell<CallbackContext> = const { Cell::new(CallbackContext::None) };
}

pub fn current() -> CallbackContext {
    CONTEXT.get()
}

/// Runs a callback in a context.
pub fn during<T>(inside: CallbackContext, callback: impl FnOnce() -> T) -> T {
    let outer = CONTEXT.replace(inside);
    let result = callback();
    CONTEXT.set(outer);
    result
}

/// Refuses an operation that waits, inside the log callback: any thread of the library may be waiting for that.
pub fn refuse_in_log(what: &str) -> Result<()> {
    if current() == CallbackContext::Log { refuse(what, "the log callback") } else { Ok(()) }
}

/// Refuses a load inside the progress callback of another.
pub fn refuse_loading() -> Result<()> {
    match current() {
        CallbackContext::Progress => refuse("loading", "a progress callback"),
        _ => refuse_in_log("loading"),
    }
}

pub fn refuse(what: &str, place: &str) -> Result<()> {
    Err(Failure::new(
        Status::InCallback,
        format!("{what} from inside {place} would wait for itself; do it on another thread"),
    ))
}
