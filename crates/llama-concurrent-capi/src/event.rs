//! Events and results, in memory that the library owns.

use std::ffi::{CString, c_char, c_void};

use llama_concurrent::{Completion, Delta, FinishReason, PromptToken, Reply, ReplyEvent, Score, Token, ToolCall};

use crate::{
    chat::llama_infer_tool_call,
    status::llama_infer_status as Status,
    types::{c_bool, c_text, llama_engine, llama_infer_id},
};

/// The type of an event. Later versions may add types: ignore unknown ones.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_infer_event_type {
    /// New output.
    Token = 1,
    /// The generation of one prompt has ended. It is the last event of that prompt.
    Finished = 2,
    /// Chats: more of a thought.
    Reasoning = 3,
    /// Chats: a call of a tool begins.
    ToolCall = 4,
    /// Chats: more of the arguments of a call.
    Arguments = 5,
}

/// Why a generation ended.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_infer_finish_reason {
    /// An end-of-generation token or one of `stop_token_ids` was generated, a stop string matched, or the constraint allows
    /// no further token.
    Stop = 1,
    /// `max_tokens` was reached, or the slot is full.
    Length = 2,
    /// The request was cancelled, or its engine was freed.
    Cancelled = 3,
    /// `queue_timeout_ms` or `timeout_ms` expired.
    Deadline = 4,
    /// The generation failed; see `status` and `error`.
    Error = 5,
}

impl llama_infer_finish_reason {
    pub fn of(reason: FinishReason) -> Self {
        match reason {
            FinishReason::Stop => Self::Stop,
            FinishReason::Length => Self::Length,
            FinishReason::Cancelled => Self::Cancelled,
            FinishReason::Deadline => Self::Deadline,
            // As for `llama_infer_status`.
            _ => Self::Error,
        }
    }
}

/// A token and its log probability.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct llama_infer_logprob {
    /// The token.
    pub token: i32,
    /// The natural logarithm of its probability under the model, before bias, penalties, temperature and constraint.
    pub logprob: f32,
}

/// The result of a generation: how it ended, its timings, and the whole output. Times are measured from the submission of
/// the request; in a batch, from the submission of the prompt to the engine.
#[repr(C)]
pub struct llama_infer_result {
    /// `sizeof(llama_infer_result)` in the library's version.
    pub size: usize,
    /// Why the generation ended.
    pub reason: llama_infer_finish_reason,
    /// The error code if the reason is `LLAMA_INFER_FINISH_REASON_ERROR`; `LLAMA_INFER_STATUS_OK` otherwise.
    pub status: Status,
    /// The error message; NULL if there was no error.
    pub error: *const c_char,
    /// The whole output as delivered in events, NUL-terminated; never NULL. After a cancel it ends with the last event.
    pub text: *const c_char,
    /// Length of `text` in bytes, without the terminating NUL.
    pub text_length: usize,
    /// The tokens of the output as delivered in events; NULL if there are none.
    pub tokens: *const i32,
    /// Number of `tokens`.
    pub n_tokens: usize,
    /// Index in `stop` of the string that ended the generation; -1 if none did.
    pub stop_index: i32,
    /// Tokens in the prompt. If the prompt of a batch was refused, this and all times are 0.
    pub n_prompt_tokens: u32,
    /// Prompt tokens whose KV was reused from other requests instead of computed.
    pub n_cached_tokens: u32,
    /// Output tokens generated, without the end-of-generation token. After a cancel it may exceed `n_tokens`.
    pub n_output_tokens: u32,
    /// Milliseconds until the request got a slot; the whole time if it got none.
    pub queue_ms: f64,
    /// Milliseconds until the first output token, including queue time; -1 if there was none.
    pub ttft_ms: f64,
    /// Milliseconds until the end.
    pub e2e_ms: f64,
    /// Milliseconds between each two successive output tokens, in order; NULL if there are none.
    pub itl_ms: *const f64,
    /// Number of `itl_ms`.
    pub n_itl: usize,
    /// Chats: the thoughts as delivered in events, NUL-terminated; NULL otherwise. `text` is then the content of the answer.
    pub reasoning: *const c_char,
    /// Chats: the calls of tools in the order of the answer; NULL if there are none. After a cancel, or if `max_tokens` was
    /// reached, the arguments of the last one may be cut off.
    pub tool_calls: *const llama_infer_tool_call,
    /// Number of `tool_calls`.
    pub n_tool_calls: usize,
    /// Chats: the answer as a JSON object in the form of OpenAI's API, for the next `chat_messages`; NULL otherwise.
    pub message: *const c_char,
    /// `llama_infer_embed_async`: the vector of the text, or with `LLAMA_INFER_POOLING_NONE` those of its tokens, one after the
    /// other. `llama_infer_rank_async`: the score of the document, or one for each label of the model's rank head. NULL otherwise.
    pub embedding: *const f32,
    /// Number of elements in `embedding`, all vectors together.
    pub n_embedding: usize,
    /// Number of vectors in `embedding`.
    pub n_vectors: usize,
    /// `llama_infer_score_async`: the natural logarithm of the probability of the continuation; 0 otherwise.
    pub logprob: f64,
    /// `llama_infer_score_async`: whether greedy sampling would have chosen the continuation.
    pub is_greedy: c_bool,
    /// Unused.
    pub reserved: [c_bool; 7],
    /// Tokens that were drafted: guessed, and computed before it was known that they come.
    pub n_drafted_tokens: u32,
    /// Drafted tokens that came.
    pub n_accepted_tokens: u32,
}

