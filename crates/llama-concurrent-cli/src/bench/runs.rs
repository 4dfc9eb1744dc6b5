//! Runs: the same scripts for each system, alternating, with a progress bar.

use std::time::Duration;

use llama_concurrent_bench::{
    Load, Outcome, RequestSpec, Run, Runs, Script, Setting, Target, Turn, play, usage::Meter,
};

use super::system::System;
use crate::{console, failure::Failure, interrupt::Interrupts};

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
        let run = once(system, setting, &scripts, &format!("{}, {what}", system.name))?;
        runs.runs.push(Run { seed: load.seed, ..run });
    }
    Ok(())
}

/// Opens a system, warms it up and replays the scripts.
pub fn once(system: &System, setting: &Setting, scripts: &[Script], what: &str) -> Result<Run, Failure> {
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
    Ok(Run::new(replay, usage, setting))
}

fn warm_up(target: &dyn Target) -> Result<(), Failure> {
    let request = RequestSpec { prompt: "A first request, which is not counted.".into(), max_tokens: 4, batch: false };
    let turns = vec![Turn { think: Duration::ZERO, request }];
    let script = Script { kind: "warm-up", arrival: Duration::ZERO, turns, background: false };
    match play(&[script], target, |_| true).records.pop().map(|record| record.outcome) {
        Some(Outcome::Failed(why)) => Err(Failure::Failed(format!("{} does not answer: {why}", target.name()))),
        _ => Ok(()),
    }
}
