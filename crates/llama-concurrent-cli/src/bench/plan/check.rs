//! Compares predictions with measurements on this machine.

use std::{
    io::{self, Write, stdout},
    path::Path,
};

use llama_concurrent::{EngineConfig, Strategy};
use llama_concurrent_bench::{
    Load, Summary,
    sim::{MachineSpec, WorkerLayout},
};
use serde_json::json;

use super::{Planner, calibrate};
use crate::{
    bench::{machine, report, runs, system::System},
    failure::Failure,
    format::{count, rate},
};

const USERS: [u32; 4] = [1, 4, 8, 16];
/// The intended accuracy of predictions.
const CLOSE: f64 = 0.15;

struct Line {
    threads: usize,
    users: usize,
    strategy: Strategy,
    measured: Vec<Summary>,
    predicted: Vec<Summary>,
}

impl Line {
    /// The least disturbed run, and its prediction.
    fn best(&self) -> (&Summary, &Summary) {
        let pairs = self.measured.iter().zip(&self.predicted);
        pairs.max_by(|a, b| a.0.tokens_per_s.total_cmp(&b.0.tokens_per_s)).expect("at least one run")
    }

    /// The relative error of the prediction.
    fn deviation(&self, figure: fn(&Summary) -> f64) -> f64 {
        let (measured, predicted) = self.best();
        figure(predicted) / figure(measured) - 1.0
    }
}

const RATE: fn(&Summary) -> f64 = |summary| summary.tokens_per_s;
const FIRST: fn(&Summary) -> f64 = |summary| summary.ttft_ms.p50;
const BETWEEN: fn(&Summary) -> f64 = |summary| summary.itl_ms.p50;

pub fn check(planner: &Planner<'_>, path: &Path) -> Result<(), Failure> {
    let mut threads = vec![planner.args.engine.config().threads.unwrap_or(planner.calibration.cores)];
    if planner.args.engine.config().threads.is_none() && planner.calibration.cores > 1 {
        threads.insert(0, 1);
    }
    let mut lines = Vec::new();
    for threads in threads {
        for users in planner.users(&USERS) {
            for strategy in planner.strategies()? {
                lines.push(one(planner, path, threads, users, strategy)?);
            }
        }
    }
    print(planner, &lines)?;
    if let Some(file) = &planner.args.json {
        let one = |line: &Line| {
            json!({
                "threads": line.threads, "users": line.users, "strategy": line.strategy.as_str(),
                "measured": line.measured, "predicted": line.predicted,
            })
        };
        let document = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "workload": planner.setting.workload.as_str(),
            "model": planner.setting.model,
            "machine": machine::describe(),
            "calibration": planner.calibration,
            "lines": lines.iter().map(one).collect::<Vec<_>>(),
        });
        report::write_json(&document, file)?;
    }
    let failure = lines.iter().flat_map(|line| &line.measured).find_map(|summary| summary.failure.as_deref());
    failure.map_or(Ok(()), |why| Err(Failure::Failed(format!("requests failed; the first: {why}"))))
}

fn one(planner: &Planner<'_>, path: &Path, threads: usize, users: usize, strategy: Strategy) -> Result<Line, Failure> {
    let config = EngineConfig {
        threads: Some(threads),
        max_queued_requests: usize::MAX,
        max_queued_tokens: usize::MAX,
        ..planner.config(strategy, users)
    };
    let system = System::engine(strategy.as_str(), path, config.clone());
    let here = MachineSpec { nodes: 1, cores: threads, bandwidth: Some(planner.calibration.node_bandwidth) };
    let (mut measured, mut predicted) = (Vec::new(), Vec::new());
    for repeat in 0..planner.args.repeats as usize {
        let load = Load { users, ..planner.args.load().repeated(repeat) };
        let what = format!("{strategy}, {}, {users} users", count(threads, "thread"));
        let raw = runs::once(&system, &planner.setting.scripts(&load), &what)?;
        measured.push(runs::summed_up(raw, planner.setting).summary);
        predicted.push(planner.predict(&planner.replayed_load(&load), &config, &here, WorkerLayout::Together));
    }
    Ok(Line { threads, users, strategy, measured, predicted })
}

fn print(planner: &Planner<'_>, lines: &[Line]) -> io::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{}\n{}.\n", planner.setting.about(), planner.setting.model)?;
    let signed = |share: f64| format!("{:+.1} %", share * 100.0);
    let row = |line: &Line| {
        vec![
            line.threads.to_string(),
            line.users.to_string(),
            line.strategy.as_str().into(),
            rate(line.best().0.tokens_per_s),
            rate(line.best().1.tokens_per_s),
            signed(line.deviation(RATE)),
            signed(line.deviation(FIRST)),
            signed(line.deviation(BETWEEN)),
        ]
    };
    writeln!(out, "{}", report::markdown(COLUMNS, lines.iter().map(row).collect()))?;
    let off = |line: &&Line| line.deviation(RATE).abs();
    let close = lines.iter().filter(|line| off(line) <= CLOSE).count();
    if let Some(worst) = lines.iter().max_by(|a, b| off(a).total_cmp(&off(b))) {
        writeln!(
            out,
            "\n{close} of {} predictions of tok/s are within {:.0} %; the farthest is {:.1} % off ({}, {}, {}).",
            lines.len(),
            CLOSE * 100.0,
            off(&worst) * 100.0,
            count(worst.threads, "thread"),
            count(worst.users, "user"),
            worst.strategy
        )?;
    }
    writeln!(
        out,
        "Of {} the fastest, as the model knows of no disturbances.",
        count(planner.args.repeats as usize, "run")
    )?;
    for line in calibrate::lines(&planner.calibration) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

const COLUMNS: [&str; 8] = [
    "threads",
    "users",
    "strategy",
    "tok/s measured",
    "predicted",
    "off by",
    "first token p50 off by",
    "between tokens p50 off by",
];
