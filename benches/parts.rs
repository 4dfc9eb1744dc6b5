//! What the parts around the model cost: text from tokens, choosing a token, looking for a known prefix, handing a token over.
//!
//! `cargo bench -p llama-concurrent --bench parts`

use std::{
    hint::black_box,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_channel::bounded;
use llama_concurrent::{Priority, SamplingParams};
use llama_concurrent_scheduler::{
    EmbedLimits, NewSequence, Scheduler, SchedulerConfig, StepOutcome, StepPlan, text::TextStream,
};
use llama_concurrent_types::{PoolShape, TokenTable};

/// 1000 pieces, some of them parts of a character, with none, one and eight stop strings.
fn detokenizer(c: &mut Criterion) {
    let pieces: Vec<&[u8]> =
        [&b" the"[..], b" engine", b".", b" \xf0\x9f", b"\x98\x80", b"ing", b"\n", b" \xc3\xa9t\xc3\xa9"].repeat(125);
    let mut group = c.benchmark_group("detokenizer");
    group.throughput(Throughput::Elements(pieces.len() as u64));
    for n_stops in [0, 1, 8] {
        let stops: Vec<String> = (0..n_stops).map(|i| format!("\n\nEnd {i}")).collect();
        group.bench_with_input(BenchmarkId::new("stop strings", n_stops), &stops, |b, stops| {
            b.iter_batched_ref(
                || TextStream::new(stops),
                |stream| pieces.iter().map(|piece| stream.push(piece).text.len()).sum::<usize>(),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// One token by size of the vocabulary: the plain greedy choice, and the samplers that most callers ask for.
fn sampling(c: &mut Criterion) {
    let mut group = c.benchmark_group("sampling");
    for n_vocab in [32_000, 152_000] {
        let vocab = TokenTable::new((0..n_vocab).map(|token| format!(" t{token}")), vec![2]);
        // Spread over the vocabulary and without order, as logits are.
        let logits: Vec<f32> = (0..n_vocab).map(|i| ((i * 7919) % 20_011) as f32 / 1000.0).collect();
        let greedy = SamplingParams::default().temperature(0.0);
        let usual = SamplingParams::default().temperature(0.8).top_k(40).top_p(0.95);
        let nucleus = SamplingParams::default().temperature(0.8).top_k(0).top_p(0.95);
        for (name, params) in [("greedy", greedy), ("top-k 40, top-p 0.95", usual), ("top-p 0.95", nucleus)] {
            let mut sample = llama_concurrent_llama::sample_fn(&params, &vocab);
            let mut scratch = logits.clone();
            group.bench_function(BenchmarkId::new(name, n_vocab), |b| b.iter(|| black_box(sample(&mut scratch))));
        }
    }
    group.finish();
}

const STEP: Duration = Duration::from_millis(50);

fn answer(plan: &StepPlan) -> StepOutcome {
    let rows = plan.call.iter().flat_map(|call| &call.rows).filter(|row| row.sample.is_some());
    StepOutcome::new(STEP, Ok(rows.map(|row| (3 + (row.pos % 1000) as i32).into()).collect()))
}

fn request(id: u64, user: u64) -> NewSequence {
    NewSequence {
        id,
        prompt: (0..1000).map(|i| 3 + ((user * 31 + i * 7) % 900) as i32).collect(),
        params: Arc::new(SamplingParams::default().max_tokens(2)),
        matcher: None,
        markup: Arc::default(),
        prefix_reuse: true,
        score_from: None,
        report_progress: false,
        priority: Priority::Interactive,
        submitted: Duration::ZERO,
        queue_deadline: None,
        deadline: None,
    }
}

/// Planning a request of 1000 tokens while free slots hold as many conversations, one of which begins like it.
fn prefix_lookup(c: &mut Criterion) {
    let mut group = c.benchmark_group("prefix lookup");
    for slots in [8_u64, 64] {
        let config = SchedulerConfig {
            speculation: None,
            has_draft_model: false,
            shape: PoolShape { contexts: 1, slots: slots as usize, n_ctx: 2048, n_batch: 512 },
            max_stall: Duration::from_millis(200),
            batch_aging: Duration::from_secs(10),
            park_after: Duration::from_millis(250),
            prefix_reuse: true,
            window: 0,
            compact: true,
            reproducible: false,
            embed: EmbedLimits { texts: 1, rows: 512, whole: false },
        };
        let vocab = TokenTable::new((0..2000).map(|token| format!(" t{token}")), vec![2]);
        let mut scheduler = Scheduler::new(config, Arc::new(vocab));
        let mut now = Duration::ZERO;
        let mut finish = |scheduler: &mut Scheduler| {
            while scheduler.has_work() {
                let plan = scheduler.plan(now);
                now += STEP;
                let _ = scheduler.apply(answer(&plan), now);
            }
            now
        };
        (0..slots).for_each(|user| scheduler.submit(request(user, user)));
        let mut now = finish(&mut scheduler);
        let mut next = slots;
        group.bench_function(BenchmarkId::new("slots", slots), |b| {
            b.iter_custom(|iterations| {
                let mut taken = Duration::ZERO;
                for _ in 0..iterations {
                    next += 1;
                    scheduler.submit(request(next, next % slots));
                    let begun = Instant::now();
                    let plan = black_box(scheduler.plan(now));
                    taken += begun.elapsed();
                    now += STEP;
                    let _ = scheduler.apply(answer(&plan), now);
                    now = finish(&mut scheduler);
                }
                taken
            });
        });
    }
    group.finish();
}

/// There and back between two threads, each time asleep or about to be: what a token from a worker to its caller takes.
fn hand_off(c: &mut Criterion) {
    let (to, from_here) = bounded::<u64>(64);
    let (back, to_here) = bounded::<u64>(64);
    let echo = thread::spawn(move || from_here.iter().try_for_each(|value| back.send(value)));
    c.bench_function("channel hand-off, there and back", |b| {
        b.iter(|| to.send(1).ok().and_then(|()| to_here.recv().ok()));
    });
    drop(to);
    let _ = echo.join();
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = detokenizer, sampling, prefix_lookup, hand_off
}
criterion_main!(benches);
