//! Decoding beside threads that keep the processors busy: what the engine gets, and what it costs them.

use std::{
    hint::black_box,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use llama_concurrent::{Engine, EngineConfig, Result, WaitPolicy};
use serde::Serialize;

use crate::{
    stats::Spread,
    streams::{SETTLE, Streams},
};

/// How long the engine is watched after its neighbours have gone, and in which steps.
const WATCHED: Duration = Duration::from_millis(2500);
const WATCH_STEP: Duration = Duration::from_millis(250);
/// Of what it had alone, what counts as full speed again.
const FULL_SPEED: f64 = 0.9;
/// Work of a burst, and the pause after it.
const BURST: Duration = Duration::from_millis(50);
/// Steps of a busy loop between two looks at the clock.
const STEPS: u64 = 20_000;

/// Threads that compute something of their own.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Neighbours {
    /// How many.
    pub count: usize,
    /// They compute for 50 ms and pause for 50 ms, instead of always.
    pub bursts: bool,
    /// Each is bound to a processor, one after the other.
    pub pinned: bool,
    /// Their nice value.
    pub nice: i32,
}

/// What is measured.
#[derive(Clone, Debug, Serialize)]
pub struct NeighboursSetting {
    /// Streams that decode all the time.
    pub streams: usize,
    /// One measurement.
    #[serde(skip)]
    pub time: Duration,
    /// Measurements of each kind, in turns.
    pub repeats: usize,
    /// Who is beside the engine.
    pub neighbours: Vec<Neighbours>,
}

/// Medians of one way of waiting beside some neighbours.
#[derive(Clone, Debug, Serialize)]
pub struct BesideNeighbours {
    /// How the engine's threads waited.
    pub wait_policy: &'static str,
    /// Who was beside it.
    pub neighbours: Neighbours,
    /// Output tokens per second of all streams.
    pub tokens_per_second: Spread,
    /// Of what it gets alone with active waiting, its part of the processors by the number of threads that want them.
    pub fair_share: f64,
    /// The longest time between two tokens of a stream, in milliseconds.
    pub longest_gap_ms: f64,
    /// What the neighbours got done, of what as many get done without the engine.
    pub neighbours_share: f64,
    /// Milliseconds from the end of the neighbours until the engine has nine tenths of its speed alone for a quarter of a
    /// second; `None` if it has not within two and a quarter seconds.
    pub back_after_ms: Option<f64>,
}

