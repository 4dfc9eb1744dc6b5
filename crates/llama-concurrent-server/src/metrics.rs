//! `/metrics`: histograms of requests as in vLLM, the engine's counters, and metrics under llama-server's names.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use llama_concurrent::{Finish, FinishReason};
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::ConstGauge,
        histogram::Histogram,
    },
    registry::Registry,
};

use crate::app::App;

/// Buckets in seconds: from the first token of a cached prompt to that of a long one on a busy machine.
const REQUEST_BUCKETS: [f64; 16] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0];
/// Buckets in seconds: from one token of a small model to a stall longer than `max_stall` allows.
const TOKEN_BUCKETS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.4, 0.8, 2.0, 10.0];
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = [(&'static str, String); 1];

/// The metrics that the server itself collects.
pub(crate) struct Metrics {
    registry: Registry,
    ttft: Histogram,
    inter_token: Histogram,
    queue: Histogram,
    e2e: Histogram,
    finished: Family<Labels, Counter>,
    responses: Family<Labels, Counter>,
    rejected: Family<Labels, Counter>,
    abandoned: Counter,
    prompt_tokens: Counter,
    connections_refused: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let request = || Histogram::new(REQUEST_BUCKETS);
        let mut metrics = Self {
            registry: Registry::default(),
            ttft: request(),
            inter_token: Histogram::new(TOKEN_BUCKETS),
            queue: request(),
            e2e: request(),
            finished: Family::default(),
            responses: Family::default(),
            rejected: Family::default(),
            abandoned: Counter::default(),
            prompt_tokens: Counter::default(),
            connections_refused: Counter::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        // Full names: the crate would add an underscore after a prefix.
        let name = |name: &str| format!("llama_concurrent:{name}");
        registry.register(name("time_to_first_token_seconds"), "From submit, queue included", self.ttft.clone());
        registry.register(
            name("inter_token_latency_seconds"),
            "Every gap between two tokens",
            self.inter_token.clone(),
        );
        registry.register(name("request_queue_time_seconds"), "From submit until a slot is found", self.queue.clone());
        registry.register(name("e2e_request_latency_seconds"), "From submit until the end", self.e2e.clone());
        registry.register(name("requests_finished"), "Generations by how they ended", self.finished.clone());
        registry.register(name("requests_abandoned"), "Generations whose client went away", self.abandoned.clone());
        registry.register(name("requests_rejected"), "Requests refused, by status", self.rejected.clone());
        registry.register(name("http_responses"), "Answers by status", self.responses.clone());
        registry.register(name("prompt_tokens"), "Prompt tokens, cached ones included", self.prompt_tokens.clone());
        registry.register(
            name("connections_refused"),
            "Connections beyond the limit",
            self.connections_refused.clone(),
        );
    }

    /// A generation ended, and its client got the last event.
    pub(crate) fn finished(&self, finish: &Finish) {
        let timings = &finish.timings;
        self.finished.get_or_create(&[("finish_reason", finish.reason.as_str().to_owned())]).inc();
        self.prompt_tokens.inc_by(timings.n_prompt_tokens as u64);
        self.queue.observe(timings.queue.as_secs_f64());
        if let Some(ttft) = timings.ttft {
            self.ttft.observe(ttft.as_secs_f64());
        }
        if finish.reason != FinishReason::Cancelled {
            self.e2e.observe(timings.e2e.as_secs_f64());
        }
        for gap in &timings.itl {
            self.inter_token.observe(gap.as_secs_f64());
        }
    }

    /// The client of a generation went away.
    pub(crate) fn abandoned(&self, n_prompt: usize) {
        self.abandoned.inc();
        self.prompt_tokens.inc_by(n_prompt as u64);
    }

    pub(crate) fn responded(&self, status: StatusCode) {
        let labels = [("status", status.as_str().to_owned())];
        self.responses.get_or_create(&labels).inc();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            self.rejected.get_or_create(&labels).inc();
        }
    }

    pub(crate) fn connection_refused(&self) {
        self.connections_refused.inc();
    }
}

pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut text = String::new();
    // The end marker must follow the engine's metrics.
    let _ = encode(&mut text, &app.metrics.registry);
    let mut engine = Registry::default();
    engine.register_collector(Box::new(EngineFigures(Arc::downgrade(&app))));
    let mut figures = String::new();
    let _ = encode(&mut figures, &engine);
    let text = text.replace("# EOF\n", "") + &figures;
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    // As in llama-server: counters decrease only when the server restarts.
    response.headers_mut().insert("process-start-time-unix", HeaderValue::from(app.started));
    response
}