/// An event. The event and everything it points to are owned by the library. They are valid until the callback returns or,
/// with a queue, until the next `llama_infer_poll` on that queue or until it is freed. Check `size` before reading fields
/// added after version 0.1.
#[repr(C)]
pub struct llama_infer_event {
    /// `sizeof(llama_infer_event)` in the library's version.
    pub size: usize,
    /// The type of the event.
    pub r#type: llama_infer_event_type,
    /// Index of the prompt in a batch; 0 for a single prompt.
    pub index: u32,
    /// The id of the request or batch.
    pub id: llama_infer_id,
    /// The engine that runs the request, for use inside the callback.
    pub engine: *mut llama_engine,
    /// The `user_data` passed when the request was started.
    pub user_data: *mut c_void,
    /// `TOKEN`, `REASONING`, `ARGUMENTS`: new text, as complete UTF-8 characters, NUL-terminated. Empty while a character or a
    /// possible stop string is incomplete. Never NULL.
    pub text: *const c_char,
    /// Length of `text` in bytes, without the terminating NUL. Output may contain NUL characters.
    pub text_length: usize,
    /// The new tokens; NULL if withheld text is released without a new token. Those of a chat's markup come with whatever event
    /// is next.
    pub tokens: *const i32,
    /// Number of `tokens`; may be 0.
    pub n_tokens: usize,
    /// Index of the first of these tokens in the output.
    pub position: usize,
    /// `FINISHED`: the result; NULL otherwise.
    pub result: *const llama_infer_result,
    /// Prompts of the request or batch that have not ended; 0 in its last event.
    pub n_remaining: usize,
    /// If requested by `llama_infer_params.logprobs`: the new token, followed by the most likely tokens at its
    /// position in descending order. `FINISHED` of `llama_infer_score_async`: each token of the continuation, with NaN for one
    /// before which nothing stands. NULL otherwise.
    pub logprobs: *const llama_infer_logprob,
    /// Number of `logprobs`; may be 0.
    pub n_logprobs: usize,
    /// `TOOL_CALL`, `ARGUMENTS`: the call, without its arguments; NULL otherwise.
    pub tool_call: *const llama_infer_tool_call,
}

crate::assert_no_tail_padding!(llama_infer_event, tool_call: *const llama_infer_tool_call);
crate::assert_no_tail_padding!(llama_infer_result, n_accepted_tokens: u32);

/// The fields that are the same in all events of a call.
#[derive(Clone, Copy)]
pub struct Origin {
    pub id: llama_infer_id,
    pub engine: *mut llama_engine,
    pub user_data: *mut c_void,
}

// SAFETY: a handle that is a number, and a pointer that is only passed back.
unsafe impl Send for Origin {}
// SAFETY: as above.
unsafe impl Sync for Origin {}

/// An event and the memory that its pointers point to. It lives in a box, so it does not move.
pub struct OwnedEvent {
    raw: llama_infer_event,
    result: Option<llama_infer_result>,
    text: CText,
    tokens: Vec<Token>,
    logprobs: Vec<llama_infer_logprob>,
    itl_ms: Vec<f64>,
    error: Option<CString>,
    reasoning: CText,
    message: CText,
    /// What the texts of calls point to.
    call_texts: Vec<CText>,
    calls: Vec<llama_infer_tool_call>,
    embedding: Vec<f32>,
}

