//! `serve`: the HTTP server, with llama-server's option names.

mod llama_server;
mod not_here;
mod stopping;

use std::{fs, net::TcpListener, num::NonZeroU32, path::Path, time::Duration};

use clap::Args;
use llama_concurrent::{EngineConfig, Pooling, Thoughts};
use llama_concurrent_server::{Limits, ServerConfig, run};
use serde_json::{Map, Value};

use crate::{
    console,
    failure::Failure,
    logging::{self, LogFormat},
    model,
    options::{EngineOptions, SamplingOptions, Serve, whole},
};

pub use llama_server::long_names;
pub use not_here::explained;

/// llama-server's environment variable, which container images set.
const KEY_VARIABLE: &str = "LLAMA_API_KEY";

const EXAMPLES: &str = "\
Examples:
  llama-concurrent serve
  llama-concurrent serve -m model.gguf --slots 16 --host 0.0.0.0 --api-key secret
  curl http://127.0.0.1:8080/v1/completions -d '{\"prompt\": \"A fox\", \"max_tokens\": 16}'

A page is at http://127.0.0.1:8080/. Options have llama-server's names where it has them too, -np and -ub among them; \
docs/server.md has the routes, the limits, and what differs. On SIGTERM or Ctrl-C running requests may end.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    #[command(flatten)]
    engine: EngineOptions,

    #[command(flatten)]
    server: ServerOptions,

    #[command(flatten)]
    limits: LimitOptions,

    #[command(flatten)]
    defaults: SamplingOptions<Serve>,

    #[command(flatten)]
    ignored: llama_server::Ignored,
}

#[derive(Args)]
#[command(next_help_heading = "Server")]
struct ServerOptions {
    /// Address to listen on; 0.0.0.0 accepts other machines: use an API key then
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: String,

    /// Port to listen on; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,

    /// Model name in responses; further names, separated by commas, are accepted too [default: the file name]
    #[arg(short, long, value_name = "NAME", value_delimiter = ',')]
    alias: Vec<String>,

    /// Words about the model, separated by commas, which /v1/models shows
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    tags: Vec<String>,

    /// Require this API key, or one of several separated by commas [env: LLAMA_API_KEY]
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    api_key: Vec<String>,

    /// Read API keys from a file, one per line; lines starting with # are comments
    #[arg(long, value_name = "FILE")]
    api_key_file: Vec<std::path::PathBuf>,

    /// Parse special tokens inside chat messages, as llama-server does. A message can then end itself and impersonate the
    /// system
    #[arg(long)]
    parse_special: bool,

