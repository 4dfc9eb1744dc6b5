//! The time of a call: the cost model described in DESIGN.md.

use std::time::Duration;

use llama_concurrent_gguf::ModelSummary;
use llama_concurrent_scheduler::{Call, CallKind, sim::SimTiming};

use super::{Calibration, Rates, WorkerResources};

/// Barriers per layer of a graph: one per operation, and one more in each product.
const BARRIERS_PER_LAYER: f64 = 30.0;
/// A barrier over several nodes, compared with one of as many threads on one.
const BARRIER_OVER_NODES: f64 = 3.0;
/// Rows of a prompt that share a read of earlier keys and values.
const QUERY_TILE: usize = 64;

/// The cost of a model, independent of the machine. Weights are counted in multiplications per row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModelCost {
    body: f64,
    output: f64,
    experts: f64,
    /// The fraction of experts that a row is routed to; 0 in a dense model.
    expert_share: f64,
    bytes: f64,
    expert_bytes: f64,
    n_layer: f64,
    attention_per_position: f64,
    kv_bytes_per_position: f64,
}

impl ModelCost {
    /// The cost of a model whose keys and values have `kv_bytes` bytes per element.
    pub fn new(model: &ModelSummary, kv_element_bytes: f64) -> Self {
        let work = &model.work;
        let expert_share =
            if model.n_expert == 0 { 0.0 } else { f64::from(work.n_expert_used) / f64::from(model.n_expert) };
        let widths = f64::from(model.head_dim_k) + f64::from(model.head_dim_v);
        Self {
            body: work.body_weights as f64,
            output: work.output_weights as f64,
            experts: work.expert_weights as f64,
            expert_share,
            bytes: (work.body_bytes + work.output_bytes) as f64,
            expert_bytes: work.expert_bytes as f64,
            n_layer: f64::from(model.n_layer),
            attention_per_position: f64::from(model.n_layer) * f64::from(model.n_head) * widths,
            kv_bytes_per_position: model.kv_bytes_per_token(kv_element_bytes, kv_element_bytes),
        }
    }

    /// Multiplications with weights; `outputs` of the rows include the output matrix.
    pub(super) fn products(&self, rows: f64, outputs: f64) -> f64 {
        rows * (self.body + self.experts * self.expert_share) + outputs * self.output
    }

    /// Bytes of weights that a call reads.
    pub(super) fn weight_bytes(&self, rows: f64) -> f64 {
        // An expert is read unless no row is routed to it.
        self.bytes + self.expert_bytes * (1.0 - (1.0 - self.expert_share).powf(rows))
    }

    /// Multiplications with keys and values.
    pub(super) fn attention(&self, positions: f64) -> f64 {
        positions * self.attention_per_position
    }

    /// Bytes of keys and values.
    pub fn kv_bytes(&self, positions: f64) -> f64 {
        positions * self.kv_bytes_per_position
    }
}

/// The time of the calls of one worker.
#[derive(Clone, Debug)]
pub struct Timing {
    model: ModelCost,
    calibration: Calibration,
    resources: WorkerResources,
    n_ctx: usize,
}

impl Timing {
    /// The timing of a worker with these resources, whose slots hold `n_ctx` tokens.
    pub fn new(model: ModelCost, calibration: &Calibration, resources: WorkerResources, n_ctx: usize) -> Self {
        Self { model, calibration: calibration.clone(), resources, n_ctx }
    }

    fn seconds(&self, call: &Call, parts: usize) -> f64 {
        let (calibration, resources) = (&self.calibration, &self.resources);
        let rates = match call.kind {
            CallKind::Decode => &calibration.decode,
            CallKind::Prefill => &calibration.prefill,
        };
        let (rows, parts) = (call.rows.len() as f64, if call.kind == CallKind::Decode { parts as f64 } else { 1.0 });
        let outputs = call.rows.iter().filter(|row| row.sample.is_some()).count() as f64;

        let products = self.model.products(rows, outputs);
        let weights = self.longer(
            products * parts * rates.time(rows / parts) / rows,
            parts * self.model.weight_bytes(rows / parts),
            resources.weights,
        );
        let positions: f64 = call.rows.iter().map(|row| (row.pos + 1) as f64).sum();
        let read: f64 = call
            .rows
            .chunk_by(|a, b| a.seq == b.seq)
            .flat_map(|sequence| sequence.chunks(QUERY_TILE))
            .filter_map(|tile| Some((tile.last()?.pos + 1) as f64))
            .sum();
        let attention =
            self.longer(self.model.attention(positions) / rates.attention, self.model.kv_bytes(read), resources.kv);
        weights + attention + self.waiting() * parts + outputs * calibration.sampling_us * 1e-6
    }

    /// The longer of arithmetic, given in 1e-9 seconds of one core, and memory reads; the two overlap.
    fn longer(&self, work: f64, bytes: f64, bandwidth: f64) -> f64 {
        let doublings = (self.resources.threads as f64).log2();
        let slower = 1.0 + self.calibration.loss_per_doubling * doublings;
        let reach = bandwidth.min(self.resources.threads as f64 * self.calibration.core_bandwidth);
        (work * 1e-9 * slower / self.resources.threads as f64).max(bytes / (reach * 1e9))
    }

    /// The barrier time of a call.
    pub(super) fn waiting(&self) -> f64 {
        let over_nodes = if self.resources.nodes > 1 { BARRIER_OVER_NODES } else { 1.0 };
        // All threads increment one counter, one after the other.
        let pairs = if self.resources.threads > 1 { self.resources.threads as f64 / 2.0 } else { 0.0 };
        self.model.n_layer * BARRIERS_PER_LAYER * pairs * over_nodes * self.calibration.barrier_us * 1e-6
    }
}

impl Timing {
    /// The time in which one thread moves `bytes` bytes.
    fn moved(&self, bytes: f64) -> Duration {
        Duration::from_secs_f64(bytes / (self.resources.kv.min(self.calibration.core_bandwidth) * 1e9))
    }
}

impl SimTiming for Timing {
    fn call(&self, call: &Call, parts: usize) -> Duration {
        Duration::from_secs_f64(self.seconds(call, parts))
    }

    /// llama.cpp copies the whole stream, on one thread, which reads and writes.
    fn copy(&self) -> Duration {
        self.moved(2.0 * self.model.kv_bytes(self.n_ctx as f64))
    }

    /// Through memory outside of the cache: out and in again, each read and written.
    fn swap(&self, positions: usize) -> Duration {
        self.moved(4.0 * self.model.kv_bytes(positions as f64))
    }
}

/// GMAC/s of one core, from the seconds of one thread.
pub(super) fn rate(products: f64, seconds: f64) -> f64 {
    products / seconds.max(1e-9) * 1e-9
}

impl Rates {
    /// Rates from pairs of the rows of a call and the seconds that one thread took.
    pub(super) fn of(points: &[(usize, f64)], products: impl Fn(f64) -> f64, attention: f64) -> Self {
        let weights = points.iter().map(|&(rows, seconds)| (rows, rate(products(rows as f64), seconds))).collect();
        Self { weights, attention }
    }
}
