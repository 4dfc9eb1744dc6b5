//! Runs: the same scripts for each contestant, in turns, under a bar.

use std::time::Duration;

use llama_concurrent_bench::{Ask, Load, Outcome, Run, Runs, Script, Setting, Target, Turn, play, usage::Meter};

use super::contestant::Contestant;
use crate::{console, failure::Failure, interrupt::Interrupts};

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
        let run = once(contestant, setting, &scripts, &format!("{}, {what}", contestant.name))?;
        runs.runs.push(Run { seed: load.seed, ..run });
    }
    Ok(())
}

/// Opens a contestant, warms it up and plays the scripts.
pub fn once(contestant: &Contestant, setting: &Setting, scripts: &[Script], what: &str) -> Result<Run, Failure> {
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
    Ok(Run::new(played, usage, setting))
}

fn warm_up(target: &dyn Target) -> Result<(), Failure> {
    let ask = Ask { prompt: "A first request, which nobody counts.".into(), max_tokens: 4, batch: false };
    let turns = vec![Turn { think: Duration::ZERO, ask }];
    let script = Script { kind: "warm-up", arrival: Duration::ZERO, turns, company: false };
    match play(&[script], target, |_| true).records.pop().map(|record| record.outcome) {
        Some(Outcome::Failed(why)) => Err(Failure::Failed(format!("{} does not answer: {why}", target.name()))),
        _ => Ok(()),
    }
}
