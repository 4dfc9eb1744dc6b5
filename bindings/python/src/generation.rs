//! One running generation, read by threads that wait and tasks that await.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_core::Stream;
use llama_concurrent::{Collector, Completion, Event, Generation, ReplyEvent, ReplyForm, ReplyReader};
use pyo3::prelude::*;

use crate::{convert, reply, slice};

/// A generation; collected, it is cancelled.
#[pyclass(frozen, module = "llama_concurrent._native")]
pub struct NativeGeneration {
    engine: llama_concurrent::Engine,
    id: u64,
    reader: Arc<Mutex<Reader>>,
}

/// A generation and what was read of it.
struct Reader {
    generation: Generation,
    collected: Collector,
    /// Of a chat.
    reply: Option<(ReplyForm, ReplyReader)>,
    /// The ids of the calls that were told, in order: those of the result are the same.
    ids: Vec<Option<String>>,
    /// The end, where pieces come before it.
    end: Option<llama_concurrent::Result<Completion>>,
}

/// An event as Python gets it.
pub enum PyEvent {
    Text(String, Option<i32>, Option<convert::Logprobs>),
    /// Text of an answer, and the pieces of which it is one.
    Reply(String, Option<i32>, Option<convert::Logprobs>, Vec<ReplyEvent>),
    /// The result of the whole generation, from `convert::outcome`.
    Finished(Py<PyAny>),
}

impl<'py> IntoPyObject<'py> for PyEvent {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        match self {
            PyEvent::Text(text, token, logprobs) => Ok((text, token, logprobs).into_pyobject(py)?.into_any()),
            PyEvent::Reply(text, token, logprobs, pieces) => {
                let deltas = pieces.iter().filter_map(|piece| reply::delta(py, piece).transpose());
                let deltas = deltas.collect::<PyResult<Vec<_>>>()?;
                Ok((text, token, logprobs, deltas).into_pyobject(py)?.into_any())
            }
            PyEvent::Finished(finish) => Ok(finish.into_bound(py).into_any()),
        }
    }
}

impl Reader {
    /// Adds an event to the output, and converts it for Python.
    fn take_event(&mut self, event: Option<Event>) -> PyResult<Option<PyEvent>> {
        let Some(event) = event else { return self.take_end() };
        let (mut said, pieces) = match (&event, &mut self.reply) {
            (Event::Delta(delta), reply) => {
                let logprobs = delta.logprobs.as_deref().map(convert::logprobs);
                let pieces = reply.as_mut().map(|(_, reader)| reader.push(&delta.text));
                (Some((delta.text.clone(), delta.token, logprobs)), pieces)
            }
            (_, Some((_, reader))) => (None, Some(reader.finish())),
            _ => (None, None),
        };
        for piece in pieces.iter().flatten() {
            if let ReplyEvent::CallStart { id, .. } = piece {
                self.ids.push(id.clone());
            }
        }
        self.end = self.collected.take(event);
        match pieces.filter(|pieces| said.is_some() || !pieces.is_empty()) {
            Some(pieces) => {
                let content = |piece: &ReplyEvent| match piece {
                    ReplyEvent::Content(text) => Some(text.clone()),
                    _ => None,
                };
                let text = pieces.iter().filter_map(content).collect();
                let (_, token, logprobs) = said.take().unwrap_or_default();
                Ok(Some(PyEvent::Reply(text, token, logprobs, pieces)))
            }
            None => match said {
                Some((text, token, logprobs)) => Ok(Some(PyEvent::Text(text, token, logprobs))),
                None => self.take_end(),
            },
        }
    }

    fn take_end(&mut self) -> PyResult<Option<PyEvent>> {
        let Some(end) = self.end.take() else { return Ok(None) };
        Ok(Some(PyEvent::Finished(Python::attach(|py| self.outcome(py, end))?)))
    }

    fn outcome(&self, py: Python<'_>, end: llama_concurrent::Result<Completion>) -> PyResult<Py<PyAny>> {
        convert::outcome(py, end, self.reply.as_ref().map(|(form, _)| form), &self.ids)
    }

    /// Reads to the end, for at most `limit`; `None` if the end does not arrive in time, or was read before.
    fn wait(&mut self, limit: Duration) -> Option<llama_concurrent::Result<Completion>> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(end) = self.end.take() {
                return Some(end);
            }
            let event = self.generation.next_within(deadline.saturating_duration_since(Instant::now()))?;
            if let Some(result) = self.collected.take(event) {
                return Some(result);
            }
        }
    }

    fn poll_end(&mut self, task: &mut Context<'_>) -> Poll<Option<llama_concurrent::Result<Completion>>> {
        loop {
            if let Some(end) = self.end.take() {
                return Poll::Ready(Some(end));
            }
            let Some(event) = ready!(Pin::new(&mut self.generation).poll_next(task)) else { return Poll::Ready(None) };
            if let Some(result) = self.collected.take(event) {
                return Poll::Ready(Some(result));
            }
        }
    }
}

fn lock(reader: &Mutex<Reader>) -> MutexGuard<'_, Reader> {
    reader.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NativeGeneration {
    pub fn new(engine: llama_concurrent::Engine, generation: Generation, form: Option<ReplyForm>) -> Self {
        let reply = form.map(|form| (form.clone(), form.reader()));
        let reader = Reader { collected: Collector::default(), generation, reply, ids: Vec::new(), end: None };
        Self { engine, id: reader.generation.id(), reader: Arc::new(Mutex::new(reader)) }
    }
}

#[pymethods]
impl NativeGeneration {
    /// The request's number.
    #[getter]
    fn id(&self) -> u64 {
        self.id
    }

    /// The next event: (text, token or None, log probabilities or None), or at the end the arguments of `Result`, or the
    /// exception that it failed with; None if none came in `timeout` seconds or it is over.
    #[pyo3(signature = (timeout=None))]
    fn read(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<PyEvent>> {
        let deadline = slice::deadline(timeout);
        loop {
            let left = slice::next(deadline);
            let (event, over) = py.detach(|| {
                let mut reader = lock(&self.reader);
                let event = reader.generation.next_within(left);
                let over = event.is_none() && reader.generation.is_finished();
                (event, over)
            });
            if event.is_some() || over {
                return lock(&self.reader).take_event(event);
            }
            py.check_signals()?;
            if slice::is_over(deadline) {
                return Ok(None);
            }
        }
    }

    /// Like `read`, as an awaitable.
    fn read_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let reader = self.reader.clone();
        pyo3_async_runtimes::tokio::future_into_py(py, async move {
            let next = poll_fn(|task| Pin::new(&mut lock(&reader).generation).poll_next(task)).await;
            lock(&reader).take_event(next)
        })
    }

    /// Waits for the end: the arguments of `Result`, or the exception that it failed with.
    fn wait(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        loop {
            let (done, over) = py.detach(|| {
                let mut reader = lock(&self.reader);
                let done = reader.wait(slice::next(None));
                let over = done.is_none() && reader.generation.is_finished();
                (done, over)
            });
            if done.is_some() || over {
                return done.map(|done| lock(&self.reader).outcome(py, done)).transpose();
            }
            py.check_signals()?;
        }
    }

    /// Like `wait`, as an awaitable.
    fn wait_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let reader = self.reader.clone();
        pyo3_async_runtimes::tokio::future_into_py(py, async move {
            let done = poll_fn(|task| lock(&reader).poll_end(task)).await;
            Python::attach(|py| done.map(|done| lock(&reader).outcome(py, done)).transpose())
        })
    }

    /// Cancels it before its next token; the end can still be read.
    fn cancel(&self) {
        self.engine.cancel(self.id);
    }
}