// SAFETY: the pointers in `raw` and `result` point into the event's own memory, except for those of `Origin`.
unsafe impl Send for OwnedEvent {}

/// NUL-terminated bytes, which may contain further NULs.
struct CText(Vec<u8>);

impl CText {
    fn new(text: String) -> Self {
        let mut bytes = text.into_bytes();
        bytes.push(0);
        Self(bytes)
    }

    fn parts(&self) -> (*const c_char, usize) {
        (self.0.as_ptr().cast(), self.0.len() - 1)
    }
}

fn array<T>(elements: &[T]) -> (*const T, usize) {
    (if elements.is_empty() { std::ptr::null() } else { elements.as_ptr() }, elements.len())
}

impl OwnedEvent {
    fn new(origin: Origin, kind: llama_infer_event_type, index: usize, remaining: usize) -> Box<Self> {
        let raw = llama_infer_event {
            size: size_of::<llama_infer_event>(),
            r#type: kind,
            index: index as u32,
            id: origin.id,
            engine: origin.engine,
            user_data: origin.user_data,
            text: c"".as_ptr(),
            text_length: 0,
            tokens: std::ptr::null(),
            n_tokens: 0,
            position: 0,
            result: std::ptr::null(),
            n_remaining: remaining,
            logprobs: std::ptr::null(),
            n_logprobs: 0,
            tool_call: std::ptr::null(),
        };
        let empty = || CText::new(String::new());
        Box::new(Self {
            raw,
            result: None,
            text: empty(),
            tokens: Vec::new(),
            logprobs: Vec::new(),
            itl_ms: Vec::new(),
            error: None,
            reasoning: empty(),
            message: empty(),
            call_texts: Vec::new(),
            calls: Vec::new(),
            embedding: Vec::new(),
        })
    }

    /// Adds a call. Its texts do not move: each has memory of its own.
    fn call(&mut self, index: usize, id: Option<&str>, name: &str, arguments: Option<&str>) {
        let mut text = |text: Option<&str>| match text {
            None => std::ptr::null(),
            Some(text) => {
                let text = CText::new(text.to_owned());
                let pointer = text.parts().0;
                self.call_texts.push(text);
                pointer
            }
        };
        let (id, name, arguments) = (text(Some(id.unwrap_or_default())), text(Some(name)), text(arguments));
        self.calls.push(llama_infer_tool_call { id, name, arguments, index });
    }

    /// New output: text, or a piece of an answer. `calls` are those of the answer so far.
    pub fn new_output(
        origin: Origin,
        index: usize,
        remaining: usize,
        delta: Delta,
        piece: Option<ReplyEvent>,
        calls: &[ToolCall],
    ) -> Box<Self> {
        let (kind, text, call) = match piece {
            None | Some(ReplyEvent::CallEnd { .. }) => (llama_infer_event_type::Token, delta.text, None),
            Some(ReplyEvent::Content(text)) => (llama_infer_event_type::Token, text, None),
            Some(ReplyEvent::Reasoning(text)) => (llama_infer_event_type::Reasoning, text, None),
            Some(ReplyEvent::CallStart { index, .. }) => (llama_infer_event_type::ToolCall, String::new(), Some(index)),
            Some(ReplyEvent::Arguments { index, json }) => (llama_infer_event_type::Arguments, json, Some(index)),
            Some(_) => (llama_infer_event_type::Token, String::new(), None),
        };
        let mut event = Self::new(origin, kind, index, remaining);
        if let Some((index, call)) = call.and_then(|index| Some((index, calls.get(index)?))) {
            event.call(index, call.id.as_deref(), &call.name, None);
            event.raw.tool_call = event.calls.as_ptr();
        }
        event.text = CText::new(text);
        event.tokens.extend(delta.token);
        (event.raw.text, event.raw.text_length) = event.text.parts();
        (event.raw.tokens, event.raw.n_tokens) = array(&event.tokens);
        event.raw.position = delta.index;
        if let (Some(token), Some(logprobs)) = (delta.token, delta.logprobs) {
            let own = llama_infer_logprob { token, logprob: logprobs.logprob };
            let top = logprobs.top.iter().map(|one| llama_infer_logprob { token: one.token, logprob: one.logprob });
            event.logprobs = std::iter::once(own).chain(top).collect();
            (event.raw.logprobs, event.raw.n_logprobs) = array(&event.logprobs);
        }
        event
    }

