//! Which callback a thread is in. What would wait for that callback's end must not be done there.

use std::cell::Cell;

use crate::{
    status::llama_infer_status as Status,
    types::{Failure, Result, llama_infer_id},
};

/// Whose callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// None.
    Nothing,
    /// That of a request.
    Event(llama_infer_id),
    /// `llama_engine_params.progress`; other loads wait for this one.
    Progress,
    /// The log's, which anything may cause.
    Log,
}

thread_local! {
    static INSIDE: Cell<Inside> = const { Cell::new(Inside::Nothing) };
}

pub fn current() -> Inside {
    INSIDE.get()
}

/// Runs a callback.
pub fn during<T>(inside: Inside, callback: impl FnOnce() -> T) -> T {
    let outer = INSIDE.replace(inside);
    let result = callback();
    INSIDE.set(outer);
    result
}

/// Refuses what waits for others while the whole library may be waiting for the log.
pub fn refuse_in_log(what: &str) -> Result<()> {
    if current() == Inside::Log { refuse(what, "the log callback") } else { Ok(()) }
}

/// Refuses a load inside of another.
pub fn refuse_loading() -> Result<()> {
    match current() {
        Inside::Progress => refuse("loading", "a progress callback"),
        _ => refuse_in_log("loading"),
    }
}

pub fn refuse(what: &str, place: &str) -> Result<()> {
    Err(Failure::new(
        Status::InCallback,
        format!("{what} from inside {place} would wait for itself; do it on another thread"),
    ))
}
