//! With drafts every request gets what it would get without, bit for bit.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use llama_concurrent::{
    Completion, Constraint, Engine, EngineConfig, ErrorKind, FinishReason, Request, SamplingParams, Speculation,
    Strategy,
};
use serde_json::json;

fn model(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models").join(name)
}

fn config(slots: usize, speculation: Speculation) -> EngineConfig {
    let config = EngineConfig::default().strategy(Strategy::Batched).slots(slots).n_ctx(768).threads(1);
    config.speculation(speculation)
}

fn demo(slots: usize, speculation: Speculation) -> Engine {
    Engine::load(model("demo.gguf"), config(slots, speculation)).expect("the demo model loads")
}

/// With itself as its draft model.
fn mirrored(slots: usize) -> Engine {
    let draft = model("demo.gguf").to_string_lossy().into_owned();
    Engine::load(model("demo.gguf"), config(slots, Speculation::Draft).draft_model(draft)).expect("both load")
}

/// Whether this machine has the kernels that results without regard to other rows need.
fn has_kernels(engine: &Engine) -> bool {
    let has = engine.stats().kernels != "off";
    if !has {
        eprintln!("skipped: ggml's kernels sum in another order with more rows");
    }
    has
}

fn story(i: usize) -> String {
    let name = ["Tom", "Lily", "Max", "Anna", "Ben"][i % 5];
    let animal = ["fox", "cat", "dog", "bird"][i / 5 % 4];
    format!(
        "Once upon a time there was a {animal} named {name}. {name} liked to play in the garden. One day {name} the {animal} \
         found a red ball. {name} liked to play with the red ball. One day {name} the {animal}"
    )
}

fn schema() -> Constraint {
    let person = json!({"type": "object", "required": ["name", "animal", "colour"], "properties": {
        "name": {"type": "string", "maxLength": 8}, "animal": {"enum": ["fox", "cat", "dog", "bird"]},
        "colour": {"enum": ["red", "blue", "green"]},
    }});
    Constraint::JsonSchema(json!({"type": "array", "items": person, "minItems": 3, "maxItems": 5}).to_string())
}

/// Requests of many kinds: greedy and random, with and without constraints, penalties, ends of all sorts.
fn requests(n: usize, n_tokens: u32) -> Vec<Request> {
    let of = |i: usize| {
        let plain = SamplingParams::default().max_tokens(n_tokens).seed(i as u32);
        let wild = plain.clone().temperature(1.0).top_k(0).top_p(1.0).min_p(0.0);
        let params = match i % 10 {
            0 => plain.ignore_eos(true).logprobs(2),
            1 => wild.ignore_eos(true),
            2 => wild.top_p(0.9).logprobs(1),
            3 => plain.stop(["red ball", "."]).min_tokens(4),
            4 => plain.constraint(schema()),
            5 => wild.constraint(schema()).repetition_penalty(1.1),
            6 => plain.repetition_penalty(1.2).presence_penalty(0.3),
            7 => wild.mirostat(2u32).ignore_eos(true),
            8 => wild.dry_multiplier(0.8).post_sampling_probs(true).logprobs(3),
            _ => plain.temperature(0.7),
        };
        Request::new(story(i)).params(params)
    };
    (0..n).map(of).collect()
}

fn run(engine: &Engine, requests: Vec<Request>) -> Vec<Completion> {
    engine.run_all(requests, |_, _| ()).into_iter().map(|done| done.expect("generated")).collect()
}

fn compare(found: &[Completion], wanted: &[Completion], how: &str) {
    assert_eq!(found.len(), wanted.len());
    for (i, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert_eq!(found.text, wanted.text, "request {i}, {how}");
        assert_eq!(found.tokens, wanted.tokens, "request {i}, {how}");
        assert_eq!((found.finish.reason, found.finish.stop), (wanted.finish.reason, wanted.finish.stop), "{i}, {how}");
        // All of them would be a long message.
        let differs = found.logprobs.iter().zip(&wanted.logprobs).position(|(found, wanted)| found != wanted);
        assert!(differs.is_none(), "request {i}, {how}: the probability of token {differs:?} has other bits");
    }
}

/// Both ways to draft, alone and beside fifteen others, against an engine that never does.
fn same_with_and_without(n: usize, n_tokens: u32) {
    let off = demo(4, Speculation::Off);
    if !has_kernels(&off) {
        return;
    }
    let wanted = run(&off, requests(n, n_tokens));
    assert_eq!(off.stats().totals.drafted_tokens, 0);
    drop(off);
    let tokens: usize = wanted.iter().map(|done| done.tokens.len()).sum();
    for (slots, speculation) in [
        (1, Speculation::Auto),
        (4, Speculation::Auto),
        (1, Speculation::Lookup),
        (3, Speculation::Lookup),
        (16, Speculation::Lookup),
    ] {
        let engine = demo(slots, speculation);
        compare(&run(&engine, requests(n, n_tokens)), &wanted, &format!("{speculation}, {slots} slots"));
        let totals = engine.stats().totals;
        eprintln!(
            "{speculation}, {slots} slots: {tokens} tokens, {} of {} drafted ones came, in {} calls",
            totals.accepted_tokens, totals.drafted_tokens, totals.decode.calls
        );
        let n_output: usize = wanted.iter().map(|done| done.finish.timings.n_output_tokens).sum();
        assert_eq!(totals.output_tokens, n_output as u64);
        // With sixteen there is no room, until most have ended.
        let has_room = slots < 16 && speculation == Speculation::Lookup;
        assert!(!has_room || totals.accepted_tokens > 0, "{speculation}, {slots} slots");
    }
    for slots in [1, 4] {
        let engine = mirrored(slots);
        compare(&run(&engine, requests(n, n_tokens)), &wanted, &format!("draft, {slots} slots"));
        let totals = engine.stats().totals;
        eprintln!("draft, {slots} slots: {} of {} came", totals.accepted_tokens, totals.drafted_tokens);
        // It is as good as the model, random numbers included; only what a text's end cuts off is in vain.
        assert!(totals.accepted_tokens * 10 > totals.drafted_tokens * 9, "{slots} slots: {totals:?}");
    }
}

