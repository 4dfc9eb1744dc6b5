//! The wrapper on the demo model: KV is copied exactly, and invalid calls are refused instead of asserted on.

mod aborts;

use std::path::Path;

use llama_concurrent_scheduler::{CallKind, EmbedCall, EmbedPart, Row, SlotId};
use llama_concurrent_types::{SamplingParams, Strategy, Token};

use llama_concurrent_kernels::{Mode, install};

use super::*;

const SHAPE: PoolShape = PoolShape { contexts: 1, slots: 4, n_ctx: 256, n_batch: 64 };

fn backend() -> LlamaBackend {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo.gguf");
    let config = EngineConfig::default().strategy(Strategy::Batched);
    let model = Arc::new(Model::load(&path, &config, None).expect("the demo model loads"));
    let plan = WorkerPlan::anywhere(1);
    LlamaBackend::new(model, None, SHAPE, &config, &plan).expect("a small pool")
}

fn row(seq: usize, token: Token, pos: usize, sample: bool) -> Row {
    Row { seq, token, pos, sample: sample.then_some(seq), score: None }
}

fn prefill(backend: &mut LlamaBackend, seq: usize, tokens: &[Token]) {
    let rows: Vec<_> = tokens.iter().enumerate().map(|(pos, &token)| row(seq, token, pos, false)).collect();
    backend.contexts[0].decode(&rows, &backend.threads).expect("prefilled");
}

/// Logits after one more row, computed alone so that the shape of the call is always the same.
fn logits_after(backend: &mut LlamaBackend, seq: usize, token: Token, pos: usize) -> Vec<f32> {
    let context = &mut backend.contexts[0];
    context.decode(&[row(seq, token, pos, true)], &backend.threads).expect("decoded");
    context.logits(0).expect("logits were asked for").to_vec()
}

#[test]
fn a_copied_prefix_is_the_prefix_bit_by_bit() {
    let mut backend = backend();
    let prompt: Vec<Token> = (0..50).map(|i| 260 + i * 3).collect();
    prefill(&mut backend, 0, &prompt);
    prefill(&mut backend, 3, &[300, 301, 302]);
    // A chain of copies within one plan, the last over a slot that held something else.
    let slot = |seq| SlotId { context: 0, seq };
    backend.apply(&Op::Copy { src: slot(0), dst: slot(1), keep: 40 });
    backend.apply(&Op::Copy { src: slot(1), dst: slot(3), keep: 30 });
    backend.apply(&Op::Truncate { slot: slot(0), keep: 30 });

    let expected = logits_after(&mut backend, 0, 270, 30);
    assert_eq!(logits_after(&mut backend, 3, 270, 30), expected);
    backend.apply(&Op::Truncate { slot: slot(1), keep: 30 });
    assert_eq!(logits_after(&mut backend, 1, 270, 30), expected);
    assert_ne!(logits_after(&mut backend, 1, 271, 31), expected);
}

#[test]
fn sequences_that_changed_places_go_on_bit_by_bit() {
    let mut backend = backend();
    let slot = |seq| SlotId { context: 0, seq };
    let one: Vec<Token> = (0..50).map(|i| 260 + i * 3).collect();
    let other: Vec<Token> = (0..20).map(|i| 900 - i * 7).collect();
    prefill(&mut backend, 0, &one);
    prefill(&mut backend, 1, &other);
    let expected = (logits_after(&mut backend, 0, 270, 50), logits_after(&mut backend, 1, 270, 20));
    backend.apply(&Op::Truncate { slot: slot(0), keep: 50 });
    backend.apply(&Op::Truncate { slot: slot(1), keep: 20 });

    // With another, and with slots that hold nothing: 0 to 2, 1 to 3.
    backend.apply(&Op::Swap { a: slot(0), b: slot(1) });
    backend.apply(&Op::Swap { a: slot(1), b: slot(2) });
    backend.apply(&Op::Swap { a: slot(0), b: slot(3) });
    assert_eq!(logits_after(&mut backend, 2, 270, 50), expected.0);
    assert_eq!(logits_after(&mut backend, 3, 270, 20), expected.1);
    for empty in 0..2 {
        let context = &mut backend.contexts[0];
        assert!(context.decode(&[row(empty, 270, 1, true)], &backend.threads).is_err(), "it holds nothing");
        context.decode(&[row(empty, 270, 0, true)], &backend.threads).expect("it starts anew");
    }
}

