//! The native half of the Python package: the engine, its generations, and nothing that Python can do as well.
//!
//! Whatever waits does so without the GIL, in slices, so that Ctrl-C is noticed between two of them. Errors become the
//! classes of `llama_concurrent._errors`.

mod build;
mod convert;
mod engine;
mod errors;
mod generation;
mod slice;

/// The module `llama_concurrent._native`.
#[pyo3::pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::{
        build::system_info,
        engine::{NativeEngine, NativeFinished},
        generation::NativeGeneration,
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::slice::note_main_thread(module.py())
    }
}