#[test]
fn what_is_generated_is_the_same() {
    same_with_and_without(30, 60);
}

/// The same with 100,000 tokens, which takes minutes.
#[test]
#[ignore = "takes minutes"]
fn what_is_generated_is_the_same_for_five_hundred_requests() {
    same_with_and_without(500, 300);
}

#[test]
fn a_draft_model_has_to_fit() {
    let load = |draft: &str, speculation| {
        let config = config(1, speculation).draft_model(model(draft).to_string_lossy().into_owned());
        Engine::load(model("demo.gguf"), config).expect_err("it does not fit").to_string()
    };
    let other = load("tools.gguf", Speculation::Auto);
    assert!(other.contains("vocabulary") && other.contains("same family"), "{other}");
    assert!(load("nothing.gguf", Speculation::Auto).contains("nothing.gguf"));
    let none = Engine::load(model("demo.gguf"), config(1, Speculation::Draft)).expect_err("there is none").to_string();
    assert!(none.contains("draft_model"), "{none}");
    let engine = demo(1, Speculation::Auto);
    let params = SamplingParams::default().speculation(Speculation::Draft);
    let refused = engine.generate("Once", params).expect_err("there is none");
    assert_eq!(*refused.kind(), ErrorKind::InvalidRequest);
    assert!(refused.to_string().contains("draft model"), "{refused}");
}

#[test]
fn the_progress_of_a_load_covers_both_models() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = told.clone();
    let progress = move |share: f32| {
        listener.lock().unwrap().push(share);
        true
    };
    let with_draft = || config(1, Speculation::Draft).draft_model(model("demo.gguf").to_string_lossy().into_owned());
    drop(Engine::load(model("demo.gguf"), with_draft().progress(Arc::new(progress))).expect("both load"));
    let told = told.lock().unwrap();
    assert!(told.is_sorted() && told.last() == Some(&1.0), "{told:?}");
    // Between the two, which are of one size.
    let stopped = with_draft().progress(Arc::new(|share: f32| share <= 0.5));
    let error = Engine::load(model("demo.gguf"), stopped).expect_err("it was stopped");
    assert_eq!(*error.kind(), ErrorKind::LoadCancelled);
}

#[test]
fn a_request_may_ask_for_drafts_and_hears_of_them() {
    let engine = demo(2, Speculation::Off);
    let params = SamplingParams::default().max_tokens(80).ignore_eos(true);
    let plain = engine.generate(story(0), params.clone()).unwrap();
    assert_eq!(plain.finish.timings.n_drafted_tokens, 0);
    let drafted = engine.generate(story(0), params.clone().speculation(Speculation::Lookup)).unwrap();
    let timings = &drafted.finish.timings;
    assert!(timings.n_drafted_tokens > 0 && timings.n_accepted_tokens <= timings.n_drafted_tokens);
    assert_eq!((timings.n_output_tokens, timings.itl.len()), (80, 79));
    assert_eq!(drafted.finish.reason, FinishReason::Length);
    let totals = engine.stats().totals;
    assert_eq!(totals.drafted_tokens, timings.n_drafted_tokens as u64);
    assert_eq!(totals.accepted_tokens, timings.n_accepted_tokens as u64);
    let none = engine.generate(story(0), params.speculation(Speculation::Lookup).draft_max(0u32)).unwrap();
    assert_eq!(none.finish.timings.n_drafted_tokens, 0);
    if has_kernels(&engine) {
        assert_eq!(drafted.tokens, plain.tokens);
        assert_eq!(none.tokens, plain.tokens);
    }
}

#[test]
fn a_cancel_or_a_slow_reader_within_drafts_harms_nobody() {
    let engine = demo(2, Speculation::Lookup);
    let params = SamplingParams::default().max_tokens(300).ignore_eos(true);
    let wanted = engine.generate(story(1), params.clone()).unwrap();
    for n in [1, 7, 40] {
        let mut reader = engine.submit(Request::new(story(2)).params(params.clone())).unwrap();
        assert!((0..n).all(|_| reader.next_event().is_some()));
        drop(reader);
        let done = engine.generate(story(1), params.clone()).unwrap();
        if has_kernels(&engine) {
            assert_eq!(done.tokens, wanted.tokens);
        }
    }
    // Its buffer is full before the text is over, and everything comes nevertheless.
    let reader = engine.submit(Request::new(story(1)).params(params)).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(reader.wait().unwrap().tokens.len(), 300);
}
