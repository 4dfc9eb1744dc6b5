//! Planning: predicts strategies and placements on other machines, and checks the accuracy of predictions.

mod calibrate;
mod check;
mod predict;

use std::path::{Path, PathBuf};

use clap::Args;
use llama_concurrent_bench::{Planner, Setting, sim::MachineSpec};

use super::BenchArgs;
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
    let planner = Planner { setting: &setting, calibration, engine: args.engine.config() };
    if args.sim.sim_check { check::check(args, &planner, path) } else { predict::predict(args, &planner) }
}

/// Numbers of users, ascending.
fn users(args: &BenchArgs, default: &[u32]) -> Vec<usize> {
    let numbers = match (&args.sweep[..], &args.users) {
        ([], Some(users)) => std::slice::from_ref(users),
        ([], None) => default,
        (sweep, _) => sweep,
    };
    let mut users: Vec<usize> = numbers.iter().map(|&users| users as usize).collect();
    users.sort_unstable();
    users.dedup();
    users
}
