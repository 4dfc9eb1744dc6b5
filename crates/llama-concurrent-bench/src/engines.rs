//! Several engines of one process, all of them busy: what each gets of what it has alone.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use llama_concurrent::{CallTotals, Engine, EngineConfig, Result};
use serde::Serialize;

use crate::{
    stats::Spread,
    streams::{SETTLE, Streams},
};

/// What is measured.
#[derive(Clone, Debug, Serialize)]
pub struct EnginesSetting {
    /// Engines of the same model.
    pub engines: usize,
    /// Streams of each.
    pub streams: usize,
    /// One measurement.
    #[serde(skip)]
    pub time: Duration,
    /// Measurements, alone and together in turns.
    pub repeats: usize,
}

/// One engine, alone and beside the others.
#[derive(Clone, Debug, Serialize)]
pub struct OneOfSeveral {
    /// Output tokens per second of its streams while the others do nothing.
    pub alone: Spread,
    /// And while all are busy.
    pub together: Spread,
    /// Milliseconds of one decode call while the others do nothing. What is lost together and not here, is lost between calls.
    pub call_ms_alone: f64,
    /// And while all are busy.
    pub call_ms_together: f64,
    /// The longest time between two tokens of a stream while all are busy, in milliseconds.
    pub longest_gap_ms: f64,
}

/// Measures every engine alone and all at once, in turns.
///
/// # Errors
/// As [`Engine::load`] and [`Engine::submit`].
pub fn side_by_side(
    path: &Path,
    config: &EngineConfig,
    setting: &EnginesSetting,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<OneOfSeveral>> {
    let engines: Vec<Engine> =
        (0..setting.engines).map(|_| Engine::load(path, config.clone())).collect::<Result<_>>()?;
    let mut alone = vec![Vec::new(); engines.len()];
    let mut together = vec![Vec::new(); engines.len()];
    let mut gaps = vec![Vec::new(); engines.len()];
    let mut calls = vec![[Vec::new(), Vec::new()]; engines.len()];
    let total = setting.repeats * (engines.len() + 1);
    for repeat in 0..setting.repeats {
        let done = repeat * (engines.len() + 1);
        for (index, engine) in engines.iter().enumerate() {
            let found = measure(std::slice::from_ref(engine), setting)?.remove(0);
            alone[index].push(found.rate);
            calls[index][0].push(found.call_ms);
            progress(done + index + 1, total);
        }
        for (index, found) in measure(&engines, setting)?.into_iter().enumerate() {
            together[index].push(found.rate);
            calls[index][1].push(found.call_ms);
            gaps[index].push(found.gap.as_secs_f64() * 1000.0);
        }
        progress(done + engines.len() + 1, total);
    }
    let lines = (0..engines.len()).map(|index| OneOfSeveral {
        alone: Spread::of(&alone[index]),
        together: Spread::of(&together[index]),
        call_ms_alone: Spread::of(&calls[index][0]).median,
        call_ms_together: Spread::of(&calls[index][1]).median,
        longest_gap_ms: Spread::of(&gaps[index]).median,
    });
    Ok(lines.collect())
}

/// What one engine did.
struct Found {
    rate: f64,
    gap: Duration,
    call_ms: f64,
}

fn measure(engines: &[Engine], setting: &EnginesSetting) -> Result<Vec<Found>> {
    let streams: Vec<Streams> = engines.iter().map(|engine| Streams::start(engine, setting.streams)).collect();
    streams.iter().for_each(Streams::wait_for_first_tokens);
    std::thread::sleep(SETTLE);
    let begin = Instant::now();
    let before: Vec<CallTotals> = engines.iter().map(|engine| engine.stats().totals.decode).collect();
    std::thread::sleep(setting.time);
    let after: Vec<CallTotals> = engines.iter().map(|engine| engine.stats().totals.decode).collect();
    let end = Instant::now();
    let paces = streams.into_iter().zip(before.iter().zip(&after)).map(|(streams, (before, after))| {
        let pace = streams.stop()?.within(begin, end);
        let (busy, calls) = (after.busy - before.busy, after.calls - before.calls);
        let call_ms = busy.as_secs_f64() * 1000.0 / calls.max(1) as f64;
        Ok(Found { rate: pace.tokens_per_second, gap: pace.longest_gap, call_ms })
    });
    paces.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_is_measured_alone_and_beside_the_others() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo.gguf");
        let setting = EnginesSetting { engines: 2, streams: 2, time: Duration::from_millis(200), repeats: 1 };
        let mut last = (0, 0);
        let config = EngineConfig::default().slots(2).threads(2);
        let lines = side_by_side(&model, &config, &setting, |done, total| last = (done, total)).unwrap();
        assert_eq!((lines.len(), last), (2, (3, 3)));
    }
}
