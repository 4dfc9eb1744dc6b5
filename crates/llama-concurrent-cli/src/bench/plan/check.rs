//! Compares predictions with measurements on this machine.

use std::{
    io::{Write, stdout},
    path::Path,
};

use llama_concurrent::Strategy;
use llama_concurrent_bench::{
    Load, Planner,
    numbers::count,
    report::{Check, Line},
    sim::{MachineSpec, WorkerLayout},
};

use super::{
    super::{BenchArgs, files, runs, strategies, system::System},
    users,
};
use crate::failure::Failure;

const USERS: [u32; 4] = [1, 4, 8, 16];

pub fn check(args: &BenchArgs, planner: &Planner<'_>, path: &Path) -> Result<(), Failure> {
    let mut threads = vec![planner.engine.threads.unwrap_or(planner.calibration.cores)];
    if planner.engine.threads.is_none() && planner.calibration.cores > 1 {
        threads.insert(0, 1);
    }
    let repeats = args.repeats as usize;
    let mut lines = Vec::new();
    for threads in threads {
        for users in users(args, &USERS) {
            for strategy in strategies(&args.strategies)? {
                lines.push(one(planner, path, repeats, threads, users, strategy)?);
            }
        }
    }
    let report = Check { planner, repeats, lines };
    write!(stdout(), "{report}")?;
    if let Some(file) = &args.json {
        files::write_json(&report.json(), file)?;
    }
    report.verdict().map_err(Failure::Failed)
}

fn one(
    planner: &Planner<'_>,
    path: &Path,
    repeats: usize,
    threads: usize,
    users: usize,
    strategy: Strategy,
) -> Result<Line, Failure> {
    let config =
        planner.config(strategy, users).threads(threads).max_queued_requests(usize::MAX).max_queued_tokens(usize::MAX);
    let system = System::engine(strategy.as_str(), path, config.clone());
    let here = MachineSpec { nodes: 1, cores: threads, bandwidth: Some(planner.calibration.node_bandwidth) };
    let (mut measured, mut predicted) = (Vec::new(), Vec::new());
    for repeat in 0..repeats {
        let load = Load { users, ..planner.setting.load.repeated(repeat) };
        let what = format!("{strategy}, {}, {users} users", count(threads, "thread"));
        let run = runs::once(&system, planner.setting, &planner.setting.scripts(&load), &what)?;
        measured.push(run.summary);
        predicted.push(planner.predict(&planner.replayed_load(&load), &config, &here, WorkerLayout::Together));
    }
    Ok(Line { threads, users, strategy, measured, predicted })
}
