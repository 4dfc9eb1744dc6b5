//! Gigabytes a second that threads read from memory when they do nothing else: what a single sequence cannot exceed, since
//! each token reads all weights. `read [THREADS [ROUNDS]]`, on pages of the system's usual size and on huge ones.

use std::{env, hint::black_box, thread, time::Instant};

const LEN: usize = 1 << 30;

/// One sum in text; the compiler makes several vectors of it.
fn read(bytes: &[u8]) -> u64 {
    bytes.as_chunks().0.iter().fold(0, |sum, word| sum ^ u64::from_ne_bytes(*word))
}

fn main() {
    let mut numbers = env::args().skip(1).filter_map(|arg| arg.parse::<usize>().ok());
    let threads = numbers.next().unwrap_or(2).max(1);
    let rounds = numbers.next().unwrap_or(9).max(1);
    for huge in [false, true] {
        let mut map = memmap2::MmapOptions::new().len(LEN).map_anon().expect("a GiB of memory");
        #[cfg(target_os = "linux")]
        map.advise(if huge { memmap2::Advice::HugePage } else { memmap2::Advice::NoHugePage }).expect("Linux");
        map.fill(1);
        let mut speeds: Vec<f64> = (0..rounds)
            .map(|_| {
                let start = Instant::now();
                thread::scope(|scope| {
                    for part in map.chunks(LEN.div_ceil(threads)) {
                        scope.spawn(|| black_box(read(part)));
                    }
                });
                LEN as f64 / start.elapsed().as_secs_f64() / 1e9
            })
            .collect();
        speeds.sort_by(f64::total_cmp);
        let pages = if huge { "huge" } else { "usual" };
        println!(
            "{threads} threads, {pages} pages: median {:.1}, best {:.1} GB/s",
            speeds[rounds / 2],
            speeds[rounds - 1]
        );
    }
}
