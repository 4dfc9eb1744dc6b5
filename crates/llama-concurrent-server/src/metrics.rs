//! The metrics that the server itself collects: histograms of requests as in vLLM.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use llama_concurrent::{Finish, FinishReason};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

/// Buckets in seconds: from the first token of a cached prompt to that of a long one on a busy machine.
const REQUEST_BUCKETS: [f64; 16] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0];
/// Buckets in seconds: from one token of a small model to a stall longer than `max_stall` allows.
const TOKEN_BUCKETS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.4, 0.8, 2.0, 10.0];

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
    /// Tokens of the longest sequence.
    longest: AtomicUsize,
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
            longest: AtomicUsize::new(0),
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
        self.longest.fetch_max(timings.n_prompt_tokens + timings.n_output_tokens, Ordering::Relaxed);
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

    pub(crate) fn longest(&self) -> usize {
        self.longest.load(Ordering::Relaxed)
    }

    pub(crate) fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    /// All metrics in the OpenMetrics format.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let _ = encode(&mut text, &self.registry);
        text
    }
}
