//! The engine: loads a model, starts the workers, takes requests from any thread.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Sender, bounded, unbounded};

use crate::{
    admission::Admission,
    backend::{
        Backend,
        llama::{LlamaBackend, Model},
    },
    config::{EngineConfig, PoolShape, Strategy},
    error::{Error, ErrorKind, Result},
    generation::Generation,
    gguf::{Header, ModelSummary},
    metrics::{EngineStats, MemoryStats, WorkerTotals},
    request::{Completion, Prompt, Request, RequestId, SamplingParams, Token},
    router,
    scheduler::{NewSequence, Scheduler, SchedulerConfig},
    stream::{EventSink, stream},
    text::{ChatMessage, ChatOptions, ChatTemplate, Utf8Decoder},
    topology::{self, Machine, Placement},
    vocab::TokenTable,
    worker::{Command, Worker, WorkerShared},
};

/// Many generations at once over one model. Cheap to clone; all clones are the same engine.
///
/// When the last clone is dropped, running requests are cancelled and the workers end.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    model: Arc<Model>,
    summary: ModelSummary,
    chat: OnceLock<Result<ChatTemplate>>,
    strategy: Strategy,
    shape: PoolShape,
    placement: Placement,
    memory: MemoryStats,
    stream_buffer: usize,
    workers: Vec<WorkerHandle>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    admission: Arc<Admission>,
    next_id: AtomicU64,
    epoch: Instant,
}

struct WorkerHandle {
    commands: Sender<Command>,
    shared: Arc<WorkerShared>,
}

/// What [`Engine::submit_to`] returns: the way to cancel and resume a request. Dropping it does nothing.
#[derive(Clone, Debug)]
pub struct Ticket {
    id: RequestId,
    commands: Sender<Command>,
}

impl Ticket {
    /// The request's id.
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// Ends the request before its next token; its sink still gets the `Finished` event.
    pub fn cancel(&self) {
        // A worker that is gone has ended all requests.
        let _ = self.commands.send(Command::Cancel(self.id));
    }

    /// Goes on with a request whose sink asked for a pause.
    pub fn resume(&self) {
        let _ = self.commands.send(Command::Resume(self.id));
    }
}

