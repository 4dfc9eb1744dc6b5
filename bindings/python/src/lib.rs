//! The native part of the Python package: the engine and its generations. Everything else is written in Python.
//!
//! All waits release the GIL and are split into slices, so that Ctrl-C is handled between them. Errors become the classes
//! of `llama_concurrent._errors`.

mod build;
mod convert;
mod engine;
mod errors;
mod generation;
mod reply;
mod slice;
mod vectors;

/// The module `llama_concurrent._native`.
#[pyo3::pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::{
        build::system_info,
        engine::{NativeEngine, NativeFinished},
        generation::NativeGeneration,
        reply::NativeReplyForm,
        vectors::{embed, rank, score},
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::slice::note_main_thread(module.py())
    }
}
