//! llama.cpp as a backend: models, contexts, tokenizers, samplers and their NUMA placement.
//!
//! `llama-cpp-2` is used where its safe types suffice (process initialisation, samplers). Models, contexts, batches and
//! thread pools use the raw bindings of the same build, because `llama-cpp-2` has no way to attach a thread pool, to
//! select repacking or to check sequence ids.

#![allow(unsafe_code)]

mod batch_invariance;
mod context;
mod ffi;
mod kernels;
mod log;
#[cfg(target_os = "linux")]
mod mapping;
mod model;
#[cfg_attr(not(target_os = "linux"), path = "numa_stub.rs")]
mod numa;
mod pack_cache;
mod products;
mod rank;
mod sampler;
mod tensors;
#[cfg(test)]
mod tests;
mod threadpool;
mod tokenizer;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use llama_concurrent_scheduler::{
    Backend, Call, CallError, Contention, EmbedCall, EmbedLimits, EmbedPart, Held, Op, Row, Sampled, Score, SeqKey,
    SlotId, StepOutcome, StepPlan, TILE_ROWS,
};
use llama_concurrent_topology::{MemoryPolicy, WorkerPlan};
use llama_concurrent_types::{EngineConfig, MemoryStats, PoolShape, Result, TokenLogprobs};

use self::{
    context::{Context, Output, Parked},
    ffi::Range,
    sampler::{Candidates, Sampler},
    threadpool::Threads,
};

pub use self::batch_invariance::{ROW_BY_ROW, batch_invariance_obstacle};
pub use self::log::system_info;
pub use self::model::Model;
pub use self::numa::{affinity_of, bind_thread, bind_worker};
pub use self::pack_cache::PackedFile;
pub use self::products::planned_products;
#[doc(hidden)]
pub use self::sampler::sample_fn;
pub use self::sampler::{NamedSampler, SAMPLERS};
pub use self::tensors::tensors_of;
pub use self::tokenizer::{TokenizeOptions, Tokenizer};

/// The maximum rows of an embedding call of a generating model: llama.cpp keeps the logits of each, 19 MiB per 32 rows at 152,000
/// tokens.
const EMBED_ROWS: usize = 64;
/// Texts that an encoder takes in one call.
pub const ENCODER_TEXTS: usize = 64;
/// Rows of such a call, if it has more than one text: every row attends to the others' places, too, though to no effect.
const ENCODER_ROWS: usize = 512;
/// Memory for logits that llama.cpp has for each row of an encoder, too, and never fills.
const ENCODER_LOGITS: usize = 64 << 20;

/// A pool of llama.cpp contexts on one set of threads.
pub struct LlamaBackend {
    // Contexts use the thread pools, so they are declared, and dropped, before them.
    contexts: Vec<Context>,
    /// For vectors of texts, created with the first of them; that of an encoder at once.
    embedder: Option<Context>,
    /// For ranks of texts, created with the first of them.
    ranker: Option<Context>,
    threads: Threads,
    config: EngineConfig,
    model: Arc<Model>,
    shape: PoolShape,
    samplers: Vec<Option<Sampler>>,
    /// The KV of sequences that gave their slots up.
    parked: HashMap<SeqKey, Parked>,
    /// Sequences whose KV did not come back in the plan that is carried out.
    lost: Vec<SeqKey>,
    candidates: Candidates,
}

impl LlamaBackend {
    /// Creates the pool. Must be called on the thread that will decode: it becomes one of the compute threads.
    pub fn new(model: Arc<Model>, shape: PoolShape, config: &EngineConfig, plan: &WorkerPlan) -> Result<Self> {
        let threads = Threads::new(plan, config)?;
        let is_encoder = model.is_encoder();
        let n_contexts = if is_encoder { 0 } else { shape.contexts };
        let contexts = (0..n_contexts)
            .map(|_| Context::new(model.clone(), shape, config, &threads, Output::Logits))
            .collect::<Result<Vec<_>>>()?;
        let embedder = is_encoder
            .then(|| Context::new(model.clone(), embed_shape(&model, shape), config, &threads, Output::Vectors))
            .transpose()?;
        if let MemoryPolicy::Node(node) = plan.memory {
            contexts.iter().for_each(|context| numa::move_to(node, &context.kv_ranges()));
        }
        let candidates = Candidates::new();
        let config = config.clone();
        Ok(Self {
            contexts,
            embedder,
            ranker: None,
            threads,
            config,
            model,
            shape,
            samplers: Vec::new(),
            parked: HashMap::new(),
            lost: Vec::new(),
            candidates,
        })
    }

