//! The engine: one handle for callers of any thread. `start` loads and starts it, `submit` takes requests.

mod guide;
mod replicas;
mod start;
mod submit;
mod templates;

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::AtomicU64},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use llama_concurrent_constraint::Compiler;
use llama_concurrent_gguf::ModelSummary;
use llama_concurrent_llama::{ENCODER_TEXTS, Model, TokenizeOptions, affinity_of};
use llama_concurrent_scheduler::{Admission, Router, text::Utf8Decoder};
use llama_concurrent_template::{Capabilities as ChatCapabilities, ChatMessage, ChatOptions};
use llama_concurrent_topology::{Placement, WorkerPlan};
use llama_concurrent_types::{
    Collector, Completion, EngineConfig, EngineStats, Error, ErrorKind, Event, FimTokens, Guide, MemoryStats,
    PoolShape, ProductShare, Prompt, Request, RequestId, Result, SamplingParams, SlotStats, Speculation, Strategy,
    Token, TokenTable, WorkerStats, WorkerTotals,
};

use self::{replicas::Replicas, start::Started, submit::Use, templates::Templates};
use crate::{
    chat::{Chat, ChatGeneration, PreparedChat, ReplyForm},
    generation::Generation,
    stream::{EventSink, Flow, stream},
    ticket::Ticket,
    worker::{Command, WorkerShared},
};

/// Many generations at once over one model. Cheap to clone; all clones are the same engine.
///
/// When the last clone is dropped, running requests are cancelled and the workers end.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    /// One of the copies.
    model: Arc<Model>,
    replicas: Replicas,
    summary: ModelSummary,
    products: Vec<ProductShare>,
    templates: Templates,
    grammars: OnceLock<Result<Compiler>>,
    strategy: Strategy,
    speculation: Speculation,
    has_draft_model: bool,
    shape: PoolShape,
    placement: Placement,
    memory: MemoryStats,
    stream_buffer: usize,
    workers: Vec<WorkerHandle>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    admission: Arc<Admission>,
    router: Mutex<Router>,
    next_id: AtomicU64,
    epoch: Instant,
}

struct WorkerHandle {
    commands: Sender<Command>,
    shared: Arc<WorkerShared>,
    started: Started,
}

