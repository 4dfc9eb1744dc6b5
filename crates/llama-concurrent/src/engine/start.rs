//! Loading a model and starting the workers over it.

use std::{
    path::Path,
    sync::{Arc, Mutex, OnceLock, atomic::AtomicU64},
    time::Instant,
};

use crossbeam_channel::{bounded, unbounded};
use llama_concurrent_gguf::{Header, ModelSummary};
use llama_concurrent_llama::{
    LlamaBackend, Model, PackedFile, batch_invariance_obstacle, bind_worker, check_draft_model,
};
use llama_concurrent_scheduler::{Admission, Router, Scheduler, SchedulerConfig};
use llama_concurrent_topology::{Machine, MemoryPolicy, ModelSize, WeightCopy, WorkerPlan, plan};
use llama_concurrent_types::{
    EngineConfig, Error, ErrorKind, LoadProgress, MemoryStats, PoolShape, Result, Speculation, Strategy,
};

use super::{Inner, WorkerHandle, lock, replicas::Replicas, templates::Templates};
use crate::{
    turnstile::{Loading, Turnstile},
    worker::{Worker, WorkerShared},
};

/// Of the resident pages of a worker, so many should lie on its node.
const LOCAL_ENOUGH: f64 = 0.95;

impl Inner {
    pub(super) fn load(path: &Path, config: &EngineConfig) -> Result<Self> {
        config.validate()?;
        let header = Header::read(path)?;
        let summary = header.check_model()?;
        let (config, unmapped) = &readable(config, &summary);
        let variance = batch_invariance_obstacle(config, &summary);
        let strategy = choose_strategy(config, &summary, variance.clone())?;
        let machine = Machine::detect();
        let size = ModelSize::of(&summary, config);
        let mut placement = plan(&machine, config, Some(&size))?;
        placement.reasons.iter().for_each(|reason| tracing::info!("placement: {reason}"));
        let n_workers = placement.workers.len();
        let n_ctx_train = size.n_ctx_train;
        let shape = match summary.is_encoder {
            true => encoder_shape(config, n_ctx_train, summary.n_vocab, machine.free_memory)?,
            false => config.pool_shape(strategy, placement.workers[0].slots, n_ctx_train),
        };
        if summary.is_encoder && config.n_ctx.is_some_and(|n_ctx| n_ctx > shape.n_ctx) {
            placement.warnings.push(format!(
                "n_ctx is {}, but the model takes texts of {} tokens at most, and so does the engine",
                config.n_ctx.unwrap_or(0),
                shape.n_ctx
            ));
        } else if shape.n_ctx > n_ctx_train {
            placement.warnings.push(format!(
                "n_ctx is {}, but the model was trained for {n_ctx_train} tokens; expect nonsense beyond those",
                shape.n_ctx
            ));
        }
        let draft = config.draft_model.as_ref().map(|path| draft_model_file(Path::new(path), &summary)).transpose()?;
        let kv_of_draft = draft.as_ref().map_or(0.0, |(_, draft)| ModelSize::of(draft, config).kv_of_slot(shape.n_ctx));
        check_kv_fits(&shape, n_workers, size.kv_of_slot(shape.n_ctx) + kv_of_draft, machine.free_memory)?;

        let packed = config.pack_cache.as_ref().map(|place| PackedFile::of(place, &header)).transpose()?;
        let cpus: Vec<usize> = placement.workers.iter().flat_map(|worker| worker.cpus.iter().copied()).collect();
        let (replicas, draft_model) = {
            // llama.cpp loads one model at a time. Whoever waits for that must not hold a turn, which the present load waits for.
            static LOADS: Mutex<()> = Mutex::new(());
            let _one_at_a_time = lock(&LOADS);
            let config = taking_turns(config, &cpus);
            let of_draft = draft.as_ref().map_or(0, |(_, draft)| draft.tensor_bytes);
            let share = size.weights as f32 / (size.weights + of_draft).max(1) as f32;
            let replicas = Replicas::load(path, &reporting(&config, 0.0, share), packed.as_ref(), &placement)?;
            (replicas, draft.map(|(header, _)| load_draft_model(&header, &reporting(&config, share, 1.0))).transpose()?)
        };
        let model = replicas.first().clone();
        draft_model.iter().try_for_each(|draft| check_draft_model(draft, model.table()))?;
        let relies_on_kernels = config.reproducible && strategy == Strategy::Batched && !summary.is_encoder;
        if relies_on_kernels && !model.has_our_attention() {
            let why = "an engine without kernels was loaded at the same moment; load this one again";
            return Err(Error::new(ErrorKind::InvalidConfig, format!("reproducible cannot be had: {why}")));
        }
        let variance = variance.or_else(|| {
            (!model.has_our_attention()).then(|| "an engine without kernels was loaded at the same moment".to_owned())
        });
        let speculation = match (config.speculation, variance) {
            (Speculation::Off, _) => Speculation::Off,
            (asked, _) if !model.has_plain_kv() => {
                if asked != Speculation::Auto || draft_model.is_some() {
                    let why = "the state of this model cannot be cut, as wrong guesses need";
                    placement.warnings.push(format!("speculation is off: {why}"));
                }
                Speculation::Off
            }
            (asked, Some(why)) if asked == Speculation::Auto || (config.reproducible && shape.slots == 1) => {
                let off = format!("speculation is off, since it could change what is generated: {why}");
                if asked == Speculation::Auto && draft_model.is_none() {
                    tracing::info!("{off}");
                } else {
                    placement.warnings.push(off);
                }
                Speculation::Off
            }
            (asked, _) => asked,
        };
        placement.warnings.extend(summary.warnings.iter().chain(unmapped).chain(model.warnings()).cloned());
        placement.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let templates = Templates::new(&model, config)?;
        let total_slots = shape.contexts * shape.slots * n_workers;
        let admission = Arc::new(Admission::new(total_slots, config.max_queued_requests, config.max_queued_tokens));
        let epoch = Instant::now();
        let model_products = model.products(summary.work.n_expert_used);
        let mut inner = Inner {
            model,
            replicas,
            products: model_products,
            summary,
            templates,
            grammars: OnceLock::new(),
            strategy,
            speculation,
            has_draft_model: draft_model.is_some(),
            shape,
            placement,
            memory: MemoryStats::default(),
            stream_buffer: config.stream_buffer,
            workers: Vec::new(),
            threads: Mutex::default(),
            admission,
            router: Mutex::new(Router::new(n_workers, shape.contexts * shape.slots, shape.n_ctx, config.prefix_reuse)),
            next_id: AtomicU64::new(1),
            epoch,
        };
        inner.start_workers(&config.clone().speculation(speculation), draft_model.as_ref())?;
        if config.mmap && inner.memory.repack_bytes > 0 {
            inner.replicas.release_files();
            draft_model.iter().for_each(|draft| draft.release_file());
        }
        Ok(inner)
    }

