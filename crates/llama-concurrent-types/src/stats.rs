//! Times of a request and figures of an engine, in vLLM's terms.

use std::time::Duration;

use crate::{
    ProductShare,
    choices::Strategy,
    ids::{FinishReason, RequestId},
    products::{describe_products, share_of_kernels},
    speculation::Speculation,
};

/// When what happened to one request, and how many tokens it had. All times count from submit.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Timings {
    /// Until a slot was found; the whole time if none was.
    pub queue: Duration,
    /// Until the first output token, queue time included; `None` if there was none.
    pub ttft: Option<Duration>,
    /// Until the end.
    pub e2e: Duration,
    /// Every gap between two output tokens, in order.
    pub itl: Vec<Duration>,
    /// Tokens of the prompt.
    pub n_prompt_tokens: usize,
    /// Prompt tokens whose KV was reused instead of computed.
    pub n_cached_tokens: usize,
    /// Output tokens, without the end-of-generation token.
    pub n_output_tokens: usize,
    /// Tokens that were drafted: guessed, and computed before it was known that they come.
    pub n_drafted_tokens: usize,
    /// Of these, the ones that came.
    pub n_accepted_tokens: usize,
}

impl Timings {
    /// The `q`-quantile (0 to 1) of the inter-token gaps; `None` with fewer than two tokens.
    pub fn itl_quantile(&self, q: f64) -> Option<Duration> {
        quantile(&self.itl, q)
    }
}

/// The `q`-quantile (0 to 1) of unsorted values by the nearest-rank method; `None` if there are none.
pub fn quantile(values: &[Duration], q: f64) -> Option<Duration> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (q.clamp(0.0, 1.0) * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Sums over the calls of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CallTotals {
    /// `llama_decode` calls.
    pub calls: u64,
    /// Rows in them, without those of drafts that were wrong.
    pub rows: u64,
    /// Time in them.
    pub busy: Duration,
}

impl CallTotals {
    /// Counts one call.
    pub fn add(&mut self, rows: usize, elapsed: Duration) {
        self.calls += 1;
        self.rows += rows as u64;
        self.busy += elapsed;
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &CallTotals) {
        self.calls += other.calls;
        self.rows += other.rows;
        self.busy += other.busy;
    }

    /// Rows per second of time in such calls; 0 before the first.
    pub fn rate(&self) -> f64 {
        if self.busy.is_zero() { 0.0 } else { self.rows as f64 / self.busy.as_secs_f64() }
    }
}

/// What the requests of an engine came to so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestTotals {
    /// Accepted.
    pub submitted: u64,
    /// Refused because the queue was full.
    pub rejected: u64,
    /// Ended by the model or a stop string.
    pub stopped: u64,
    /// Ended by `max_tokens` or a full context.
    pub length: u64,
    /// Cancelled or dropped.
    pub cancelled: u64,
    /// Out of time.
    pub deadline: u64,
    /// Failed.
    pub failed: u64,
}

impl RequestTotals {
    /// Counts a request that ended.
    pub fn count(&mut self, reason: FinishReason) {
        *match reason {
            FinishReason::Stop => &mut self.stopped,
            FinishReason::Length => &mut self.length,
            FinishReason::Cancelled => &mut self.cancelled,
            FinishReason::Deadline => &mut self.deadline,
            FinishReason::Error => &mut self.failed,
        } += 1;
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &RequestTotals) {
        self.submitted += other.submitted;
        self.rejected += other.rejected;
        self.stopped += other.stopped;
        self.length += other.length;
        self.cancelled += other.cancelled;
        self.deadline += other.deadline;
        self.failed += other.failed;
    }

    /// Requests that got their terminal event.
    pub fn finished(&self) -> u64 {
        self.stopped + self.length + self.cancelled + self.deadline + self.failed
    }
}

/// What one worker counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct WorkerTotals {
    /// Decode calls.
    pub decode: CallTotals,
    /// Prefill calls.
    pub prefill: CallTotals,
    /// Ends of requests.
    pub requests: RequestTotals,
    /// Output tokens.
    pub output_tokens: u64,
    /// Prompt tokens that were not computed because their KV was there.
    pub cached_tokens: u64,
    /// Drafts: guesses of what a sequence goes on with, computed in one call with it.
    pub drafts: u64,
    /// Tokens of drafts.
    pub drafted_tokens: u64,
    /// Of these, the ones that came.
    pub accepted_tokens: u64,
    /// Calls of the draft model; their rows are the tokens that it read.
    pub draft_model: CallTotals,
    /// Sequences in a slot now.
    pub running: usize,
    /// Requests waiting for a slot now.
    pub waiting: usize,
    /// Requests that nobody reads and that gave their slot up for others.
    pub parked: usize,
    /// Workers whose threads wait passively now, because others want their CPUs.
    pub passive: usize,
    /// Of the time of the compute threads, the share that they lately waited for a CPU; the largest of all workers.
    pub cpu_wait: f64,
    /// How often a worker changed its way of waiting because of other programs.
    pub wait_switches: u64,
}

impl WorkerTotals {
    /// Adds what another one counted.
    pub fn merge(&mut self, other: &WorkerTotals) {
        self.decode.merge(&other.decode);
        self.prefill.merge(&other.prefill);
        self.requests.merge(&other.requests);
        self.output_tokens += other.output_tokens;
        self.cached_tokens += other.cached_tokens;
        self.drafts += other.drafts;
        self.drafted_tokens += other.drafted_tokens;
        self.accepted_tokens += other.accepted_tokens;
        self.draft_model.merge(&other.draft_model);
        self.running += other.running;
        self.waiting += other.waiting;
        self.parked += other.parked;
        self.passive += other.passive;
        self.cpu_wait = self.cpu_wait.max(other.cpu_wait);
        self.wait_switches += other.wait_switches;
    }
}

