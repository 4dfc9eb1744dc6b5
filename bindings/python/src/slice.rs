//! Slices of waits without the GIL, with a check for Ctrl-C between them.

use std::{
    sync::OnceLock,
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use pyo3::prelude::*;

/// The latency of Ctrl-C.
const SIGNALS: Duration = Duration::from_millis(50);
/// Signals are handled only by the main thread; others need not check.
const NO_SIGNALS: Duration = Duration::from_secs(3600);

static MAIN_THREAD: OnceLock<ThreadId> = OnceLock::new();

/// Remembers the main thread, if the module is imported there.
pub fn note_main_thread(py: Python<'_>) -> PyResult<()> {
    let threading = py.import("threading")?;
    if threading.call_method0("current_thread")?.is(&threading.call_method0("main_thread")?) {
        let _ = MAIN_THREAD.set(thread::current().id());
    }
    Ok(())
}

/// The deadline of a wait in seconds; `None` without a limit.
pub fn deadline(timeout: Option<f64>) -> Option<Instant> {
    let limit = timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok())?;
    Instant::now().checked_add(limit)
}

/// The next slice of a wait.
pub fn next(deadline: Option<Instant>) -> Duration {
    let is_main = MAIN_THREAD.get().is_none_or(|&main| main == thread::current().id());
    let slice = if is_main { SIGNALS } else { NO_SIGNALS };
    deadline.map_or(slice, |deadline| deadline.saturating_duration_since(Instant::now()).min(slice))
}

/// Whether a wait is over.
pub fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}