    /// Each worker builds its backend on its own thread, because that thread becomes a compute thread.
    fn start_workers(&mut self, config: &EngineConfig, draft_model: Option<&Arc<Model>>) -> Result<()> {
        let vocab = Arc::new(self.model.table().clone());
        let mut starting = Vec::new();
        for (index, plan) in self.placement.workers.iter().enumerate() {
            let (commands, inbox) = unbounded();
            let (report, ready) = bounded(1);
            let n_slots = self.shape.contexts * self.shape.slots;
            let shared = Arc::new(WorkerShared::new(index * n_slots, n_slots));
            let models = (self.replicas.of(plan), draft_model.cloned());
            let parts = (models, self.shape, config.clone(), plan.clone(), vocab.clone());
            let (admission, epoch, worker_shared) = (self.admission.clone(), self.epoch, shared.clone());
            let thread = std::thread::Builder::new().name(format!("llama-worker-{index}")).spawn(move || {
                leave_signals_to_others();
                let ((model, draft_model), shape, config, plan, vocab) = parts;
                bind_worker(&plan);
                let backend = match LlamaBackend::new(model, draft_model, shape, &config, &plan) {
                    Ok(backend) => backend,
                    Err(error) => {
                        let _ = report.send(Err(error));
                        return;
                    }
                };
                let _ = report.send(Ok(Started::new(&backend, &plan)));
                let scheduler = Scheduler::new(SchedulerConfig::of(&config, &backend), vocab);
                let turnstile = Turnstile::new(&plan.cpus);
                Worker::new(scheduler, backend, inbox, admission, worker_shared, turnstile, epoch).run();
            });
            let thread =
                thread.map_err(|e| Error::new(ErrorKind::OutOfMemory, format!("cannot start a thread: {e}")))?;
            lock(&self.threads).push(thread);
            self.workers.push(WorkerHandle { commands, shared, started: Started::default() });
            starting.push(ready);
        }
        let mut counted: Vec<WeightCopy> = Vec::new();
        for (index, ready) in starting.into_iter().enumerate() {
            let gone = || Error::new(ErrorKind::Internal, "a worker thread ended while it was starting");
            let started: Started = ready.recv().map_err(|_| gone())??;
            let (memory, weights) = (started.memory, self.placement.workers[index].weights);
            if !counted.contains(&weights) {
                counted.push(weights);
                self.memory.model_bytes += memory.model_bytes;
                self.memory.repack_bytes += memory.repack_bytes;
            }
            self.memory.kv_bytes += memory.kv_bytes;
            self.memory.compute_bytes += memory.compute_bytes;
            self.warn_of_distance(index, &started);
            self.workers[index].started = started;
        }
        Ok(())
    }

