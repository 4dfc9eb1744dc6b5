//! The version of the library.

use std::ffi::{CStr, c_char};

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => panic!("a version has no NUL"),
};

/// Returns the version of the library, such as "0.1.0". `LLAMA_CONCURRENT_VERSION` is the version of the header. The string
/// is static.
#[unsafe(no_mangle)]
pub extern "C" fn llama_concurrent_version() -> *const c_char {
    VERSION.as_ptr()
}
