//! Finds the largest load that meets the objectives.

use std::io::{Write, stdout};

use llama_concurrent_bench::{Setting, Slo, Spread, numbers::short_millis};

use super::{runs, system::System};
use crate::failure::Failure;

/// The largest number of users or arrivals per second that is tried.
const MOST: f64 = 1024.0;
/// The resolution of arrivals per second, as a factor.
const STEP: f64 = 1.1;

/// Doubles the load until an objective is missed, then bisects.
pub fn find(system: &System, setting: &Setting, repeats: u32) -> Result<(), Failure> {
    let Some(slo) = setting.slo else {
        return Err(Failure::BadInput("--find-capacity needs --slo-ttft-ms and --slo-itl-ms".into()));
    };
    let open = setting.load.rate.is_some();
    let (mut kept, mut broken) = (0.0, None);
    let mut next = setting.load.rate.unwrap_or(1.0);
    loop {
        if holds(system, setting, next, repeats, &slo)? {
            kept = next;
        } else {
            broken = Some(next);
        }
        next = match broken {
            None if next >= MOST => break,
            None => next * 2.0,
            Some(broken) if open && broken <= kept * STEP => break,
            Some(broken) if open && kept == 0.0 && broken < 0.01 => break,
            Some(broken) if open => (kept + broken) / 2.0,
            Some(broken) if broken - kept <= 1.0 => break,
            Some(broken) => ((kept + broken) / 2.0).floor(),
        };
    }
    let unit = if open { "arrivals per second" } else { "users at once" };
    if kept == 0.0 {
        writeln!(stdout(), "\nNot even the smallest load meets both targets.")?;
    } else {
        writeln!(stdout(), "\n{} meets both targets up to {} {unit}.", system.name, load_text(kept, open))?;
    }
    Ok(())
}

/// Whether the objectives are met at the 95th percentile in the median run.
fn holds(system: &System, setting: &Setting, size: f64, repeats: u32, slo: &Slo) -> Result<bool, Failure> {
    let open = setting.load.rate.is_some();
    let (mut ttft, mut itl) = (Vec::new(), Vec::new());
    let mut lost = 0;
    for repeat in 0..repeats {
        let mut load = setting.load.repeated(repeat as usize);
        if open {
            load.rate = Some(size);
        } else {
            load.users = size as usize;
        }
        let what = format!("{} at {}", system.name, load_text(size, open));
        let run = runs::once(system, setting, &setting.scripts(&load), &what)?;
        lost += run.summary.failed + run.summary.overloaded;
        ttft.push(run.summary.ttft_ms.p95);
        itl.push(run.summary.itl_ms.p95);
    }
    let (ttft, itl) = (Spread::of(&ttft).median, Spread::of(&itl).median);
    let kept = lost == 0 && ttft <= slo.ttft_ms && itl <= slo.itl_ms;
    let ms = |ms: f64| short_millis(std::time::Duration::from_secs_f64(ms / 1e3));
    writeln!(
        stdout(),
        "{:>8}  first token p95 {:>8} ms  between tokens p95 {:>8} ms  {}",
        load_text(size, open),
        ms(ttft),
        ms(itl),
        if kept { "met" } else { "missed" }
    )?;
    Ok(kept)
}

fn load_text(size: f64, open: bool) -> String {
    if open { format!("{size:.2}") } else { format!("{size}") }
}
