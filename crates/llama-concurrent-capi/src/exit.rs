//! The end of the process: engines that nobody freed must not compute while llama.cpp's globals are taken down.

use std::sync::Once;

use crate::shared::ENGINES;

/// Sees to it that engines are stopped when `exit` is called or `main` returns.
pub fn watch() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        // SAFETY: the function never unwinds. It runs before llama.cpp's own destructors, which were registered earlier.
        unsafe { libc::atexit(stop_all) };
    });
}

extern "C" fn stop_all() {
    let stop = || ENGINES.all().iter().for_each(|engine| engine.abandon());
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(stop));
}
