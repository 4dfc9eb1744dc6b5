//! Probes of the machine that need no model: memory, barriers, choosing a token.

use std::{
    hint::{black_box, spin_loop},
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use llama_concurrent::SamplingParams;
use llama_concurrent_llama::chooser;
use llama_concurrent_types::TokenTable;

/// Far more than any cache.
const READ_BYTES: usize = 256 << 20;

/// GB/s that so many threads read together, each memory of its own: the best of some tries.
pub(super) fn bandwidth(threads: usize) -> f64 {
    let words = READ_BYTES / threads / 8;
    let (start, tries) = (Barrier::new(threads), 12);
    let slowest_of = |times: Vec<Vec<f64>>, turn: usize| times.iter().map(|own| own[turn]).fold(0.0, f64::max);
    let times: Vec<Vec<f64>> = thread::scope(|scope| {
        let read = || {
            let memory = vec![1_u64; words];
            (0..tries)
                .map(|_| {
                    start.wait();
                    let begin = Instant::now();
                    black_box(sum(black_box(&memory)));
                    begin.elapsed().as_secs_f64()
                })
                .collect::<Vec<f64>>()
        };
        let readers: Vec<_> = (0..threads).map(|_| scope.spawn(read)).collect();
        readers.into_iter().map(|reader| reader.join().unwrap_or_else(|_| vec![f64::INFINITY; tries])).collect()
    });
    let best = (0..tries).map(|turn| slowest_of(times.clone(), turn)).fold(f64::INFINITY, f64::min);
    (words * 8 * threads) as f64 / best * 1e-9
}

/// In lanes, so that adding is no limit.
fn sum(words: &[u64]) -> u64 {
    let mut lanes = [0_u64; 32];
    for chunk in words.chunks_exact(32) {
        lanes.iter_mut().zip(chunk).for_each(|(lane, word)| *lane = lane.wrapping_add(*word));
    }
    lanes.iter().fold(0, |sum, lane| sum.wrapping_add(*lane))
}

/// Seconds until two threads have met, as ggml's meet: by spinning.
pub(super) fn barrier() -> f64 {
    const ROUNDS: usize = 200;
    const BATCHES: usize = 30;
    let arrived = AtomicUsize::new(0);
    let meet = |round: usize| {
        arrived.fetch_add(1, Ordering::AcqRel);
        let mut spins = 0_u32;
        while arrived.load(Ordering::Acquire) < 2 * (round + 1) {
            spin_loop();
            // Where both share one core, the other must be let in.
            spins += 1;
            if spins.is_multiple_of(1 << 16) {
                thread::yield_now();
            }
        }
    };
    let batches = || {
        let batch = |batch: usize| {
            let begin = Instant::now();
            (batch * ROUNDS..(batch + 1) * ROUNDS).for_each(meet);
            begin.elapsed().as_secs_f64() / ROUNDS as f64
        };
        (0..BATCHES).map(batch).collect::<Vec<f64>>()
    };
    let times = thread::scope(|scope| {
        scope.spawn(batches);
        batches()
    });
    crate::stats::quantile(&times, 0.5)
}

/// Seconds to choose one token of so many, greedily.
pub(super) fn choice(vocab: &TokenTable) -> f64 {
    let mut choose = chooser(&SamplingParams::default(), vocab);
    let logits: Vec<f32> = (0..vocab.len()).map(|i| (i.wrapping_mul(2_654_435_761) % 1009) as f32).collect();
    let once = |_| {
        let mut own = logits.clone();
        let begin = Instant::now();
        black_box(choose(black_box(&mut own)));
        begin.elapsed()
    };
    let mut times: Vec<Duration> = (0..50).map(once).collect();
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}
