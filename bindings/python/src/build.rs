//! The instruction sets that this module was compiled for.

use std::hint::black_box;

use pyo3::prelude::*;

/// Found in the file by `_builds.py` before it is loaded: on a CPU without these instructions, loading would already end the
/// process.
static BUILT_FOR: &str = concat!("\nllama-concurrent-built-for:", env!("BUILT_FOR"), "\n");

/// The instruction sets that llama.cpp was built for, as it reports them.
#[pyfunction]
pub fn system_info() -> &'static str {
    // Otherwise it would be unused, and the linker would drop it.
    black_box(BUILT_FOR);
    llama_concurrent::system_info()
}
