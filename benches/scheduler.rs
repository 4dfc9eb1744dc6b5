//! What deciding costs: one plan and one apply with 64 sequences decoding, text and events included, no model.
//!
//! `cargo bench --bench scheduler`

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use llama_concurrent_scheduler::{EmbedLimits, NewSequence, Scheduler, SchedulerConfig, StepOutcome, StepPlan};
use llama_concurrent_types::{PoolShape, Priority, SamplingParams, Speculation, TokenTable};

const STEP: Duration = Duration::from_millis(50);

fn scheduler(contexts: usize, slots: usize) -> Scheduler {
    let config = SchedulerConfig {
        speculation: Some(Speculation::Auto),
        has_draft_model: false,
        shape: PoolShape { contexts, slots, n_ctx: 1 << 20, n_batch: 512 },
        max_stall: Duration::from_millis(200),
        batch_aging: Duration::from_secs(10),
        park_after: Duration::from_millis(250),
        prefix_reuse: true,
        window: 0,
        compact: true,
        reproducible: false,
        embed: EmbedLimits { texts: 1, rows: 512, whole: false },
    };
    let pieces = (0..32_000).map(|token| format!(" t{token}"));
    Scheduler::new(config, Arc::new(TokenTable::new(pieces, vec![2])))
}

/// What a backend would return: some token for each row that wants one.
fn answer(plan: &StepPlan) -> StepOutcome {
    let rows = plan.call.iter().flat_map(|call| &call.rows).filter(|row| row.sample.is_some());
    StepOutcome::new(STEP, Ok(rows.map(|row| (3 + (row.pos % 1000) as i32).into()).collect()))
}

fn step(scheduler: &mut Scheduler, now: &mut Duration) -> usize {
    let plan = scheduler.plan(*now);
    *now += STEP;
    let outcome = answer(&plan);
    scheduler.apply(outcome, *now).len()
}

/// A scheduler with all of its slots decoding and some requests waiting.
fn busy(contexts: usize, slots: usize) -> (Scheduler, Duration) {
    let mut scheduler = scheduler(contexts, slots);
    let mut now = Duration::ZERO;
    for id in 0..(contexts * slots + 100) as u64 {
        scheduler.submit(NewSequence {
            id,
            prompt: (0..48).map(|i| 3 + ((id as i32 * 31 + i * 7) % 900)).collect(),
            params: Arc::new(SamplingParams::default().stop(["END"])),
            matcher: None,
            markup: Arc::default(),
            prefix_reuse: true,
            score_from: None,
            report_progress: false,
            priority: Priority::Interactive,
            submitted: now,
            queue_deadline: None,
            deadline: Some(Duration::from_secs(1 << 30)),
        });
    }
    while scheduler.totals().decode.rows < 64 * 4 * (contexts * slots) as u64 {
        step(&mut scheduler, &mut now);
    }
    (scheduler, now)
}

fn steps(c: &mut Criterion) {
    let mut group = c.benchmark_group("scheduler step");
    for (name, contexts, slots) in [("1 x 64 batched", 1, 64), ("64 x 1 round-robin", 64, 1), ("1 x 16 batched", 1, 16)]
    {
        group.bench_function(name, |b| {
            // A fresh scheduler now and then, so that the sequences do not grow without bound.
            b.iter_batched_ref(
                || busy(contexts, slots),
                |(scheduler, now)| black_box(step(scheduler, now)),
                BatchSize::NumIterations(2000),
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = steps
}
criterion_main!(benches);