    /// Where thoughts of the model go, unless a request says otherwise: apart, as reasoning_content, or into the content
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = ["auto", "deepseek", "deepseek-legacy", "none"])]
    reasoning_format: String,

    /// Maximum tokens of thoughts, unless a request says otherwise; -1 is no limit
    #[arg(long, value_name = "TOKENS", default_value_t = -1, allow_hyphen_values = true,
        value_parser = clap::value_parser!(i64).range(-1..=i64::from(u32::MAX)))]
    reasoning_budget: i64,

    /// Whether the model thinks, unless a request says otherwise; auto leaves it to the chat template
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = ["on", "off", "auto"])]
    reasoning: String,

    /// How much it thinks, for chat templates that read this, unless a request says otherwise; default leaves it to them
    #[arg(long, value_name = "LEVEL", default_value = "default")]
    reasoning_effort: String,

    /// Let a chat whose last message is the assistant's begin a new one, instead of continuing it
    #[arg(long)]
    no_prefill_assistant: bool,

    /// The opposite, which is the default.
    #[arg(long, hide = true, overrides_with = "no_prefill_assistant")]
    prefill_assistant: bool,

    /// Show the prompts of chats in whole answers, as __verbose, unless a request says otherwise
    #[arg(short, long)]
    verbose: bool,

    /// How the vectors of a text's tokens become one: mean, cls or last; none gives all of them, and rank what a reranker says of
    /// the text [default: what the model's file says]
    #[arg(long, value_name = "HOW")]
    pooling: Option<Pooling>,

    /// Show a model that fills in what stands behind the gap first, as some want it
    #[arg(long)]
    spm_infill: bool,

    /// Allow web pages from this origin, such as https://example.org; * allows all. May be repeated
    #[arg(long, alias = "cors-origins", value_name = "ORIGIN", value_delimiter = ',')]
    cors_origin: Vec<String>,

    /// Accept this host name in requests without an API key, such as chat.example.org; * accepts all. IP addresses and
    /// localhost are always accepted
    #[arg(long, alias = "allowed-host", value_name = "NAME", value_delimiter = ',')]
    allowed_hosts: Vec<String>,

    /// Do not serve the web page at /
    #[arg(long, visible_aliases = ["no-page", "no-ui"])]
    no_webui: bool,

    /// Disable /slots, which shows the parameters of all requests
    #[arg(long)]
    no_slots: bool,

    /// Format of log messages on stderr: text, or JSON with the spans of requests
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,

    /// Total context in tokens, divided among the slots; --n-ctx sets the context of one slot
    #[arg(short, long, value_name = "TOKENS", conflicts_with = "n_ctx", value_parser = whole::<usize>)]
    ctx_size: Option<usize>,

    /// Let each slot use all of --ctx-size instead of its share; it takes as much memory for each of them
    #[arg(long)]
    kv_unified: bool,

    /// Maximum tokens per llama_decode call [default: 512]
    #[arg(short, long, value_name = "TOKENS", value_parser = whole::<usize>)]
    batch_size: Option<usize>,

    /// Same as --batch-size; the smaller of the two applies
    #[arg(long, value_name = "TOKENS", value_parser = whole::<usize>)]
    ubatch_size: Option<usize>,
}

#[derive(Args)]
#[command(next_help_heading = "Limits")]
struct LimitOptions {
    /// Maximum requests waiting for a slot; further ones get status 429
    #[arg(long, value_name = "N", default_value_t = EngineConfig::default().max_queued_requests,
        value_parser = whole::<usize>)]
    max_queue: usize,

    /// Maximum open connections; at the limit an idle one is closed, otherwise new ones get status 503
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_connections, value_parser = whole::<usize>)]
    max_connections: usize,

    /// Maximum requests per minute per client: per API key or, without keys, per address [default: no limit]
    #[arg(long, value_name = "N")]
    rate_limit: Option<NonZeroU32>,

    /// Maximum concurrent generations per client [default: no limit]
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    max_per_client: Option<usize>,

    /// Maximum concurrent generations per request or WebSocket
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_generations, value_parser = whole::<usize>)]
    max_generations: usize,

    /// Maximum responses of /v1/responses kept for previous_response_id; the oldest are forgotten
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_stored_responses, value_parser = whole::<usize>)]
    max_stored_responses: usize,

    /// Maximum memory that these responses take
    #[arg(long, value_name = "MIB", default_value_t = Limits::default().max_stored_bytes >> 20,
        value_parser = whole::<usize>)]
    max_stored_mib: usize,

    /// Maximum tokens per prompt [default: the context of a slot]
    #[arg(long, value_name = "TOKENS", value_parser = whole::<usize>)]
    max_prompt_tokens: Option<usize>,

    /// Maximum size of a request body
    #[arg(long, value_name = "MIB", default_value_t = Limits::default().max_body_bytes >> 20,
        value_parser = whole::<usize>)]
    max_body_mib: usize,

    /// Fail requests that got no slot within this time [default: no limit]
    #[arg(long, value_name = "SECONDS")]
    queue_timeout: Option<f64>,

    /// Fail requests that are not finished within this time [default: no limit]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,

    /// Time to receive the request head, and again the body; idle connections are closed after the same time
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().header_timeout.as_secs_f64())]
    read_timeout: f64,

    /// Close a connection whose client stops reading the response
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().write_timeout.as_secs_f64())]
    write_timeout: f64,

    /// Same as --write-timeout, but while other requests are waiting for a slot
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().stall_timeout.as_secs_f64())]
    stall_timeout: f64,

    /// Interval at which the silence of a stream is broken; -1 is never
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().keep_alive.as_secs() as i64,
        allow_hyphen_values = true, value_parser = clap::value_parser!(i64).range(-1..=86_400))]
    sse_ping_interval: i64,

    /// Time for running requests to finish after SIGINT or SIGTERM
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().drain.as_secs_f64())]
    drain_timeout: f64,
}