/// Measures every way of waiting beside all neighbours, in turns.
///
/// # Errors
/// As [`Engine::load`] and [`Engine::submit`].
pub fn beside_neighbours(
    path: &Path,
    config: &EngineConfig,
    setting: &NeighboursSetting,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<BesideNeighbours>> {
    let policies = [WaitPolicy::Active, WaitPolicy::Passive, WaitPolicy::Auto];
    let engines: Vec<Engine> = policies
        .iter()
        .map(|&wait_policy| Engine::load(path, config.clone().wait_policy(wait_policy)))
        .collect::<Result<_>>()?;
    let cores = engines[0].stats().cpus.len().max(1);
    let alone = Neighbours { count: 0, bursts: false, pinned: false, nice: 0 };
    let all: Vec<Neighbours> = std::iter::once(alone).chain(setting.neighbours.iter().copied()).collect();
    let mut runs: Vec<Vec<Sample>> = vec![Vec::new(); all.len() * policies.len()];
    let total = setting.repeats * runs.len();
    for repeat in 0..setting.repeats {
        for (place, &neighbours) in all.iter().enumerate() {
            let undisturbed = Crowd::start(neighbours).work_within(setting.time / 2);
            for (index, engine) in engines.iter().enumerate() {
                let run = place * policies.len() + index;
                runs[run].push(sample(engine, neighbours, setting, undisturbed)?);
                progress(repeat * runs.len() + run + 1, total);
            }
        }
    }
    let rate = |run: &[Sample]| Spread::of(&run.iter().map(|sample| sample.rate).collect::<Vec<_>>());
    let quiet = rate(&runs[0]).median;
    let alone: Vec<f64> = runs[..policies.len()].iter().map(|run| rate(run).median).collect();
    let lines = runs.iter().enumerate().map(|(run, samples)| {
        let neighbours = all[run / policies.len()];
        let median = |of: fn(&Sample) -> f64| Spread::of(&samples.iter().map(of).collect::<Vec<_>>()).median;
        BesideNeighbours {
            wait_policy: policies[run % policies.len()].as_str(),
            neighbours,
            tokens_per_second: rate(samples),
            fair_share: quiet * cores as f64 / (cores as f64 + neighbours.wanted()),
            longest_gap_ms: median(|sample| sample.gap.as_secs_f64() * 1000.0),
            neighbours_share: median(|sample| sample.neighbours),
            back_after_ms: back_after(samples, alone[run % policies.len()]),
        }
    });
    Ok(lines.collect())
}

impl Neighbours {
    /// Processors that they want, on average.
    fn wanted(self) -> f64 {
        self.count as f64 * if self.bursts { 0.5 } else { 1.0 }
    }
}

#[derive(Clone, Debug)]
struct Sample {
    rate: f64,
    gap: Duration,
    neighbours: f64,
    /// Tokens per second in each step after the neighbours have gone.
    after: Vec<f64>,
}

/// The median time until the rate is what it was alone again.
fn back_after(samples: &[Sample], alone: f64) -> Option<f64> {
    let step = |sample: &Sample| sample.after.iter().position(|&rate| rate >= FULL_SPEED * alone);
    let steps: Vec<f64> = samples.iter().map(|sample| step(sample).map_or(f64::INFINITY, |step| step as f64)).collect();
    let median = Spread::of(&steps).median;
    median.is_finite().then(|| median * WATCH_STEP.as_secs_f64() * 1000.0)
}

fn sample(engine: &Engine, neighbours: Neighbours, setting: &NeighboursSetting, undisturbed: f64) -> Result<Sample> {
    let crowd = Crowd::start(neighbours);
    let streams = Streams::start(engine, setting.streams);
    streams.wait_for_first_tokens();
    std::thread::sleep(SETTLE);
    let begin = Instant::now();
    let work = crowd.work_within(setting.time);
    let end = Instant::now();
    drop(crowd);
    let gone = Instant::now();
    std::thread::sleep(WATCHED);
    let written = streams.stop()?;
    let pace = written.within(begin, end);
    let steps = (WATCHED.as_millis() / WATCH_STEP.as_millis()) as u32;
    let after = (0..steps).map(|step| {
        let begin = gone + WATCH_STEP * step;
        written.within(begin, begin + WATCH_STEP).tokens_per_second
    });
    Ok(Sample {
        rate: pace.tokens_per_second,
        gap: pace.longest_gap,
        after: after.collect(),
        neighbours: if undisturbed > 0.0 { work / undisturbed } else { 1.0 },
    })
}

/// Neighbours at work, until they are dropped.
struct Crowd {
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    fn start(neighbours: Neighbours) -> Self {
        let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let threads = (0..neighbours.count)
            .map(|index| {
                let (done, stop) = (done.clone(), stop.clone());
                std::thread::spawn(move || {
                    settle(neighbours, index);
                    work(neighbours.bursts, &done, &stop);
                })
            })
            .collect();
        Self { done, stop, threads }
    }

    /// What they get done in a second, measured over some time.
    fn work_within(&self, time: Duration) -> f64 {
        let (begin, before) = (Instant::now(), self.done.load(Ordering::Relaxed));
        std::thread::sleep(time);
        (self.done.load(Ordering::Relaxed) - before) as f64 / begin.elapsed().as_secs_f64()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn work(bursts: bool, done: &AtomicU64, stop: &AtomicBool) {
    let mut begin = Instant::now();
    let mut number = 1u64;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..STEPS {
            number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        done.fetch_add(STEPS, Ordering::Relaxed);
        if bursts && begin.elapsed() >= BURST {
            std::thread::sleep(BURST);
            begin = Instant::now();
        }
    }
}

#[cfg(target_os = "linux")]
fn settle(neighbours: Neighbours, index: usize) {
    use nix::{
        sched::{CpuSet, sched_getaffinity, sched_setaffinity},
        unistd::Pid,
    };

    // On Linux a nice value is a thread's own.
    let _ = rustix::process::setpriority_process(None, neighbours.nice);
    let own = Pid::from_raw(0);
    if let (true, Ok(allowed)) = (neighbours.pinned, sched_getaffinity(own)) {
        let cpus: Vec<usize> = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu) == Ok(true)).collect();
        let mut set = CpuSet::new();
        if set.set(cpus[index % cpus.len()]).is_ok() {
            let _ = sched_setaffinity(own, &set);
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn settle(_: Neighbours, _: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_waiting_is_measured_beside_all_neighbours() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo.gguf");
        let beside = |bursts, nice| Neighbours { count: 1, bursts, pinned: bursts, nice };
        let setting = NeighboursSetting {
            streams: 2,
            time: Duration::from_millis(50),
            repeats: 1,
            neighbours: vec![beside(false, 0), beside(true, 10)],
        };
        let config = EngineConfig::default().slots(2).threads(2);
        let mut last = (0, 0);
        let lines = beside_neighbours(&model, &config, &setting, |done, total| last = (done, total)).unwrap();
        assert_eq!((lines.len(), last), (9, (9, 9)));
        assert_eq!(lines.iter().map(|line| line.neighbours.count).sum::<usize>(), 6);
        let policies: Vec<_> = lines.iter().map(|line| line.wait_policy).collect();
        assert_eq!(policies, ["active", "passive", "auto"].repeat(3));
    }

    #[test]
    fn full_speed_is_back_at_the_first_step_that_has_nine_tenths_of_it() {
        let sample = |after: &[f64]| Sample { rate: 0.0, gap: Duration::ZERO, neighbours: 1.0, after: after.to_vec() };
        let samples = [sample(&[10.0, 89.0, 91.0, 50.0]), sample(&[0.0, 0.0, 100.0, 0.0]), sample(&[100.0])];
        assert_eq!(back_after(&samples, 100.0), Some(2.0 * WATCH_STEP.as_secs_f64() * 1000.0));
        assert_eq!(back_after(&samples[..2], 110.0), None);
    }

    #[test]
    fn neighbours_that_pause_half_of_the_time_want_half_a_processor() {
        let beside = |bursts| Neighbours { count: 3, bursts, pinned: false, nice: 0 };
        assert_eq!([beside(false).wanted(), beside(true).wanted()], [3.0, 1.5]);
    }
}
