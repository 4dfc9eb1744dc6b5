//! The cost model against hand-made figures, and the scheduler on it: what must hold on any machine.

use std::time::Duration;

use llama_concurrent::{EngineConfig, Strategy, Token};
use llama_concurrent_gguf::{Header, ModelSummary};
use llama_concurrent_gguf_synth::{self as synth, Shape, SynthOptions};
use llama_concurrent_scheduler::{Call, CallKind, Row, sim::SimTiming};
use llama_concurrent_types::PoolShape;

use super::*;
use crate::{Load, Outcome, Record, Summary, Workload};

fn model() -> (ModelSummary, ModelCost) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let shape =
        Shape { n_embd: 256, n_ff: 512, n_head: 8, n_head_kv: 2, n_vocab: 300, ..Shape::TINYLLAMA_1_1B.clone() };
    synth::write(&SynthOptions { n_layer: Some(4), ..SynthOptions::new(shape) }, &path, &mut |_, _| {}).unwrap();
    let summary = Header::read(&path).unwrap().check_model().unwrap();
    let cost = ModelCost::new(&summary, 2.0);
    (summary, cost)
}

/// Slow enough for times of milliseconds with so small a model.
fn calibration() -> Calibration {
    let points = [(1, 0.010), (4, 0.030), (16, 0.060), (128, 0.075)];
    Calibration { core_bandwidth: 0.01, remote: 2.0, ..Calibration::by_hand(&points, 0.015).unwrap() }
}

fn tokens(text: &str) -> Vec<Token> {
    text.split_whitespace().map(|word| word.bytes().fold(7, |hash, b| (hash * 31 + Token::from(b)) % 997)).collect()
}

fn load(workload: Workload, users: usize) -> ReplayedLoad {
    let load = Load { users, requests: 2, ..Load::default() };
    ReplayedLoad::new(workload.scripts(&load, &|text| tokens(text).len()), tokens)
}

fn run(load: &ReplayedLoad, strategy: Strategy, machine: &str, placement: WorkerLayout) -> Vec<Record> {
    let (machine, calibration): (MachineSpec, _) = (machine.parse().unwrap(), calibration());
    let workers = placement.workers(&machine, machine.bandwidth(&calibration), calibration.remote);
    let slots = (strategy != Strategy::Sequential).then_some(8);
    let config = EngineConfig::default().strategy(strategy).slots(slots).n_ctx(4096);
    let shape = config.pool_shape(strategy, config.slots_of_each_worker(workers.len(), 0.0, None), 4096);
    let worker = |resources| Timing::new(model().1, &calibration, resources, shape.n_ctx);
    play(load, &Pool { workers: workers.into_iter().map(worker).collect(), config, shape })
}

fn rate(load: &ReplayedLoad, strategy: Strategy, machine: &str, placement: WorkerLayout) -> f64 {
    let records = run(load, strategy, machine, placement);
    assert!(records.iter().all(|record| record.outcome == Outcome::Done));
    Summary::of(&records, None).tokens_per_s
}

const ALL: [Strategy; 3] = [Strategy::Sequential, Strategy::RoundRobin, Strategy::Batched];

#[test]
fn every_workload_is_answered_and_always_the_same() {
    for workload in Workload::ALL {
        let load = load(workload, 5);
        for strategy in ALL {
            let records = run(&load, strategy, "2x2", WorkerLayout::Replicas);
            // Company may go on.
            let n = records.len();
            assert!(n == load.requests() || workload == Workload::MixedStall && n > load.requests(), "{workload}: {n}");
            for record in &records {
                assert_eq!(record.outcome, Outcome::Done, "{workload}");
                assert_eq!(record.pieces.len(), record.n_output_tokens);
                assert!(record.pieces.is_sorted() && record.sent <= record.pieces[0]);
            }
            let times =
                |records: &[Record]| records.iter().map(|r| (r.user, r.ended, r.pieces.clone())).collect::<Vec<_>>();
            assert_eq!(times(&records), times(&run(&load, strategy, "2x2", WorkerLayout::Replicas)));
        }
    }
}

