//! `llama_infer_params`: the parameters of one request.

use std::{
    ffi::{c_char, c_void},
    time::Duration,
};

use llama_concurrent::{ChatOptions, Constraint, Priority, Prompt, Request, SamplingParams, Token};

use crate::{
    boundary::boundary,
    call::Destination,
    chat::{llama_infer_chat_message, llama_infer_continuation},
    engine_params::llama_speculation,
    engine_state::EngineState,
    event::llama_infer_event,
    pointers::{self, Versioned},
    queue::Queue,
    status::llama_infer_status as Status,
    types::{Failure, Result, c_bool, llama_infer_queue},
};

/// Scheduling priority: which requests go first when slots or prompt-processing time are short.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum llama_infer_priority {
    /// A user is waiting for the output.
    Interactive = 0,
    /// Uses the capacity that interactive requests leave. Never starved.
    Batch = 1,
}

/// A bias added to the logit of a token.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama_infer_logit_bias {
    /// The token.
    pub token: i32,
    /// The bias; minus infinity forbids the token.
    pub bias: f32,
}

/// Receives the events of a request: any number of `TOKEN` events, then one `FINISHED` event per prompt.
pub type llama_infer_callback = Option<unsafe extern "C" fn(event: *const llama_infer_event, user_data: *mut c_void)>;