impl Engine {
    /// Checks a GGUF file, loads it and starts the workers.
    ///
    /// # Errors
    /// A configuration out of range; a file that is missing, damaged or of a kind that cannot run; too little memory.
    /// The file is checked before llama.cpp sees it, so a bad one never aborts the process.
    pub fn load(path: impl AsRef<Path>, config: EngineConfig) -> Result<Self> {
        Ok(Self { inner: Arc::new(Inner::load(path.as_ref(), &config)?) })
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

    /// As [`submit`](Self::submit), for callers that want the whole result: `done` is called with it, once, on the worker
    /// thread between two decodes, so it must return quickly.
    ///
    /// # Errors
    /// As [`submit`](Self::submit); `done` is then dropped unused.
    pub fn submit_then(
        &self,
        request: &Request,
        done: impl FnOnce(Result<Completion>) + Send + 'static,
    ) -> Result<Ticket> {
        let (mut collector, mut done) = (Collector::default(), Some(done));
        // The whole text is wanted anyway, so nothing here ever pauses.
        let sink = move |event: Event| {
            if let Some(result) = collector.take(event)
                && let Some(done) = done.take()
            {
                done(result);
            }
            Flow::Continue
        };
        self.submit_to(request, Box::new(sink))
    }

    /// Checks parameters without a request; a constraint is compiled for that.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] for a value out of range or a constraint that cannot be held to.
    pub fn check_params(&self, params: &SamplingParams) -> Result<()> {
        self.inner.check(params)?;
        params.constraint.as_ref().map_or(Ok(()), |constraint| self.inner.compile(constraint).map(drop))
    }

    /// Generates and waits for the whole text.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), and what failed on the way.
    pub fn generate(&self, prompt: impl Into<Prompt>, params: SamplingParams) -> Result<Completion> {
        self.submit(Request::new(prompt).params(params))?.wait()
    }

    pub(crate) fn check_rank_head(&self) -> Result<()> {
        self.inner.check_rank_head()
    }

    pub(crate) fn rank_tokens(&self, query: &str, document: &str) -> Result<Vec<Token>> {
        self.inner.model.rank_prompt(query, document, self.inner.shape.n_ctx)
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

    /// Renders chat messages with the model's own template, or the one that was configured, as a prompt for
    /// [`Request::new`]. Control tokens that are written inside messages are plain text in it, unless
    /// [`parse_special`](ChatOptions::parse_special) is set.
    ///
    /// # Errors
    /// [`ErrorKind::ChatTemplate`] where the template refuses or cannot show the messages; [`ErrorKind::InvalidRequest`] for
    /// messages that are no chat.
    pub fn chat_prompt(&self, messages: &[ChatMessage], options: &ChatOptions) -> Result<Prompt> {
        self.inner.templates.prompt(messages, options)
    }

    /// Answers a chat: renders its prompt, submits it, and reads the answer while it streams.
    ///
    /// # Errors
    /// As [`prepare_chat`](Self::prepare_chat), [`guide`](Self::guide) and [`submit`](Self::submit).
    pub fn chat(&self, chat: &Chat, params: SamplingParams) -> Result<ChatGeneration> {
        self.answer(self.prepare_chat(chat)?, params)
    }

    /// Answers a chat that was prepared.
    ///
    /// # Errors
    /// As [`guide`](Self::guide) and [`submit`](Self::submit).
    pub fn answer(&self, chat: PreparedChat, params: SamplingParams) -> Result<ChatGeneration> {
        let PreparedChat { prompt, form } = chat;
        let guide = self.guide(&form, &params)?;
        let request = Request::new(prompt).params(params).guide(guide).markup(form.markup());
        Ok(ChatGeneration::new(self.submit(request)?, form.reader()))
    }

    /// The prompt of a chat, and the form in which the model answers it.
    ///
    /// # Errors
    /// As [`chat_prompt`](Self::chat_prompt).
    pub fn prepare_chat(&self, chat: &Chat) -> Result<PreparedChat> {
        self.inner.templates.prepare(chat, self.token_table())
    }

    /// What holds an answer to its form: calls to the schemas of their tools, thoughts to their budget, content to the
    /// constraint of the parameters. `None` where nothing has to be held.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] for a schema or a constraint that cannot be held to.
    pub fn guide(&self, form: &ReplyForm, params: &SamplingParams) -> Result<Option<Guide>> {
        self.inner.guide(form, params)
    }

    /// What the chat template reads of a conversation; `None` where it does not compile.
    pub fn chat_capabilities(&self) -> Option<ChatCapabilities> {
        self.inner.templates.capabilities()
    }

    /// The source of the chat template that is used; `None` where it does not compile.
    pub fn chat_template(&self) -> Option<&str> {
        self.inner.templates.source()
    }

    /// Tokens of a text as a prompt: with BOS where the model wants it, special tokens recognised. What a model may want
    /// behind a text is left out, as in every prompt that is to be continued.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] if the tokenizer refuses the text.
    pub fn tokenize(&self, text: &str) -> Result<Vec<Token>> {
        self.inner
            .model
            .tokenize(text, &TokenizeOptions { begin: true, parse_special: true, ..TokenizeOptions::default() })
    }

    /// Tokens of a text. `add_special` adds BOS and the like where the model wants them, before the text and behind it;
    /// `parse_special` reads special tokens that are written out in the text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] if the tokenizer refuses the text.
    pub fn tokenize_with(&self, text: &str, add_special: bool, parse_special: bool) -> Result<Vec<Token>> {
        self.tokenize_while(text, add_special, parse_special, || true)
    }

    /// As [`tokenize_with`](Self::tokenize_with), for texts that others send: it gives up when `go_on` returns false,
    /// which it asks at each special token.
    ///
    /// # Errors
    /// As [`tokenize_with`](Self::tokenize_with); [`ErrorKind::ShuttingDown`] if it gave up.
    pub fn tokenize_while(
        &self,
        text: &str,
        add_special: bool,
        parse_special: bool,
        go_on: impl Fn() -> bool + Sync,
    ) -> Result<Vec<Token>> {
        let options = TokenizeOptions {
            begin: add_special,
            end: add_special,
            parse_special,
            go_on: Some(&go_on),
            ..TokenizeOptions::default()
        };
        self.inner.model.tokenize(text, &options)
    }

    /// The tokens that [`submit`](Self::submit) makes of a prompt. It gives up when `go_on` returns false, which it
    /// asks at each special token, and for a prompt that is far too long for a slot as soon as that is certain.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] if the tokenizer refuses the text, or a token is none of the vocabulary;
    /// [`ErrorKind::PromptTooLong`]; [`ErrorKind::ShuttingDown`] if it gave up.
    pub fn tokenize_prompt(&self, prompt: &Prompt, go_on: impl Fn() -> bool + Sync) -> Result<Vec<Token>> {
        self.inner.tokenize(prompt, Use::Continue, &go_on)
    }

    /// As [`tokenize_prompt`](Self::tokenize_prompt), for a text that is to be embedded: with what the model wants behind it.
    ///
    /// # Errors
    /// As [`tokenize_prompt`](Self::tokenize_prompt).
    pub fn tokenize_to_embed(&self, text: &Prompt, go_on: impl Fn() -> bool + Sync) -> Result<Vec<Token>> {
        self.inner.tokenize(text, Use::Embed, &go_on)
    }

    /// Text of tokens, as a reader of an answer sees it: special tokens have none, incomplete characters become U+FFFD.
    pub fn detokenize(&self, tokens: &[Token]) -> String {
        self.detokenize_with(tokens, false)
    }

    /// As [`detokenize`](Self::detokenize), with special tokens written out, such as `<|im_end|>`, if `special`: then a
    /// prompt comes back as it was written.
    pub fn detokenize_with(&self, tokens: &[Token], special: bool) -> String {
        let table = self.token_table();
        let mut decoder = Utf8Decoder::new();
        let mut text = String::new();
        for &token in tokens {
            decoder.push(table.text(token, special), &mut text);
        }
        decoder.finish(&mut text);
        text
    }

    /// The bytes of a token, which may be a part of a character; empty for ids outside of the vocabulary, and without
    /// `special` for special tokens.
    pub fn token_bytes(&self, token: Token, special: bool) -> &[u8] {
        self.token_table().text(token, special)
    }

    /// Bytes of every token, and the tokens that end a generation.
    pub fn token_table(&self) -> &TokenTable {
        self.inner.model.table()
    }

    /// The tokens that mark the parts of a text whose middle is to be filled in; `None` where the vocabulary has none.
    pub fn fim_tokens(&self) -> Option<FimTokens> {
        self.inner.model.fim_tokens()
    }

    /// The texts of the tokens that begin and end a text, as chat templates get them; empty where there is none.
    pub fn bos_and_eos_text(&self) -> (String, String) {
        self.inner.model.bos_and_eos_text()
    }

    /// What the model's file says about it.
    pub fn model(&self) -> &ModelSummary {
        &self.inner.summary
    }

    /// Tokens of prompt and output that one request may have.
    pub fn n_ctx(&self) -> usize {
        self.inner.shape.n_ctx
    }

    /// Which CPUs and memory the workers use, and why.
    pub fn placement(&self) -> &Placement {
        &self.inner.placement
    }

    /// TokenizeOptions of the configuration that were not granted, in words; they were logged as warnings too.
    pub fn warnings(&self) -> &[String] {
        &self.inner.placement.warnings
    }

    /// Configuration as decided, work done so far, and what is going on.
    pub fn stats(&self) -> EngineStats {
        self.inner.stats()
    }

    /// What each slot was doing after the last step: of the first worker its contexts in turn, then of the next. A request may
    /// move to another slot of its context while it runs.
    pub fn slots(&self) -> Vec<SlotStats> {
        self.inner.slots()
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

    /// Requests of one batch that may be in the engine at once: enough to keep every slot busy, or every call of an encoder
    /// full, and no more, so that the queue has room for others.
    pub fn batch_window(&self) -> usize {
        let Inner { placement, shape, summary, .. } = &*self.inner;
        let at_once = if summary.is_encoder { ENCODER_TEXTS } else { shape.contexts * shape.slots };
        2 * placement.workers.len() * at_once
    }

    /// Waits until a request left the queue or ended, `limit` at most: the moment to try again after `Overloaded`.
    pub(crate) fn wait_for_room(&self, limit: Duration) {
        self.inner.admission.wait_for_change(limit);
    }

    /// Makes every worker panic before its next step, so that tests of bindings see what their callers would.
    #[doc(hidden)]
    pub fn panic_for_test(&self) {
        for worker in &self.inner.workers {
            let _ = worker.commands.send(Command::Panic);
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("strategy", &self.inner.strategy).finish_non_exhaustive()
    }
}

impl Inner {
    fn stats(&self) -> EngineStats {
        let mut totals = WorkerTotals::default();
        self.workers.iter().for_each(|worker| totals.merge(&worker.shared.totals()));
        totals.requests.rejected = self.admission.rejected();
        let n_workers = self.placement.workers.len();
        let mut stats = EngineStats::default();
        stats.strategy = self.strategy;
        stats.speculation = self.speculation;
        stats.workers = n_workers;
        stats.contexts = n_workers * self.shape.contexts;
        stats.slots = n_workers * self.shape.contexts * self.shape.slots;
        stats.n_ctx = self.shape.n_ctx;
        stats.threads = self.placement.workers.iter().map(|worker| worker.threads).sum();
        stats.cpus = self.placement.workers.iter().flat_map(|worker| worker.cpus.iter().copied()).collect();
        stats.kernels = self.model.kernels();
        stats.products = self.products.clone();
        stats.pack_cache = self.model.pack_cache();
        stats.memory = self.memory;
        stats.totals = totals;
        stats.weight_copies = self.replicas.len();
        stats.per_worker = self.placement.workers.iter().zip(&self.workers).map(worker_stats).collect();
        stats
    }

    fn slots(&self) -> Vec<SlotStats> {
        self.workers.iter().flat_map(|worker| worker.shared.slots()).collect()
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
        // The last clone may be dropped by a sink, which runs on a worker: that thread cannot wait for itself.
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

fn worker_stats((plan, worker): (&WorkerPlan, &WorkerHandle)) -> WorkerStats {
    let mut stats = WorkerStats::default();
    stats.node = plan.node;
    stats.cpus = plan.cpus.clone();
    stats.slots = plan.slots;
    stats.affinity = worker.started.thread_ids.iter().map(|&tid| affinity_of(tid)).collect();
    stats.is_bound = plan.pin;
    stats.local_weights = worker.started.local_weights;
    stats.local_kv = worker.started.local_kv;
    stats.totals = worker.shared.totals();
    stats
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
