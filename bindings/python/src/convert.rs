//! Conversions between Python and the engine.

use std::time::Duration;

use llama_concurrent::{
    Completion, Constraint, Engine, Finish, FinishReason, MarkedText, Priority, Prompt, ReplyForm, Request,
    SamplingParams, Timings, TokenLogprobs,
    parameters::{Kind, Value},
};
use pyo3::{
    Borrowed,
    exceptions::{PyOverflowError, PyTypeError, PyValueError},
    prelude::*,
    types::{PyByteArray, PyBytes, PyDict, PyFrozenSet, PySet, PyString},
};

use crate::{
    errors,
    reply::{self, NativeReplyForm},
};

/// A prompt: text, or tokens.
pub enum PromptLike {
    Text(String),
    /// A `ChatPrompt`, which marks the ranges of plain text.
    Marked(MarkedText),
    Tokens(Vec<i32>),
}

/// A prompt, and how the answer is read if it is a chat's.
pub struct Asked {
    prompt: PromptLike,
    pub form: Option<ReplyForm>,
}

impl Asked {
    /// The prompt alone; texts are read with their special tokens.
    pub fn prompt(self) -> Prompt {
        match self.prompt {
            PromptLike::Text(text) => Prompt::Text(text),
            PromptLike::Marked(marked) => Prompt::Marked(marked),
            PromptLike::Tokens(tokens) => Prompt::Tokens(tokens),
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Asked {
    type Error = PyErr;

    fn extract(prompt: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let read: PromptLike = prompt.extract()?;
        let form = match read {
            PromptLike::Marked(_) => prompt.getattr("form")?.extract::<Option<Bound<'_, NativeReplyForm>>>()?,
            _ => None,
        };
        Ok(Self { prompt: read, form: form.map(|form| form.get().0.clone()) })
    }
}

impl<'py> FromPyObject<'_, 'py> for PromptLike {
    type Error = PyErr;

    fn extract(prompt: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = prompt.py();
        let invalid = |what: &str, error: &PyErr| {
            errors::named(py, "InvalidRequest", &format!("{what}: {}", error.value(py)), None)
                .unwrap_or_else(|failed| failed)
        };
        if let Ok(text) = prompt.cast::<PyString>() {
            return match text.to_str() {
                // Only a subclass of ours has it; a plain str is the common case.
                Ok(text) if !prompt.is_exact_instance_of::<PyString>() && prompt.hasattr("plain")? => {
                    let plain: Vec<(usize, usize)> = prompt.getattr("plain")?.extract()?;
                    let plain = plain.into_iter().map(|(start, end)| start..end).collect();
                    Ok(Self::Marked(MarkedText::new(text, plain)))
                }
                Ok(text) => Ok(Self::Text(text.to_owned())),
                Err(error) => Err(invalid("the prompt is not valid Unicode", &error)),
            };
        }
        // Their elements are numbers or texts, too, but not meant as tokens.
        if let Some(instead) = no_list(prompt)? {
            let kind = prompt.get_type().name()?;
            let what = format!("a prompt is a str or a list of tokens, which are int, not {kind}; {instead}");
            return Err(PyTypeError::new_err(what));
        }
        match prompt.extract() {
            Ok(tokens) => Ok(Self::Tokens(tokens)),
            Err(error) if error.is_instance_of::<PyOverflowError>(py) => {
                Err(invalid("a token of the prompt is out of range", &error))
            }
            Err(_) => {
                let kind = prompt.get_type().name()?;
                Err(PyTypeError::new_err(format!("a prompt is a str or a list of tokens, which are int, not {kind}")))
            }
        }
    }
}

/// What to do instead, for an argument that only looks like a list.
fn no_list(value: Borrowed<'_, '_, PyAny>) -> PyResult<Option<&'static str>> {
    if value.is_instance_of::<PyBytes>() || value.is_instance_of::<PyByteArray>() {
        return Ok(Some("decode the bytes, as in data.decode()"));
    }
    if value.is_instance_of::<PyDict>() || value.is_instance_of::<PySet>() || value.is_instance_of::<PyFrozenSet>() {
        return Ok(Some("make a list of what is in it"));
    }
    Ok(None)
}

/// The attributes of `llama_concurrent.SamplingParams`: those of the engine's table, and the request options.
pub struct Sampling {
    params: SamplingParams,
    served: Served,
}

/// Attributes that are not in the engine's table, and the kinds of constraints.
#[derive(FromPyObject)]
struct Served {
    parse_special: bool,
    priority: String,
    queue_timeout: Option<f64>,
    timeout: Option<f64>,
    json_schema: Option<String>,
    regex: Option<String>,
    grammar: Option<String>,
    prefix_reuse: bool,
}

impl<'py> FromPyObject<'_, 'py> for Sampling {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let served: Served = object.extract()?;
        let Served { json_schema, regex, grammar, .. } = &served;
        let constraint = Constraint::one_of(json_schema.as_deref(), regex.as_deref(), grammar.as_deref());
        let constraint = constraint.map_err(|error| errors::exception(&error))?;
        let mut params = SamplingParams::default().constraint(constraint);
        for field in SamplingParams::FIELDS.iter().filter(|field| field.kind != Kind::Constraint) {
            let value = object.getattr(PyString::intern(object.py(), field.name))?;
            (field.set)(&mut params, value_of(field.kind, &value)?);
        }
        Ok(Self { params, served })
    }
}

