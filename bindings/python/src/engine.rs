//! The engine.

use std::{
    ops::ControlFlow,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use llama_concurrent::{
    Chat, ChatMessage, ChatOptions, Completion, Continuation, Engine, EngineConfig, EngineStats, FigureValue,
    LoadProgress, PackCache, PreparedChat, Prompt, ReplyForm, Request, Tool, ToolChoice, ToolError, parameters::Kind,
};
use pyo3::{Borrowed, exceptions::PyValueError, prelude::*, types::PyDict};

use crate::{
    convert::{self, Asked, Sampling},
    errors,
    generation::NativeGeneration,
    reply::NativeReplyForm,
    slice,
};

/// The arguments of `llama_concurrent.Engine`.
struct Options {
    config: EngineConfig,
    progress: Option<Py<PyAny>>,
}

impl<'py> FromPyObject<'_, 'py> for Options {
    type Error = PyErr;

    fn extract(options: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let item = |name: &str| options.get_item(name);
        let folder: Option<PathBuf> = item("pack_cache")?.extract()?;
        let pack_cache = folder.map(|folder| match folder.as_os_str().is_empty() {
            true => PackCache::BesideModel,
            false => PackCache::Folder(folder),
        });
        let mut config = EngineConfig::default().pack_cache(pack_cache);
        for field in EngineConfig::FIELDS.iter().filter(|field| field.kind != Kind::ByHand) {
            (field.set)(&mut config, convert::value_of(field.kind, &item(&field.wire_name())?)?);
        }
        Ok(Self { config, progress: item("progress")?.extract()? })
    }
}

impl Options {
    /// The configuration. It always has a progress callback, to check for Ctrl-C; exceptions of the caller's go to `failure`.
    fn config(self, failure: Arc<Mutex<Option<PyErr>>>) -> EngineConfig {
        let progress = self.progress;
        let progress: LoadProgress = Arc::new(move |fraction| {
            let go_on = Python::attach(|py| {
                py.check_signals()?;
                match &progress {
                    Some(progress) => {
                        Ok(!progress.bind(py).call1((fraction,))?.is(pyo3::types::PyBool::new(py, false)))
                    }
                    None => Ok(true),
                }
            });
            go_on.unwrap_or_else(|error: PyErr| {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                false
            })
        });
        self.config.progress(progress)
    }
}

/// A request's number, its end, and how its answer is read.
type Ended = (u64, Result<Completion, llama_concurrent::Error>, Option<ReplyForm>);

/// Ranges of bytes.
type PlainRanges = Vec<(usize, usize)>;

/// An engine and the process that loaded it.
#[pyclass(frozen, module = "llama_concurrent._native")]
pub struct NativeEngine {
    /// `None` once closed. The sender is for the ends of whole generations; without one, their receiver ends.
    open: Mutex<Option<(Engine, Sender<Ended>)>>,
    ended: Receiver<Ended>,
    process: u32,
}

/// Receives whole generations, for the one thread that hands them out.
#[pyclass(frozen, module = "llama_concurrent._native")]
pub struct NativeFinished(Receiver<Ended>);

#[pymethods]
impl NativeFinished {
    /// The next id with a dict for `Result` or an exception; None when the engine is closed and no result is left.
    fn next(&self, py: Python<'_>) -> PyResult<Option<(u64, Py<PyAny>)>> {
        match py.detach(|| self.0.recv()) {
            Ok((id, result, form)) => Ok(Some((id, convert::outcome(py, result, form.as_ref(), &[])?))),
            Err(_) => Ok(None),
        }
    }
}

/// Runs requests; `tick` as in [`NativeEngine::run_all`].
pub fn run_all(
    py: Python<'_>,
    engine: &Engine,
    requests: Vec<llama_concurrent::Result<Request>>,
    tick: Option<&Py<PyAny>>,
) -> PyResult<Vec<llama_concurrent::Result<Completion>>> {
    let results = py.detach(|| {
        engine.try_run_all(requests, |done, total| {
            let go_on = Python::attach(|py| {
                py.check_signals()?;
                if let Some(tick) = tick {
                    tick.call1(py, (done, total))?;
                }
                PyResult::Ok(())
            });
            go_on.map_or_else(ControlFlow::Break, ControlFlow::Continue)
        })
    });
    match results {
        ControlFlow::Continue(results) => Ok(results),
        ControlFlow::Break(raised) => Err(raised),
    }
}

impl NativeEngine {
    pub fn get(&self, py: Python<'_>) -> PyResult<Engine> {
        Ok(self.get_both(py)?.0)
    }

