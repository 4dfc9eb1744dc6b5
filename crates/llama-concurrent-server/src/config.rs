//! The configuration of a server.

use std::{num::NonZeroU32, time::Duration};

use llama_concurrent::{Pooling, SamplingParams, Thoughts};

/// The configuration of a server. The defaults suit a server on loopback with a few users.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The model's name in responses and in `/v1/models`.
    pub model_name: String,
    /// Other names under which it can be asked for.
    pub aliases: Vec<String>,
    /// Words about the model, for `/v1/models`.
    pub tags: Vec<String>,
    /// The model's file, for `/props`.
    pub model_path: String,
    /// The defaults of request parameters, on all routes.
    pub defaults: SamplingParams,
    /// The default seed; `None` draws one for each request.
    pub seed: Option<u32>,
    /// API keys, of which a request must send one; if empty, no key is required.
    pub api_keys: Vec<String>,
    /// Serve the page at `/`.
    pub page: bool,
    /// Answer `/slots`.
    pub slots: bool,
    /// Web origins (`https://example.org`) whose pages may call this server; `*` is all, none by default. A browser's
    /// request from any other origin is refused.
    pub cors_origins: Vec<String>,
    /// Host names that requests may use besides addresses and `localhost`, if no key is required; `*` allows all. A server
    /// that other machines can reach also accepts names without a dot and names in `.local` or `.internal`.
    pub allowed_hosts: Vec<String>,
    /// Parse special tokens written inside chat messages, as llama-server does: a message can then end itself and impersonate
    /// another role.
    pub parse_special: bool,
    /// Where thoughts go, unless a request says otherwise.
    pub thoughts: Thoughts,
    /// Tokens of thoughts at most, unless a request says otherwise.
    pub thinking_budget: Option<u32>,
    /// Continue a last message of the assistant, unless a request says otherwise.
    pub prefill_assistant: bool,
    /// Show the prompts of chats in their answers, unless a request says otherwise.
    pub verbose: bool,
    /// How the vectors of a text's tokens become one; `None` takes what the model's file says.
    pub pooling: Option<Pooling>,
    /// Show a model that fills in what stands behind the gap first, as some want it.
    pub spm_infill: bool,
    /// Limits on resources.
    pub limits: Limits,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            model_name: "default".into(),
            aliases: Vec::new(),
            tags: Vec::new(),
            model_path: String::new(),
            // As in llama-server.
            defaults: SamplingParams::default().temperature(0.8),
            seed: None,
            api_keys: Vec::new(),
            page: true,
            slots: true,
            cors_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            parse_special: false,
            thoughts: Thoughts::Apart,
            thinking_budget: None,
            prefill_assistant: true,
            verbose: false,
            pooling: None,
            spm_infill: false,
            limits: Limits::default(),
        }
    }
}

/// Limits for clients. The limit of the queue is the engine's
/// ([`max_queued_requests`](llama_concurrent::EngineConfig::max_queued_requests)).
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum open connections, also bounded by the limit on open files. For a further one, the longest idle connection is
    /// closed; if none is idle, the new one gets status 503 and is closed.
    pub max_connections: usize,
    /// Maximum bytes of a request body and of a WebSocket message. All bodies being read may have 32 times as many.
    pub max_body_bytes: usize,
    /// Maximum tokens of a prompt, if that is less than a slot holds.
    pub max_prompt_tokens: Option<usize>,
    /// Maximum generations of one HTTP request (its prompts times `n`) or one WebSocket at a time.
    pub max_generations: usize,
    /// Maximum requests per minute of a client: an API key or, without keys, an address. Bursts of as many are allowed.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Maximum generations of a client at a time.
    pub max_per_client: Option<usize>,
    /// Maximum responses of the Responses API that are kept in memory for later requests.
    pub max_stored_responses: usize,
    /// Maximum bytes that they take.
    pub max_stored_bytes: usize,
    /// Fail a request that has not got a slot within this time.
    pub queue_timeout: Option<Duration>,
    /// Fail a request that has not finished within this time.
    pub timeout: Option<Duration>,
    /// Time limit for receiving the head of a request, measured from when one is expected. It is therefore also how long an
    /// idle connection is kept open.
    pub header_timeout: Duration,
    /// Time limit for receiving the body of a request.
    pub body_timeout: Duration,
    /// A client that reads nothing of its response for this long is disconnected.
    pub write_timeout: Duration,
    /// Like [`write_timeout`](Self::write_timeout), for a client that does not read its streams while requests wait for a slot.
    pub stall_timeout: Duration,
    /// Interval of keep-alive comments on an idle event stream.
    pub keep_alive: Duration,
    /// How long running requests may take after the shutdown signal before they are cancelled.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_body_bytes: 8 << 20,
            max_prompt_tokens: None,
            max_generations: 128,
            requests_per_minute: None,
            max_per_client: None,
            max_stored_responses: 1024,
            max_stored_bytes: 64 << 20,
            queue_timeout: None,
            timeout: None,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(5),
            keep_alive: Duration::from_secs(15),
            drain: Duration::from_secs(30),
        }
    }
}
