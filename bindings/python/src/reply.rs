//! Answers to chats as Python has them: dicts in the form of OpenAI's API.

use llama_concurrent::{Reply, ReplyEvent, ReplyForm};
use pyo3::{prelude::*, types::PyDict};

/// How the answer to a chat is read; an attribute of `llama_concurrent.ChatPrompt`.
#[pyclass(frozen, module = "llama_concurrent._native")]
pub struct NativeReplyForm(pub ReplyForm);

/// An answer as a message.
pub fn message<'py>(py: Python<'py>, reply: &Reply) -> PyResult<Bound<'py, PyDict>> {
    let message = PyDict::new(py);
    message.set_item("role", "assistant")?;
    let is_empty = reply.content.is_empty() && !reply.calls.is_empty();
    message.set_item("content", (!is_empty).then_some(&reply.content))?;
    if !reply.reasoning.is_empty() {
        message.set_item("reasoning_content", &reply.reasoning)?;
    }
    if !reply.calls.is_empty() {
        let calls = reply.calls.iter().map(|call| {
            let function = PyDict::new(py);
            function.set_item("name", &call.name)?;
            function.set_item("arguments", &call.arguments)?;
            let dict = PyDict::new(py);
            dict.set_item("id", &call.id)?;
            dict.set_item("type", "function")?;
            dict.set_item("function", function)?;
            Ok(dict)
        });
        message.set_item("tool_calls", calls.collect::<PyResult<Vec<_>>>()?)?;
    }
    Ok(message)
}

/// A piece of an answer as a delta; `None` where nothing of it is one.
pub fn delta<'py>(py: Python<'py>, piece: &ReplyEvent) -> PyResult<Option<Bound<'py, PyDict>>> {
    let delta = PyDict::new(py);
    match piece {
        ReplyEvent::Content(text) => delta.set_item("content", text)?,
        ReplyEvent::Reasoning(text) => delta.set_item("reasoning_content", text)?,
        ReplyEvent::CallStart { index, id, name } => {
            let function = PyDict::new(py);
            function.set_item("name", name)?;
            function.set_item("arguments", "")?;
            let call = PyDict::new(py);
            call.set_item("index", index)?;
            call.set_item("id", id)?;
            call.set_item("type", "function")?;
            call.set_item("function", function)?;
            delta.set_item("tool_calls", [call])?;
        }
        ReplyEvent::Arguments { index, json } => {
            let function = PyDict::new(py);
            function.set_item("arguments", json)?;
            let call = PyDict::new(py);
            call.set_item("index", index)?;
            call.set_item("function", function)?;
            delta.set_item("tool_calls", [call])?;
        }
        _ => return Ok(None),
    }
    Ok(Some(delta))
}