    fn get_both(&self, py: Python<'_>) -> PyResult<(Engine, Sender<Ended>)> {
        if self.process != std::process::id() {
            let message = "this engine was loaded before a fork, and its threads are in the parent only; load it in the \
                           child, or start processes with 'spawn' or 'forkserver'";
            return Err(errors::named(py, "ForkError", message, None)?);
        }
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match open {
            Some(open) => Ok(open),
            None => Err(errors::named(py, "ShuttingDown", "the engine is closed; load a new one", None)?),
        }
    }

    fn is_closed(&self) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Calls into the engine without the GIL.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&Engine) -> llama_concurrent::Result<T> + Send,
    ) -> PyResult<T> {
        let engine = self.get(py)?;
        py.detach(|| call(&engine)).map_err(|error| errors::exception(&error))
    }
}

#[pymethods]
impl NativeEngine {
    #[new]
    fn new(py: Python<'_>, path: PathBuf, options: Options) -> PyResult<Self> {
        let failure = Arc::default();
        let config = options.config(Arc::clone(&failure));
        let loaded = py.detach(|| Engine::load(path, config));
        match loaded {
            Ok(engine) => {
                let (sender, ended) = unbounded();
                Ok(Self { open: Mutex::new(Some((engine, sender))), ended, process: std::process::id() })
            }
            // An exception of the progress function, or Ctrl-C, is more specific than "load cancelled".
            Err(error) => {
                let raised = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
                Err(raised.unwrap_or_else(|| errors::exception(&error)))
            }
        }
    }

    fn submit(&self, py: Python<'_>, prompt: Asked, sampling: Sampling) -> PyResult<NativeGeneration> {
        let engine = self.get(py)?;
        let (request, form) = sampling.request(py, &engine, prompt)?;
        let generation = self.with(py, |engine| engine.submit(request))?;
        Ok(NativeGeneration::new(engine, generation, form))
    }

    /// Starts a generation whose end is sent to `finished`, and returns its id.
    fn submit_whole(&self, py: Python<'_>, prompt: Asked, sampling: Sampling) -> PyResult<u64> {
        let (engine, sender) = self.get_both(py)?;
        let (request, form) = sampling.request(py, &engine, prompt)?;
        let number = Arc::new(OnceLock::new());
        let assigned = Arc::clone(&number);
        let done = move |result| {
            // The worker may finish before the id is known here.
            let _ = sender.send((*assigned.wait(), result, form));
        };
        let ticket = py.detach(|| {
            let ticket = engine.submit_then(&request, done)?;
            let _ = number.set(ticket.id());
            Ok(ticket)
        });
        ticket.map(|ticket| ticket.id()).map_err(|error: llama_concurrent::Error| errors::exception(&error))
    }

    fn cancel(&self, py: Python<'_>, id: u64) -> PyResult<()> {
        self.get(py).map(|engine| engine.cancel(id))
    }

    /// The receiver of the generations of `submit_whole`.
    #[getter]
    fn finished(&self) -> NativeFinished {
        NativeFinished(self.ended.clone())
    }

    /// Runs many requests; each result is a dict for `Result`, or an exception. `tick(done, total)` may be None. It is called
    /// after every end and some ten times a second; an exception in it cancels the rest.
    fn run_all(
        &self,
        py: Python<'_>,
        requests: Vec<(Asked, Sampling)>,
        tick: Option<Py<PyAny>>,
    ) -> PyResult<Vec<Py<PyAny>>> {
        let engine = self.get(py)?;
        let requests = requests.into_iter().map(|(prompt, sampling)| sampling.request(py, &engine, prompt));
        let (requests, forms): (Vec<Request>, Vec<_>) = requests.collect::<PyResult<Vec<_>>>()?.into_iter().unzip();
        let results = run_all(py, &engine, requests.into_iter().map(Ok).collect(), tick.as_ref())?;
        let read = |(result, form): (_, Option<ReplyForm>)| convert::outcome(py, result, form.as_ref(), &[]);
        results.into_iter().zip(forms).map(read).collect()
    }