/// The value of an attribute, whose type was checked before.
pub fn value_of(kind: Kind, value: &Bound<'_, PyAny>) -> PyResult<Value> {
    Ok(match kind {
        Kind::Number => Value::Number(value.extract()?),
        Kind::Count => Value::Count(value.extract()?),
        Kind::OptionalCount => Value::OptionalCount(value.extract()?),
        Kind::Flag => Value::Flag(value.extract()?),
        Kind::Millis => Value::Millis(value.extract()?),
        Kind::Choice(names) => {
            let name: String = value.extract()?;
            let known = names.iter().find(|known| **known == name);
            Value::Choice(known.ok_or_else(|| PyValueError::new_err(format!("{name:?} is none of {names:?}")))?)
        }
        Kind::OptionalText => Value::OptionalText(value.extract()?),
        Kind::OptionalList => Value::OptionalList(value.extract()?),
        Kind::Object => {
            let json: Option<String> = value.extract()?;
            let object = json.map(|json| serde_json::from_str(&json)).transpose();
            Value::Object(object.map_err(|error| PyValueError::new_err(error.to_string()))?.unwrap_or_default())
        }
        Kind::Texts => Value::Texts(match value.cast::<PyString>() {
            Ok(text) => vec![text.extract()?],
            Err(_) => elements(value)?,
        }),
        Kind::Tokens => Value::Tokens(elements(value)?),
        Kind::Biases => Value::Biases(elements(&value.call_method0("items")?)?),
        Kind::Constraint | Kind::ByHand => unreachable!("it has no attribute of its own"),
    })
}

fn elements<'py, T: for<'a> FromPyObject<'a, 'py>>(value: &Bound<'py, PyAny>) -> PyResult<Vec<T>> {
    value.try_iter()?.map(|one| one?.extract().map_err(Into::into)).collect()
}

impl Sampling {
    /// A request for one prompt, and how its answer is read.
    pub fn request(&self, py: Python<'_>, engine: &Engine, asked: Asked) -> PyResult<(Request, Option<ReplyForm>)> {
        let Asked { prompt, form } = asked;
        let Served { parse_special, ref priority, queue_timeout, timeout, prefix_reuse, .. } = self.served;
        let prompt = match prompt {
            PromptLike::Text(text) if parse_special => Prompt::Text(text),
            PromptLike::Text(text) => Prompt::PlainText(text),
            PromptLike::Marked(marked) if parse_special => Prompt::Marked(marked),
            PromptLike::Marked(marked) => Prompt::PlainText(marked.text),
            PromptLike::Tokens(tokens) => Prompt::Tokens(tokens),
        };
        let priority = match priority.as_str() {
            "interactive" => Priority::Interactive,
            "batch" => Priority::Batch,
            other => {
                let message = format!("priority is {other:?}, but must be 'interactive' or 'batch'");
                return Err(errors::named(py, "InvalidRequest", &message, None)?);
            }
        };
        let limit = |name: &str, seconds: Option<f64>| match seconds.map(Duration::try_from_secs_f64) {
            None => Ok(None),
            Some(Ok(limit)) => Ok(Some(limit)),
            Some(Err(error)) => Err(PyValueError::new_err(format!("{name} is no time in seconds: {error}"))),
        };
        let guide = |form: &ReplyForm| py.detach(|| engine.guide(form, &self.params));
        let guide = form.as_ref().map(guide).transpose().map_err(|error| errors::exception(&error))?.flatten();
        let request = Request::new(prompt)
            .params(self.params.clone())
            .priority(priority)
            .queue_timeout(limit("queue_timeout", queue_timeout)?)
            .timeout(limit("timeout", timeout)?)
            .prefix_reuse(prefix_reuse)
            .guide(guide)
            .markup(form.as_ref().map(ReplyForm::markup).unwrap_or_default());
        Ok((request, form))
    }
}

