//! What a callback gets: events, in memory that the library owns.

use std::ffi::{CString, c_char, c_void};

use llama_concurrent::{Delta, Finish, FinishReason, Token};

use crate::{
    status::llama_infer_status as Status,
    types::{c_text, llama_engine, llama_infer_id},
};

/// What an event tells. More kinds may come: ignore those that you do not know.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_infer_event_type {
    /// The output grew.
    Token = 1,
    /// The end of one prompt's output; nothing about that prompt follows.
    Finished = 2,
}

/// Why a generation ended.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum llama_infer_finish_reason {
    /// The model ended its text, a stop string appeared, or nothing more can follow under the constraint.
    Stop = 1,
    /// `max_tokens` was reached, or the slot is full.
    Length = 2,
    /// It was cancelled, or its engine was freed.
    Cancelled = 3,
    /// `queue_timeout_ms` or `timeout_ms` passed.
    Deadline = 4,
    /// It failed; `status` and `error` say how.
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
    /// The natural logarithm of its probability in the model's own distribution, before bias, penalties, temperature and
    /// constraint.
    pub logprob: f32,
}

/// How a generation ended, when what happened, and the whole output once more. All times count from the submission; in
/// a batch, from when the prompt was handed to the engine.
#[repr(C)]
pub struct llama_infer_result {
    /// `sizeof(llama_infer_result)` in the version of the library.
    pub size: usize,
    /// Why it ended.
    pub reason: llama_infer_finish_reason,
    /// What failed where the reason is `LLAMA_INFER_FINISH_REASON_ERROR`; `LLAMA_INFER_STATUS_OK` otherwise.
    pub status: Status,
    /// What failed, in words; NULL if nothing did.
    pub error: *const c_char,
    /// The whole output as it was delivered, NUL-terminated; never NULL. After a cancel it ends where the events did.
    pub text: *const c_char,
    /// Bytes of `text` without the NUL at its end.
    pub text_length: usize,
    /// The tokens of the whole output as they were delivered; NULL if there are none.
    pub tokens: *const i32,
    /// Number of `tokens`.
    pub n_tokens: usize,
    /// Which string of `stop` ended it, from 0; -1 if none did.
    pub stop_index: i32,
    /// Tokens of the prompt; 0, like all times, if the prompt of a batch was refused.
    pub n_prompt_tokens: u32,
    /// Prompt tokens that were reused from earlier or other requests instead of computed.
    pub n_cached_tokens: u32,
    /// Output tokens that were generated, without the end-of-generation token; more than `n_tokens` after a cancel.
    pub n_output_tokens: u32,
    /// Milliseconds until a slot was found; the whole time if none was.
    pub queue_ms: f64,
    /// Milliseconds until the first output token, queue time included; -1 if there was none.
    pub ttft_ms: f64,
    /// Milliseconds until the end.
    pub e2e_ms: f64,
    /// Milliseconds of every gap between two output tokens, in order; NULL if there are none.
    pub itl_ms: *const f64,
    /// Number of `itl_ms`.
    pub n_itl: usize,
}

/// One event. It and everything that it points to belong to the library: they live until the callback returns or, with
/// a queue, until the next `llama_infer_poll` on it or its end. Look at `size` before you read fields that came after
/// version 0.1.
#[repr(C)]
pub struct llama_infer_event {
    /// `sizeof(llama_infer_event)` in the version of the library.
    pub size: usize,
    /// What it tells.
    pub r#type: llama_infer_event_type,
    /// Which prompt of a batch it is about, from 0; 0 where there is one prompt.
    pub index: u32,
    /// What the call returned as its id.
    pub id: llama_infer_id,
    /// The engine that was called, to cancel from inside the callback.
    pub engine: *mut llama_engine,
    /// What was passed with the callback or the queue.
    pub user_data: *mut c_void,
    /// `TOKEN`: the text that became certain, as whole UTF-8 characters, NUL-terminated. Empty while a character or a
    /// possible stop string is incomplete. Never NULL.
    pub text: *const c_char,
    /// Bytes of `text` without the NUL at its end. A model may generate NUL characters.
    pub text_length: usize,
    /// `TOKEN`: the new tokens; NULL where text that was held back is released without one.
    pub tokens: *const i32,
    /// Number of `tokens`, 0 or more.
    pub n_tokens: usize,
    /// `TOKEN`: position of the first of them in the output, from 0.
    pub position: usize,
    /// `FINISHED`: how it ended; NULL otherwise.
    pub result: *const llama_infer_result,
    /// Prompts of this call that have not ended yet: 0 in the very last event of the call.
    pub n_remaining: usize,
    /// `TOKEN`, where `llama_infer_params.logprobs` asks for it: first the new token, then the likeliest tokens in its place,
    /// the likeliest first; NULL otherwise.
    pub logprobs: *const llama_infer_logprob,
    /// Number of `logprobs`, 0 or more.
    pub n_logprobs: usize,
}

crate::assert_no_tail_padding!(llama_infer_event, n_logprobs: usize);
crate::assert_no_tail_padding!(llama_infer_result, n_itl: usize);

/// Whose event it is: what is the same in all events of a call.
#[derive(Clone, Copy)]
pub struct Origin {
    pub id: llama_infer_id,
    pub engine: *mut llama_engine,
    pub user_data: *mut c_void,
}

// SAFETY: a handle that is a number, and a pointer that we only hand back.
unsafe impl Send for Origin {}
// SAFETY: as above.
unsafe impl Sync for Origin {}

/// An event with the memory that its pointers point to. It does not move: it lives in a box.
pub struct OwnedEvent {
    raw: llama_infer_event,
    result: Option<llama_infer_result>,
    text: CText,
    tokens: Vec<Token>,
    logprobs: Vec<llama_infer_logprob>,
    itl_ms: Vec<f64>,
    error: Option<CString>,
}

// SAFETY: the pointers in `raw` and `result` lead into the event's own memory, except for those of `Origin`.
unsafe impl Send for OwnedEvent {}

/// Bytes with a NUL behind them; others may be among them.
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
        };
        let (text, logprobs) = (CText::new(String::new()), Vec::new());
        Box::new(Self { raw, result: None, text, tokens: Vec::new(), logprobs, itl_ms: Vec::new(), error: None })
    }

    pub fn token(origin: Origin, index: usize, remaining: usize, delta: Delta) -> Box<Self> {
        let mut event = Self::new(origin, llama_infer_event_type::Token, index, remaining);
        event.text = CText::new(delta.text);
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

    /// The end, with everything that was delivered before.
    pub fn finished(
        origin: Origin,
        index: usize,
        remaining: usize,
        finish: Finish,
        text: String,
        tokens: Vec<Token>,
    ) -> Box<Self> {
        let mut event = Self::new(origin, llama_infer_event_type::Finished, index, remaining);
        let ms = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
        let clip = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        event.text = CText::new(text);
        event.tokens = tokens;
        event.itl_ms = finish.timings.itl.iter().map(|&gap| ms(gap)).collect();
        event.error = finish.error.as_ref().map(|error| c_text(&error.to_string()));
        let (text, text_length) = event.text.parts();
        let (tokens, n_tokens) = array(&event.tokens);
        let (itl_ms, n_itl) = array(&event.itl_ms);
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
        });
        event
    }

    /// The event for C. It is good while the box is neither moved out of nor written to.
    pub fn raw(&mut self) -> *const llama_infer_event {
        self.raw.result = self.result.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        &raw const self.raw
    }

    /// Whether it is the last of its call.
    pub fn is_last(&self) -> bool {
        self.raw.n_remaining == 0 && self.result.is_some()
    }
}