    /// The prompt of messages in JSON, the ranges of its bytes that are plain text, and how the answer is read.
    #[pyo3(signature = (messages, add_generation_prompt, continue_final_message, tools, tool_choice, parallel_tool_calls,
        thinking_budget, variables, parse_special))]
    #[expect(clippy::too_many_arguments, reason = "they are the arguments of a Python function")]
    fn chat_prompt(
        &self,
        py: Python<'_>,
        messages: String,
        add_generation_prompt: bool,
        continue_final_message: Option<&str>,
        tools: Option<String>,
        tool_choice: Option<String>,
        parallel_tool_calls: bool,
        thinking_budget: Option<u32>,
        variables: Option<String>,
        parse_special: bool,
    ) -> PyResult<(String, PlainRanges, NativeReplyForm)> {
        let wrong = |error: serde_json::Error| PyValueError::new_err(error.to_string());
        let messages: Vec<ChatMessage> = serde_json::from_str(&messages).map_err(wrong)?;
        let options = ChatOptions {
            add_generation_prompt,
            continue_final_message: match continue_final_message {
                None => Continuation::Auto,
                Some("never") => Continuation::Never,
                Some("last") => Continuation::Last,
                Some("content") => Continuation::Content,
                Some("reasoning_content") => Continuation::Reasoning,
                Some(other) => return Err(PyValueError::new_err(format!("no such field: {other}"))),
            },
            extra: variables.as_deref().map_or(Ok(Default::default()), serde_json::from_str).map_err(wrong)?,
            parse_special,
            ..ChatOptions::default()
        };
        let json = |text: Option<String>| text.map_or(Ok(serde_json::Value::Null), |text| serde_json::from_str(&text));
        let invalid = |error: ToolError| {
            errors::named(py, "InvalidRequest", &error.to_string(), None).unwrap_or_else(|failed| failed)
        };
        let tools = Tool::list(&json(tools).map_err(wrong)?).map_err(invalid)?;
        let choice = ToolChoice::from_json(&json(tool_choice).map_err(wrong)?).map_err(invalid)?;
        let chat = Chat::new(messages)
            .options(options)
            .tools(tools)
            .tool_choice(choice)
            .parallel_tool_calls(parallel_tool_calls)
            .thinking_budget(thinking_budget);
        let PreparedChat { prompt, form, .. } = self.with(py, |engine| engine.prepare_chat(&chat))?;
        let text = prompt.text().unwrap_or_default().to_owned();
        let plain = match prompt {
            Prompt::Marked(marked) => marked.plain.into_iter().map(|range| (range.start, range.end)).collect(),
            _ => Vec::new(),
        };
        Ok((text, plain, NativeReplyForm(form)))
    }

    fn tokenize(&self, py: Python<'_>, text: String, add_special: bool, parse_special: bool) -> PyResult<Vec<i32>> {
        self.with(py, |engine| engine.tokenize_with(&text, add_special, parse_special))
    }

    fn detokenize(&self, py: Python<'_>, tokens: Vec<i32>, special: bool) -> PyResult<String> {
        let n_vocab = self.get(py)?.model().n_vocab as usize;
        if let Some(token) = tokens.iter().find(|&&token| usize::try_from(token).map_or(true, |t| t >= n_vocab)) {
            let message = format!("token {token} is not in the vocabulary, which has the tokens 0 to {}", n_vocab - 1);
            return Err(errors::named(py, "InvalidRequest", &message, None)?);
        }
        self.with(py, |engine| Ok(engine.detokenize_with(&tokens, special)))
    }

    fn warnings(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        Ok(self.get(py)?.warnings().to_vec())
    }

    /// Keyword arguments of `llama_concurrent.EngineStats`.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let engine = self.get(py)?;
        let (now, model) = (engine.stats(), engine.model());
        let stats = PyDict::new(py);
        for figure in EngineStats::FIGURES {
            match (figure.get)(&now, model) {
                FigureValue::Text(text) => stats.set_item(figure.name, text)?,
                FigureValue::Number(number) => stats.set_item(figure.name, number)?,
                FigureValue::Time(time) => stats.set_item(format!("{}_time", figure.name), time.as_secs_f64())?,
                FigureValue::Share(share) => stats.set_item(figure.name, share)?,
                FigureValue::Cpus(cpus) => stats.set_item(figure.name, cpus)?,
            }
        }
        Ok(stats)
    }

    /// Stops accepting requests and waits for the others. Returns whether all finished within `timeout` seconds; a closed
    /// engine has none.
    #[pyo3(signature = (timeout=None))]
    fn drain(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let engine = match self.get(py) {
            Err(_) if self.is_closed() => return Ok(true),
            engine => engine?,
        };
        let deadline = slice::deadline(timeout);
        loop {
            let left = slice::next(deadline);
            if py.detach(|| engine.drain_within(left)) {
                return Ok(true);
            }
            py.check_signals()?;
            if slice::is_over(deadline) {
                return Ok(false);
            }
        }
    }

    /// Cancels all requests, ends the threads and releases the memory. May be called again, and in a forked child, where it
    /// does nothing.
    fn close(&self, py: Python<'_>) {
        if self.process != std::process::id() {
            return;
        }
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| {
            if let Some((engine, _)) = open {
                engine.shutdown();
            }
        });
    }
}