#[test]
fn log_probabilities_are_those_of_the_model_whatever_the_sampling() {
    let mut backend = backend();
    let raw = logits_after(&mut backend, 0, 300, 0);
    let total: f64 = raw.iter().map(|&logit| f64::from(logit).exp()).sum();
    let expected = |token: Token| f64::from(raw[token as usize]) - total.ln();
    let mut by_likelihood: Vec<Token> = (0..raw.len() as Token).collect();
    by_likelihood.sort_by(|&a, &b| raw[b as usize].total_cmp(&raw[a as usize]));

    let plain = SamplingParams::default().logprobs(5);
    let biased = plain.clone().logit_bias(vec![(by_likelihood[0], -50.0), (by_likelihood[7], 60.0)]);
    let penalised = plain.clone().frequency_penalty(9.0).repetition_penalty(2.0);
    let sampled = plain.clone().temperature(2.0).top_k(3).seed(5);
    let none = plain.clone().logprobs(0);
    for (key, params) in [plain, biased, penalised, sampled, none].into_iter().enumerate() {
        let n_top = params.logprobs.unwrap() as usize;
        let begin = Op::Begin {
            key,
            params: Arc::new(params),
            history: vec![by_likelihood[0]; 3],
            matcher: None,
            drafts: false,
        };
        let rows = vec![Row { seq: 1, token: 300, pos: 0, sample: Some(key), score: None }];
        let call = Call { context: 0, kind: CallKind::Decode, rows };
        let empty = Op::Truncate { slot: SlotId { context: 0, seq: 1 }, keep: 0 };
        let sampled = backend
            .run(&StepPlan { ops: vec![empty, begin], call: Some(call), ..StepPlan::default() })
            .sampled
            .unwrap();
        let [Sampled::Token { token, logprobs: Some(logprobs), last: false }] = &sampled[..] else {
            panic!("{sampled:?}")
        };
        match key {
            0 => assert_eq!(*token, by_likelihood[0]),
            1 => assert_eq!(*token, by_likelihood[7], "the bias decides"),
            2 => assert_ne!(*token, by_likelihood[0], "it was there three times"),
            _ => {}
        }
        assert!((f64::from(logprobs.logprob) - expected(*token)).abs() < 1e-4, "{logprobs:?}");
        let top: Vec<Token> = logprobs.top.iter().map(|one| one.token).collect();
        assert_eq!(top, by_likelihood[..n_top]);
        assert!(logprobs.top.iter().all(|one| (f64::from(one.logprob) - expected(one.token)).abs() < 1e-4));
    }
}

fn embed(backend: &mut LlamaBackend, computed: usize, tokens: &[Token]) -> Result<Vec<Vec<f32>>, CallError> {
    let embed = Some(EmbedCall { parts: vec![EmbedPart { computed, tokens: tokens.to_vec() }], ranks: false });
    backend.run(&StepPlan { embed, ..StepPlan::default() }).vectors.expect("a call to embed")
}

#[test]
fn a_text_is_embedded_in_parts_as_in_one() {
    let mut backend = backend();
    let tokens: Vec<Token> = (0..50).map(|i| 260 + i * 3).collect();
    let whole = embed(&mut backend, 0, &tokens).unwrap();
    assert_eq!((whole.len(), whole[0].len()), (50, backend.model.width()));
    let (first, rest) = tokens.split_at(19);
    let mut parts = embed(&mut backend, 0, first).unwrap();
    prefill(&mut backend, 2, &tokens);
    parts.extend(embed(&mut backend, 19, rest).unwrap());
    let difference = whole.iter().flatten().zip(parts.iter().flatten()).map(|(a, b)| (a - b).abs());
    assert!(difference.fold(0.0, f32::max) < 1e-3);
    assert_ne!(whole[3], whole[4]);
    assert!(embed(&mut backend, 7, rest).is_err(), "a gap in the positions");
    assert!(embed(&mut backend, 0, &[1 << 20]).is_err(), "no such token");
}

#[test]
fn wrong_calls_are_refused_with_words() {
    let mut backend = backend();
    prefill(&mut backend, 0, &[300, 301]);
    let many: Vec<_> = (0..65).map(|pos| row(1, 300, pos, false)).collect();
    let wrong: [(&str, Vec<Row>); 6] = [
        ("no rows", vec![]),
        ("too many rows", many),
        ("no such sequence", vec![row(4, 300, 0, true)]),
        ("a gap in the positions", vec![row(0, 300, 3, true)]),
        ("a position twice", vec![row(0, 300, 1, true)]),
        ("no such token", vec![row(0, 1 << 20, 2, true)]),
    ];
    for (what, rows) in wrong {
        assert!(backend.contexts[0].decode(&rows, &backend.threads).is_err(), "{what}");
    }
    assert!(backend.contexts[0].decode(&[row(0, 300, 2, false)], &backend.threads).is_ok(), "still usable");
    assert!(backend.contexts[0].logits(0).is_none(), "no logits where none were asked for");
}

#[test]
fn a_plan_is_carried_out_as_a_whole() {
    let mut backend = backend();
    let params = Arc::new(SamplingParams::default());
    let plan = StepPlan {
        ops: vec![Op::Begin { key: 5, params, history: vec![], matcher: None, drafts: false }],
        call: Some(Call {
            context: 0,
            kind: CallKind::Prefill,
            rows: vec![
                Row { seq: 2, token: 300, pos: 0, sample: None, score: None },
                Row { seq: 2, token: 301, pos: 1, sample: Some(5), score: None },
            ],
        }),
        ..StepPlan::default()
    };
    let sampled = backend.run(&plan).sampled.expect("computed");
    assert!(matches!(sampled[..], [Sampled::Token { token, .. }] if (token as usize) < backend.model.table().len()));
    backend.run(&StepPlan { ops: vec![Op::End { key: 5 }], ..StepPlan::default() });
    assert!(backend.samplers[5].is_none());
}

