//! llama.cpp as a backend: models, contexts, tokenizers, samplers and their NUMA placement.
//!
//! `llama-cpp-2` is used where its safe types suffice (process initialisation, samplers). Models, contexts, batches and
//! thread pools use the raw bindings of the same build, because `llama-cpp-2` has no way to attach a thread pool, to
//! select repacking or to check sequence ids.

#![allow(unsafe_code)]

mod batch_invariance;
mod context;
mod draft_model;
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
    Backend, Call, CallError, Contention, DraftCall, Drafted, EmbedCall, EmbedLimits, EmbedPart, Held, Op, Row,
    Sampled, Score, SeqKey, SlotId, StepOutcome, StepPlan, TILE_ROWS, rows_for_each, sample_rows,
};
use llama_concurrent_topology::{MemoryPolicy, WorkerPlan};
use llama_concurrent_types::{EngineConfig, MemoryStats, PoolShape, Result, Token, TokenLogprobs};

use self::{
    context::{Context, Output, Parked},
    draft_model::DraftModel,
    ffi::Range,
    sampler::{Candidates, Sampler},
    threadpool::Threads,
};

pub use self::batch_invariance::{ROW_BY_ROW, batch_invariance_obstacle};
pub use self::draft_model::check_draft_model;
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
    draft_model: Option<DraftModel>,
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
    /// Creates the pool. Must be called on the thread that will decode: it becomes one of the compute threads. `draft_model` was
    /// [checked](check_draft_model).
    pub fn new(
        model: Arc<Model>,
        draft_model: Option<Arc<Model>>,
        shape: PoolShape,
        config: &EngineConfig,
        plan: &WorkerPlan,
    ) -> Result<Self> {
        let threads = Threads::new(plan, config)?;
        let is_encoder = model.is_encoder();
        let n_contexts = if is_encoder { 0 } else { shape.contexts };
        let contexts = (0..n_contexts)
            .map(|_| Context::new(model.clone(), shape, config, &threads, Output::Logits))
            .collect::<Result<Vec<_>>>()?;
        let embedder = is_encoder
            .then(|| Context::new(model.clone(), embed_shape(&model, shape), config, &threads, Output::Vectors))
            .transpose()?;
        let n_vocab = model.table().len();
        let draft_model = draft_model
            .filter(|_| !is_encoder)
            .map(|draft| DraftModel::new(draft, n_vocab, shape, config, &threads))
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
            draft_model,
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
        let of_model = all.map(Context::memory).fold(MemoryStats::default(), |sum, one| MemoryStats {
            model_bytes: one.model_bytes,
            repack_bytes: one.repack_bytes,
            kv_bytes: sum.kv_bytes + one.kv_bytes,
            compute_bytes: sum.compute_bytes + one.compute_bytes,
        });
        let of_draft = self.draft_model.as_ref().map_or_else(MemoryStats::default, DraftModel::memory);
        MemoryStats {
            model_bytes: of_model.model_bytes + of_draft.model_bytes,
            repack_bytes: of_model.repack_bytes + of_draft.repack_bytes,
            kv_bytes: of_model.kv_bytes + of_draft.kv_bytes,
            compute_bytes: of_model.compute_bytes + of_draft.compute_bytes,
        }
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
            Op::Begin { key, params, history, matcher, drafts } => {
                if self.samplers.len() <= *key {
                    self.samplers.resize_with(key + 1, || None);
                }
                self.samplers[*key] = Some(Sampler::new(
                    params,
                    history,
                    matcher.clone(),
                    *drafts,
                    self.model.table(),
                    Some(&self.model),
                ));
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

    fn compute(&mut self, call: &Call) -> Result<Computed, CallError> {
        let context = &mut self.contexts[call.context];
        context.decode(&call.rows, &self.threads)?;
        let mut scored = Vec::new();
        for (index, row) in call.rows.iter().enumerate() {
            if let Some(Score { next, n_top }) = row.score {
                let logits = context.logits(index).ok_or_else(|| CallError { message: "gave no logits".into() })?;
                scored.push(TokenLogprobs::of(logits, next, n_top));
            }
        }
        let (samplers, candidates) = (&mut self.samplers, &mut self.candidates);
        let sampled = sample_rows(&call.rows, |index, key| {
            let sampler = samplers.get_mut(key).and_then(Option::as_mut);
            match sampler.zip(context.logits(index)) {
                Some((sampler, logits)) => sampler.sample(logits, candidates),
                None => Sampled::Impossible("llama.cpp gave no logits".into()),
            }
        });
        Ok(Computed { sampled, forced: self.forced(call), scored })
    }

    /// What the constraints of a call's sequences let follow in any case, if there is room to draft it.
    fn forced(&self, call: &Call) -> Vec<(SeqKey, Vec<Token>)> {
        let sequences: Vec<&[Row]> = call.rows.chunk_by(|a, b| a.seq == b.seq).collect();
        if rows_for_each(self.shape, sequences.len()) < 2 {
            return Vec::new();
        }
        let keys = sequences.iter().filter_map(|rows| rows.iter().find_map(|row| row.sample));
        let forced = |key: SeqKey| Some((key, self.samplers.get(key)?.as_ref()?.forced(self.model.table())?));
        keys.filter_map(forced).collect()
    }

    fn draft(&mut self, call: &DraftCall) -> Result<Vec<Vec<Drafted>>, CallError> {
        let samplers = &self.samplers;
        let copy = |key: SeqKey| samplers.get(key).and_then(Option::as_ref).map(Sampler::copy);
        match &mut self.draft_model {
            Some(model) => model.draft(call, copy, &self.threads),
            None => Err(CallError { message: "there is none".into() }),
        }
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

/// What came of a call.
#[derive(Default)]
struct Computed {
    sampled: Vec<Sampled>,
    forced: Vec<(SeqKey, Vec<Token>)>,
    /// What was found of tokens that follow rows of a prompt.
    scored: Vec<TokenLogprobs>,
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

    fn has_draft_model(&self) -> bool {
        self.draft_model.is_some()
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
        let drafted = plan.draft.as_ref().map(|call| self.draft(call));
        let elapsed = if plan.is_idle() { Duration::ZERO } else { start.elapsed() };
        self.threads.observe(elapsed);
        let (sampled, Computed { forced, scored, .. }) = match computed.map(Option::unwrap_or_default) {
            Ok(mut computed) => (Ok(std::mem::take(&mut computed.sampled)), computed),
            Err(error) => (Err(error), Computed::default()),
        };
        let lost = std::mem::take(&mut self.lost);
        StepOutcome { elapsed, sampled, forced, scored, vectors, drafted, lost, held: self.held(plan) }
    }
}
