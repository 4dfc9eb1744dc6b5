//! Predictions for other machines.

use std::io::{Write, stdout};

use llama_concurrent_bench::{Planner, report::Predictions};

use super::{
    super::{BenchArgs, files, strategies},
    users,
};
use crate::failure::Failure;

/// The numbers of users to predict.
const USERS: [u32; 4] = [20, 50, 100, 200];

pub fn predict(args: &BenchArgs, planner: &Planner<'_>) -> Result<(), Failure> {
    let machines = args.sim.machines();
    let predictions = planner.predictions(&users(args, &USERS), &machines, &strategies(&args.strategies)?);
    let report = Predictions { planner, machines: &machines, predictions };
    write!(stdout(), "{report}")?;
    if let Some(file) = &args.json {
        files::write_json(&report.json(), file)?;
    }
    report.verdict().map_err(Failure::Failed)
}
