//! The statistics of an engine as a table of figures, for the interfaces that tell all of them: C and Python.

use std::time::Duration;

use llama_concurrent_gguf::ModelSummary;

use crate::{cpu_list::format_list, stats::EngineStats};

/// One figure.
pub struct Figure {
    /// The name; that of a time is followed by its unit or by `time`.
    pub name: &'static str,
    /// What it tells. The sentence that begins with "Unset:" says when there is no value.
    pub doc: &'static str,
    /// The type.
    pub kind: FigureKind,
    /// The value.
    pub get: fn(&EngineStats, &ModelSummary) -> FigureValue,
}

/// Types of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as the values of the same names; a size is a large number")]
pub enum FigureKind {
    Strategy,
    Number,
    Size,
    Time,
    Share,
    OptionalShare,
    Text,
    Cpus,
}

/// The value of a figure.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "said by the names")]
pub enum FigureValue {
    Text(String),
    Number(u64),
    Time(Duration),
    Share(Option<f64>),
    Cpus(Vec<usize>),
}

impl FigureValue {
    /// A text, or CPUs as they are written; empty for others.
    pub fn text(&self) -> String {
        match self {
            FigureValue::Text(text) => text.clone(),
            FigureValue::Cpus(cpus) => format_list(cpus),
            _ => String::new(),
        }
    }

    /// A number; 0 for others.
    pub fn count(&self) -> u64 {
        if let FigureValue::Number(number) = self { *number } else { 0 }
    }

    /// A time in milliseconds, or a share, which is -1 where there is none; 0 for others.
    pub fn real(&self) -> f64 {
        match self {
            FigureValue::Time(time) => time.as_secs_f64() * 1000.0,
            FigureValue::Share(share) => share.unwrap_or(-1.0),
            _ => 0.0,
        }
    }
}

macro_rules! figures {
    ($( $(#[doc = $doc:literal])+ $name:ident: $kind:ident, $stats:pat, $model:pat => $value:expr; )+) => {
        impl EngineStats {
            /// Every figure, in the order of the C struct, which grows at its end only.
            pub const FIGURES: &'static [Figure] = &[$(Figure {
                name: stringify!($name),
                doc: concat!($($doc),+).trim_ascii(),
                kind: FigureKind::$kind,
                get: |$stats, $model| figures!(@ $kind $value),
            },)+];
        }
    };
    (@ Strategy $value:expr) => { FigureValue::Text($value.as_str().to_owned()) };
    (@ Text $value:expr) => { FigureValue::Text($value.into()) };
    (@ Number $value:expr) => { FigureValue::Number($value as u64) };
    (@ Size $value:expr) => { FigureValue::Number($value) };
    (@ Time $value:expr) => { FigureValue::Time($value) };
    (@ Share $value:expr) => { FigureValue::Share(Some($value)) };
    (@ OptionalShare $value:expr) => { FigureValue::Share($value) };
    (@ Cpus $value:expr) => { FigureValue::Cpus($value.clone()) };
}

