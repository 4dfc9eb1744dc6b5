//! The `llama_infer_*` functions: starting requests, cancelling them, waiting for them.

use std::{
    ffi::{c_char, c_void},
    sync::Arc,
};

use llama_concurrent::{EmbedOptions, Pooling, PreparedChat, Priority, Prompt, ReplyReader, Request};

use crate::{
    boundary::boundary,
    chat::llama_infer_message,
    engine_state::{ENGINES, EngineState},
    infer_params::{llama_infer_callback, llama_infer_params},
    pointers,
    status::llama_infer_status as Status,
    types::{Failure, Result, c_bool, limit, llama_engine, llama_infer_id},
};

/// The arguments common to all functions that start a call.
struct Start {
    engine: Arc<EngineState>,
    params: llama_infer_params,
    on_event: llama_infer_callback,
    user_data: *mut c_void,
    id: *mut llama_infer_id,
}

impl Start {
    /// # Safety
    /// As the header asks of `params` and `id`.
    unsafe fn new(
        engine: *mut llama_engine,
        params: *const llama_infer_params,
        on_event: llama_infer_callback,
        user_data: *mut c_void,
        id: *mut llama_infer_id,
    ) -> Result<Self> {
        let engine = ENGINES.get(engine)?;
        // SAFETY: the caller's promise.
        let params = unsafe { llama_infer_params::read(params) }?;
        Ok(Self { engine, params, on_event, user_data, id })
    }

    /// # Safety
    /// Everything that `params` points to still lives.
    unsafe fn one(self, prompt: Prompt) -> Result<()> {
        // SAFETY: the caller's promise.
        let request = unsafe { self.params.request(prompt) }?;
        self.submit(request, None)
    }

    /// # Safety
    /// As [`one`](Self::one).
    unsafe fn answer(self, chat: PreparedChat) -> Result<()> {
        // SAFETY: the caller's promise.
        let request = unsafe { self.params.request(chat.prompt) }?;
        let guide = self.engine.engine.guide(&chat.form, &request.params)?;
        self.submit(request.guide(guide).markup(chat.form.markup()), Some(chat.form.reader()))
    }

    fn submit(self, request: Request, reader: Option<ReplyReader>) -> Result<()> {
        let destination = self.params.destination(self.on_event, &self.engine)?;
        let call = self.engine.open(1, destination, self.user_data)?;
        self.engine.start(&call, request, reader)?;
        self.announce(call.id());
        call.release();
        Ok(())
    }

    fn many(self, requests: Vec<llama_concurrent::Result<Request>>) -> Result<()> {
        let destination = self.params.destination(self.on_event, &self.engine)?;
        let call = self.engine.open(requests.len(), destination, self.user_data)?;
        self.engine.start_all(&call, requests)?;
        self.announce(call.id());
        call.release();
        Ok(())
    }

    fn announce(&self, id: llama_infer_id) {
        if !self.id.is_null() {
            // SAFETY: not NULL, and writable as the header asks.
            unsafe { self.id.write(id) };
        }
    }
}

/// Starts a generation that continues `prompt`, and returns immediately.
///
/// The prompt and the parameters are copied. `user_data` is passed to `on_event` and must stay valid until the last event
/// was delivered. Events are delivered on a thread of the library. The first one may be delivered before this function
/// returns, but not before `*id` is written.
///
/// `params` may be NULL for the defaults. `on_event` must be NULL if `params->queue` is set, and must not be NULL
/// otherwise. `id` may be NULL. May be called from any callback.
///
/// Returns `INVALID_ARGUMENT`, `INVALID_HANDLE`, `INVALID_REQUEST`, `PROMPT_TOO_LONG`, `OVERLOADED` or `SHUTTING_DOWN` on
/// failure. In that case no request is started, no event is delivered, and `*id` is not modified.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_async(
    engine: *mut llama_engine,
    prompt: *const c_char,
    params: *const llama_infer_params,
    on_event: llama_infer_callback,
    user_data: *mut c_void,
    id: *mut llama_infer_id,
) -> Status {
    // SAFETY: the pointers are what the header asks for.
    boundary(|| unsafe {
        let start = Start::new(engine, params, on_event, user_data, id)?;
        let prompt = start.params.prompt(pointers::text(prompt, "prompt")?);
        start.one(prompt)
    })
}