    /// Memory of the pool; weights are counted once.
    pub fn memory(&self) -> MemoryStats {
        let all = self.contexts.iter().chain(&self.embedder).chain(&self.ranker);
        all.map(Context::memory).fold(MemoryStats::default(), |sum, one| MemoryStats {
            model_bytes: one.model_bytes,
            repack_bytes: one.repack_bytes,
            kv_bytes: sum.kv_bytes + one.kv_bytes,
            compute_bytes: sum.compute_bytes + one.compute_bytes,
        })
    }

    /// Thread ids of the compute threads; empty if the system does not report them.
    pub fn thread_ids(&self) -> &[i32] {
        self.threads.thread_ids()
    }

    /// The fractions of the resident pages of weights and of KV on a node, if the system reports them.
    pub fn local_shares(&self, node: usize) -> (Option<f64>, Option<f64>) {
        let kv: Vec<Range> = self.contexts.iter().flat_map(Context::kv_ranges).collect();
        (numa::fraction_on(node, &self.model.weight_ranges()), numa::fraction_on(node, &kv))
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Begin { key, params, history, matcher } => {
                if self.samplers.len() <= *key {
                    self.samplers.resize_with(key + 1, || None);
                }
                self.samplers[*key] =
                    Some(Sampler::new(params, history, matcher.clone(), self.model.table(), Some(&self.model)));
            }
            Op::End { key } => {
                self.samplers[*key] = None;
                self.parked.remove(key);
            }
            Op::Park { key, slot } => {
                if let Some(parked) = self.contexts[slot.context].park(slot.seq) {
                    self.parked.insert(*key, parked);
                }
            }
            Op::Unpark { key, slot } => {
                let parked = self.parked.remove(key);
                if !parked.is_some_and(|parked| self.contexts[slot.context].unpark(slot.seq, &parked)) {
                    self.contexts[slot.context].truncate(slot.seq, 0);
                    self.lost.push(*key);
                }
            }
            Op::Truncate { slot, keep } => self.contexts[slot.context].truncate(slot.seq, *keep),
            Op::Copy { src, dst, keep } => self.contexts[src.context].copy(src.seq, dst.seq, *keep),
            Op::Swap { a, b } => self.contexts[a.context].swap(a.seq, b.seq),
        }
    }

    fn held(&self, plan: &StepPlan) -> Vec<Held> {
        let slots = if self.window() > 0 { plan.slots() } else { Vec::new() };
        let first = |slot: SlotId| self.contexts[slot.context].first_held(slot.seq);
        slots.into_iter().map(|slot| Held { slot, first: first(slot) }).collect()
    }

    /// What was sampled, and what was found of tokens that follow rows of a prompt.
    fn compute(&mut self, call: &Call) -> Result<(Vec<Sampled>, Vec<TokenLogprobs>), CallError> {
        let context = &mut self.contexts[call.context];
        context.decode(&call.rows, &self.threads)?;
        let mut tokens = Vec::with_capacity(self.shape.slots);
        let mut scored = Vec::new();
        for (index, row) in call.rows.iter().enumerate() {
            if let Some(Score { next, n_top }) = row.score {
                let logits = context.logits(index).ok_or_else(|| CallError { message: "gave no logits".into() })?;
                scored.push(TokenLogprobs::of(logits, next, n_top));
            }
            let Some(key) = row.sample else { continue };
            let sampler = self.samplers.get_mut(key).and_then(Option::as_mut);
            tokens.push(match sampler.zip(context.logits(index)) {
                Some((sampler, logits)) => sampler.sample(logits, &mut self.candidates),
                None => Sampled::Impossible("llama.cpp gave no logits".into()),
            });
        }
        Ok((tokens, scored))
    }

    /// What the model makes of each token of texts, or of each text.
    fn embed(&mut self, call: &EmbedCall) -> Result<Vec<Vec<f32>>, CallError> {
        let shape = embed_shape(&self.model, self.shape);
        let (place, output) = match call.ranks {
            false => (&mut self.embedder, Output::Vectors),
            true => (&mut self.ranker, Output::Ranks),
        };
        let context = match place {
            Some(context) => context,
            empty => {
                let context = Context::new(self.model.clone(), shape, &self.config, &self.threads, output);
                empty.insert(context.map_err(|e| CallError { message: e.to_string() })?)
            }
        };
        let mut rows = Vec::with_capacity(call.n_rows());
        for (seq, EmbedPart { computed, tokens }) in call.parts.iter().enumerate() {
            if *computed == 0 {
                context.truncate(seq, 0);
            }
            let row = |(pos, &token)| Row { seq, token, pos, sample: None, score: None };
            rows.extend((*computed..).zip(tokens).map(row));
        }
        let nothing = |what| CallError { message: format!("gave no {what}") };
        let mut vectors = Vec::new();
        // Whole texts are in one call already.
        for rows in rows.chunks(shape.n_batch) {
            context.decode(rows, &self.threads)?;
            for index in 0..rows.len() {
                if !call.ranks {
                    vectors.push(context.vector(index).ok_or_else(|| nothing("embedding"))?.to_vec());
                }
            }
        }
        if call.ranks {
            for seq in 0..call.parts.len() {
                vectors.push(context.ranks(seq).ok_or_else(|| nothing("rank"))?.to_vec());
            }
        }
        Ok(vectors)
    }
}

