//! Tiny models of every architecture: llama.cpp itself lists the tensors of a model with given settings.

use std::{
    ffi::{CStr, CString, c_char, c_void},
    path::Path,
};

use llama_concurrent_gguf::synth;
use llama_concurrent_types::{Error, ErrorKind, Result};

use super::{ffi, log};

type Tensors = Vec<(String, Vec<u64>)>;

/// Writes a tiny model of an architecture (see [`synth::architectures`]) with random weights to `out`: a few layers, with
/// sliding windows of 16 tokens and few experts if the architecture has them. The same name and seed give the same file.
///
/// # Errors
/// [`ErrorKind::ModelUnsupported`] if the architecture is unknown, and errors of writing the file.
pub fn write_tiny_model(architecture: &str, seed: u64, out: &Path) -> Result<()> {
    synth::write_architecture_metadata(architecture, out)?;
    // A partial file is no model.
    let tensors = tensors_of(out).inspect_err(|_| _ = std::fs::remove_file(out))?;
    Ok(synth::write_architecture(architecture, &tensors, seed, out)?)
}

fn tensors_of(metadata: &Path) -> Result<Tensors> {
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