#[test]
fn more_of_a_machine_is_never_slower() {
    let load = load(Workload::Chat, 6);
    for strategy in ALL {
        for placement in [WorkerLayout::Together, WorkerLayout::Replicas, WorkerLayout::Shared] {
            for better in [["2x4@0.01", "2x4@0.02", "2x4@0.2"], ["2x1@0.05", "2x2@0.05", "2x4@0.05"]] {
                let rates = better.map(|machine| rate(&load, strategy, machine, placement));
                // Chunks are sized by what they cost, so that schedules differ a little.
                assert!(rates.is_sorted_by(|a, b| *a <= *b * 1.02), "{strategy}, {placement:?}: {better:?} {rates:?}");
            }
        }
    }
}

#[test]
fn on_one_node_all_placements_are_one() {
    let machine: MachineSpec = "1x4@0.05".parse().unwrap();
    let workers = WorkerLayout::Together.workers(&machine, 0.05, 2.0);
    assert_eq!(workers, WorkerLayout::Replicas.workers(&machine, 0.05, 2.0));
    assert_eq!(workers, WorkerLayout::Shared.workers(&machine, 0.05, 2.0));
    assert_eq!(WorkerLayout::of(&machine), [WorkerLayout::Together]);
}

#[test]
fn copies_of_the_weights_beat_one_that_is_far_away() {
    let load = load(Workload::Strategies, 8);
    let rate = |strategy, placement| rate(&load, strategy, "2x4@0.01", placement);
    for strategy in ALL {
        assert!(rate(strategy, WorkerLayout::Replicas) > rate(strategy, WorkerLayout::Shared), "{strategy}");
    }
    // A fused decode over both nodes reads the weights once for all users, which can make up for the distance.
    assert!(rate(Strategy::RoundRobin, WorkerLayout::Replicas) > rate(Strategy::RoundRobin, WorkerLayout::Together));
}

#[test]
fn fused_decodes_are_faster_than_turns() {
    let load = load(Workload::Strategies, 8);
    let [sequential, round_robin, batched] = ALL.map(|strategy| rate(&load, strategy, "1x2", WorkerLayout::Together));
    assert!(batched > 1.5 * round_robin && (0.9..1.1).contains(&(round_robin / sequential)));
}

fn call(kind: CallKind, rows: usize, pos: usize) -> Call {
    let row = |seq| Row { seq, token: 1, pos, sample: (kind == CallKind::Decode).then_some(seq), score: None };
    Call { context: 0, kind, rows: (0..rows).map(row).collect() }
}

#[test]
fn a_call_takes_what_its_formula_says() {
    let (summary, cost) = model();
    let weights = (summary.work.body_weights + summary.work.output_weights) as f64;
    let bytes = (summary.work.body_bytes + summary.work.output_bytes) as f64;
    let quick = Calibration { sampling_us: 0.0, barrier_us: 0.0, loss_per_doubling: 0.0, ..calibration() };
    let quick = Calibration { decode: Rates { attention: 1e9, ..quick.decode.clone() }, ..quick };
    let seconds = |threads, bandwidth: f64, call: &Call, parts| {
        let resources = WorkerResources { threads, nodes: 1, weights: bandwidth, kv: 1e9 };
        let fast = Calibration { core_bandwidth: 1e9, ..quick.clone() };
        Timing::new(cost, &fast, resources, 64).call(call, parts).as_secs_f64()
    };
    let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-3, "{a} {b}");
    // Arithmetic: 4 rows at 0.03 GMAC/s of a core.
    close(seconds(1, 1e9, &call(CallKind::Decode, 4, 0), 1), 4.0 * weights / 0.03e9);
    close(seconds(2, 1e9, &call(CallKind::Decode, 4, 0), 1), 2.0 * weights / 0.03e9);
    // Between the points, a line: 8 rows lie one third of the way from 4 to 16.
    let line = 4.0 / 0.03 + (16.0 / 0.06 - 4.0 / 0.03) / 3.0;
    close(seconds(1, 1e9, &call(CallKind::Decode, 8, 0), 1), line * weights * 1e-9);
    // Memory: all weights once, or once for each part.
    close(seconds(64, 0.001, &call(CallKind::Decode, 4, 0), 1), bytes / 0.001e9);
    close(seconds(64, 0.001, &call(CallKind::Decode, 4, 0), 2), 2.0 * bytes / 0.001e9);
    // A prefill without an output row does not pass the output matrix.
    close(
        seconds(1, 1e9, &call(CallKind::Prefill, 16, 0), 1) / seconds(1, 1e9, &call(CallKind::Decode, 16, 0), 1),
        summary.work.body_weights as f64 / weights,
    );
}