    /// Says so where memory did not come to lie where it was wanted, which a full node can cause.
    fn warn_of_distance(&mut self, index: usize, started: &Started) {
        let Some(node) = self.placement.workers[index].node else { return };
        for (what, share) in [("weights", started.local_weights), ("KV cache", started.local_kv)] {
            if let Some(share) = share.filter(|&share| share < LOCAL_ENOUGH) {
                let percent = (share * 100.0).floor();
                let warning = format!(
                    "only {percent} % of the {what} of worker {index} lies on its node {node}; free memory there, or lower \
                     slots or n_ctx"
                );
                tracing::warn!("{warning}");
                self.placement.warnings.push(warning);
            }
        }
    }
}

/// The draft model's file, of which is known now that it can be loaded.
fn draft_model_file(path: &Path, model: &ModelSummary) -> Result<(Header, ModelSummary)> {
    let refuse =
        |why: String| Error::new(ErrorKind::InvalidConfig, format!("the draft model {}: {why}", path.display()));
    let header = Header::read(path)?;
    let draft = header.check_model()?;
    if model.is_encoder {
        return Err(refuse("the model is an encoder, which generates nothing; leave the draft model out".into()));
    }
    if draft.faults.one_sequence.is_some() {
        return Err(refuse("llama.cpp decodes only one sequence of it at a time; use another one".into()));
    }
    Ok((header, draft))
}

fn load_draft_model(header: &Header, config: &EngineConfig) -> Result<Arc<Model>> {
    let packed = config.pack_cache.as_ref().map(|place| PackedFile::of(place, header)).transpose()?;
    Model::load(header.path(), config, packed.as_ref()).map(Arc::new)
}

/// The configuration for a load that is a part of all, from one share to another.
fn reporting(config: &EngineConfig, from: f32, to: f32) -> EngineConfig {
    let part = |all: LoadProgress| -> LoadProgress { Arc::new(move |share| all(from + share * (to - from))) };
    config.clone().progress(config.progress.clone().map(part))
}

/// The configuration for a load that takes turns with the workers of other engines, between two of its steps.
fn taking_turns(config: &EngineConfig, cpus: &[usize]) -> EngineConfig {
    let loading = Loading::begin(cpus);
    let progress = config.progress.clone();
    let pausing = move |share| match &progress {
        // What it does is its own affair, and may be to use another engine.
        Some(progress) => loading.outside(|| progress(share)),
        None => {
            loading.pause();
            true
        }
    };
    config.clone().progress(Arc::new(pausing))
}

/// What a worker says of itself once it is ready.
#[derive(Clone, Debug, Default)]
pub(super) struct Started {
    memory: MemoryStats,
    pub(super) thread_ids: Vec<i32>,
    pub(super) local_weights: Option<f64>,
    pub(super) local_kv: Option<f64>,
}

impl Started {
    fn new(backend: &LlamaBackend, plan: &WorkerPlan) -> Self {
        let (memory, thread_ids) = (backend.memory(), backend.thread_ids().to_vec());
        let (weights, local_kv) = plan.node.map_or((None, None), |node| backend.local_shares(node));
        // A shared copy lies on no node by intention.
        let is_near = plan.memory == MemoryPolicy::System || plan.weights != WeightCopy::Shared;
        Self { memory, thread_ids, local_weights: weights.filter(|_| is_near), local_kv }
    }
}

/// The configuration for a model whose files cannot be mapped, and what that costs.
fn readable(config: &EngineConfig, model: &ModelSummary) -> (EngineConfig, Option<String>) {
    if model.can_be_mapped || !config.mmap {
        return (config.clone(), None);
    }
    let lost =
        config.pack_cache.is_some().then(|| "pack_cache keeps nothing for a model that cannot be mapped".to_owned());
    (config.clone().mmap(false).pack_cache(None), lost)
}