/// The shape of a context for texts to embed. A generating model takes them one by one, in parts.
fn embed_shape(model: &Model, pool: PoolShape) -> PoolShape {
    if !model.is_encoder() {
        return PoolShape { contexts: 1, slots: 1, n_batch: EMBED_ROWS.min(pool.n_batch), ..pool };
    }
    let affordable = (ENCODER_LOGITS / size_of::<f32>() / model.table().len().max(1)).clamp(TILE_ROWS, ENCODER_ROWS);
    PoolShape { contexts: 1, slots: ENCODER_TEXTS, n_batch: affordable.max(pool.n_ctx), ..pool }
}

impl Backend for LlamaBackend {
    fn shape(&self) -> PoolShape {
        self.shape
    }

    fn can_reuse_prefix(&self) -> bool {
        self.model.has_plain_kv()
    }

    fn can_swap(&self) -> bool {
        self.model.has_plain_kv() && self.contexts.iter().all(Context::can_swap)
    }

    fn window(&self) -> usize {
        if self.model.is_encoder() { 0 } else { self.model.window() }
    }

    fn embed_limits(&self) -> EmbedLimits {
        let PoolShape { slots, n_batch, .. } = embed_shape(&self.model, self.shape);
        let whole = self.model.is_encoder();
        // Alone in its call, a text is computed in the same way each time, whatever computes it.
        let texts = if self.config.reproducible { 1 } else { slots };
        EmbedLimits { texts, rows: if whole { n_batch.min(ENCODER_ROWS) } else { self.shape.n_batch }, whole }
    }

    fn share(&mut self, sharers: usize) {
        self.threads.share(sharers);
    }

    fn rest(&mut self) {
        self.threads.rest();
    }

    fn contention(&self) -> Contention {
        self.threads.contention()
    }

    fn run(&mut self, plan: &StepPlan) -> StepOutcome {
        self.threads.select_mode();
        let start = Instant::now();
        plan.ops.iter().for_each(|op| self.apply(op));
        let computed = plan.call.as_ref().map(|call| self.compute(call)).transpose();
        let vectors = plan.embed.as_ref().map(|call| self.embed(call));
        let is_idle = plan.call.is_none() && plan.embed.is_none();
        let elapsed = if is_idle { Duration::ZERO } else { start.elapsed() };
        self.threads.observe(elapsed);
        let (sampled, scored) = match computed {
            Ok(computed) => {
                let (sampled, scored) = computed.unwrap_or_default();
                (Ok(sampled), scored)
            }
            Err(error) => (Err(error), Vec::new()),
        };
        StepOutcome { elapsed, sampled, scored, vectors, lost: std::mem::take(&mut self.lost), held: self.held(plan) }
    }
}
