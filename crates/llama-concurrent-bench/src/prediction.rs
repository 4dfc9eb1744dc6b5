//! Predictions for an engine on another machine.

use llama_concurrent::{EngineConfig, Speculation, Strategy};

use crate::{
    setting::Setting,
    sim::{self, Calibration, MachineSpec, ModelCost, Pool, ReplayedLoad, Timing, WorkerLayout},
    summary::Summary,
    workload::Load,
};

/// llama.cpp's maximum number of sequences in a context.
const MAX_SLOTS: usize = 256;

/// The common inputs of all predictions.
pub struct Planner<'a> {
    /// The workload and the model.
    pub setting: &'a Setting,
    /// The calibration of cores and memory.
    pub calibration: Calibration,
    /// The common configuration of the engine.
    pub engine: EngineConfig,
}

/// The prediction for a number of users.
pub struct Prediction {
    /// The machine.
    pub machine: MachineSpec,
    /// The number of users.
    pub users: usize,
    /// The placement of workers.
    pub placement: WorkerLayout,
    /// The strategy of the engine.
    pub strategy: Strategy,
    /// The KV memory of all slots.
    pub kv_bytes: f64,
    /// The predicted summary.
    pub summary: Summary,
}

impl Planner<'_> {
    /// Every strategy in every placement on every machine, with every number of users.
    pub fn predictions(&self, users: &[usize], machines: &[MachineSpec], strategies: &[Strategy]) -> Vec<Prediction> {
        let mut predictions = Vec::new();
        for &users in users {
            let load = self.replayed_load(&Load { users, ..self.setting.load.clone() });
            for machine in machines {
                for &placement in WorkerLayout::of(machine) {
                    for &strategy in strategies {
                        predictions.push(self.one(&load, (*machine, users, placement, strategy)));
                    }
                }
            }
        }
        predictions
    }

    fn one(
        &self,
        load: &ReplayedLoad,
        (machine, users, placement, strategy): (MachineSpec, usize, WorkerLayout, Strategy),
    ) -> Prediction {
        let workers = if placement == WorkerLayout::Together { 1 } else { machine.nodes };
        let config = self.config(strategy, users.min(MAX_SLOTS * workers));
        let slots = config.slots.unwrap_or(workers);
        Prediction {
            machine,
            users,
            placement,
            strategy,
            kv_bytes: self.model().kv_bytes((slots * config.n_ctx.unwrap_or(0)) as f64),
            summary: self.predict(load, &config, &machine, placement),
        }
    }

    /// The scripts of a load, tokenized as the engine would.
    pub fn replayed_load(&self, load: &Load) -> ReplayedLoad {
        let tokenizer = &self.setting.tokenizer;
        let tokens = |text: &str| tokenizer.tokenize_with(text, true, true).unwrap_or_default();
        ReplayedLoad::new(self.setting.scripts(load), tokens)
    }

    /// The cost of the model, from its file and the cache type.
    fn model(&self) -> ModelCost {
        ModelCost::new(self.setting.tokenizer.model(), self.engine.type_k.bytes_per_element())
    }

    /// Replays a load on a simulated machine.
    pub fn predict(
        &self,
        load: &ReplayedLoad,
        config: &EngineConfig,
        machine: &MachineSpec,
        placement: WorkerLayout,
    ) -> Summary {
        let resources = placement.workers(machine, machine.bandwidth(&self.calibration), self.calibration.remote);
        let n_ctx_train = self.setting.tokenizer.model().n_ctx_train as usize;
        let shape =
            config.pool_shape(config.strategy, config.slots_of_each_worker(resources.len(), 0.0, None), n_ctx_train);
        let worker = |resources| Timing::new(self.model(), &self.calibration, resources, shape.n_ctx);
        let workers = resources.into_iter().map(worker).collect();
        let records = sim::play(load, &Pool { config: config.clone(), shape, workers });
        Summary::of(&records, self.setting.slo.as_ref())
    }

    /// The configuration of the engine for a number of slots.
    pub fn config(&self, strategy: Strategy, slots: usize) -> EngineConfig {
        // Simulated texts never repeat themselves, so what is compared with them does not draft.
        let mut config = self.engine.clone().speculation(Speculation::Off);
        config.strategy = strategy;
        config.n_ctx = config.n_ctx.or(Some(self.setting.workload.n_ctx(self.setting.load.scale)));
        config.slots = (strategy != Strategy::Sequential).then(|| config.slots.unwrap_or(slots));
        config
    }
}