/// Like `llama_infer_async`, for a prompt of `n_tokens` token ids. The tokens are copied and used as they are: no BOS or
/// other special token is added.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_tokens_async(
    engine: *mut llama_engine,
    tokens: *const i32,
    n_tokens: usize,
    params: *const llama_infer_params,
    on_event: llama_infer_callback,
    user_data: *mut c_void,
    id: *mut llama_infer_id,
) -> Status {
    // SAFETY: the pointers are what the header asks for.
    boundary(|| unsafe {
        let start = Start::new(engine, params, on_event, user_data, id)?;
        start.one(Prompt::Tokens(pointers::slice(tokens, n_tokens, "tokens")?.to_vec()))
    })
}

/// Like `llama_infer_async`, for a chat of `n_messages` messages, rendered with the engine's chat template. The messages
/// are copied.
///
/// The answer is read while it streams: its content is the text of `TOKEN` events, thoughts are that of `REASONING` events, and
/// each call of a tool is a `TOOL_CALL` event followed by `ARGUMENTS` events. Append the answer to the chat with the members
/// `message`, or `text`, `reasoning` and `tool_calls`, of its result.
///
/// Also returns `NO_CHAT_TEMPLATE` and `CHAT_TEMPLATE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_chat_async(
    engine: *mut llama_engine,
    messages: *const llama_infer_message,
    n_messages: usize,
    params: *const llama_infer_params,
    on_event: llama_infer_callback,
    user_data: *mut c_void,
    id: *mut llama_infer_id,
) -> Status {
    // SAFETY: the pointers are what the header asks for.
    boundary(|| unsafe {
        let start = Start::new(engine, params, on_event, user_data, id)?;
        let chat = start.params.chat(messages, n_messages)?;
        let prepared = start.engine.engine.prepare_chat(&chat)?;
        start.answer(prepared)
    })
}

/// Renders chat messages with the engine's chat template and writes the prompt that `llama_infer_chat_async` would use.
///
/// The result is plain text. If it is passed to `llama_infer_async`, special tokens written inside a message are parsed as
/// special tokens. Use `llama_infer_chat_async` for untrusted messages: it keeps message text and special tokens apart.
///
/// The text and a terminating NUL are written to `buffer` if both fit into `capacity` bytes. `*length` is always set to the
/// length of the text without the NUL. To find the required size, call it with a capacity of 0.
///
/// `params` and `length` may be NULL. `buffer` may be NULL if `capacity` is 0.
///
/// Returns `BUFFER_TOO_SMALL` if the text and its NUL do not fit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_engine_chat_prompt(
    engine: *mut llama_engine,
    messages: *const llama_infer_message,
    n_messages: usize,
    params: *const llama_infer_params,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Status {
    // SAFETY: the pointers are what the header asks for.
    boundary(|| unsafe {
        let engine = ENGINES.get(engine)?;
        let params = llama_infer_params::read(params)?;
        let prompt = engine.engine.prepare_chat(&params.chat(messages, n_messages)?)?.prompt;
        let text = prompt.text().unwrap_or_default();
        pointers::fill_text(text, buffer, capacity, length, "buffer")
    })
}

/// Starts one generation for each of `n_prompts` prompts, and returns immediately. The number of prompts is not limited by
/// the size of the engine's queue.
///
/// The prompts are submitted in order with `LLAMA_INFER_PRIORITY_BATCH`. About twice as many as there are slots are
/// submitted at a time; further ones follow as `FINISHED` events are delivered. Prompt i uses the seed `params->seed + i`.
///
/// One `id` identifies the whole batch. All events go to the same `on_event` or queue, one at a time. `event->index` is the
/// index of the prompt, and `event->n_remaining` is 0 in the last event of the batch. A prompt that is refused gets a
/// `FINISHED` event with an error; the other prompts are not affected.
///
/// Prompts and parameters are copied. `params` may be NULL for the defaults, and `id` may be NULL. May be called from any
/// callback.
///
/// Returns `INVALID_ARGUMENT`, `INVALID_HANDLE`, `INVALID_REQUEST` for parameters out of range, `SHUTTING_DOWN`, or
/// `OUT_OF_MEMORY` if the thread that submits the prompts cannot be started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_batch_async(
    engine: *mut llama_engine,
    prompts: *const *const c_char,
    n_prompts: usize,
    params: *const llama_infer_params,
    on_event: llama_infer_callback,
    user_data: *mut c_void,
    id: *mut llama_infer_id,
) -> Status {
    // SAFETY: the pointers are what the header asks for.
    boundary(|| unsafe {
        let start = Start::new(engine, params, on_event, user_data, id)?;
        let prompts = pointers::texts(prompts, n_prompts, "prompts")?;
        check_count(prompts.len(), "n_prompts", "prompt")?;
        let template = start.params.request(Prompt::Tokens(Vec::new()))?;
        start.engine.engine.check_params(&template.params)?;
        let requests = prompts.iter().enumerate().map(|(index, prompt)| {
            let mut request = template.clone().priority(Priority::Batch);
            request.prompt = start.params.prompt(prompt);
            request.params.seed = template.params.seed.wrapping_add(index as u32);
            Ok(request)
        });
        let requests = requests.collect();
        start.many(requests)
    })
}