/// The parameters of a request. Initialise it with `llama_infer_default_params`. The struct and everything it points to are
/// copied by the function that it is passed to, except for `queue`, which is a handle.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama_infer_params {
    /// `sizeof(llama_infer_params)`, set by `llama_infer_default_params`.
    pub size: usize,
    // parameters 1: begin
    /// Maximum number of output tokens. 0 (default): until the slot is full.
    pub max_tokens: u32,
    /// 0 takes the likeliest token each time (greedy); 1 samples the model's own distribution. Default: 0.
    pub temperature: f32,
    /// Keep only this many of the likeliest tokens; 0 keeps all. Default: 40.
    pub top_k: u32,
    /// Keep only the likeliest tokens whose probabilities add up to this; 1 keeps all. Default: 0.95.
    pub top_p: f32,
    /// Drop tokens whose probability is below this fraction of the likeliest token's; 0 keeps all. Default: 0.05.
    pub min_p: f32,
    /// Divides the logits of tokens that occur among the last `penalty_last_n`; 1 is off. Default: 1.
    pub repetition_penalty: f32,
    /// Subtracted from a token's logit for each time that it occurs among the last `penalty_last_n`; 0 is off. Default:
    /// 0.
    pub frequency_penalty: f32,
    /// Subtracted from a token's logit if it occurs among the last `penalty_last_n`; 0 is off. Default: 0.
    pub presence_penalty: f32,
    /// How many tokens, of prompt and output, the three penalties look back on; 0 turns them off. Default: 64.
    pub penalty_last_n: u32,
    /// Seed of the random number generator: equal seeds draw equally from equal distributions. Of several prompts,
    /// number i uses this seed + i. Default: 0.
    pub seed: u32,
    // parameters 1: end
    /// One of `llama_infer_priority`. Default: INTERACTIVE. Batches always run as BATCH.
    pub priority: i32,
    /// End the request if it has not got a slot after this many milliseconds. 0 (default): no limit.
    pub queue_timeout_ms: u32,
    /// End the request if it has not finished after this many milliseconds. 0 (default): no limit. Both limits are measured
    /// from the submission; in a batch, from the submission of each prompt to the engine.
    pub timeout_ms: u32,
    // parameters 2: begin
    /// Strings that end the generation; they are never part of the output. One that spells a special token, such as
    /// `<|im_end|>`, ends it at that token, even where special tokens are not written. NULL (default): none.
    pub stop: *const *const c_char,
    /// Number of elements in `stop`.
    pub n_stop: usize,
    /// Values added to the logits of individual tokens; minus infinity forbids a token. NULL (default): none.
    pub logit_bias: *const llama_infer_logit_bias,
    /// Number of elements in `logit_bias`.
    pub n_logit_bias: usize,
    // parameters 2: end
    /// The queue that gets the events. If it is set, the callback must be NULL. Default: NULL.
    pub queue: *mut llama_infer_queue,
    /// Chats: the tools that the model may call, as a JSON array of functions in the form of OpenAI's API. Calls are delivered as
    /// `TOOL_CALL` and `ARGUMENTS` events, and their arguments conform to the schema of the tool. NULL (default): none.
    pub chat_tools: *const c_char,
    /// Chats: variables for the chat template, as a JSON object such as `{"enable_thinking": false}`. NULL (default): none.
    pub chat_variables: *const c_char,
    // parameters 3: begin
    /// Do not end at the model's end-of-generation tokens, which are made impossible instead. Default: false.
    pub ignore_eos: c_bool,
    // parameters 3: end
    /// Parse special tokens written out in a prompt, such as `<|user|>`. Set it to false for untrusted text. Default: true.
    pub parse_special: c_bool,
    /// Chats: end the prompt with the header of an assistant message. Default: true.
    pub add_generation_prompt: c_bool,
    /// Reserved; must be false.
    pub reserved: [c_bool; 5],
    /// A JSON schema that the output conforms to, unless it is cut short. `{"type": "object"}` accepts any JSON object. At
    /// most one of `json_schema`, `regex` and `grammar` may be set. NULL (default): none.
    pub json_schema: *const c_char,
    /// A regular expression, without look-around, that the whole output matches. NULL (default): none.
    pub regex: *const c_char,
    /// A grammar for the output: in llguidance's variant of Lark with a rule `start`, or in llama.cpp's GBNF with a rule
    /// `root`. NULL (default): none.
    pub grammar: *const c_char,
    // parameters 4: begin
    /// Report the log probability of each token and of this many of the likeliest tokens, at most 1000; 0 reports only
    /// its own. -1 (default): no log probabilities.
    pub logprobs: i32,
    // parameters 4: end
    /// Reuse the KV of an equal prompt prefix of another request. Default: true.
    pub prefix_reuse: c_bool,
    // parameters 5: begin
    /// Write special tokens, such as `[TOOL_CALLS]` or `<|channel|>`, into the text; otherwise they are left out. The
    /// token that ends a generation is never part of it. Default: false.
    pub special: c_bool,
    // parameters 5: end
    /// Reserved; must be false.
    pub reserved_2: [c_bool; 2],
    // parameters 6: begin
    /// Tokens that end the generation as the model's own end-of-generation tokens do; they are not part of the output.
    /// NULL (default): none.
    pub stop_token_ids: *const i32,
    /// Number of elements in `stop_token_ids`.
    pub n_stop_token_ids: usize,
    /// Number of output tokens before which no token may end the generation; 0 is off. A stop string still may, and so
    /// may a constraint whose text is complete. Default: 0.
    pub min_tokens: u32,
    /// Keep the tokens whose surprise is closest to the expected one, until their probabilities add up to this; 1 is
    /// off. Default: 1.
    pub typical_p: f32,
    /// Drop tokens whose logit is more than this many standard deviations below the largest; 0 is off. Default: 0.
    pub top_n_sigma: f32,
    /// Probability that XTC drops all but the least likely of the tokens above `xtc_threshold`; 0 is off. Default: 0.
    pub xtc_probability: f32,
    /// Probability at and above which a token counts for XTC; above 0.5, XTC is off. Default: 0.1.
    pub xtc_threshold: f32,
    /// Lets the temperature vary by up to this: up where the model is undecided, down where it is sure; 0 is off.
    /// Default: 0.
    pub dynatemp_range: f32,
    /// How uncertainty maps to `dynatemp_range`; 1 is linear. Default: 1.
    pub dynatemp_exponent: f32,
    /// Use Mirostat 1 or 2 in place of `top_k`, `top_p` and the other cuts; 0 is off. Default: 0.
    pub mirostat: u32,
    /// Mirostat's target surprise, in bits. Default: 5.
    pub mirostat_tau: f32,
    /// Mirostat's learning rate. Default: 0.1.
    pub mirostat_eta: f32,
    // parameters 6: end
    /// Chats: the messages as a JSON array of objects, as in OpenAI's API. They may have all fields that the chat template
    /// reads, such as content parts, `tool_calls`, `tool_call_id` and `reasoning_content`. If it is set, the argument
    /// `messages` must be NULL and `n_messages` 0. NULL (default): use that argument.
    pub chat_messages: *const c_char,
    /// Chats: whether to continue the last message. One of `llama_infer_continuation`. Default: AUTO.
    pub continue_final_message: i32,
    /// Chats: parse special tokens written inside messages. False (default): they are plain text, so that a message cannot
    /// end itself and impersonate another role.
    pub chat_parse_special: c_bool,
    /// Reserved; must be false.
    pub reserved_3: [c_bool; 3],
    /// Chats: the messages as pointers to structs, for messages with calls and results of tools. If it is set, the argument
    /// `messages` and `chat_messages` must be NULL. NULL (default): use one of those.
    pub chat: *const *const llama_infer_chat_message,
    /// Number of elements in `chat`.
    pub n_chat: usize,
    /// Chats: whether the model calls `chat_tools`: "auto", "none", "required", or as JSON the function that it has to call, such
    /// as `{"type": "function", "function": {"name": "weather"}}`. NULL (default): "auto".
    pub chat_tool_choice: *const c_char,
    /// Chats: maximum number of tokens of thoughts. Then the thought is closed, and the model answers. -1 (default): no limit.
    pub chat_thinking_budget: i32,
    /// Chats: allow more than one call of a tool in an answer. Default: true.
    pub chat_parallel_tool_calls: c_bool,
    /// Reserved; must be false.
    pub reserved_4: [c_bool; 3],
    // last parameters: begin
    /// DRY: strength of the penalty on tokens that would continue a repetition; 0 is off. Default: 0.
    pub dry_multiplier: f32,
    /// DRY: factor by which the penalty grows with each token of repetition beyond `dry_allowed_length`. Default: 1.75.
    pub dry_base: f32,
    /// DRY: length in tokens up to which a repetition goes unpenalised. Default: 2.
    pub dry_allowed_length: u32,
    /// DRY: how many tokens, of prompt and output, are searched for repetitions; 0 is off. Default: 64.
    pub dry_penalty_last_n: u32,
    /// DRY: strings that no repetition extends across, of at most 40 bytes each. NULL (default): "\n", ":", "\"", "*".
    /// For none, pass any other pointer and a number of 0.
    pub dry_sequence_breakers: *const *const c_char,
    /// Number of elements in `dry_sequence_breakers`.
    pub n_dry_sequence_breakers: usize,
    /// Adaptive-p, in place of the final draw: prefer tokens of about this probability among those that the cuts leave;
    /// below 0 it is off. Default: -1.
    pub adaptive_target: f32,
    /// Adaptive-p: how slowly the probabilities of earlier tokens are forgotten; about 1 / (1 - this) of them count.
    /// Default: 0.9.
    pub adaptive_decay: f32,
    /// Report the log probabilities that the token was drawn with, after bias, constraint and samplers, in the place of
    /// the model's own; those of a greedy choice are certain. Default: false.
    pub post_sampling_probs: c_bool,
    /// Whether the next tokens are guessed and computed beforehand: as the engine's `speculation` says (auto), not at
    /// all (off), whenever they can be looked up in what was written before (lookup), or by the engine's draft model
    /// (draft). The latter two weigh no costs, unless requests run beside this one that did not ask for that. What is
    /// generated is the same. One of `llama_speculation`. Default: AUTO.
    pub speculation: i32,
    /// Maximum number of tokens guessed at a time; 0 is none. A call has room for 15 beside a single request, and fewer
    /// beside others. Default: 16.
    pub draft_max: u32,
    /// Unused.
    pub reserved_draft_max: [c_bool; 4],
    // last parameters: end
}

