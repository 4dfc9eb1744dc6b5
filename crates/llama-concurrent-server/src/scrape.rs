//! The route `/metrics`: the server's metrics, the engine's, and metrics under llama-server's names.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::app::App;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The older format, as llama-server writes it: for all who do not ask for the other.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let mut engine = Registry::default();
    engine.register_collector(Box::new(EngineFigures(Arc::downgrade(&app))));
    let mut figures = String::new();
    let _ = encode(&mut figures, &engine);
    // The end marker must follow the engine's metrics.
    let text = app.metrics.text().replace("# EOF\n", "") + &figures;
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_open = accepted.any(|value| value.contains("application/openmetrics-text"));
    let (text, kind) = if is_open { (text, OPEN_METRICS) } else { (as_text(&text), TEXT) };
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // As in llama-server: counters decrease only when the server restarts.
    response.headers_mut().insert("process-start-time-unix", HeaderValue::from(app.started));
    response
}

/// OpenMetrics as the older text format, in which a counter is described by the name of its sample, with `_total`.
fn as_text(open: &str) -> String {
    const KINDS: [&str; 2] = ["# HELP ", "# TYPE "];
    let counters: Vec<&str> =
        open.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut text = String::with_capacity(open.len());
    for line in open.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        let described = KINDS.into_iter().find_map(|kind| Some((kind, line.strip_prefix(kind)?)));
        match described.and_then(|(kind, rest)| Some((kind, rest.split_once(' ')?))) {
            // The one counter of llama-server whose name does not say so.
            Some(("# TYPE ", (name @ "llamacpp:n_tokens_max", _))) => text.push_str(&format!("# TYPE {name} counter")),
            Some((kind, (name, rest))) if counters.contains(&name) => {
                text.push_str(&format!("{kind}{name}_total {rest}"));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
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
        let longest = app.metrics.longest() as f64;
        gauge("llamacpp:n_tokens_max", "Largest observed sequence length (prompt and generation)", longest)?;
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
        counter("llamacpp:prompt_tokens_cached", "Number of prompt tokens reused from the cache", cached)?;
        let (drafts, drafted, accepted) = (totals.drafts, totals.drafted_tokens, totals.accepted_tokens);
        counter("llamacpp:spec_decode_num_drafts", "Number of drafts", drafts as f64)?;
        counter("llamacpp:spec_decode_num_draft_tokens", "Number of drafted tokens", drafted as f64)?;
        counter("llamacpp:spec_decode_num_accepted_tokens", "Number of drafted tokens that came", accepted as f64)?;
        counter("llamacpp:prompt_seconds", "Prompt process time in seconds", seconds(prefill.busy))?;
        counter("llamacpp:tokens_predicted", "Number of generation tokens processed", totals.output_tokens as f64)?;
        counter("llamacpp:tokens_predicted_seconds", "Predict process time in seconds", seconds(decode.busy))?;
        counter("llamacpp:n_decode", "Total number of llama_decode() calls", (decode.calls + prefill.calls) as f64)
    }
}
