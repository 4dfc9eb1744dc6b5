//! Process exit while engines exist: no callback may start any more, and no thread, ours or one of the program's that is
//! inside one of our functions, may find llama.cpp's globals destroyed.
//!
//! The first is done here. For the second, the shared library registers no destructors at all (`exit.cpp`).

use std::{ffi::c_int, sync::Once};

use crate::engine_state::ENGINES;

unsafe extern "C" {
    fn lc_at_exit(function: extern "C" fn()) -> c_int;
}

/// Stops all engines when `exit` is called or `main` returns.
pub fn install_handler() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: the function never unwinds, and lives as long as the process, since the library is never unloaded.
        unsafe { lc_at_exit(stop_all) };
    });
}

extern "C" fn stop_all() {
    let stop = || ENGINES.all().iter().for_each(|engine| engine.abandon());
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(stop));
}
