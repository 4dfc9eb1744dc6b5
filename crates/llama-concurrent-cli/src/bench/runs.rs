//! Runs: the same scripts for each system, alternating.

use std::{path::Path, time::Duration};

use llama_concurrent::Tokenizer;
use llama_concurrent_bench::{
    Load, Outcome, Record, ReplayResult, RequestSpec, Script, Slo, Summary, Turn, Workload, play,
    usage::{Meter, Usage},
};
use serde::Serialize;

use super::system::System;
use crate::{console, failure::Failure, format::bytes, interrupt::Interrupts};

/// The workload of all systems.
pub struct Setting {
    pub workload: Workload,
    pub load: Load,
    pub slo: Option<Slo>,
    pub model: String,
    pub tokenizer: Tokenizer,
}

/// The result of one run.
#[derive(Serialize)]
pub struct Run {
    pub seed: u64,
    pub summary: Summary,
    pub by_kind: std::collections::BTreeMap<&'static str, Summary>,
    /// The resource usage of this process; `None` for a server.
    pub usage: Option<Usage>,
    /// Cores used by the load generator.
    pub harness_cpus: Option<f64>,
    pub records: Vec<Record>,
}

/// All runs of one system.
#[derive(Serialize)]
pub struct Runs {
    pub name: String,
    pub runs: Vec<Run>,
}

impl Setting {
    pub fn new(path: &Path, workload: Workload, load: Load, slo: Option<Slo>) -> Result<Self, Failure> {
        let tokenizer = Tokenizer::load(path)?;
        let summary = tokenizer.model();
        let name = summary.name.as_deref().unwrap_or("model without a name");
        let model = format!("{name} ({}, {})", summary.file_type, bytes(summary.tensor_bytes as f64));
        Ok(Self { workload, load, slo, model, tokenizer })
    }

    /// A description of the workload.
    pub fn about(&self) -> String {
        let scaled = match self.load.scale {
            1.0 => String::new(),
            scale => format!("; all lengths times {scale}"),
        };
        format!("{}: {}{scaled}.", self.workload, self.workload.about())
    }

    /// The scripts of one repeat.
    pub fn scripts(&self, load: &Load) -> Vec<Script> {
        let count =
            |text: &str| self.tokenizer.tokenize_with(text, false, false).map_or(text.len() / 4, |tokens| tokens.len());
        self.workload.scripts(load, &count)
    }
}

/// Runs all systems `repeats` times, alternating.
pub fn alternate(systems: &[System], setting: &Setting, repeats: usize) -> Result<Vec<Runs>, Failure> {
    let mut all = none_yet(systems);
    for repeat in 0..repeats {
        let load = setting.load.repeated(repeat);
        turn(systems, setting, &load, &format!("run {} of {repeats}", repeat + 1), &mut all)?;
    }
    Ok(all)
}

/// Empty runs for each system.
pub fn none_yet(systems: &[System]) -> Vec<Runs> {
    systems.iter().map(|system| Runs { name: system.name.clone(), runs: Vec::new() }).collect()
}

/// One run of each system, with the same scripts.
pub fn turn(systems: &[System], setting: &Setting, load: &Load, what: &str, all: &mut [Runs]) -> Result<(), Failure> {
    let scripts = setting.scripts(load);
    for (system, runs) in systems.iter().zip(all) {
        let raw = once(system, &scripts, &format!("{}, {what}", system.name))?;
        runs.runs.push(Run { seed: load.seed, ..summed_up(raw, setting) });
    }
    Ok(())
}

/// The raw result of a run.
pub struct Raw {
    replay: ReplayResult,
    usage: Option<Usage>,
}

/// Opens a system, warms it up and replays the scripts.
pub fn once(system: &System, scripts: &[Script], what: &str) -> Result<Raw, Failure> {
    let target = system.open()?;
    warm_up(&*target)?;
    let requests: usize = scripts.iter().map(|script| script.turns.len()).sum();
    let bar = console::progress_bar(requests as u64, "{msg} {bar:30.cyan/dim} {pos} of {len} requests");
    bar.set_message(what.to_owned());
    let interrupts = Interrupts::listen();
    let meter = system.is_here().then(|| Meter::start(None));
    let replay = play(scripts, &*target, |done| {
        // Background load sends more requests than were counted.
        bar.set_length(requests.max(done) as u64);
        bar.set_position(done as u64);
        !interrupts.pressed()
    });
    let usage = meter.map(|meter| meter.read());
    bar.finish_and_clear();
    if interrupts.pressed() {
        return Err(Failure::Interrupted);
    }
    Ok(Raw { replay, usage })
}

fn warm_up(target: &dyn llama_concurrent_bench::Target) -> Result<(), Failure> {
    let request = RequestSpec { prompt: "A first request, which is not counted.".into(), max_tokens: 4, batch: false };
    let turns = vec![Turn { think: Duration::ZERO, request }];
    let script = Script { kind: "warm-up", arrival: Duration::ZERO, turns, background: false };
    match play(&[script], target, |_| true).records.pop().map(|record| record.outcome) {
        Some(Outcome::Failed(why)) => Err(Failure::Failed(format!("{} does not answer: {why}", target.name()))),
        _ => Ok(()),
    }
}

pub fn summed_up(raw: Raw, setting: &Setting) -> Run {
    let slo = setting.slo.as_ref();
    Run {
        seed: setting.load.seed,
        summary: Summary::of(&raw.replay.records, slo),
        by_kind: Summary::by_kind(&raw.replay.records, slo),
        usage: raw.usage,
        harness_cpus: raw.replay.harness_cpus,
        records: raw.replay.records,
    }
}
