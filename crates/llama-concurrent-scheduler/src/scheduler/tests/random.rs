//! Random acts on tiny pools: whatever happens, nothing is lost or said twice.

use std::{collections::HashMap, sync::Arc, time::Duration};

use llama_concurrent_types::{Pooling, Priority, SamplingParams, Speculation, Token};
use proptest::prelude::*;

use super::{
    super::*,
    rig::{Heard, Rig, Setup, alone_repeating, prompt, scored_alone},
};
use crate::sim::SimWindow;

/// What may happen to a worker between two steps.
#[derive(Clone, Debug)]
enum Act {
    Submit {
        prefix: usize,
        len: usize,
        max_tokens: u32,
        score_from: Option<usize>,
        priority: Priority,
        queue_ms: Option<u64>,
        total_ms: Option<u64>,
    },
    Embed {
        len: usize,
        priority: Priority,
        total_ms: Option<u64>,
    },
    Cancel(usize),
    Pause(usize),
    Resume(usize),
    Steps(usize),
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let deadline = || prop::option::weighted(0.2, 1u64..3000);
    let score_from = prop::option::weighted(0.3, 0usize..21);
    prop_oneof![
        4 => (0usize..3, 1usize..20, 1u32..12, score_from, any::<bool>(), deadline(), deadline()).prop_map(
            |(prefix, len, max_tokens, score_from, batch, queue_ms, total_ms)| Act::Submit {
                prefix,
                len,
                max_tokens,
                score_from,
                priority: if batch { Priority::Batch } else { Priority::Interactive },
                queue_ms,
                total_ms,
            }
        ),
        1 => (1usize..64, any::<bool>(), deadline()).prop_map(|(len, batch, total_ms)| Act::Embed {
            len,
            priority: if batch { Priority::Batch } else { Priority::Interactive },
            total_ms,
        }),
        1 => (0usize..64).prop_map(Act::Cancel),
        2 => (0usize..64).prop_map(Act::Pause),
        1 => (0usize..64).prop_map(Act::Resume),
        4 => (1usize..8).prop_map(Act::Steps),
        1 => (1u64..2000).prop_map(Act::Wait),
    ]
}