// SAFETY: `#[repr(C)]`, starts with its size; numbers and raw pointers.
unsafe impl Versioned for llama_infer_params {
    const INITIALIZER: &'static str = "start from llama_infer_default_params()";
}

// last member: begin
crate::assert_no_tail_padding!(llama_infer_params, reserved_draft_max: [c_bool; 4]);
// last member: end

impl llama_infer_params {
    pub fn defaults() -> Self {
        let default = SamplingParams::default();
        let chat = ChatOptions::default();
        Self {
            size: size_of::<Self>(),
            // defaults: begin
            max_tokens: default.max_tokens.map_or(0, |n| n as _),
            temperature: default.temperature as _,
            top_k: default.top_k as _,
            top_p: default.top_p as _,
            min_p: default.min_p as _,
            repetition_penalty: default.repetition_penalty as _,
            frequency_penalty: default.frequency_penalty as _,
            presence_penalty: default.presence_penalty as _,
            penalty_last_n: default.penalty_last_n as _,
            seed: default.seed as _,
            stop: std::ptr::null(),
            n_stop: 0,
            logit_bias: std::ptr::null(),
            n_logit_bias: 0,
            ignore_eos: default.ignore_eos.into(),
            logprobs: default.logprobs.map_or(-1, |n| n as _),
            special: default.special.into(),
            stop_token_ids: std::ptr::null(),
            n_stop_token_ids: 0,
            min_tokens: default.min_tokens as _,
            typical_p: default.typical_p as _,
            top_n_sigma: default.top_n_sigma as _,
            xtc_probability: default.xtc_probability as _,
            xtc_threshold: default.xtc_threshold as _,
            dynatemp_range: default.dynatemp_range as _,
            dynatemp_exponent: default.dynatemp_exponent as _,
            mirostat: default.mirostat as _,
            mirostat_tau: default.mirostat_tau as _,
            mirostat_eta: default.mirostat_eta as _,
            dry_multiplier: default.dry_multiplier as _,
            dry_base: default.dry_base as _,
            dry_allowed_length: default.dry_allowed_length as _,
            dry_penalty_last_n: default.dry_penalty_last_n as _,
            dry_sequence_breakers: std::ptr::null(),
            n_dry_sequence_breakers: 0,
            adaptive_target: default.adaptive_target as _,
            adaptive_decay: default.adaptive_decay as _,
            post_sampling_probs: default.post_sampling_probs.into(),
            speculation: llama_speculation::of(default.speculation) as i32,
            draft_max: default.draft_max as _,
            reserved_draft_max: [0; 4],
            // defaults: end
            priority: llama_infer_priority::Interactive as i32,
            queue_timeout_ms: 0,
            timeout_ms: 0,
            queue: std::ptr::null_mut(),
            chat_tools: std::ptr::null(),
            chat_variables: std::ptr::null(),
            parse_special: true.into(),
            add_generation_prompt: chat.add_generation_prompt.into(),
            reserved: [false.into(); 5],
            json_schema: std::ptr::null(),
            regex: std::ptr::null(),
            grammar: std::ptr::null(),
            prefix_reuse: true.into(),
            reserved_2: [false.into(); 2],
            chat_messages: std::ptr::null(),
            continue_final_message: llama_infer_continuation::Auto as i32,
            chat_parse_special: chat.parse_special.into(),
            reserved_3: [false.into(); 3],
            chat: std::ptr::null(),
            n_chat: 0,
            chat_tool_choice: std::ptr::null(),
            chat_thinking_budget: -1,
            chat_parallel_tool_calls: true.into(),
            reserved_4: [false.into(); 3],
        }
    }

