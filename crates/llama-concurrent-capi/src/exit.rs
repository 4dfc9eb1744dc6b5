//! The end of the process with engines left: no callback may begin any more, and no thread of ours, or of a program that
//! is inside of one of our functions just then, may find llama.cpp's globals destroyed.
//!
//! The first is done here. For the second, the shared library registers no destructors at all (`exit.cpp`).

use std::{ffi::c_int, sync::Once};

use crate::shared::ENGINES;

unsafe extern "C" {
    fn lc_at_exit(function: extern "C" fn()) -> c_int;
}

/// Sees to it that engines are stopped when `exit` is called or `main` returns.
pub fn watch() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        // SAFETY: the function never unwinds, and lives as long as the process, since the library is never unloaded.
        unsafe { lc_at_exit(stop_all) };
    });
}

extern "C" fn stop_all() {
    let stop = || ENGINES.all().iter().for_each(|engine| engine.abandon());
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(stop));
}
