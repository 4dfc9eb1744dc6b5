//! Fused decode by pool shape on the demo model: how many tokens per second so many sequences get together.
//!
//! `cargo bench -p llama-concurrent --bench decode`
//!
//! Each iteration generates a list of short texts to its end, prompts included, which are a tenth of the rows. The same
//! shapes with another model, and bare llama.cpp beside them: `--bench raw_loop -- MODEL`.

use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use llama_concurrent::{Engine, EngineConfig, SamplingParams, Speculation, Strategy};

const OUTPUT: u32 = 64;

fn decode(c: &mut Criterion) {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo.gguf");
    // A row for each token.
    let params = SamplingParams::default().max_tokens(OUTPUT).ignore_eos(true).speculation(Speculation::Off);
    let mut group = c.benchmark_group("decode");
    group.sample_size(20);
    for (strategy, slots) in [
        (Strategy::Sequential, 1),
        (Strategy::RoundRobin, 8),
        (Strategy::Batched, 2),
        (Strategy::Batched, 4),
        (Strategy::Batched, 8),
        (Strategy::Batched, 16),
        (Strategy::Batched, 32),
    ] {
        let config = EngineConfig::default().strategy(strategy).slots(slots).n_ctx(128);
        let engine = Engine::load(&model, config).expect("the demo model");
        let prompts: Vec<String> = (0..slots).map(|i| format!("Story {i}.")).collect();
        group.throughput(Throughput::Elements(slots as u64 * u64::from(OUTPUT)));
        group.bench_function(BenchmarkId::new(strategy.as_str(), slots), |b| {
            b.iter(|| {
                let done = engine.generate_batch(&prompts, &params, |_, _| ());
                done.into_iter().for_each(|text| drop(text.expect("generated")));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