    /// The caller's parameters; NULL stands for the defaults.
    ///
    /// # Safety
    /// As the header asks of `llama_infer_params`.
    pub unsafe fn read(params: *const Self) -> Result<Self> {
        // SAFETY: the caller's promise.
        let params = unsafe { pointers::read_sized(params, Self::defaults(), "params") }?;
        let reserved = params.reserved.iter().chain(&params.reserved_2).chain(&params.reserved_3);
        if reserved.chain(&params.reserved_4).any(|&byte| byte != 0) {
            return Err(Failure::argument("params->reserved is not false; start from llama_infer_default_params()"));
        }
        Ok(params)
    }

    pub fn prompt(&self, text: &str) -> Prompt {
        if self.parse_special != 0 { Prompt::Text(text.to_owned()) } else { Prompt::PlainText(text.to_owned()) }
    }

    /// A request for one prompt.
    ///
    /// # Safety
    /// The struct was read from a caller who keeps to the header, and everything that it points to still lives.
    pub unsafe fn request(&self, prompt: Prompt) -> Result<Request> {
        let limit = |ms: u32| (ms > 0).then(|| Duration::from_millis(ms.into()));
        let priority = match self.priority {
            n if n == llama_infer_priority::Interactive as i32 => Priority::Interactive,
            n if n == llama_infer_priority::Batch as i32 => Priority::Batch,
            n => return Err(Failure::unknown(Status::InvalidRequest, "priority", n, "llama_infer_priority")),
        };
        let mut params = SamplingParams::default();
        // SAFETY: the caller's promise.
        unsafe {
            // readers: begin
            params.max_tokens = (self.max_tokens > 0).then_some(self.max_tokens as _);
            params.temperature = self.temperature as _;
            params.top_k = self.top_k as _;
            params.top_p = self.top_p as _;
            params.min_p = self.min_p as _;
            params.repetition_penalty = self.repetition_penalty as _;
            params.frequency_penalty = self.frequency_penalty as _;
            params.presence_penalty = self.presence_penalty as _;
            params.penalty_last_n = self.penalty_last_n as _;
            params.seed = self.seed as _;
            params.stop = texts(self.stop, self.n_stop, "stop", params.stop)?;
            params.logit_bias = biases(self.logit_bias, self.n_logit_bias, "logit_bias", params.logit_bias)?;
            params.ignore_eos = self.ignore_eos != 0;
            params.logprobs = count_or_none(self.logprobs, "logprobs")?;
            params.special = self.special != 0;
            params.stop_token_ids =
                tokens(self.stop_token_ids, self.n_stop_token_ids, "stop_token_ids", params.stop_token_ids)?;
            params.min_tokens = self.min_tokens as _;
            params.typical_p = self.typical_p as _;
            params.top_n_sigma = self.top_n_sigma as _;
            params.xtc_probability = self.xtc_probability as _;
            params.xtc_threshold = self.xtc_threshold as _;
            params.dynatemp_range = self.dynatemp_range as _;
            params.dynatemp_exponent = self.dynatemp_exponent as _;
            params.mirostat = self.mirostat as _;
            params.mirostat_tau = self.mirostat_tau as _;
            params.mirostat_eta = self.mirostat_eta as _;
            params.dry_multiplier = self.dry_multiplier as _;
            params.dry_base = self.dry_base as _;
            params.dry_allowed_length = self.dry_allowed_length as _;
            params.dry_penalty_last_n = self.dry_penalty_last_n as _;
            params.dry_sequence_breakers = texts(
                self.dry_sequence_breakers,
                self.n_dry_sequence_breakers,
                "dry_sequence_breakers",
                params.dry_sequence_breakers,
            )?;
            params.adaptive_target = self.adaptive_target as _;
            params.adaptive_decay = self.adaptive_decay as _;
            params.post_sampling_probs = self.post_sampling_probs != 0;
            params.speculation = llama_speculation::read(self.speculation, "speculation")?;
            params.draft_max = self.draft_max as _;
            // readers: end
            params.constraint = self.constraint()?;
        }
        Ok(Request::new(prompt)
            .params(params)
            .priority(priority)
            .queue_timeout(limit(self.queue_timeout_ms))
            .timeout(limit(self.timeout_ms))
            .prefix_reuse(self.prefix_reuse != 0))
    }

