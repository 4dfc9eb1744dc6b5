//! Engines beside others that want the same processors: what they compute does not change, and everyone gets on.

use std::path::PathBuf;

use llama_concurrent::{Completion, Engine, EngineConfig, Request, SamplingParams, WaitPolicy};

fn model() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/demo.gguf")
}

fn engine(config: EngineConfig) -> Engine {
    let config = config.slots(4).n_ctx(512);
    Engine::load(model(), config).expect("the demo model loads")
}

fn params(max_tokens: u32) -> SamplingParams {
    SamplingParams::default().max_tokens(max_tokens).ignore_eos(true).logprobs(3)
}

/// Short and long prompts at once.
fn requests() -> Vec<Request> {
    let long = "The keeper of the light walked down to the sea and back. ".repeat(12);
    let prompts = ["Once upon a time", &long, "A fox", "The old fisherman mended his net"];
    prompts.into_iter().map(|prompt| Request::new(prompt).params(params(40))).collect()
}

fn run(engine: &Engine) -> Vec<Completion> {
    engine.run_all(requests(), |_, _| ()).into_iter().map(|result| result.expect("generated")).collect()
}

/// The log probabilities tell apart what the tokens do not.
fn assert_equal(a: &[Completion], b: &[Completion]) {
    for (a, b) in a.iter().zip(b) {
        assert_eq!(a.tokens, b.tokens);
        assert_eq!(a.logprobs, b.logprobs, "bit by bit");
    }
}

#[test]
fn how_threads_wait_changes_no_bit() {
    for threads in [1, 2, 3] {
        let with = |wait_policy| {
            let engine =
                engine(EngineConfig::default().threads(threads).pin(false).reproducible(true).wait_policy(wait_policy));
            (run(&engine), engine.stats())
        };
        let (active, stats) = with(WaitPolicy::Active);
        assert_eq!(stats.totals.passive, 0);
        let (passive, stats) = with(WaitPolicy::Passive);
        assert_eq!(stats.totals.passive, stats.workers, "{threads} threads");
        assert_equal(&active, &passive);
        assert_equal(&active, &with(WaitPolicy::Auto).0);
    }
}

#[test]
fn engines_that_share_processors_all_get_on() {
    let config = || EngineConfig::default().threads(4).reproducible(true);
    // Two that share, one that takes turns with all, and one that never spins.
    let policies = [WaitPolicy::Auto, WaitPolicy::Auto, WaitPolicy::Active, WaitPolicy::Passive];
    let engines = policies.map(|policy| engine(config().wait_policy(policy)));
    let alone = run(&engines[0]);
    std::thread::scope(|scope| {
        for engine in &engines {
            scope.spawn(|| {
                for _ in 0..2 {
                    assert_equal(&run(engine), &alone);
                }
            });
        }
        // And one that is loaded meanwhile, whose progress function uses another.
        scope.spawn(|| {
            let other = engines[1].clone();
            let progress = move |_| other.generate("A boat", params(2)).is_ok();
            let late = engine(config().progress(std::sync::Arc::new(progress)));
            assert_equal(&run(&late), &alone);
        });
    });
    assert!(engines.iter().all(|engine| engine.stats().totals.running == 0));
}

#[test]
fn engines_that_are_loaded_at_once_wait_for_each_other() {
    let slow = || {
        std::thread::sleep(std::time::Duration::from_millis(1));
        true
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let config = EngineConfig::default().threads(2).progress(std::sync::Arc::new(move |_| slow()));
            scope.spawn(|| assert!(engine(config).generate("A boat", params(2)).is_ok()));
        }
    });
}

#[test]
fn streams_that_nobody_reads_do_not_hold_up_others() {
    let engine = engine(EngineConfig::default().slots(2).stream_buffer(4));
    let submit = |prompt: &str| engine.submit(Request::new(prompt).params(params(60))).expect("submitted");
    let alone: Vec<Vec<i32>> = ["One", "Two", "Three"].map(|prompt| submit(prompt).wait().unwrap().tokens).into();
    let mut streams: Vec<_> = ["One", "Two", "Three"].map(submit).into();
    // The last one first: it waits for a slot that only unread ones have.
    while let Some(stream) = streams.pop() {
        assert_eq!(stream.wait().unwrap().tokens, alone[streams.len()]);
    }
}

#[test]
fn a_hundred_unread_streams_leave_the_slots_to_those_who_read() {
    let config = EngineConfig::default().stream_buffer(2).max_queued_requests(200);
    let engine = engine(config);
    let submit = |i: usize| engine.submit(Request::new(format!("{i} men")).params(params(30))).expect("submitted");
    let unread: Vec<_> = (0..100).map(submit).collect();
    let read: Vec<_> = (0..20).map(submit).collect();
    let tokens: Vec<Vec<i32>> = read.into_iter().map(|stream| stream.wait().unwrap().tokens).collect();
    assert!(engine.stats().totals.parked > 0, "somebody gave his slot up");
    for (i, stream) in unread.into_iter().enumerate().take(20) {
        assert_eq!(stream.wait().unwrap().tokens, tokens[i], "and goes on where he was");
    }
}
