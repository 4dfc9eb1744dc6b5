//! The `llama_infer_*` calls: starting requests, ending them, waiting for them.

use std::{
    ffi::{c_char, c_void},
    sync::Arc,
};

use llama_concurrent::{ChatMessage, Priority, Prompt, Request};

use crate::{
    boundary::boundary,
    engine_state::{ENGINES, EngineState},
    infer_params::{llama_infer_callback, llama_infer_message, llama_infer_params},
    pointers,
    status::llama_infer_status as Status,
    types::{Failure, Result, limit, llama_engine, llama_infer_id},
};

/// What every way to start something has in common.
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
        let destination = self.params.destination(self.on_event, &self.engine)?;
        let call = self.engine.open(1, destination, self.user_data)?;
        self.engine.start(&call, request)?;
        self.announce(call.id());
        call.release();
        Ok(())
    }

    fn many(self, requests: Vec<Request>) -> Result<()> {
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

/// Starts a generation and returns at once.
///
/// `prompt` is a UTF-8 text to continue. `params` may be NULL for the defaults. `on_event` gets the events, on a thread
/// of the library, with `user_data`; the first may come before this function returns, but not before `*id` is written.
/// It must be NULL if `params->queue` is set, and must not be NULL otherwise. `id` may be NULL if nobody will ask. Prompt
/// and parameters are copied.
///
/// Refused with `INVALID_REQUEST`, `PROMPT_TOO_LONG`, `OVERLOADED`, `SHUTTING_DOWN` or as bad arguments are; then
/// nothing was started, no event will come, and `*id` is as it was.
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

/// As `llama_infer_async`, with a prompt of `n_tokens` tokens, used as they are: nothing is added.
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

/// As `llama_infer_async`, with `n_messages` messages of a chat, rendered with the model's own template.
///
/// Refused also with `NO_CHAT_TEMPLATE` and `CHAT_TEMPLATE`.
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
        let prompt = chat_prompt(&start.engine, messages, n_messages, &start.params)?;
        start.one(prompt)
    })
}

/// The prompt that the model's template makes of messages, as `llama_infer_chat_async` uses it.
///
/// It is one text: special tokens that are written inside a message count again when this text is sent as a prompt. To have
/// messages answered that others wrote, use `llama_infer_chat_async`, which keeps them apart.
///
/// Written to `buffer` with a NUL, if `capacity` bytes suffice for both; its length without the NUL goes to `*length` in
/// any case. `BUFFER_TOO_SMALL` otherwise: ask with a capacity of 0 first. `params` may be NULL, and so may `length`, and
/// `buffer` if `capacity` is 0.
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
        let prompt = chat_prompt(&engine, messages, n_messages, &params)?;
        let text = prompt.text().unwrap_or_default();
        pointers::fill_text(text, buffer, capacity, length, "buffer")
    })
}

/// # Safety
/// As the header asks of `messages`, and as `llama_infer_params::request`.
unsafe fn chat_prompt(
    engine: &EngineState,
    messages: *const llama_infer_message,
    n_messages: usize,
    params: &llama_infer_params,
) -> Result<Prompt> {
    // SAFETY: the caller's promise.
    if let Some(chat) = unsafe { params.chat_messages(n_messages)? } {
        // SAFETY: as above.
        return Ok(engine.engine.chat_prompt(&chat, &unsafe { params.chat_options()? })?);
    }
    let mut chat = Vec::new();
    // SAFETY: as above.
    unsafe {
        for (i, message) in pointers::slice(messages, n_messages, "messages")?.iter().enumerate() {
            chat.push(ChatMessage::new(
                pointers::text(message.role, &format!("messages[{i}].role"))?,
                pointers::text(message.content, &format!("messages[{i}].content"))?,
            ));
        }
        Ok(engine.engine.chat_prompt(&chat, &params.chat_options()?)?)
    }
}

/// Starts a generation for each of `n_prompts` prompts, as many as you like, and returns at once.
///
/// They are handed to the engine in order, in the class `LLAMA_INFER_PRIORITY_BATCH`: about twice as many at a time as
/// there are slots, so that the queue has room for others, and no more before their ends were delivered. One `id`
/// stands for all of them, and all their events go to the one `on_event` or queue, one at a time: `event->index` says
/// which prompt it is about, and `event->n_remaining` is 0 in the last one. A prompt that cannot be served gets its
/// `FINISHED` event with an error and does not disturb the others. Prompt i uses the seed `params->seed + i`.
///
/// Refused only for bad arguments, parameters out of range, an engine that is shutting down, or if its thread cannot be
/// started: `OUT_OF_MEMORY`.
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
        if prompts.is_empty() {
            return Err(Failure::argument("n_prompts is 0; give at least one prompt"));
        }
        if u32::try_from(prompts.len()).is_err() {
            return Err(Failure::argument(format!("{} prompts are more than an index can count", prompts.len())));
        }
        let template = start.params.request(Prompt::Tokens(Vec::new()))?;
        start.engine.engine.check_params(&template.params)?;
        let requests = prompts.iter().enumerate().map(|(index, prompt)| {
            let mut request = template.clone().with_priority(Priority::Batch);
            request.prompt = start.params.prompt(prompt);
            request.params.seed = template.params.seed.wrapping_add(index as u32);
            request
        });
        let requests = requests.collect();
        start.many(requests)
    })
}

/// Ends what a call started: all of its prompts, where it is a batch. Allowed inside callbacks.
///
/// Returns at once; the last event comes as always, mostly with the reason `CANCELLED`, or with another if it had ended
/// just then. After a cancel inside its own callback no more `TOKEN` event comes, and after one elsewhere at most the
/// one that is being delivered. An id that is over already is none of your worries: `OK`. `NOT_FOUND` for one that this
/// engine never gave out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_cancel(engine: *mut llama_engine, id: llama_infer_id) -> Status {
    boundary(|| ENGINES.get(engine)?.cancel(id))
}

/// Waits until a call is over: its last callback returned, or its last event was polled. Then nothing uses its
/// `user_data` any more.
///
/// Waits for `timeout_ms` milliseconds, for ever if that is negative, not at all if it is 0. Inside a callback other
/// requests may be waited for (then only this request stands still), but not its own: `IN_CALLBACK`. Who polls a queue
/// should not wait for its requests on the same thread. `TIMEOUT`, `NOT_FOUND`; `OK` for ids that were over already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_wait(engine: *mut llama_engine, id: llama_infer_id, timeout_ms: i32) -> Status {
    boundary(|| ENGINES.get(engine)?.wait(id, limit(timeout_ms)))
}

/// As `llama_infer_wait`, for everything that was started on the engine before. Not inside its callbacks, and not by who
/// should poll a queue meanwhile: what is not polled is never over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_wait_all(engine: *mut llama_engine, timeout_ms: i32) -> Status {
    boundary(|| ENGINES.get(engine)?.wait_all(limit(timeout_ms)))
}