fn check_count(count: usize, name: &str, what: &str) -> Result<()> {
    if count == 0 {
        return Err(Failure::argument(format!("{name} is 0; give at least one {what}")));
    }
    if u32::try_from(count).is_err() {
        let message = format!("{count} {what}s are more than {}; start several batches", u32::MAX);
        return Err(Failure::argument(message));
    }
    Ok(())
}

/// How the vectors of a text's tokens become one.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum llama_infer_pooling {
    /// As the model's file says, and the mean where it says nothing.
    Auto = 0,
    /// Their mean.
    Mean = 1,
    /// The vector of the first token.
    Cls = 2,
    /// The vector of the last token.
    Last = 3,
    /// Not at all: the vectors of all tokens are wanted. They are never scaled.
    None = 4,
}

impl llama_infer_pooling {
    fn read(number: i32) -> Result<Option<Pooling>> {
        const AUTO: i32 = llama_infer_pooling::Auto as i32;
        const MEAN: i32 = llama_infer_pooling::Mean as i32;
        const CLS: i32 = llama_infer_pooling::Cls as i32;
        const LAST: i32 = llama_infer_pooling::Last as i32;
        const NONE: i32 = llama_infer_pooling::None as i32;
        Ok(match number {
            AUTO => None,
            MEAN => Some(Pooling::Mean),
            CLS => Some(Pooling::Cls),
            LAST => Some(Pooling::Last),
            NONE => Some(Pooling::None),
            n => return Err(Failure::unknown(Status::InvalidRequest, "pooling", n, "llama_infer_pooling")),
        })
    }
}

/// Embeds each of `n_texts` texts, and returns immediately.
///
/// Each text gets one event, `FINISHED`, whose `result->embedding` is its vector; otherwise it is a batch as one of
/// `llama_infer_batch_async`. With `normalize`, vectors have length 1. `pooling` is one of `llama_infer_pooling`. Of `params`,
/// the priority, the time limits and the queue are used, and `parse_special`. An encoder computes many texts together, those of
/// other calls too; a model that generates computes one at a time, between the steps of its generations.
///
/// Returns as `llama_infer_batch_async`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_embed_async(
    engine: *mut llama_engine,
    texts: *const *const c_char,
    n_texts: usize,
    pooling: i32,
    normalize: c_bool,
    params: *const llama_infer_params,
    on_event: llama_infer_callback,
    user_data: *mut c_void,
    id: *mut llama_infer_id,
) -> Status {
    // SAFETY: the pointers are what the header asks for.
    boundary(|| unsafe {
        let start = Start::new(engine, params, on_event, user_data, id)?;
        let texts = pointers::texts(texts, n_texts, "texts")?;
        check_count(texts.len(), "n_texts", "text")?;
        let options = EmbedOptions::default().pooling(llama_infer_pooling::read(pooling)?).normalize(normalize != 0);
        let template = start.params.request(Prompt::Tokens(Vec::new()))?.embed(options);
        let requests = texts.iter().map(|text| {
            let mut request = template.clone();
            request.prompt = start.params.prompt(text);
            Ok(request)
        });
        let requests = requests.collect();
        start.many(requests)
    })
}