impl ServeArgs {
    pub fn log_format(&self) -> LogFormat {
        self.server.log_format
    }

    fn engine_config(&self) -> Result<EngineConfig, Failure> {
        let mut config = self.engine.config().max_queued_requests(self.limits.max_queue);
        if let Some(total) = self.server.ctx_size.filter(|&total| total > 0) {
            let slots = *config.slots.get_or_insert(llama_concurrent_types::DEFAULT_SLOTS);
            let each = if self.server.kv_unified { total } else { total / slots.max(1) };
            config.n_ctx = Some(each);
            if each < 16 {
                return Err(Failure::BadInput(format!(
                    "--ctx-size {total} gives each of {slots} slots {each} tokens, which is too few; raise it, or lower --slots"
                )));
            }
        }
        let batch = [self.server.batch_size, self.server.ubatch_size].into_iter().flatten().min();
        // llama-server's -b, usually 2048, is the logical batch size; it computes -ub tokens at a time, usually 512.
        let most = self.server.ubatch_size.unwrap_or(config.n_batch);
        config.n_batch = batch.unwrap_or(most).min(most);
        self.server.think(&mut config.chat_template_kwargs);
        Ok(config)
    }

    fn server_config(&self, model: &Path) -> Result<ServerConfig, Failure> {
        let names = self.server.alias.iter().map(|name| name.trim().to_owned());
        let names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
        let file = model.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned());
        Ok(ServerConfig {
            model_name: names.first().cloned().unwrap_or(file),
            aliases: names,
            tags: self.server.tags.clone(),
            model_path: model.display().to_string(),
            defaults: self.defaults.params()?,
            seed: self.defaults.seed,
            api_keys: self.server.keys()?,
            page: !self.server.no_webui,
            slots: !self.server.no_slots,
            cors_origins: self.server.cors_origin.clone(),
            allowed_hosts: self.server.allowed_hosts.clone(),
            parse_special: self.server.parse_special,
            thoughts: match self.server.reasoning_format.as_str() {
                "none" | "deepseek-legacy" => Thoughts::InContent,
                _ => Thoughts::Apart,
            },
            thinking_budget: u32::try_from(self.server.reasoning_budget).ok(),
            prefill_assistant: !self.server.no_prefill_assistant,
            verbose: self.server.verbose,
            pooling: self.server.pooling,
            spm_infill: self.server.spm_infill,
            limits: self.limits.limits()?,
        })
    }
}

impl ServerOptions {
    /// What templates read of thoughts, where `--chat-template-kwargs` does not say it.
    fn think(&self, variables: &mut Map<String, Value>) {
        match self.reasoning.as_str() {
            // As in llama-server: templates that ask `if not enable_thinking` would close the thought they begin.
            "auto" => {
                variables.entry("enable_thinking").or_insert(true.into());
            }
            reasoning => {
                for name in ["enable_thinking", "thinking"] {
                    variables.entry(name).or_insert((reasoning == "on").into());
                }
            }
        }
        if self.reasoning_effort != "default" {
            variables.entry("reasoning_effort").or_insert(self.reasoning_effort.as_str().into());
        }
    }