figures! {
    /// How requests share contexts and slots; never "auto".
    strategy: Strategy, now, _ => now.strategy;
    /// Threads that own contexts.
    workers: Number, now, _ => now.workers;
    /// Contexts over all workers.
    contexts: Number, now, _ => now.contexts;
    /// Requests that can run at once.
    slots: Number, now, _ => now.slots;
    /// Tokens of prompt and output that one slot holds.
    n_ctx: Number, now, _ => now.n_ctx;
    /// Compute threads.
    threads: Number, now, _ => now.threads;
    /// Tokens that the model was trained to look back on.
    n_ctx_train: Number, _, model => model.n_ctx_train;
    /// Tokens in the vocabulary.
    n_vocab: Number, _, model => model.n_vocab;
    /// Bytes of the weights as they lie in the file.
    model_bytes: Size, now, _ => now.memory.model_bytes;
    /// Bytes of the weights that were repacked for this CPU.
    repack_bytes: Size, now, _ => now.memory.repack_bytes;
    /// Bytes of the K and V caches.
    kv_bytes: Size, now, _ => now.memory.kv_bytes;
    /// Bytes of scratch memory.
    compute_bytes: Size, now, _ => now.memory.compute_bytes;
    /// Number of `llama_decode` calls that generated tokens.
    decode_calls: Size, now, _ => now.totals.decode.calls;
    /// Rows in these calls, one per token, without those of drafts that were wrong.
    decode_rows: Size, now, _ => now.totals.decode.rows;
    /// Time spent in these calls.
    decode: Time, now, _ => now.totals.decode.busy;
    /// Number of `llama_decode` calls that computed prompts.
    prefill_calls: Size, now, _ => now.totals.prefill.calls;
    /// Rows in these calls, one per prompt token.
    prefill_rows: Size, now, _ => now.totals.prefill.rows;
    /// Time spent in these calls.
    prefill: Time, now, _ => now.totals.prefill.busy;
    /// Output tokens generated.
    output_tokens: Size, now, _ => now.totals.output_tokens;
    /// Prompt tokens that were reused instead of computed.
    cached_tokens: Size, now, _ => now.totals.cached_tokens;
    /// Prompts accepted.
    requests_submitted: Size, now, _ => now.totals.requests.submitted;
    /// Prompts refused because the queue was full.
    requests_rejected: Size, now, _ => now.totals.requests.rejected;
    /// Prompts whose output was ended by the model or by a stop string.
    requests_stopped: Size, now, _ => now.totals.requests.stopped;
    /// Prompts whose output was ended by `max_tokens` or by a full slot.
    requests_length: Size, now, _ => now.totals.requests.length;
    /// Prompts cancelled.
    requests_cancelled: Size, now, _ => now.totals.requests.cancelled;
    /// Prompts that ran out of time.
    requests_deadline: Size, now, _ => now.totals.requests.deadline;
    /// Prompts that failed.
    requests_failed: Size, now, _ => now.totals.requests.failed;
    /// Prompts in a slot now.
    requests_running: Number, now, _ => now.totals.running;
    /// Prompts waiting for a slot now.
    requests_waiting: Number, now, _ => now.totals.waiting;
    /// Instruction set of this library's kernels that compute weights, such as "avx512vnni"; "off" if ggml's kernels
    /// compute everything. `kernels_share` says how much they compute.
    kernels: Text, now, _ => now.kernels;
    /// Copies of the weights in memory: more than one on machines with several NUMA nodes.
    weight_copies: Number, now, _ => now.weight_copies;
    /// Compute threads that the system does not keep on the CPUs planned for them; 0 where it does not tell.
    strayed_threads: Number, now, _ => now.per_worker.iter().map(|worker| worker.strayed_threads()).sum::<usize>();
    /// Smallest share, over all workers, of the pages of weights and KV that lie on the worker's NUMA node. Unset: the
    /// system does not tell.
    local_fraction: OptionalShare, now, _ => now.local_fraction();
    /// Packed weights: "mapped" from the file that an earlier load wrote, "written" by this one, or "off".
    pack_cache: Text, now, _ => now.pack_cache;
    /// Share of the model's matrix products that this library's kernels compute, from 0 to 1.
    kernels_share: Share, now, _ => now.kernels_share();
    /// Which kernels compute which share of the matrix products, by weight format, such as "ggml 61 % (Q4_1), avx2 39 %
    /// (Q6_K)".
    products: Text, now, _ => now.describe_products();
    /// CPUs planned for the compute threads.
    cpus: Cpus, now, _ => now.cpus;
    /// Prompts that have begun, are not read, and gave their slot up to others that waited; their KV lies in memory.
    requests_parked: Number, now, _ => now.totals.parked;
    /// Workers whose threads wait passively now, because others want their CPUs (`wait_policy`).
    passive_workers: Number, now, _ => now.totals.passive;
    /// Of the time of the compute threads, the share that they lately waited for a CPU which somebody else used; of the worker
    /// that waited most.
    cpu_wait: Share, now, _ => now.totals.cpu_wait;
    /// How often a worker changed between waiting actively and passively because of other programs.
    wait_switches: Size, now, _ => now.totals.wait_switches;
    /// Output tokens that were drafted: guessed, and computed before it was known that they come (`speculation`).
    drafted_tokens: Size, now, _ => now.totals.drafted_tokens;
    /// Drafted tokens that came.
    accepted_tokens: Size, now, _ => now.totals.accepted_tokens;
    /// How requests speculate that do not say: "auto", "off", "lookup" or "draft"; "off" if the configuration is auto, and drafts
    /// could change texts.
    speculation: Text, now, _ => now.speculation.as_str();
    /// Time spent in calls of the draft model.
    draft_model: Time, now, _ => now.totals.draft_model.busy;
}