/// One token's log probabilities for Python: its own, and the most likely tokens with theirs.
pub type Logprobs = (f32, Vec<(i32, f32)>);

pub fn logprobs(one: &TokenLogprobs) -> Logprobs {
    (one.logprob, one.top.iter().map(|top| (top.token, top.logprob)).collect())
}

/// The end of a generation as keyword arguments of `llama_concurrent.Result`.
fn finish<'py>(py: Python<'py>, finish: &Finish) -> PyResult<Bound<'py, PyDict>> {
    let timings = &finish.timings;
    let Timings { queue, ttft, e2e, itl, n_prompt_tokens, n_cached_tokens, n_output_tokens, .. } = timings;
    let result = PyDict::new(py);
    result.set_item("finish_reason", finish.reason.as_str())?;
    result.set_item("stop_index", finish.stop)?;
    result.set_item("queue_time", queue.as_secs_f64())?;
    result.set_item("ttft", ttft.map(|time| time.as_secs_f64()))?;
    result.set_item("e2e_latency", e2e.as_secs_f64())?;
    result.set_item("itl", itl.iter().map(Duration::as_secs_f64).collect::<Vec<_>>())?;
    result.set_item("n_prompt_tokens", n_prompt_tokens)?;
    result.set_item("n_cached_tokens", n_cached_tokens)?;
    result.set_item("n_output_tokens", n_output_tokens)?;
    result.set_item("n_drafted_tokens", timings.n_drafted_tokens)?;
    result.set_item("n_accepted_tokens", timings.n_accepted_tokens)?;
    if finish.reason == FinishReason::Error {
        let error = finish.error.as_ref().map(errors::exception);
        result.set_item("error", error.map(|error| error.into_value(py)))?;
    }
    Ok(result)
}

/// A whole generation as keyword arguments of `llama_concurrent.Result`, or its error as an exception. `ids` are those of calls
/// that were told already.
pub fn outcome(
    py: Python<'_>,
    result: llama_concurrent::Result<Completion>,
    form: Option<&ReplyForm>,
    ids: &[Option<String>],
) -> PyResult<Py<PyAny>> {
    match result {
        Ok(done) => Ok(completion(py, &done, form, ids)?.into_any().unbind()),
        Err(error) => Ok(errors::exception(&error).into_value(py).into_any()),
    }
}

fn completion<'py>(
    py: Python<'py>,
    done: &Completion,
    form: Option<&ReplyForm>,
    ids: &[Option<String>],
) -> PyResult<Bound<'py, PyDict>> {
    let result = finish(py, &done.finish)?;
    match form.map(|form| form.read(&done.text)) {
        None => result.set_item("text", &done.text)?,
        Some(mut reply) => {
            for (call, id) in reply.calls.iter_mut().zip(ids) {
                call.id = id.clone().or(call.id.take());
            }
            result.set_item("text", &reply.content)?;
            result.set_item("message", reply::message(py, &reply)?)?;
            if !reply.calls.is_empty() && done.finish.reason == FinishReason::Stop {
                result.set_item("finish_reason", "tool_calls")?;
            }
        }
    }
    result.set_item("tokens", &done.tokens)?;
    result.set_item("logprobs", done.logprobs.iter().map(logprobs).collect::<Vec<_>>())?;
    Ok(result)
}