impl Engine {
    /// Checks a GGUF file, loads it and starts the workers.
    ///
    /// # Errors
    /// A configuration out of range; a file that is missing, damaged or of a kind that cannot run; too little memory.
    /// The file is checked before llama.cpp sees it, so a bad one never aborts the process.
    pub fn load(path: impl AsRef<Path>, config: EngineConfig) -> Result<Self> {
        let path = path.as_ref();
        config.validate()?;
        let summary = Header::read(path).and_then(|header| header.check_model())?;
        let mut placement =
            topology::plan_workers(&Machine::detect(), config.workers.unwrap_or(1), config.threads, config.pin);
        let free_memory = topology::free_memory();
        let kv_per_token =
            summary.kv_bytes_per_token(config.type_k.bytes_per_element(), config.type_v.bytes_per_element());
        let n_workers = placement.workers.len();
        let n_ctx_train = summary.n_ctx_train as usize;
        let shape = config.pool_shape(n_workers, n_ctx_train, kv_per_token, free_memory);
        if shape.n_ctx > n_ctx_train {
            placement.warnings.push(format!(
                "n_ctx is {}, but the model was trained for {n_ctx_train} tokens; expect nonsense beyond those",
                shape.n_ctx
            ));
        }
        placement.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        check_kv_fits(&shape, n_workers, kv_per_token, free_memory)?;

        let model = Arc::new(Model::load(path, &config)?);
        let total_slots = shape.contexts * shape.slots * n_workers;
        let admission = Arc::new(Admission::new(total_slots, config.max_queued_requests, config.max_queued_tokens));
        let epoch = Instant::now();
        let mut inner = Inner {
            model,
            summary,
            chat: OnceLock::new(),
            strategy: config.resolved_strategy(),
            shape,
            placement,
            memory: MemoryStats::default(),
            stream_buffer: config.stream_buffer,
            workers: Vec::new(),
            threads: Mutex::default(),
            admission,
            next_id: AtomicU64::new(1),
            epoch,
        };
        inner.start_workers(&config)?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Takes a request and returns at once; the handle gives its events.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`], [`ErrorKind::PromptTooLong`], [`ErrorKind::Overloaded`],
    /// [`ErrorKind::ShuttingDown`]. A refused request has no events.
    pub fn submit(&self, request: Request) -> Result<Generation> {
        let (sink, source) = stream(self.inner.stream_buffer);
        let ticket = self.submit_to(&request, Box::new(sink))?;
        Ok(Generation::new(ticket, source))
    }

    /// As [`submit`](Self::submit), for callers that want the events pushed to them instead.
    ///
    /// # Errors
    /// As [`submit`](Self::submit); the sink is then dropped unused.
    pub fn submit_to(&self, request: &Request, sink: Box<dyn EventSink>) -> Result<Ticket> {
        self.inner.submit(request, sink)
    }

    /// Generates and waits for the whole text.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), and what failed on the way.
    pub fn generate(&self, prompt: impl Into<Prompt>, params: SamplingParams) -> Result<Completion> {
        self.submit(Request::new(prompt).with_params(params))?.wait()
    }

    /// Ends a request by its id; unknown and finished ones are ignored.
    pub fn cancel(&self, id: RequestId) {
        for worker in &self.inner.workers {
            let _ = worker.commands.send(Command::Cancel(id));
        }
    }

    /// Goes on with a request whose [`EventSink`] asked for a pause.
    pub fn resume(&self, id: RequestId) {
        for worker in &self.inner.workers {
            let _ = worker.commands.send(Command::Resume(id));
        }
    }

    /// Renders chat messages with the model's own template, as a prompt for [`Request::new`].
    ///
    /// # Errors
    /// [`ErrorKind::NoChatTemplate`], [`ErrorKind::ChatTemplate`]; [`ErrorKind::InvalidRequest`] without messages.
    pub fn chat_prompt(&self, messages: &[ChatMessage], options: &ChatOptions) -> Result<Prompt> {
        if messages.is_empty() {
            return Err(Error::new(ErrorKind::InvalidRequest, "the chat has no messages; give at least one"));
        }
        let inner = &self.inner;
        let template = inner.chat.get_or_init(|| {
            let source = inner.model.chat_template().unwrap_or_default();
            let (bos, eos) = inner.model.bos_and_eos_text();
            Ok(ChatTemplate::compile(&source, &bos, &eos)?)
        });
        let template = template.as_ref().map_err(Error::clone)?;
        Ok(Prompt::Text(template.render(messages, options)?))
    }

    /// Tokens of a text as a prompt: with BOS where the model wants it, special tokens recognised.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] if the tokenizer refuses the text.
    pub fn tokenize(&self, text: &str) -> Result<Vec<Token>> {
        self.tokenize_with(text, true, true)
    }

    /// Tokens of a text. `add_special` adds BOS and the like where the model wants them; `parse_special` reads special
    /// tokens that are written out in the text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] if the tokenizer refuses the text.
    pub fn tokenize_with(&self, text: &str, add_special: bool, parse_special: bool) -> Result<Vec<Token>> {
        self.inner.model.tokenize(text, add_special, parse_special)
    }

    /// Text of tokens; control tokens have none, incomplete characters become U+FFFD.
    pub fn detokenize(&self, tokens: &[Token]) -> String {
        let mut decoder = Utf8Decoder::new();
        let mut text = String::new();
        for &token in tokens {
            decoder.push(self.inner.model.table().piece(token), &mut text);
        }
        decoder.finish(&mut text);
        text
    }

    /// Bytes of every token, and the tokens that end a generation.
    pub fn token_table(&self) -> &TokenTable {
        self.inner.model.table()
    }

    /// What the model's file says about it.
    pub fn model(&self) -> &ModelSummary {
        &self.inner.summary
    }

    /// Tokens of prompt and output that one request may have.
    pub fn n_ctx(&self) -> usize {
        self.inner.shape.n_ctx
    }

    /// Wishes of the configuration that were not granted, in words; they were logged as warnings too.
    pub fn warnings(&self) -> &[String] {
        &self.inner.placement.warnings
    }

    /// Configuration as decided, work done so far, and what is going on.
    pub fn stats(&self) -> EngineStats {
        self.inner.stats()
    }

    /// Takes no more requests and waits until all accepted ones have ended.
    pub fn drain(&self) {
        while !self.drain_within(Duration::from_secs(3600)) {}
    }

    /// As [`drain`](Self::drain), but waits no longer than `limit`; whether all requests had ended by then.
    pub fn drain_within(&self, limit: Duration) -> bool {
        self.inner.close();
        self.inner.admission.wait_until_empty(limit)
    }

    /// Takes no more requests, cancels the running ones and ends the workers. Every request gets its `Finished` event.
    pub fn shutdown(&self) {
        self.inner.shutdown();
    }

    /// Waits until a request left the queue or ended, `limit` at most.
    pub(crate) fn wait_for_room(&self, limit: Duration) {
        self.inner.admission.wait_for_change(limit);
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("strategy", &self.inner.strategy).finish_non_exhaustive()
    }
}

impl Inner {
    /// Each worker builds its backend on its own thread, because that thread becomes a compute thread.
    fn start_workers(&mut self, config: &EngineConfig) -> Result<()> {
        let vocab = Arc::new(self.model.table().clone());
        let mut starting = Vec::new();
        for (index, plan) in self.placement.workers.iter().enumerate() {
            let (commands, inbox) = unbounded();
            let (report, ready) = bounded(1);
            let shared = Arc::new(WorkerShared::new());
            let parts = (self.model.clone(), self.shape, config.clone(), plan.clone(), vocab.clone());
            let (admission, epoch, worker_shared) = (self.admission.clone(), self.epoch, shared.clone());
            let thread = std::thread::Builder::new().name(format!("llama-worker-{index}")).spawn(move || {
                let (model, shape, config, plan, vocab) = parts;
                let backend = match LlamaBackend::new(model, shape, &config, &plan) {
                    Ok(backend) => backend,
                    Err(error) => {
                        let _ = report.send(Err(error));
                        return;
                    }
                };
                let _ = report.send(Ok(backend.memory()));
                let scheduler = Scheduler::new(scheduler_config(&config, &backend), vocab);
                Worker::new(scheduler, backend, inbox, admission, worker_shared, epoch).run();
            });
            let thread =
                thread.map_err(|e| Error::new(ErrorKind::OutOfMemory, format!("cannot start a thread: {e}")))?;
            lock(&self.threads).push(thread);
            self.workers.push(WorkerHandle { commands, shared });
            starting.push(ready);
        }
        for ready in starting {
            let gone = || Error::new(ErrorKind::Internal, "a worker thread ended while it was starting");
            let memory = ready.recv().map_err(|_| gone())??;
            self.memory = MemoryStats {
                model_bytes: memory.model_bytes,
                repack_bytes: memory.repack_bytes,
                kv_bytes: self.memory.kv_bytes + memory.kv_bytes,
                compute_bytes: self.memory.compute_bytes + memory.compute_bytes,
            };
        }
        Ok(())
    }

    fn submit(&self, request: &Request, sink: Box<dyn EventSink>) -> Result<Ticket> {
        let submitted = self.epoch.elapsed();
        request.params.validate(self.model.table().len())?;
        if request.prompt.is_empty() {
            return Err(Error::new(ErrorKind::InvalidRequest, "the prompt is empty; give at least one character"));
        }
        let prompt = self.tokenize(&request.prompt)?;
        self.check_fits(&prompt, &request.params)?;
        self.admission.reserve(prompt.len())?;

        let index = router::least_loaded(self.workers.iter().map(|worker| &*worker.shared)).unwrap_or(0);
        let worker = &self.workers[index];
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let n_prompt = prompt.len();
        let sequence = NewSequence {
            id,
            prompt,
            params: Arc::new(request.params.clone()),
            priority: request.priority,
            submitted,
            queue_deadline: request.queue_timeout.map(|limit| submitted.saturating_add(limit)),
            deadline: request.timeout.map(|limit| submitted.saturating_add(limit)),
        };
        // Counted before it is sent: a worker that shuts down waits for what is on its way.
        worker.shared.load.fetch_add(1, Ordering::AcqRel);
        if worker.commands.send(Command::Submit(Box::new(sequence), sink)).is_err() {
            worker.shared.load.fetch_sub(1, Ordering::AcqRel);
            self.admission.left_queue(n_prompt);
            self.admission.finished(None);
            return Err(shutting_down());
        }
        Ok(Ticket { id, commands: worker.commands.clone() })
    }

    fn tokenize(&self, prompt: &Prompt) -> Result<Vec<Token>> {
        match prompt {
            Prompt::Text(text) => self.model.tokenize(text, true, true),
            Prompt::PlainText(text) => self.model.tokenize(text, true, false),
            Prompt::Tokens(tokens) => {
                let n_vocab = self.model.table().len();
                match tokens.iter().find(|&&token| usize::try_from(token).map_or(true, |t| t >= n_vocab)) {
                    None => Ok(tokens.clone()),
                    Some(token) => Err(Error::new(
                        ErrorKind::InvalidRequest,
                        format!("prompt token {token} is not in the vocabulary of {n_vocab} tokens"),
                    )),
                }
            }
        }
    }

    fn check_fits(&self, prompt: &[Token], params: &SamplingParams) -> Result<()> {
        let (n_prompt, n_ctx) = (prompt.len(), self.shape.n_ctx);
        if n_prompt == 0 {
            return Err(Error::new(ErrorKind::InvalidRequest, "the prompt has no tokens; give some other text"));
        }
        let max_tokens = params.max_tokens.unwrap_or(1) as usize;
        if n_prompt.saturating_add(max_tokens) <= n_ctx {
            return Ok(());
        }
        let output = match params.max_tokens {
            Some(n) => format!("max_tokens {n}"),
            None => "at least 1 output token".into(),
        };
        Err(Error::new(
            ErrorKind::PromptTooLong { n_prompt, max_tokens, n_ctx },
            format!(
                "the prompt has {n_prompt} tokens; with {output} that exceeds the {n_ctx} tokens of a slot; \
                 shorten the prompt, lower max_tokens or raise n_ctx (the model was trained for {})",
                self.summary.n_ctx_train
            ),
        ))
    }

    fn stats(&self) -> EngineStats {
        let mut totals = WorkerTotals::default();
        self.workers.iter().for_each(|worker| totals.merge(&worker.shared.totals()));
        totals.requests.rejected = self.admission.rejected();
        let n_workers = self.placement.workers.len();
        EngineStats {
            strategy: self.strategy,
            workers: n_workers,
            contexts: n_workers * self.shape.contexts,
            slots: n_workers * self.shape.contexts * self.shape.slots,
            n_ctx: self.shape.n_ctx,
            threads: self.placement.workers.iter().map(|worker| worker.threads).sum(),
            cpus: self.placement.workers.iter().flat_map(|worker| worker.cpus.iter().copied()).collect(),
            memory: self.memory,
            totals,
        }
    }

    fn close(&self) {
        self.admission.close(shutting_down());
    }

    fn shutdown(&self) {
        self.close();
        for worker in &self.workers {
            let _ = worker.commands.send(Command::Shutdown);
        }
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // The last clone may be dropped by a sink, which runs on a worker: that thread cannot wait for itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shutting_down() -> Error {
    Error::new(ErrorKind::ShuttingDown, "the engine is shutting down and takes no new requests")
}

fn scheduler_config(config: &EngineConfig, backend: &impl Backend) -> SchedulerConfig {
    let reuse = backend.can_reuse_prefix();
    SchedulerConfig {
        shape: backend.shape(),
        max_stall: config.max_stall,
        batch_aging: config.batch_aging,
        prefix_reuse: config.prefix_reuse && reuse && !config.reproducible,
        compact: reuse,
        reproducible: config.reproducible,
    }
}

/// Refuses a KV cache that cannot be held, before the system's memory killer decides whom to end.
fn check_kv_fits(shape: &PoolShape, workers: usize, kv_per_token: f64, free_memory: Option<u64>) -> Result<()> {
    let slots = shape.contexts * shape.slots * workers;
    let needed = kv_per_token * (slots * shape.n_ctx) as f64;
    let Some(free) = free_memory.filter(|&free| needed > free as f64) else { return Ok(()) };
    let gib = |bytes: f64| bytes / f64::from(1 << 30);
    Err(Error::new(
        ErrorKind::OutOfMemory,
        format!(
            "{slots} slots of {} tokens need {:.1} GiB of KV cache, but only {:.1} GiB are free; lower slots or n_ctx, \
             or use q8_0 for the cache",
            shape.n_ctx,
            gib(needed),
            gib(free as f64)
        ),
    ))
}