/// The engine's metrics at the time of a scrape.
struct EngineFigures(std::sync::Weak<App>);

impl fmt::Debug for EngineFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EngineFigures")
    }
}

impl prometheus_client::collector::Collector for EngineFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(app) = self.0.upgrade() else { return Ok(()) };
        let stats = app.engine.stats();
        let totals = &stats.totals;
        let held: usize =
            app.engine.slots().iter().filter(|slot| slot.request.is_some()).map(|slot| slot.n_tokens).sum();
        let kv_usage = held as f64 / (stats.slots * stats.n_ctx).max(1) as f64;
        let (prefill, decode) = (&totals.prefill, &totals.decode);
        let busy = if decode.calls == 0 { 0.0 } else { decode.rows as f64 / decode.calls as f64 };
        let seconds = |time: Duration| time.as_secs_f64();
        let mut gauge = |name: &str, help: &str, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        gauge("llama_concurrent:num_requests_running", "Sequences in a slot", totals.running as f64)?;
        gauge("llama_concurrent:num_requests_waiting", "Requests waiting for a slot", totals.waiting as f64)?;
        gauge("llama_concurrent:slots", "Slots", stats.slots as f64)?;
        gauge("llama_concurrent:kv_cache_usage_ratio", "Share of all KV cells that requests hold", kv_usage)?;
        gauge("llama_concurrent:memory_kv_bytes", "KV cache", stats.memory.kv_bytes as f64)?;
        gauge("llama_concurrent:memory_weights_bytes", "Weights, one copy", stats.memory.model_bytes as f64)?;
        let share = stats.kernels_share();
        gauge("llama_concurrent:kernels_share_ratio", "Share of the matrices' products by our own kernels", share)?;
        gauge("llamacpp:requests_processing", "Number of requests processing", totals.running as f64)?;
        gauge("llamacpp:requests_deferred", "Number of requests deferred", totals.waiting as f64)?;
        gauge("llamacpp:prompt_tokens_seconds", "Average prompt throughput in tokens/s", prefill.rate())?;
        gauge("llamacpp:predicted_tokens_seconds", "Average generation throughput in tokens/s", decode.rate())?;
        gauge("llamacpp:n_busy_slots_per_decode", "Average number of busy slots per llama_decode() call", busy)?;
        gauge("llamacpp:kv_cache_usage_ratio", "KV-cache usage. 1 means 100 percent usage", kv_usage)?;
        let mut counter = |name: &str, help: &str, value: f64| {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
        };
        let cached = totals.cached_tokens as f64;
        counter("llama_concurrent:generation_tokens", "Output tokens", totals.output_tokens as f64)?;
        counter("llama_concurrent:cached_tokens", "Prompt tokens whose KV was reused", cached)?;
        counter("llama_concurrent:requests_cancelled", "Requests cancelled", totals.requests.cancelled as f64)?;
        counter("llamacpp:prompt_tokens", "Number of prompt tokens processed", prefill.rows as f64)?;
        counter("llamacpp:prompt_seconds", "Prompt process time in seconds", seconds(prefill.busy))?;
        counter("llamacpp:tokens_predicted", "Number of generation tokens processed", totals.output_tokens as f64)?;
        counter("llamacpp:tokens_predicted_seconds", "Predict process time in seconds", seconds(decode.busy))?;
        counter("llamacpp:n_decode", "Total number of llama_decode() calls", (decode.calls + prefill.calls) as f64)
    }
}