    /// # Safety
    /// As [`request`](Self::request).
    unsafe fn constraint(&self) -> Result<Option<Constraint>> {
        // SAFETY: the caller's promise.
        unsafe {
            Ok(Constraint::one_of(
                pointers::optional_text(self.json_schema, "json_schema")?,
                pointers::optional_text(self.regex, "regex")?,
                pointers::optional_text(self.grammar, "grammar")?,
            )?)
        }
    }

    /// Where the events go: to the callback or to the queue, one of the two.
    pub fn destination(&self, on_event: llama_infer_callback, engine: &EngineState) -> Result<Destination> {
        match (on_event, self.queue.is_null()) {
            (Some(on_event), true) => Ok(engine.callback(on_event)),
            (None, false) => Ok(Destination::Queue(Queue::get(self.queue)?)),
            (None, true) => {
                Err(Failure::argument("on_event and params->queue are both NULL; set one of them to get the events"))
            }
            (Some(_), false) => Err(Failure::argument("on_event and params->queue are both set; use one of them")),
        }
    }
}

/// A number, or -1 for none.
pub(crate) fn count_or_none(number: i32, name: &str) -> Result<Option<u32>> {
    match number {
        -1 => Ok(None),
        n => u32::try_from(n)
            .map(Some)
            .map_err(|_| Failure::new(Status::InvalidRequest, format!("{name} is {n}, but must be -1 (none) or more"))),
    }
}