/// Decides `Auto`, and whether reproducible results can be had. `variance` is why a row's results may depend on others.
fn choose_strategy(config: &EngineConfig, model: &ModelSummary, variance: Option<String>) -> Result<Strategy> {
    if model.is_encoder {
        return Ok(Strategy::Batched);
    }
    if model.faults.one_sequence.is_some() && config.strategy != Strategy::Sequential {
        return Ok(Strategy::RoundRobin);
    }
    match (config.strategy, config.reproducible, variance) {
        (Strategy::Auto, true, Some(_)) => Ok(Strategy::RoundRobin),
        (Strategy::Auto, ..) => Ok(Strategy::Batched),
        (Strategy::Batched, true, Some(why)) => Err(Error::new(
            ErrorKind::InvalidConfig,
            format!(
                "reproducible cannot be had with the strategy 'batched' here: {why}; use 'round-robin', or 'auto', which \
                 chooses between the two"
            ),
        )),
        (strategy, ..) => Ok(strategy),
    }
}

/// The pool of a worker with an encoder, which has no slots to speak of. Positions behind those of its training do not exist.
///
/// llama.cpp has room for the logits of each token of a text, though an encoder has none. By default texts may be so long that this
/// takes a quarter of the free memory; longer than memory allows, they would have the system end some process.
fn encoder_shape(
    config: &EngineConfig,
    n_ctx_train: usize,
    n_vocab: u32,
    free_memory: Option<u64>,
) -> Result<PoolShape> {
    let trained = if n_ctx_train == 0 { usize::MAX } else { n_ctx_train };
    let logits = 4 * u64::from(n_vocab.max(1));
    let tokens_in = |bytes: u64| usize::try_from(bytes / logits).unwrap_or(usize::MAX).max(1);
    let most = free_memory.map_or(usize::MAX, |free| tokens_in(free / if config.n_ctx.is_some() { 1 } else { 4 }));
    let n_ctx = config.n_ctx_for(n_ctx_train).min(trained);
    if config.n_ctx.is_some() && n_ctx > most {
        let message = format!(
            "texts of {n_ctx} tokens need more memory than is free: llama.cpp takes {logits} bytes for each token of a text; \
             lower n_ctx to {most} or less"
        );
        return Err(Error::new(ErrorKind::OutOfMemory, message));
    }
    Ok(PoolShape { contexts: 1, slots: 1, n_ctx: n_ctx.min(most), n_batch: config.n_batch })
}

/// Signals are for the threads of the program. The compute threads that this thread starts inherit the mask.
#[cfg(unix)]
fn leave_signals_to_others() {
    let _ = nix::sys::signal::SigSet::all().thread_block();
}

#[cfg(not(unix))]
fn leave_signals_to_others() {}

/// Refuses a KV cache that cannot be held, before the system's memory killer decides whom to end.
fn check_kv_fits(shape: &PoolShape, workers: usize, kv_of_slot: f64, free_memory: Option<u64>) -> Result<()> {
    let slots = shape.contexts * shape.slots * workers;
    let needed = kv_of_slot * slots as f64;
    let Some(free) = free_memory.filter(|&free| needed > free as f64) else { return Ok(()) };
    let gib = |bytes: f64| bytes / f64::from(1 << 30);
    Err(Error::new(
        ErrorKind::OutOfMemory,
        format!(
            "{slots} slots of {} tokens need {:.1} GiB of KV cache, but only {:.1} GiB are free; lower slots or n_ctx, \
             or use q8_0 for the cache",
            shape.n_ctx,
            gib(needed),
            gib(free as f64)
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_encoders_are_as_long_as_training_and_memory_allow() {
        let n_ctx = |wanted: Option<usize>, trained, n_vocab, free| {
            let config = EngineConfig::default().n_ctx(wanted);
            encoder_shape(&config, trained, n_vocab, free).map(|shape| shape.n_ctx)
        };
        assert_eq!(n_ctx(None, 512, 30_000, None).unwrap(), 512);
        assert_eq!(n_ctx(Some(4096), 512, 30_000, Some(1 << 40)).unwrap(), 512);
        assert_eq!(n_ctx(Some(100), 512, 30_000, Some(1 << 40)).unwrap(), 100);
        assert_eq!(n_ctx(None, 0, 30_000, None).unwrap(), llama_concurrent_types::DEFAULT_N_CTX);
        // 250,000 tokens take a million bytes of logits.
        assert_eq!(n_ctx(None, 8192, 250_000, Some(400_000_000)).unwrap(), 100);
        let refused = n_ctx(Some(8192), 8192, 250_000, Some(400_000_000)).unwrap_err();
        assert_eq!(*refused.kind(), ErrorKind::OutOfMemory);
        assert!(refused.to_string().contains("lower n_ctx to 400"), "{refused}");
    }
}
