//! Errors of the engine as Python exceptions, one class for each kind.

use llama_concurrent::{Error, ErrorKind};
use pyo3::{prelude::*, types::PyDict};

/// The exception for an error.
pub fn exception(error: &Error) -> PyErr {
    Python::attach(|py| build(py, error).unwrap_or_else(|failed| failed))
}

/// Makes `llama_concurrent._errors.NAME(message)` with the numbers of the kind as attributes.
fn build(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let numbers = PyDict::new(py);
    match error.kind() {
        ErrorKind::PromptTooLong { n_prompt, max_tokens, n_ctx } => {
            numbers.set_item("n_prompt_tokens", n_prompt)?;
            numbers.set_item("max_tokens", max_tokens)?;
            numbers.set_item("n_ctx", n_ctx)?;
        }
        ErrorKind::Overloaded { retry_after } => numbers.set_item("retry_after", retry_after.as_secs_f64())?,
        _ => {}
    }
    let class = error.kind().interfaces().python;
    named(py, class, &error.to_string(), Some(&numbers))
}

/// An exception of the package by its name.
pub fn named(py: Python<'_>, class: &str, message: &str, numbers: Option<&Bound<'_, PyDict>>) -> PyResult<PyErr> {
    let exception = py.import("llama_concurrent._errors")?.getattr(class)?.call((message,), numbers)?;
    Ok(PyErr::from_value(exception))
}
