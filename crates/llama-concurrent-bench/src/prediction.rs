//! What an engine would do on a machine that is not here.

use llama_concurrent::{EngineConfig, Strategy};

use crate::{
    setting::Setting,
    sim::{self, Asked, Calibration, Machine, ModelCost, Placement, Pool, Timing},
    summary::Summary,
    workload::Load,
};

/// llama.cpp holds at most so many sequences in a context.
const MAX_SLOTS: usize = 256;

/// What all predictions have in common.
pub struct Planner<'a> {
    /// What is asked.
    pub setting: &'a Setting,
    /// What a core and a memory of the machine can do.
    pub calibration: Calibration,
    /// The engine as far as it is the same for all.
    pub engine: EngineConfig,
}

/// What would come of a number of users.
pub struct Prediction {
    /// Where.
    pub machine: Machine,
    /// By how many.
    pub users: usize,
    /// How workers are placed on it.
    pub placement: Placement,
    /// How the engine is set up.
    pub strategy: Strategy,
    /// Of all slots.
    pub kv_bytes: f64,
    /// What the requests would come to.
    pub summary: Summary,
}

impl Planner<'_> {
    /// Every strategy in every placement on every machine, with every number of users.
    pub fn predictions(&self, users: &[usize], machines: &[Machine], strategies: &[Strategy]) -> Vec<Prediction> {
        let mut predictions = Vec::new();
        for &users in users {
            let asked = self.asked(&Load { users, ..self.setting.load.clone() });
            for machine in machines {
                for &placement in Placement::of(machine) {
                    for &strategy in strategies {
                        predictions.push(self.one(&asked, (*machine, users, placement, strategy)));
                    }
                }
            }
        }
        predictions
    }

    fn one(
        &self,
        asked: &Asked,
        (machine, users, placement, strategy): (Machine, usize, Placement, Strategy),
    ) -> Prediction {
        let workers = if placement == Placement::Together { 1 } else { machine.nodes };
        let config = self.config(strategy, users.min(MAX_SLOTS * workers));
        let slots = config.slots.unwrap_or(workers);
        Prediction {
            machine,
            users,
            placement,
            strategy,
            kv_bytes: self.model().kv_bytes((slots * config.n_ctx.unwrap_or(0)) as f64),
            summary: self.predict(asked, &config, &machine, placement),
        }
    }

    /// The scripts of so many users, as the engine would see them.
    pub fn asked(&self, load: &Load) -> Asked {
        let tokenizer = &self.setting.tokenizer;
        let tokens = |text: &str| tokenizer.tokenize_with(text, true, true).unwrap_or_default();
        Asked::new(self.setting.scripts(load), tokens)
    }

    /// What the file and the cache type say about the model.
    fn model(&self) -> ModelCost {
        ModelCost::new(self.setting.tokenizer.model(), self.engine.type_k.bytes_per_element())
    }

    /// Plays a load on a machine.
    pub fn predict(&self, asked: &Asked, config: &EngineConfig, machine: &Machine, placement: Placement) -> Summary {
        let seats = placement.seats(machine, machine.bandwidth(&self.calibration), self.calibration.remote);
        let n_ctx_train = self.setting.tokenizer.model().n_ctx_train as usize;
        let shape =
            config.pool_shape(config.strategy, config.slots_of_each_worker(seats.len(), 0.0, None), n_ctx_train);
        let worker = |seat| Timing::new(self.model(), &self.calibration, seat, shape.n_ctx);
        let workers = seats.into_iter().map(worker).collect();
        let records = sim::play(asked, &Pool { config: config.clone(), shape, workers });
        Summary::of(&records, self.setting.slo.as_ref())
    }

    /// The engine as it would be set up for so many users.
    pub fn config(&self, strategy: Strategy, slots: usize) -> EngineConfig {
        let mut config = self.engine.clone();
        config.strategy = strategy;
        config.n_ctx = config.n_ctx.or(Some(self.setting.workload.n_ctx(self.setting.load.scale)));
        config.slots = (strategy != Strategy::Sequential).then(|| config.slots.unwrap_or(slots));
        config
    }
}
