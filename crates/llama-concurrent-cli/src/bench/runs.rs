//! Runs: the same scripts for each contestant, in turns.

use std::{path::Path, time::Duration};

use llama_concurrent::Tokenizer;
use llama_concurrent_bench::{
    Ask, Load, Outcome, Played, Record, Script, Slo, Summary, Turn, Workload, play,
    usage::{Meter, Usage},
};
use serde::Serialize;

use super::contestant::Contestant;
use crate::{console, failure::Failure, format::bytes, interrupt::Interrupts};

/// What is asked of all contestants.
pub struct Setting {
    pub workload: Workload,
    pub load: Load,
    pub slo: Option<Slo>,
    pub model: String,
    pub tokenizer: Tokenizer,
}

/// What one run came to.
#[derive(Serialize)]
pub struct Run {
    pub seed: u64,
    pub summary: Summary,
    pub by_kind: std::collections::BTreeMap<&'static str, Summary>,
    /// Of this process; `None` for a server.
    pub usage: Option<Usage>,
    /// Cores that the harness itself took.
    pub harness_cpus: Option<f64>,
    pub records: Vec<Record>,
}

/// All runs of one contestant.
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

    /// The workload in words.
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

/// Every contestant in turn, as often as asked for.
pub fn alternate(contestants: &[Contestant], setting: &Setting, repeats: usize) -> Result<Vec<Runs>, Failure> {
    let mut all = none_yet(contestants);
    for repeat in 0..repeats {
        let load = setting.load.repeated(repeat);
        turn(contestants, setting, &load, &format!("run {} of {repeats}", repeat + 1), &mut all)?;
    }
    Ok(all)
}

/// The runs of each contestant before the first.
pub fn none_yet(contestants: &[Contestant]) -> Vec<Runs> {
    contestants.iter().map(|contestant| Runs { name: contestant.name.clone(), runs: Vec::new() }).collect()
}

/// One run of each contestant, with the same scripts.
pub fn turn(
    contestants: &[Contestant],
    setting: &Setting,
    load: &Load,
    what: &str,
    all: &mut [Runs],
) -> Result<(), Failure> {
    let scripts = setting.scripts(load);
    for (contestant, runs) in contestants.iter().zip(all) {
        let raw = once(contestant, &scripts, &format!("{}, {what}", contestant.name))?;
        runs.runs.push(Run { seed: load.seed, ..summed_up(raw, setting) });
    }
    Ok(())
}

/// What a run left.
pub struct Raw {
    played: Played,
    usage: Option<Usage>,
}

/// Opens a contestant, warms it up and plays the scripts.
pub fn once(contestant: &Contestant, scripts: &[Script], what: &str) -> Result<Raw, Failure> {
    let target = contestant.open()?;
    warm_up(&*target)?;
    let requests: usize = scripts.iter().map(|script| script.turns.len()).sum();
    let bar = console::progress_bar(requests as u64, "{msg} {bar:30.cyan/dim} {pos} of {len} requests");
    bar.set_message(what.to_owned());
    let interrupts = Interrupts::listen();
    let meter = contestant.is_here().then(|| Meter::start(None));
    let played = play(scripts, &*target, |done| {
        // Company asks more than was counted.
        bar.set_length(requests.max(done) as u64);
        bar.set_position(done as u64);
        !interrupts.pressed()
    });
    let usage = meter.map(|meter| meter.read());
    bar.finish_and_clear();
    if interrupts.pressed() {
        return Err(Failure::Interrupted);
    }
    Ok(Raw { played, usage })
}

fn warm_up(target: &dyn llama_concurrent_bench::Target) -> Result<(), Failure> {
    let ask = Ask { prompt: "A first request, which nobody counts.".into(), max_tokens: 4, batch: false };
    let turns = vec![Turn { think: Duration::ZERO, ask }];
    let script = Script { kind: "warm-up", arrival: Duration::ZERO, turns, company: false };
    match play(&[script], target, |_| true).records.pop().map(|record| record.outcome) {
        Some(Outcome::Failed(why)) => Err(Failure::Failed(format!("{} does not answer: {why}", target.name()))),
        _ => Ok(()),
    }
}

pub fn summed_up(raw: Raw, setting: &Setting) -> Run {
    let slo = setting.slo.as_ref();
    Run {
        seed: setting.load.seed,
        summary: Summary::of(&raw.played.records, slo),
        by_kind: Summary::by_kind(&raw.played.records, slo),
        usage: raw.usage,
        harness_cpus: raw.played.harness_cpus,
        records: raw.played.records,
    }
}
