//! Planning: predicts strategies and placements on other machines, and checks the accuracy of predictions.

mod calibrate;
mod check;
mod predict;

use std::path::{Path, PathBuf};

use clap::Args;
use llama_concurrent::{EngineConfig, Strategy};
use llama_concurrent_bench::{
    Load, Summary,
    sim::{self, Calibration, MachineSpec, ModelCost, Pool, ReplayedLoad, Timing, WorkerLayout},
};

use super::{BenchArgs, runs::Setting};
use crate::failure::Failure;

#[derive(Args)]
#[command(next_help_heading = "Planning for another machine")]
pub struct SimOptions {
    /// Predict strategies and placements for other machines: NUMA nodes x cores per node, optionally @ memory bandwidth per
    /// node in GB/s. Calibrates on this machine first, which takes some seconds
    #[arg(long, value_name = "NxC[@GB/s]", value_delimiter = ',', conflicts_with_all = NOT_WITH)]
    pub sim: Vec<MachineSpec>,

    /// Measure strategies on this machine, with one thread and with all, and report the error of the predictions
    #[arg(long, conflicts_with_all = NOT_WITH)]
    pub sim_check: bool,

    /// Use a saved calibration instead of measuring
    #[arg(long, value_name = "FILE")]
    pub sim_calibration: Option<PathBuf>,

    /// Save the calibration as JSON
    #[arg(long, value_name = "FILE")]
    pub sim_save: Option<PathBuf>,

    /// GMAC/s of one core by batch size, instead of the measured ones, such as 1:25,4:60,16:80. Together with
    /// --sim-bandwidth, nothing is measured
    #[arg(long, value_name = "ROWS:RATE,...", value_delimiter = ',', value_parser = point)]
    pub sim_gmacs: Vec<(usize, f64)>,

    /// Memory bandwidth per node in GB/s where --sim does not give it
    #[arg(long, value_name = "GB/s", value_parser = super::positive)]
    pub sim_bandwidth: Option<f64>,

    /// Slowdown factor of reads from another node's memory [default: 2]
    #[arg(long, value_name = "FACTOR", value_parser = super::positive)]
    pub sim_remote: Option<f64>,
}

const NOT_WITH: [&str; 5] = ["target", "compare", "find_capacity", "beside_ggml", "html"];

fn point(text: &str) -> Result<(usize, f64), String> {
    let point = text.split_once(':').and_then(|(rows, rate)| Some((rows.parse().ok()?, rate.parse().ok()?)));
    point.ok_or_else(|| "must be ROWS:RATE, such as 16:80".into())
}

impl SimOptions {
    pub fn is_asked(&self) -> bool {
        !self.sim.is_empty() || self.sim_check
    }

    /// The machines, with the default bandwidth for those without one.
    fn machines(&self) -> Vec<MachineSpec> {
        let known =
            |&machine: &MachineSpec| MachineSpec { bandwidth: machine.bandwidth.or(self.sim_bandwidth), ..machine };
        self.sim.iter().map(known).collect()
    }
}

pub fn plan(args: &BenchArgs, path: &Path) -> Result<(), Failure> {
    let setting = Setting::new(path, args.workload(), args.load(), args.slo())?;
    let calibration = calibrate::get(args, path)?;
    let planner = Planner { args, setting: &setting, calibration };
    if args.sim.sim_check { check::check(&planner, path) } else { predict::predict(&planner) }
}

/// The common inputs of all predictions.
struct Planner<'a> {
    args: &'a BenchArgs,
    setting: &'a Setting,
    calibration: Calibration,
}

impl Planner<'_> {
    /// Numbers of users, ascending.
    fn users(&self, default: &[u32]) -> Vec<usize> {
        let asked = match (&self.args.sweep[..], &self.args.users) {
            ([], Some(users)) => std::slice::from_ref(users),
            ([], None) => default,
            (sweep, _) => sweep,
        };
        let mut users: Vec<usize> = asked.iter().map(|&users| users as usize).collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    /// The scripts of a load, tokenized as the engine would.
    fn replayed_load(&self, load: &Load) -> ReplayedLoad {
        let tokenizer = &self.setting.tokenizer;
        let tokens = |text: &str| tokenizer.tokenize_with(text, true, true).unwrap_or_default();
        ReplayedLoad::new(self.setting.scripts(load), tokens)
    }

    /// The cost of the model, from its file and the cache type.
    fn model(&self) -> ModelCost {
        ModelCost::new(self.setting.tokenizer.model(), self.args.engine.config().type_k.bytes_per_element())
    }

    /// Replays a load on a simulated machine.
    fn predict(
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
    fn config(&self, strategy: Strategy, slots: usize) -> EngineConfig {
        let mut config = self.args.engine.config();
        config.strategy = strategy;
        config.n_ctx = config.n_ctx.or(Some(self.args.workload().n_ctx(self.args.scale)));
        config.slots = (strategy != Strategy::Sequential).then(|| config.slots.unwrap_or(slots));
        config
    }

    fn strategies(&self) -> Result<Vec<Strategy>, Failure> {
        super::strategies(&self.args.strategies)
    }
}
