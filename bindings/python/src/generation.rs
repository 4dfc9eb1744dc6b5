//! One running generation, read by threads that wait and tasks that await.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures_core::Stream;
use llama_concurrent::{Event, Generation};
use pyo3::{prelude::*, types::PyDict};

use crate::{convert, slice};

/// A generation; collected, it is cancelled.
#[pyclass(frozen, module = "llama_concurrent._native")]
pub struct NativeGeneration {
    engine: llama_concurrent::Engine,
    id: u64,
    generation: Arc<Mutex<Generation>>,
}

/// What a reader gets.
pub enum News {
    Text(String, Option<i32>, Option<convert::Logprobs>),
    Finished(Py<PyDict>),
}

impl<'py> IntoPyObject<'py> for News {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        match self {
            News::Text(text, token, logprobs) => Ok((text, token, logprobs).into_pyobject(py)?.into_any()),
            News::Finished(finish) => Ok(finish.into_bound(py).into_any()),
        }
    }
}

/// `None` after the end.
fn news(event: Option<Event>) -> PyResult<Option<News>> {
    Ok(match event {
        Some(Event::Delta(delta)) => {
            Some(News::Text(delta.text, delta.token, delta.logprobs.as_deref().map(convert::logprobs)))
        }
        Some(Event::Finished(finish)) => {
            Some(News::Finished(Python::attach(|py| convert::finish(py, &finish).map(Bound::unbind))?))
        }
        _ => None,
    })
}

impl NativeGeneration {
    pub fn new(engine: llama_concurrent::Engine, generation: Generation) -> Self {
        Self { engine, id: generation.id(), generation: Arc::new(Mutex::new(generation)) }
    }
}

#[pymethods]
impl NativeGeneration {
    /// The request's number.
    #[getter]
    fn id(&self) -> u64 {
        self.id
    }

    /// The next event: (text, token or None, log probabilities or None), or at the end a dict; None if none came in `timeout` seconds or it is over.
    #[pyo3(signature = (timeout=None))]
    fn read(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<News>> {
        let deadline = slice::deadline(timeout);
        loop {
            let left = slice::next(deadline);
            let (event, over) = py.detach(|| {
                let mut generation = self.generation.lock().unwrap_or_else(PoisonError::into_inner);
                let event = generation.next_within(left);
                let over = event.is_none() && generation.is_finished();
                (event, over)
            });
            if event.is_some() || over {
                return news(event);
            }
            py.check_signals()?;
            if slice::is_over(deadline) {
                return Ok(None);
            }
        }
    }

    /// As `read`, to be awaited.
    fn read_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let generation = self.generation.clone();
        pyo3_async_runtimes::tokio::future_into_py(py, async move {
            let next = poll_fn(|task| {
                let mut generation = generation.lock().unwrap_or_else(PoisonError::into_inner);
                Pin::new(&mut *generation).poll_next(task)
            });
            news(next.await)
        })
    }

    /// Ends it before its next token; the end can still be read.
    fn cancel(&self) {
        self.engine.cancel(self.id);
    }
}