/// What one slot is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotStats {
    /// The request that sits in it; `None` while it is free.
    pub request: Option<RequestId>,
    /// Tokens whose KV it holds: of its request, or of earlier ones as long as they may be of use again.
    pub n_tokens: usize,
    /// Prompt tokens of its request.
    pub n_prompt_tokens: usize,
    /// Of these, the ones whose KV was reused.
    pub n_cached_tokens: usize,
    /// Output tokens so far; 0 while the prompt is being computed.
    pub n_output_tokens: usize,
}

/// Memory that an engine holds, in bytes, as llama.cpp reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Weights as they lie in the file, mapped or read; one copy for all contexts, or one for each NUMA node.
    pub model_bytes: u64,
    /// Weights repacked for this CPU, in anonymous memory beside the mapped ones, or in pages of the file of packed weights,
    /// which processes share; as many copies.
    pub repack_bytes: u64,
    /// K and V cache of all contexts.
    pub kv_bytes: u64,
    /// Scratch buffers of all contexts.
    pub compute_bytes: u64,
}

/// The state of an engine at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct EngineStats {
    /// The strategy with `auto` decided.
    pub strategy: Strategy,
    /// Worker threads.
    pub workers: usize,
    /// Contexts over all workers.
    pub contexts: usize,
    /// Slots over all workers.
    pub slots: usize,
    /// Tokens that one slot holds.
    pub n_ctx: usize,
    /// Compute threads over all workers.
    pub threads: usize,
    /// CPUs that those threads are bound to; where nothing is pinned, those they may use.
    pub cpus: Vec<usize>,
    /// The instruction set of this library's kernels that compute weights, such as "avx512vnni"; "off" where those of
    /// ggml compute all. What share of the products they compute, say `products`.
    pub kernels: &'static str,
    /// Which kernels compute the products of the model's matrices, by the formats of the weights.
    pub products: Vec<ProductShare>,
    /// Packed weights: "mapped" from the file that an earlier load has written, "written" by this one, or "off".
    pub pack_cache: &'static str,
    /// How requests speculate that do not say: off where the engine was to decide, and found that it could change texts.
    pub speculation: Speculation,
    /// Memory.
    pub memory: MemoryStats,
    /// Work done and requests ended since the engine was loaded, and what is going on now.
    pub totals: WorkerTotals,
    /// Copies of the weights in memory; more than one on machines with several NUMA nodes.
    pub weight_copies: usize,
    /// Each worker by itself: where it is, and whether it is where it was meant to be.
    pub per_worker: Vec<WorkerStats>,
}

impl EngineStats {
    /// The share of the products of the model's matrices that this library's kernels compute, 0 to 1.
    pub fn kernels_share(&self) -> f64 {
        share_of_kernels(&self.products)
    }

    /// Which kernels compute which products, in words: `ggml 61 % (Q4_1), avx2 39 % (Q6_K)`.
    pub fn describe_products(&self) -> String {
        describe_products(&self.products)
    }

    /// The least [`WorkerStats::local_fraction`] of all workers.
    pub fn local_fraction(&self) -> Option<f64> {
        self.per_worker.iter().filter_map(WorkerStats::local_fraction).reduce(f64::min)
    }
}

/// Where a worker is, and what it did.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct WorkerStats {
    /// The NUMA node that it was planned for; `None` if it spans several or there are none.
    pub node: Option<usize>,
    /// CPUs that it was planned for.
    pub cpus: Vec<usize>,
    /// Requests that it can run at once.
    pub slots: usize,
    /// For each compute thread the CPUs that the operating system lets it run on now; empty where it does not tell.
    pub affinity: Vec<Vec<usize>>,
    /// Whether its threads are meant to be bound to `cpus`.
    pub is_bound: bool,
    /// Share of the resident pages of its weights that were on its node when it started, by a sample; `None` where the system
    /// does not tell, or where all workers share weights that are spread over nodes.
    pub local_weights: Option<f64>,
    /// The same for its KV cache.
    pub local_kv: Option<f64>,
    /// Work done and requests ended.
    pub totals: WorkerTotals,
}

impl WorkerStats {
    /// Compute threads that may run on other CPUs than the planned ones; 0 where that is meant so or cannot be told.
    pub fn strayed_threads(&self) -> usize {
        let strays = |affinity: &&Vec<usize>| affinity.iter().any(|cpu| !self.cpus.contains(cpu));
        if self.is_bound { self.affinity.iter().filter(strays).count() } else { 0 }
    }

    /// Whether every compute thread is kept on the planned CPUs; `None` where that was not wanted or cannot be told.
    pub fn affinity_holds(&self) -> Option<bool> {
        (self.is_bound && !self.affinity.is_empty()).then(|| self.strayed_threads() == 0)
    }

    /// The lesser of the shares of weights and KV that are on its node.
    pub fn local_fraction(&self) -> Option<f64> {
        [self.local_weights, self.local_kv].into_iter().flatten().reduce(f64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_rank() {
        let ms = |n| Duration::from_millis(n);
        let values: Vec<_> = (1..=100).rev().map(ms).collect();
        assert_eq!(quantile(&values, 0.5), Some(ms(50)));
        assert_eq!(quantile(&values, 0.95), Some(ms(95)));
        assert_eq!(quantile(&values, 1.0), Some(ms(100)));
        assert_eq!(quantile(&values, 0.0), Some(ms(1)));
        assert_eq!(quantile(&values[..1], 0.99), Some(ms(100)));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