    fn keys(&self) -> Result<Vec<String>, Failure> {
        let mut keys: Vec<String> = Vec::new();
        let mut add = |parts: &mut dyn Iterator<Item = &str>| {
            keys.extend(parts.map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned));
        };
        self.api_key.iter().for_each(|text| add(&mut text.split(',')));
        if let Ok(text) = std::env::var(KEY_VARIABLE) {
            add(&mut text.split(','));
        }
        for file in &self.api_key_file {
            let text = fs::read_to_string(file)
                .map_err(|error| Failure::BadInput(format!("cannot read the keys of {}: {error}", file.display())))?;
            // As in llama-server's files, such a line is a comment; as a key it would be easy to guess.
            add(&mut text.lines().filter(|line| !line.starts_with('#')));
        }
        let wants_keys = !self.api_key.is_empty() || !self.api_key_file.is_empty();
        if wants_keys && keys.is_empty() {
            return Err(Failure::BadInput(
                "--api-key and --api-key-file give no key; a server without would let everybody in".into(),
            ));
        }
        Ok(keys)
    }
}

impl LimitOptions {
    fn limits(&self) -> Result<Limits, Failure> {
        let optional = |name, seconds: Option<f64>| seconds.map(|seconds| duration(name, seconds)).transpose();
        Ok(Limits {
            max_connections: self.max_connections,
            max_body_bytes: self.max_body_mib.saturating_mul(1 << 20),
            max_prompt_tokens: self.max_prompt_tokens,
            max_generations: self.max_generations.max(1),
            requests_per_minute: self.rate_limit,
            max_per_client: self.max_per_client,
            max_stored_responses: self.max_stored_responses,
            max_stored_bytes: self.max_stored_mib.saturating_mul(1 << 20),
            queue_timeout: optional("--queue-timeout", self.queue_timeout)?,
            timeout: optional("--timeout", self.timeout)?,
            header_timeout: duration("--read-timeout", self.read_timeout)?,
            body_timeout: duration("--read-timeout", self.read_timeout)?,
            write_timeout: duration("--write-timeout", self.write_timeout)?,
            stall_timeout: duration("--stall-timeout", self.stall_timeout)?,
            // A year is longer than any stream is silent.
            keep_alive: match u64::try_from(self.sse_ping_interval) {
                Ok(0) => return Err(Failure::BadInput("--sse-ping-interval is 0, but must be above 0, or -1".into())),
                Ok(seconds) => Duration::from_secs(seconds),
                Err(_) => Duration::from_secs(365 * 86_400),
            },
            drain: Duration::try_from_secs_f64(self.drain_timeout)
                .map_err(|_| Failure::BadInput("--drain-timeout must be a number of seconds".into()))?,
        })
    }
}

fn duration(name: &str, seconds: f64) -> Result<Duration, Failure> {
    let known = Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
    known.ok_or_else(|| Failure::BadInput(format!("{name} is {seconds}, but must be a number of seconds above 0")))
}

pub fn serve(args: &ServeArgs) -> Result<(), Failure> {
    args.ignored.diagnostic();
    let path = model::locate(args.engine.model.as_deref())?;
    let (config, server) = (args.engine_config()?, args.server_config(&path)?);
    let (host, port) = (args.server.host.as_str(), args.server.port);
    let cannot_listen =
        |error| Failure::Failed(format!("cannot listen on {host}:{port}: {error}; give another --host or --port"));
    // Reported before a load that may take minutes.
    TcpListener::bind((host, port)).map(drop).map_err(cannot_listen)?;
    allow_many_files();
    let engine = model::load(&path, config)?;
    engine.check_params(&server.defaults)?;
    let stats = engine.stats();
    let name = server.model_name.clone();
    let listening = |address| {
        logging::say(&format!("{name}: {} slots of {} tokens, {} threads", stats.slots, stats.n_ctx, stats.threads));
        logging::say(&format!("listening on http://{address}"));
    };
    let signalled = stopping::listen()
        .map_err(|error| Failure::Failed(format!("cannot listen for the signals to stop: {error}")))?;
    let shutdown = async { drop(signalled.await) };
    let served = run((host, port), engine, server, listening, shutdown).map_err(cannot_listen);
    stopping::end_soon();
    served
}

/// Raises the limit on open files. Each connection needs one, and programs are meant to raise the usual limit of 1024.
fn allow_many_files() {
    #[cfg(unix)]
    {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
            && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err()
        {
            console::diagnostic("warning", "the limit of open files cannot be raised; many connections may be refused");
        }
    }
}

#[cfg(test)]
mod tests;
