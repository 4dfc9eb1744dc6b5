//! Streams that decode all the time, and when each of their tokens came.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use llama_concurrent::{Engine, Event, Request, Result, SamplingParams, Speculation};

/// After a change, before something is measured: longer than any engine takes to notice it.
pub(crate) const SETTLE: Duration = Duration::from_millis(1200);

/// After that, what has not begun counts as it is.
const START: Duration = Duration::from_secs(5);

/// Tokens of a generation. Without an end the faster of two measurements would soon have the longer contexts to attend to.
const LENGTH: u32 = 100;

/// Generations that follow each other without a pause, and when each token came.
pub(crate) struct Streams {
    times: Vec<Arc<Mutex<Vec<Instant>>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Streams {
    pub(crate) fn start(engine: &Engine, count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let times: Vec<Arc<Mutex<Vec<Instant>>>> = (0..count).map(|_| Arc::default()).collect();
        let threads = times.iter().enumerate().map(|(stream, times)| {
            let (engine, times, stop) = (engine.clone(), times.clone(), stop.clone());
            std::thread::spawn(move || read(&engine, stream, &times, &stop))
        });
        Self { threads: threads.collect(), times, stop }
    }

    /// Waits until all have begun, or one failed, but not for ever: beside many others it can take minutes.
    pub(crate) fn wait_for_first_tokens(&self) {
        let end = Instant::now() + START;
        let has_begun = |times: &Mutex<Vec<Instant>>| !lock(times).is_empty();
        let are_ready =
            || self.times.iter().all(|times| has_begun(times)) || self.threads.iter().any(JoinHandle::is_finished);
        while !are_ready() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn stop(self) -> Result<Written> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a reader does not panic")?;
        }
        Ok(Written { times: self.times.iter().map(|times| std::mem::take(&mut *lock(times))).collect() })
    }
}

/// When each token of each stream came.
pub(crate) struct Written {
    times: Vec<Vec<Instant>>,
}

/// How fast streams went in some time.
pub(crate) struct Pace {
    /// Of all streams.
    pub(crate) tokens_per_second: f64,
    /// Between two tokens of a stream; the whole time if no stream had two.
    pub(crate) longest_gap: Duration,
}

impl Written {
    pub(crate) fn within(&self, begin: Instant, end: Instant) -> Pace {
        let inside = |times: &Vec<Instant>| -> Vec<Instant> {
            times.iter().copied().filter(|&time| begin <= time && time <= end).collect()
        };
        let times: Vec<Vec<Instant>> = self.times.iter().map(inside).collect();
        let tokens: usize = times.iter().map(Vec::len).sum();
        let gap = times.iter().flat_map(|times| times.windows(2)).map(|pair| pair[1] - pair[0]).max();
        let seconds = (end - begin).as_secs_f64();
        Pace { tokens_per_second: tokens as f64 / seconds, longest_gap: gap.unwrap_or(end - begin) }
    }
}

fn read(engine: &Engine, stream: usize, times: &Mutex<Vec<Instant>>, stop: &AtomicBool) -> Result<()> {
    let mut seed = stream as u32;
    while !stop.load(Ordering::Relaxed) {
        let params = SamplingParams::default().max_tokens(LENGTH).ignore_eos(true).seed(seed);
        // How often drafts hit is chance, and not what is measured here.
        let params = params.speculation(Speculation::Off);
        let request = Request::new(format!("Stream number {stream} begins here")).params(params);
        let mut generation = engine.submit(request)?;
        while !generation.is_finished() && !stop.load(Ordering::Relaxed) {
            if let Some(Event::Delta(delta)) = generation.next_within(Duration::from_millis(50))
                && delta.token.is_some()
            {
                lock(times).push(Instant::now());
            }
        }
        seed = seed.wrapping_add(1);
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use llama_concurrent::EngineConfig;

    #[test]
    fn a_pace_counts_what_came_inside_and_the_longest_gap_within_a_stream() {
        let begin = Instant::now();
        let at = |milliseconds| begin + Duration::from_millis(milliseconds);
        let written = Written { times: vec![vec![at(0), at(10), at(40)], vec![at(5), at(90), at(400)], vec![]] };
        let pace = written.within(at(5), at(105));
        assert_eq!((pace.tokens_per_second, pace.longest_gap), (40.0, Duration::from_millis(85)));
        let pace = written.within(at(200), at(300));
        assert_eq!((pace.tokens_per_second, pace.longest_gap), (0.0, Duration::from_millis(100)), "nothing came");
    }

    #[test]
    fn streams_write_until_they_are_stopped() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo.gguf");
        let engine = Engine::load(model, EngineConfig::default().slots(2).threads(2)).unwrap();
        let streams = Streams::start(&engine, 2);
        // More than one generation of each.
        let have_gone_on = |streams: &Streams| streams.times.iter().all(|times| lock(times).len() > LENGTH as usize);
        while !have_gone_on(&streams) {
            assert!(!streams.threads.iter().any(JoinHandle::is_finished), "a reader has ended early");
            std::thread::sleep(Duration::from_millis(5));
        }
        let written = streams.stop().unwrap();
        assert!(written.times.iter().all(|times| times.is_sorted()));
    }
}
