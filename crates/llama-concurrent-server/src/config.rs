//! What can be set about a server.

use std::{num::NonZeroU32, time::Duration};

use llama_concurrent::SamplingParams;

/// Everything that can be set about a server. The defaults suit a server on loopback that a few people share.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The model's name in answers and in `/v1/models`.
    pub model_name: String,
    /// The model's file, as `/props` tells it.
    pub model_path: String,
    /// What holds where a request says nothing, on all routes.
    pub defaults: SamplingParams,
    /// The seed where a request gives none; `None` draws one for each.
    pub seed: Option<u32>,
    /// Keys of which a request must show one; empty lets everybody in.
    pub api_keys: Vec<String>,
    /// Serve the page at `/`.
    pub page: bool,
    /// Answer `/slots`.
    pub slots: bool,
    /// Web origins (`https://example.org`) whose pages may call this server; `*` is all, none by default. A browser's
    /// request from any other origin is refused.
    pub cors_origins: Vec<String>,
    /// Names by which the server may be called, besides addresses and `localhost`, where requests need no key; `*` is all.
    /// A server that other machines reach also takes names without a dot and those that end in `.local` or `.internal`.
    pub allowed_hosts: Vec<String>,
    /// Read special tokens also where they are written inside of chat messages, as llama-server does: anybody can then close
    /// his message and speak as another.
    pub parse_special: bool,
    /// How much of everything.
    pub limits: Limits,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            model_name: "default".into(),
            model_path: String::new(),
            // As llama-server's own.
            defaults: SamplingParams { temperature: 0.8, ..SamplingParams::default() },
            seed: None,
            api_keys: Vec::new(),
            page: true,
            slots: true,
            cors_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            parse_special: false,
            limits: Limits::default(),
        }
    }
}

/// Bounds on what clients may take. The queue itself is the engine's
/// ([`max_queued_requests`](llama_concurrent::EngineConfig::max_queued_requests)).
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections at most, and no more than the limit of open files leaves. For one more, the one that has been idle for
    /// longest is closed; if none is idle, it gets a 503 and is closed.
    pub max_connections: usize,
    /// Bytes of a request's body and of a WebSocket message at most. Bodies of 32 times this are read at the same time.
    pub max_body_bytes: usize,
    /// Tokens of one prompt at most, where that is less than a slot holds.
    pub max_prompt_tokens: Option<usize>,
    /// Generations that one HTTP request (its prompts times `n`) or one WebSocket may have at once.
    pub max_generations: usize,
    /// Requests per minute of one client: of an API key or, without keys, of an address. Bursts of as many are allowed.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Generations that one client may have at once.
    pub max_per_client: Option<usize>,
    /// Give up on a request that found no slot by then.
    pub queue_timeout: Option<Duration>,
    /// Give up on a request that is not finished by then.
    pub timeout: Option<Duration>,
    /// The head of a request must have come by then, counted from when one is expected: so also the time that an idle
    /// connection is kept.
    pub header_timeout: Duration,
    /// The body of a request must have come by then.
    pub body_timeout: Duration,
    /// A client that takes nothing of what is sent for this long is disconnected.
    pub write_timeout: Duration,
    /// As [`write_timeout`](Self::write_timeout), for a client that does not read its streams while requests wait for a slot.
    pub stall_timeout: Duration,
    /// A comment is sent on an event stream that was silent for this long.
    pub keep_alive: Duration,
    /// After the signal to stop: how long running requests may take before they are cancelled.
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
