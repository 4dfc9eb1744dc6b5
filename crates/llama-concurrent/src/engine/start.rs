//! Loading a model and starting the workers over it.

use std::{
    path::Path,
    sync::{Arc, Mutex, OnceLock, atomic::AtomicU64},
    time::Instant,
};

use crossbeam_channel::{bounded, unbounded};

use super::{Inner, WorkerHandle, invariance, lock};
use crate::{
    admission::Admission,
    backend::{
        Backend,
        llama::{LlamaBackend, Model},
    },
    config::{EngineConfig, PoolShape, Strategy},
    error::{Error, ErrorKind, Result},
    gguf::Header,
    metrics::MemoryStats,
    scheduler::{Scheduler, SchedulerConfig},
    topology::{self, Machine},
    worker::{Worker, WorkerShared},
};

impl Inner {
    pub(super) fn load(path: &Path, config: &EngineConfig) -> Result<Self> {
        config.validate()?;
        let header = Header::read(path)?;
        let summary = header.check_model()?;
        let strategy = choose_strategy(config, invariance::why_not(config, &header, &summary))?;
        let mut placement =
            topology::plan_workers(&Machine::detect(), config.workers.unwrap_or(1), config.threads, config.pin);
        let free_memory = topology::free_memory();
        let kv_per_token =
            summary.kv_bytes_per_token(config.type_k.bytes_per_element(), config.type_v.bytes_per_element());
        let n_workers = placement.workers.len();
        let n_ctx_train = summary.n_ctx_train as usize;
        let shape = config.pool_shape(strategy, n_workers, n_ctx_train, kv_per_token, free_memory);
        if shape.n_ctx > n_ctx_train {
            placement.warnings.push(format!(
                "n_ctx is {}, but the model was trained for {n_ctx_train} tokens; expect nonsense beyond those",
                shape.n_ctx
            ));
        }
        check_kv_fits(&shape, n_workers, kv_per_token, free_memory)?;

        let model = Arc::new(Model::load(path, config)?);
        if config.reproducible && strategy == Strategy::Batched && !model.has_our_attention() {
            let why = "an engine without kernels was loaded at the same moment; load this one again";
            return Err(Error::new(ErrorKind::InvalidConfig, format!("reproducible cannot be had: {why}")));
        }
        placement.warnings.extend(model.kernels_warning().map(str::to_owned));
        placement.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let total_slots = shape.contexts * shape.slots * n_workers;
        let admission = Arc::new(Admission::new(total_slots, config.max_queued_requests, config.max_queued_tokens));
        let epoch = Instant::now();
        let mut inner = Inner {
            model,
            summary,
            chat: OnceLock::new(),
            grammars: OnceLock::new(),
            strategy,
            shape,
            placement,
            memory: MemoryStats::default(),
            stream_buffer: config.stream_buffer,
            workers: Vec::new(),
            threads: Mutex::default(),
            admission,
            next_id: AtomicU64::new(1),
            epoch,
        };
        inner.start_workers(config)?;
        if config.mmap && inner.memory.repack_bytes > inner.memory.model_bytes / 2 {
            inner.model.release_file();
        }
        Ok(inner)
    }

    /// Each worker builds its backend on its own thread, because that thread becomes a compute thread.
    fn start_workers(&mut self, config: &EngineConfig) -> Result<()> {
        let vocab = Arc::new(self.model.table().clone());
        let mut starting = Vec::new();
        for (index, plan) in self.placement.workers.iter().enumerate() {
            let (commands, inbox) = unbounded();
            let (report, ready) = bounded(1);
            let shared = Arc::new(WorkerShared::new());
            let parts = (self.model.clone(), self.shape, config.clone(), plan.clone(), vocab.clone());
            let (admission, epoch, worker_shared) = (self.admission.clone(), self.epoch, shared.clone());
            let thread = std::thread::Builder::new().name(format!("llama-worker-{index}")).spawn(move || {
                leave_signals_to_others();
                let (model, shape, config, plan, vocab) = parts;
                let backend = match LlamaBackend::new(model, shape, &config, &plan) {
                    Ok(backend) => backend,
                    Err(error) => {
                        let _ = report.send(Err(error));
                        return;
                    }
                };
                let _ = report.send(Ok(backend.memory()));
                let scheduler = Scheduler::new(scheduler_config(&config, &backend), vocab);
                Worker::new(scheduler, backend, inbox, admission, worker_shared, epoch).run();
            });
            let thread =
                thread.map_err(|e| Error::new(ErrorKind::OutOfMemory, format!("cannot start a thread: {e}")))?;
            lock(&self.threads).push(thread);
            self.workers.push(WorkerHandle { commands, shared });
            starting.push(ready);
        }
        for ready in starting {
            let gone = || Error::new(ErrorKind::Internal, "a worker thread ended while it was starting");
            let memory = ready.recv().map_err(|_| gone())??;
            self.memory = MemoryStats {
                model_bytes: memory.model_bytes,
                repack_bytes: memory.repack_bytes,
                kv_bytes: self.memory.kv_bytes + memory.kv_bytes,
                compute_bytes: self.memory.compute_bytes + memory.compute_bytes,
            };
        }
        Ok(())
    }
}

/// Decides `Auto`, and whether reproducible results can be had. `variance` is why a row's results may depend on others.
fn choose_strategy(config: &EngineConfig, variance: Option<String>) -> Result<Strategy> {
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

/// Signals are for the threads of the program. The compute threads that this thread starts inherit the mask.
#[cfg(unix)]
fn leave_signals_to_others() {
    let _ = nix::sys::signal::SigSet::all().thread_block();
}

#[cfg(not(unix))]
fn leave_signals_to_others() {}

fn scheduler_config(config: &EngineConfig, backend: &impl Backend) -> SchedulerConfig {
    let (reuse, shape) = (backend.can_reuse_prefix(), backend.shape());
    // With several slots in a context, reproducible results come from the kernels, whatever the calls look like.
    let fixed_calls = config.reproducible && shape.slots == 1;
    SchedulerConfig {
        shape,
        max_stall: config.max_stall,
        batch_aging: config.batch_aging,
        prefix_reuse: config.prefix_reuse && reuse && !fixed_calls,
        compact: reuse,
        reproducible: fixed_calls,
    }
}

/// Refuses a KV cache that cannot be held, before the system's memory killer decides whom to end.
fn check_kv_fits(shape: &PoolShape, workers: usize, kv_per_token: f64, free_memory: Option<u64>) -> Result<()> {
    let slots = shape.contexts * shape.slots * workers;
    let needed = kv_per_token * (slots * shape.n_ctx) as f64;
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
