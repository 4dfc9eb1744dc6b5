//! The tensors of a model with given metadata, as listed by llama.cpp.

use std::{
    ffi::{CStr, CString, c_char, c_void},
    path::Path,
};

use llama_concurrent_types::{Error, ErrorKind, Result};

use super::{ffi, log};

type Tensors = Vec<(String, Vec<u64>)>;

/// The names and dimensions of the tensors that llama.cpp expects of a model with the metadata in this file.
///
/// # Errors
/// [`ErrorKind::ModelUnsupported`] if llama.cpp cannot create such a model.
pub fn tensors_of(metadata: &Path) -> Result<Vec<(String, Vec<u64>)>> {
    extern "C" fn each(name: *const c_char, dims: *const i64, tensors: *mut c_void) {
        // SAFETY: the list below, which outlives the call; a string and four numbers, by the contract of `lc_each_tensor`.
        let (tensors, name, dims) =
            unsafe { (&mut *tensors.cast::<Tensors>(), CStr::from_ptr(name), std::slice::from_raw_parts(dims, 4)) };
        let used = dims.iter().rposition(|&dim| dim != 1).map_or(1, |last| last + 1);
        let name = name.to_string_lossy().into_owned();
        // A tensor with two roles appears twice.
        if tensors.iter().any(|(known, _)| *known == name) {
            return;
        }
        tensors.push((name, dims[..used].iter().map(|&dim| dim as u64).collect()));
    }
    log::init_process();
    let fail = |why: String| {
        Error::new(
            ErrorKind::ModelUnsupported,
            format!("llama.cpp cannot make the model of {}: {why}", metadata.display()),
        )
    };
    let path = CString::new(metadata.as_os_str().as_encoded_bytes()).map_err(|_| fail("the path has a NUL".into()))?;
    let (mut tensors, mut message) = (Tensors::new(), ffi::Message::new());
    log::take_captured_errors();
    // SAFETY: a string, a function that takes what it is given, and room for a message.
    let made = unsafe {
        ffi::lc_each_tensor(path.as_ptr(), each, (&raw mut tensors).cast(), message.as_mut_ptr(), message.size())
    };
    if made { Ok(tensors) } else { Err(fail(format!("{} {}", message.text(), log::take_captured_errors()))) }
}