#[test]
fn a_longer_context_takes_longer_and_barriers_cost() {
    let resources = WorkerResources { threads: 4, nodes: 1, weights: 0.05, kv: 0.05 };
    let timing = Timing::new(model().1, &calibration(), resources, 64);
    assert!(timing.call(&call(CallKind::Decode, 4, 1000), 1) > timing.call(&call(CallKind::Decode, 4, 10), 1));
    let apart = Timing::new(model().1, &calibration(), WorkerResources { nodes: 2, ..resources }, 64);
    assert!(apart.call(&call(CallKind::Decode, 1, 1), 1) > timing.call(&call(CallKind::Decode, 1, 1), 1));
    assert!(timing.copy() > Duration::ZERO);
}

#[test]
fn experts_are_read_as_far_as_rows_are_sent_to_them() {
    let mut summary = model().0;
    (summary.n_expert, summary.work.n_expert_used) = (8, 2);
    (summary.work.expert_weights, summary.work.expert_bytes) = (8_000_000, 4_000_000);
    let (with, without) = (ModelCost::new(&summary, 2.0), model().1);
    let experts = |rows| with.weight_bytes(rows) - without.weight_bytes(rows);
    assert_eq!(experts(1.0), 1_000_000.0);
    assert!(experts(2.0) < 2_000_000.0 && experts(64.0) > 3_999_000.0);
    assert_eq!(with.products(3.0, 0.0) - without.products(3.0, 0.0), 6_000_000.0);
}

#[test]
fn what_does_not_fit_is_refused_as_in_the_engine() {
    let load = load(Workload::Rag, 1);
    let shape = PoolShape { contexts: 1, slots: 1, n_ctx: 64, n_batch: 64 };
    let resources = WorkerResources { threads: 1, nodes: 1, weights: 1.0, kv: 1.0 };
    let records = play(
        &load,
        &Pool {
            config: EngineConfig::default(),
            shape,
            workers: vec![Timing::new(model().1, &calibration(), resources, 64)],
        },
    );
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|record| matches!(&record.outcome, Outcome::Failed(why) if why.contains("64"))));
}

#[test]
fn machines_are_read_and_written() {
    for text in ["1x8", "2x16", "4x16@90"] {
        assert_eq!(text.parse::<MachineSpec>().unwrap().to_string(), text);
    }
    for text in ["", "8", "0x4", "2x", "2x4@", "2x4@-1", "2x4@fast", "2x99999"] {
        let error = text.parse::<MachineSpec>().unwrap_err();
        assert!(error.contains("2x16") || error.contains("1 to") || error.contains("GB/s"), "{error}");
    }
    let calibration = Calibration { cores: 2, node_bandwidth: 40.0, ..calibration() };
    let bandwidth = |text: &str| text.parse::<MachineSpec>().unwrap().bandwidth(&calibration);
    assert_eq!(["1x1", "1x2", "1x4", "2x16", "2x16@90"].map(bandwidth), [40.0, 40.0, 80.0, 150.0, 90.0]);
}

#[test]
fn calibrations_are_saved_and_read_and_judged() {
    let good = calibration();
    let text = serde_json::to_string(&good).unwrap();
    assert_eq!(Calibration::from_json(&text), Ok(good.clone()));
    assert!(Calibration::from_json("{}").unwrap_err().contains("source"));
    let broken = Calibration { node_bandwidth: 0.0, ..good.clone() };
    assert!(Calibration::from_json(&serde_json::to_string(&broken).unwrap()).unwrap_err().contains("node_bandwidth"));
    let mut other = good;
    for (points, words) in [(&[][..], "at least one"), (&[(4, 1.0), (1, 1.0)], "order"), (&[(1, -1.0)], "above 0")] {
        assert!(other.set_rates(points).unwrap_err().contains(words), "{points:?}");
    }
}
