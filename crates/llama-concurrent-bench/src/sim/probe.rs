//! Measurements of the machine without a model: memory, barriers, sampling.

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
use llama_concurrent_llama::sample_fn;
use llama_concurrent_types::TokenTable;

/// Much larger than any cache.
const READ_BYTES: usize = 256 << 20;

/// GB/s that `threads` threads read together from separate memory: the best of several tries.
pub(super) fn bandwidth(threads: usize) -> f64 {
    let elements = READ_BYTES / threads / 8;
    let (start, tries) = (Barrier::new(threads), 12);
    let slowest_of = |times: Vec<Vec<f64>>, turn: usize| times.iter().map(|own| own[turn]).fold(0.0, f64::max);
    let times: Vec<Vec<f64>> = thread::scope(|scope| {
        let read = || {
            let memory = vec![1_u64; elements];
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
    (elements * 8 * threads) as f64 / best * 1e-9
}

/// Sums in lanes, so that addition is not the limit.
fn sum(elements: &[u64]) -> u64 {
    let mut lanes = [0_u64; 32];
    for chunk in elements.chunks_exact(32) {
        lanes.iter_mut().zip(chunk).for_each(|(lane, word)| *lane = lane.wrapping_add(*word));
    }
    lanes.iter().fold(0, |sum, lane| sum.wrapping_add(*lane))
}

/// Seconds of a barrier of two threads that spin, as in ggml.
pub(super) fn barrier() -> f64 {
    const ROUNDS: usize = 200;
    const BATCHES: usize = 30;
    let arrived = AtomicUsize::new(0);
    let meet = |round: usize| {
        arrived.fetch_add(1, Ordering::AcqRel);
        let mut spins = 0_u32;
        while arrived.load(Ordering::Acquire) < 2 * (round + 1) {
            spin_loop();
            // If both share one core, yield to the other.
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

/// Seconds to sample one token greedily.
pub(super) fn sampling_time(vocab: &TokenTable) -> f64 {
    let mut sample = sample_fn(&SamplingParams::default(), vocab);
    let logits: Vec<f32> = (0..vocab.len()).map(|i| (i.wrapping_mul(2_654_435_761) % 1009) as f32).collect();
    let once = |_| {
        let mut own = logits.clone();
        let begin = Instant::now();
        black_box(sample(black_box(&mut own)));
        begin.elapsed()
    };
    let mut times: Vec<Duration> = (0..50).map(once).collect();
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}