/// The elements of a list; NULL stands for the default.
///
/// # Safety
/// As `pointers::slice`.
unsafe fn list<T, U>(
    pointer: *const T,
    n: usize,
    name: &str,
    default: Vec<U>,
    read: impl Fn(&T) -> U,
) -> Result<Vec<U>> {
    if pointer.is_null() && n == 0 {
        return Ok(default);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { pointers::slice(pointer, n, name) }?.iter().map(read).collect())
}

/// # Safety
/// As `pointers::texts`.
unsafe fn texts<T: From<Vec<String>>>(pointer: *const *const c_char, n: usize, name: &str, default: T) -> Result<T> {
    if pointer.is_null() && n == 0 {
        return Ok(default);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { pointers::texts(pointer, n, name) }?.into_iter().map(str::to_owned).collect::<Vec<_>>().into())
}

/// # Safety
/// As [`list`].
unsafe fn tokens(pointer: *const i32, n: usize, name: &str, default: Vec<Token>) -> Result<Vec<Token>> {
    // SAFETY: the caller's promise.
    unsafe { list(pointer, n, name, default, |&token| token) }
}

/// # Safety
/// As [`list`].
unsafe fn biases(
    pointer: *const llama_infer_logit_bias,
    n: usize,
    name: &str,
    default: Vec<(Token, f32)>,
) -> Result<Vec<(Token, f32)>> {
    // SAFETY: the caller's promise.
    unsafe { list(pointer, n, name, default, |entry| (entry.token, entry.bias)) }
}

/// Fills `*params`, a struct of `size` bytes, with the defaults. Programs normally call `llama_infer_default_params`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_infer_params_init(params: *mut llama_infer_params, size: usize) -> Status {
    // SAFETY: `params` is NULL or writable for `size` bytes, as the header asks.
    boundary(|| unsafe { pointers::write_of_size(params, size, llama_infer_params::defaults(), "params") })
}
