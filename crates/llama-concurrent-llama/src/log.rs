//! llama.cpp's process-wide state: initialised once; its log goes to `tracing`, its captured into our errors.

use std::{
    ffi::{CStr, c_char, c_void},
    sync::{Mutex, OnceLock, PoisonError},
};

use llama_cpp_2::llama_backend::LlamaBackend as Process;
use llama_cpp_sys_2 as sys;

/// Enough for the few lines that precede a failure.
const MAX_CAPTURED: usize = 1000;

static CAPTURED_ERRORS: Mutex<String> = Mutex::new(String::new());

/// Initialises llama.cpp for this process; further calls do nothing.
pub(super) fn init_process() {
    static PROCESS: OnceLock<Option<Process>> = OnceLock::new();
    PROCESS.get_or_init(|| {
        // SAFETY: `on_log` matches the callback's type, never unwinds and lives as long as the process.
        unsafe { sys::llama_log_set(Some(on_log), std::ptr::null_mut()) };
        // An error means that the process has initialised it already.
        Process::init().ok()
    });
}

/// The instruction sets that llama.cpp was built for, as it reports them: `CPU : AVX2 = 1 | AVX512_VNNI = 1 | ...`.
pub fn system_info() -> &'static str {
    static INFO: OnceLock<String> = OnceLock::new();
    INFO.get_or_init(|| {
        init_process();
        // SAFETY: a NUL-terminated string in a static buffer, which is not written while we copy: this is the only caller.
        unsafe { CStr::from_ptr(sys::llama_print_system_info()) }.to_string_lossy().into_owned()
    })
}

/// Takes the errors that llama.cpp logged since the last call, as one line.
pub(super) fn take_captured_errors() -> String {
    let mut captured = CAPTURED_ERRORS.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *captured)
}

extern "C" fn on_log(level: sys::ggml_log_level, text: *const c_char, _user_data: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: llama.cpp passes a NUL-terminated string that lives until we return.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let text = text.trim();
    if text.is_empty() {
        return;
    }
    match level {
        sys::GGML_LOG_LEVEL_ERROR => {
            let mut captured = CAPTURED_ERRORS.lock().unwrap_or_else(PoisonError::into_inner);
            if captured.len() + text.len() < MAX_CAPTURED {
                if !captured.is_empty() {
                    captured.push_str("; ");
                }
                captured.push_str(text);
            }
            drop(captured);
            // Each of them comes back to the caller inside an `Error`, so it is not an error of the process.
            tracing::debug!(target: "llama.cpp", "{text}");
        }
        sys::GGML_LOG_LEVEL_WARN => tracing::debug!(target: "llama.cpp", "{text}"),
        _ => tracing::trace!(target: "llama.cpp", "{text}"),
    }
}