/// Runs random acts on a tiny pool, then lets everything end and checks that nothing was lost or said twice.
fn survive(setup: Setup, fail_every: Option<u64>, acts: &[Act]) {
    let (whole, repeats) = (setup.whole_texts.is_some(), setup.repeats);
    let mut rig = Rig::new(Setup { n_ctx: 64, max_stall_ms: 300, ..setup });
    rig.backend.fail_every = fail_every;
    rig.backend.lose_every = fail_every.map(|n| n - 2);
    let mut submitted: Vec<(RequestId, Vec<Token>)> = Vec::new();
    let mut asked: HashMap<RequestId, usize> = HashMap::new();
    let mut embedded: Vec<(RequestId, Vec<Token>)> = Vec::new();
    let pick = |n: usize, ids: &[(RequestId, Vec<Token>)]| (!ids.is_empty()).then(|| ids[n % ids.len()].0);
    for act in acts {
        match act {
            Act::Submit { prefix, len, max_tokens, score_from, priority, queue_ms, total_ms } => {
                let id = (submitted.len() + embedded.len()) as RequestId;
                let tokens = [prompt(*prefix, 20), prompt(id as usize, *len)].concat();
                rig.heard.insert(id, Heard::default());
                let at = |ms: &Option<u64>| ms.map(|ms| rig.now + Duration::from_millis(ms));
                rig.scheduler.submit(NewSequence {
                    id,
                    prompt: tokens.clone(),
                    params: Arc::new(SamplingParams::default().max_tokens(*max_tokens)),
                    matcher: None,
                    markup: Arc::default(),
                    prefix_reuse: true,
                    score_from: *score_from,
                    report_progress: true,
                    priority: *priority,
                    submitted: rig.now,
                    queue_deadline: at(queue_ms),
                    deadline: at(total_ms),
                });
                submitted.push((id, tokens));
                asked.extend(score_from.map(|from| (id, from)));
            }
            Act::Embed { len, priority, total_ms } => {
                let id = (submitted.len() + embedded.len()) as RequestId;
                let tokens = prompt(id as usize, *len);
                let pooling = if len % 3 == 0 && whole { Pooling::Rank } else { Pooling::Mean };
                let deadline = total_ms.map(|ms| rig.now + Duration::from_millis(ms));
                rig.embed_new(id, tokens.clone(), pooling, *priority, deadline);
                embedded.push((id, tokens));
            }
            Act::Cancel(n) => {
                let now = rig.now;
                let all = if n % 4 == 0 { &embedded } else { &submitted };
                pick(*n, all).into_iter().for_each(|id| rig.scheduler.cancel(id, now));
            }
            Act::Pause(n) => {
                let now = rig.now;
                pick(*n, &submitted).into_iter().for_each(|id| rig.scheduler.set_paused(id, true, now));
            }
            Act::Resume(n) => {
                let now = rig.now;
                pick(*n, &submitted).into_iter().for_each(|id| rig.scheduler.set_paused(id, false, now));
            }
            Act::Steps(n) => (0..*n).for_each(|_| {
                rig.step();
            }),
            Act::Wait(ms) => rig.now += Duration::from_millis(*ms),
        }
        rig.scheduler.check_invariants();
    }
    submitted.iter().for_each(|&(id, _)| rig.scheduler.set_paused(id, false, rig.now));
    rig.run_until_idle();
    rig.step();
    assert!(rig.scheduler.is_empty(), "all slots free at the end");
    assert_eq!(rig.backend.live_sequences(), 0, "all samplers freed");
    assert_eq!(rig.backend.parked_sequences(), 0, "nothing is left parked");
    let totals = rig.scheduler.totals();
    assert_eq!(totals.requests.finished(), (submitted.len() + embedded.len()) as u64);
    assert_eq!((totals.running, totals.waiting), (0, 0));
    for (id, tokens) in &embedded {
        let (left_queue, results) = &rig.vectors[id];
        assert_eq!(*left_queue, 1, "each text leaves the queue once");
        assert_eq!(results.len(), 1, "one result each");
        if let Ok(embedding) = &results[0] {
            let sum: Token = tokens.iter().sum();
            if let [score] = embedding.values[..] {
                assert_eq!(score, sum as f32, "the score of its own tokens");
                continue;
            }
            let mean = [sum as f32 / tokens.len() as f32, (tokens.len() - 1) as f32 / 2.0];
            assert!(embedding.values.iter().zip(mean).all(|(a, b)| (a - b).abs() < 1e-3), "{embedding:?}, {mean:?}");
        }
    }
    for (id, tokens) in &submitted {
        let heard = &rig.heard[id];
        assert!(heard.finish.is_some(), "one terminal event each");
        assert_eq!(heard.left_queue, 1, "each request leaves the queue once");
        let expected = alone_repeating(tokens, heard.tokens.len(), repeats);
        assert_eq!(heard.tokens, expected, "the tokens of a run alone, as far as they go");
        let timings = rig.timings(*id);
        assert!(timings.n_accepted_tokens <= timings.n_drafted_tokens.min(timings.n_output_tokens + 1));
        match (asked.get(id), &heard.scored) {
            (Some(&from), Some(scored)) => assert_eq!(scored, &scored_alone(tokens, from), "and their likelihoods"),
            (Some(_), None) => assert!(heard.tokens.is_empty(), "whoever has a token has heard of the prompt"),
            (None, scored) => assert!(scored.is_none(), "nobody asked"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_acts_lose_nothing(
        contexts in 1usize..3,
        slots in 1usize..6,
        window in prop::option::of((1usize..24, 0usize..24)),
        whole_texts in prop::option::of(1usize..5),
        fail_every in prop::option::weighted(0.3, 5u64..40),
        speculation in prop::sample::select(vec![
            None,
            Some(Speculation::Off),
            Some(Speculation::Auto),
            Some(Speculation::Lookup),
            Some(Speculation::Draft),
        ]),
        draft_model in prop::option::of(0u64..9),
        repeats in prop::option::weighted(0.7, 1usize..3),
        acts in prop::collection::vec(act(), 1..80),
    ) {
        let window = window.map(|(positions, spare)| SimWindow { positions, spare });
        let setup = Setup { contexts, slots, window, whole_texts, speculation, repeats, draft_model, ..Setup::default() };
        survive(setup, fail_every, &acts);
    }
}

/// 2,000 requests with random lengths, cancels, drops, pauses and deadlines for each of 1,000 seeds, spread over the cores.
#[test]
fn two_thousand_requests_for_each_of_a_thousand_seeds() {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()) as u64;
    std::thread::scope(|scope| {
        for first in 0..threads {
            scope.spawn(move || (first..1000).step_by(threads as usize).for_each(survive_seed));
        }
    });
}

fn survive_seed(seed: u64) {
    use proptest::{
        strategy::ValueTree,
        test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
    };
    let submits = |acts: &[Act]| acts.iter().filter(|a| matches!(a, Act::Submit { .. })).count();
    let mut bytes = [0u8; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = act();
    let mut acts = Vec::new();
    while submits(&acts) < 2000 {
        let more = (0..500).map(|_| strategy.new_tree(&mut runner).unwrap().current());
        acts.extend(more);
    }
    let window = SimWindow { positions: 1 + (seed % 17) as usize, spare: (seed % 13) as usize };
    let (contexts, slots) = (1 + (seed % 2) as usize, 2 + (seed % 3) as usize);
    let window = (seed % 5 < 3).then_some(window);
    let whole_texts = (seed % 7 < 3).then_some(1 + (seed % 4) as usize);
    let modes = [None, Some(Speculation::Auto), Some(Speculation::Lookup), Some(Speculation::Draft)];
    let speculation = modes[(seed % 4) as usize];
    let draft_model = (seed % 8 < 5).then_some(seed % 9);
    let repeats = (seed % 11 < 7).then_some(1 + (seed % 2) as usize);
    let setup = Setup { contexts, slots, window, whole_texts, speculation, repeats, draft_model, ..Setup::default() };
    survive(setup, seed.is_multiple_of(4).then_some(37), &acts);
}