    /// A `FINISHED` event, with the whole output that was delivered.
    pub fn finished(
        origin: Origin,
        index: usize,
        remaining: usize,
        done: Completion,
        reply: Option<Reply>,
    ) -> Box<Self> {
        let Completion { text, tokens, finish, prompt, embedding, .. } = done;
        let score = (!prompt.is_empty()).then(|| Score::of(prompt.into()));
        let mut event = Self::new(origin, llama_infer_event_type::Finished, index, remaining);
        let is_chat = reply.is_some();
        let text = match reply {
            None => text,
            Some(reply) => {
                event.message = CText::new(reply.to_message().to_string());
                for (index, call) in reply.calls.iter().enumerate() {
                    event.call(index, call.id.as_deref(), &call.name, Some(&call.arguments));
                }
                event.reasoning = CText::new(reply.reasoning);
                reply.content
            }
        };
        let ms = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
        let clip = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        event.text = CText::new(text);
        let logprob_of = |one: &PromptToken| one.logprobs.as_ref().map_or(f32::NAN, |found| found.logprob);
        let of_score = score.iter().flat_map(|score| &score.tokens);
        event.logprobs =
            of_score.map(|one| llama_infer_logprob { token: one.token, logprob: logprob_of(one) }).collect();
        (event.raw.logprobs, event.raw.n_logprobs) = array(&event.logprobs);
        let n_vectors = embedding.as_ref().map_or(0, |embedding| embedding.n_vectors);
        event.embedding = embedding.map(|embedding| embedding.values).unwrap_or_default();
        let (embedding, n_embedding) = array(&event.embedding);
        event.tokens = tokens;
        event.itl_ms = finish.timings.itl.iter().map(|&gap| ms(gap)).collect();
        event.error = finish.error.as_ref().map(|error| c_text(&error.to_string()));
        let (text, text_length) = event.text.parts();
        let (tokens, n_tokens) = array(&event.tokens);
        let (itl_ms, n_itl) = array(&event.itl_ms);
        let (tool_calls, n_tool_calls) = array(&event.calls);
        let of_chat = |text: &CText| if is_chat { text.parts().0 } else { std::ptr::null() };
        event.result = Some(llama_infer_result {
            size: size_of::<llama_infer_result>(),
            reason: llama_infer_finish_reason::of(finish.reason),
            status: finish.error.as_ref().map_or(Status::Ok, |error| Status::of(error.kind())),
            error: event.error.as_ref().map_or(std::ptr::null(), |error| error.as_ptr()),
            text,
            text_length,
            tokens,
            n_tokens,
            stop_index: finish.stop.and_then(|index| i32::try_from(index).ok()).unwrap_or(-1),
            n_prompt_tokens: clip(finish.timings.n_prompt_tokens),
            n_cached_tokens: clip(finish.timings.n_cached_tokens),
            n_output_tokens: clip(finish.timings.n_output_tokens),
            queue_ms: ms(finish.timings.queue),
            ttft_ms: finish.timings.ttft.map_or(-1.0, ms),
            e2e_ms: ms(finish.timings.e2e),
            itl_ms,
            n_itl,
            reasoning: of_chat(&event.reasoning),
            tool_calls,
            n_tool_calls,
            message: of_chat(&event.message),
            embedding,
            n_embedding,
            n_vectors,
            logprob: score.as_ref().map_or(0.0, |score| score.logprob),
            is_greedy: score.is_some_and(|score| score.is_greedy).into(),
            reserved: [false.into(); 7],
            n_drafted_tokens: clip(finish.timings.n_drafted_tokens),
            n_accepted_tokens: clip(finish.timings.n_accepted_tokens),
        });
        event
    }

    /// The event for C. It is valid while the box is neither moved out of nor written to.
    pub fn raw(&mut self) -> *const llama_infer_event {
        self.raw.result = self.result.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        &raw const self.raw
    }

    /// Whether it is the last event of its call.
    pub fn is_last(&self) -> bool {
        self.raw.n_remaining == 0 && self.result.is_some()
    }
}