/// What stands for the logits behind each row of some sequences, which are computed in calls of `n_rows` rows each, and cut back
/// by `n_back` of them after every call.
fn bits(sequences: &[Vec<Token>], n_rows: usize, n_back: usize) -> Vec<Vec<u64>> {
    let shape = PoolShape { slots: 3, n_ctx: 768, ..SHAPE };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo.gguf");
    let config = EngineConfig::default().strategy(Strategy::Batched);
    let model = Arc::new(Model::load(&path, &config, None).expect("the demo model loads"));
    let mut backend = LlamaBackend::new(model, None, shape, &config, &WorkerPlan::anywhere(1)).expect("a small pool");
    let length = sequences[0].len();
    let mut all = vec![vec![0; length]; sequences.len()];
    let mut from = 0;
    while from < length {
        let rows: Vec<Row> = (0..sequences.len())
            .flat_map(|seq| (from..(from + n_rows).min(length)).map(move |pos| (seq, pos)))
            .map(|(seq, pos)| row(seq, sequences[seq][pos], pos, true))
            .collect();
        let context = &mut backend.contexts[0];
        context.decode(&rows, &backend.threads).expect("decoded");
        for (index, row) in rows.iter().enumerate() {
            let logits = context.logits(index).expect("logits were asked for");
            let hash =
                logits.iter().fold(1u64, |hash, x| (hash ^ u64::from(x.to_bits())).wrapping_mul(0x100_0000_01b3));
            let known = &mut all[row.seq][row.pos];
            assert!(*known == 0 || *known == hash, "row {} of {n_rows} gets other bits", row.pos);
            *known = hash;
        }
        let keep = (from + n_rows).min(length).max(from + 1 + n_back) - n_back;
        (0..sequences.len()).for_each(|seq| context.truncate(seq, keep));
        from = keep.max(from + 1);
    }
    all
}

#[test]
fn a_row_gets_the_same_bits_whatever_is_in_its_call() {
    if install(Mode::Auto).level.is_none() {
        return;
    }
    let text = |seed: usize| (0..600).map(|i| (260 + (i * i * (seed + 3) + i * 7 + seed) % 700) as Token).collect();
    let sequences: Vec<Vec<Token>> = (0..3).map(text).collect();
    let alone: Vec<_> = sequences.iter().flat_map(|one| bits(std::slice::from_ref(one), 1, 0)).collect();
    for (n_rows, n_back) in [(1, 0), (5, 0), (5, 3), (2, 1), (4, 2)] {
        let together = bits(&sequences, n_rows, n_back);
        for (seq, (found, wanted)) in together.iter().zip(&alone).enumerate() {
            let wrong: Vec<usize> = (0..found.len()).filter(|&pos| found[pos] != wanted[pos]).collect();
            assert!(
                wrong.is_empty(),
                "sequence {seq}, {n_rows} rows, {n_back} back: {} rows such as {:?}",
                wrong.len(),
                &wrong[..wrong.len().min(9)]
            );
        }
    }
    for n_rows in [2, 3, 7, 16] {
        let found = bits(&sequences[..1], n_rows, n_rows / 2);
        let wrong: Vec<usize> = (0..600).filter(|&pos| found[0][pos] != alone[0][pos]).collect();
        assert!(
            wrong.is_empty(),
            "alone, {n_rows} rows: {} rows such as {:?}",
            wrong.len(),
            &wrong[..wrong.len().min(9)]
        );
    }
}

#[test]
fn a_sequence_that_moved_leaves_no_gap_among_its_cells() {
    let slot = |seq| SlotId { context: 0, seq };
    let tokens: Vec<Token> = (0..90).map(|i| 260 + i * i % 700).collect();
    // What moves out is a little longer than what moves in, and calls of several rows look for free cells from where it ended.
    let go_on = |moves: bool| {
        let mut backend = backend();
        prefill(&mut backend, 0, &tokens[..50]);
        prefill(&mut backend, 2, &tokens[..56]);
        let seq = if moves { 2 } else { 0 };
        if moves {
            backend.apply(&Op::Swap { a: slot(0), b: slot(2) });
        }
        for from in (50..85).step_by(5) {
            let rows: Vec<Row> = (from..from + 5).map(|pos| row(seq, tokens[pos], pos, false)).collect();
            backend.contexts[0].decode(&rows, &backend.threads).expect("decoded");
        }
        logits_after(&mut backend, seq, tokens[85], 85)
    };
    assert_eq!(go_on(true), go_on(false));
}