/// Computes how well each of `n_documents` documents answers a query, with a model that has a rank head, and returns
/// immediately.
///
/// Each document gets one event, `FINISHED`, whose `result->embedding[0]` is its score: higher is better, and what it means is the
/// model's own affair. Otherwise as `llama_infer_embed_async`. Special tokens that are written in the texts are plain text.
///
/// Also returns `INVALID_REQUEST` if the model has no rank head.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_rank_async(
    engine: *mut llama_engine,
    query: *const c_char,
    documents: *const *const c_char,
    n_documents: usize,
    params: *const llama_infer_params,
    on_event: llama_infer_callback,
    user_data: *mut c_void,
    id: *mut llama_infer_id,
) -> Status {
    // SAFETY: the pointers are what the header asks for.
    boundary(|| unsafe {
        let start = Start::new(engine, params, on_event, user_data, id)?;
        let query = pointers::text(query, "query")?;
        let documents = pointers::texts(documents, n_documents, "documents")?;
        check_count(documents.len(), "n_documents", "document")?;
        let options = EmbedOptions::default().pooling(Pooling::Rank);
        let template = start.params.request(Prompt::Tokens(Vec::new()))?.embed(options);
        let prompts = start.engine.engine.rank_prompts(query, documents)?;
        let requests = prompts.into_iter().map(|prompt| {
            let mut request = template.clone();
            request.prompt = Prompt::Tokens(prompt?);
            Ok(request)
        });
        let requests = requests.collect();
        start.many(requests)
    })
}

/// Computes how likely the model finds each of `n_continuations` continuations of a text, and returns immediately.
///
/// Each continuation gets one event, `FINISHED`, with `result->logprob` and `result->is_greedy`; otherwise it is a batch as one of
/// `llama_infer_batch_async`, with the priority of `params`. Text and continuation are tokenized as one, and scored from the first
/// token on in which that differs from the text alone. `text` may be empty: the first token of a continuation then counts as
/// certain, unless the model begins texts with a token of its own.
///
/// Returns as `llama_infer_batch_async`, and `PROMPT_TOO_LONG` if the text alone does not fit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_score_async(
    engine: *mut llama_engine,
    text: *const c_char,
    continuations: *const *const c_char,
    n_continuations: usize,
    params: *const llama_infer_params,
    on_event: llama_infer_callback,
    user_data: *mut c_void,
    id: *mut llama_infer_id,
) -> Status {
    // SAFETY: the pointers are what the header asks for.
    boundary(|| unsafe {
        let start = Start::new(engine, params, on_event, user_data, id)?;
        let text = pointers::text(text, "text")?;
        let continuations = pointers::texts(continuations, n_continuations, "continuations")?;
        check_count(continuations.len(), "n_continuations", "continuation")?;
        let template = start.params.request(Prompt::Tokens(Vec::new()))?;
        let requests = start.engine.engine.score_requests(text, continuations)?;
        let requests = requests.into_iter().map(|request| {
            Ok(request?
                .priority(template.priority)
                .queue_timeout(template.queue_timeout)
                .timeout(template.timeout)
                .prefix_reuse(template.prefix_reuse))
        });
        let requests = requests.collect();
        start.many(requests)
    })
}

/// Cancels a request, or all prompts of a batch, and returns immediately.
///
/// The `FINISHED` event is still delivered, with the reason `CANCELLED`, or with another reason if the generation had
/// already ended. When called from the request's own callback, no further `TOKEN` event is delivered. When called from
/// elsewhere, at most the event that is being delivered follows. May be called from any callback.
///
/// Cancelling a finished request has no effect and returns `OK`. Returns `NOT_FOUND` if this engine never issued the id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_cancel(engine: *mut llama_engine, id: llama_infer_id) -> Status {
    boundary(|| ENGINES.get(engine)?.cancel(id))
}

/// Waits until a request, or all prompts of a batch, is over: its last callback has returned, or its last event has been
/// polled. After that the library no longer uses its `user_data`.
///
/// Waits for at most `timeout_ms` milliseconds; a negative value means no limit, and 0 returns immediately.
///
/// A callback may wait for other requests, which blocks only its own request. A callback that waits for its own request,
/// and any wait from the log callback, returns `IN_CALLBACK`. A thread that polls a queue must not wait for requests of
/// that queue, because a request is not over until its events are polled.
///
/// Returns `OK` if the request is over, including when it was before. Returns `TIMEOUT` if the time expires first, and
/// `NOT_FOUND` if this engine never issued the id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_wait(engine: *mut llama_engine, id: llama_infer_id, timeout_ms: i32) -> Status {
    boundary(|| ENGINES.get(engine)?.wait(id, limit(timeout_ms)))
}

/// Like `llama_infer_wait`, for all requests started on the engine before this call.
///
/// Returns `IN_CALLBACK` in any callback of this engine's requests and in the log callback. A thread that polls a queue must
/// not call it while requests of that queue are unfinished.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_wait_all(engine: *mut llama_engine, timeout_ms: i32) -> Status {
    boundary(|| ENGINES.get(engine)?.wait_all(limit(timeout_ms)))
}
