//! Where an engine's threads and memory really are, on whatever machine this runs.

use std::path::PathBuf;

use llama_concurrent::{Engine, EngineConfig, ErrorKind, PlacementPolicy, Replicate, SamplingParams, WaitPolicy};
use llama_concurrent_topology::{Machine, plan};

fn load(config: EngineConfig) -> llama_concurrent::Result<Engine> {
    let model = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/demo.gguf");
    Engine::load(model, config.n_ctx(256))
}

fn text(engine: &Engine) -> String {
    let params = SamplingParams::default().max_tokens(24).temperature(0.0);
    engine.generate("Once upon a time", params).unwrap().text
}

#[test]
fn threads_are_kept_where_the_plan_says() {
    let machine = Machine::detect();
    let one = vec![machine.usable_cores().next().unwrap().allowed[0]];
    for config in [
        EngineConfig::default(),
        EngineConfig::default().cpus(one.clone()),
        EngineConfig::default().pin(false).cpus(one),
        EngineConfig::default().placement(PlacementPolicy::L3).replicate(Replicate::Never),
        EngineConfig::default().placement(PlacementPolicy::None),
        EngineConfig::default().workers(2).slots(4),
    ] {
        // Beside busy programs, threads that wait passively would be bound to no core of their own.
        let engine = load(config.clone().wait_policy(WaitPolicy::Active)).unwrap();
        assert!(!text(&engine).is_empty());
        let (stats, placement) = (engine.stats(), engine.placement());
        let planned = plan(&machine, &config, None).unwrap();
        assert_eq!(placement.workers.len(), planned.workers.len());
        assert_eq!((stats.weight_copies, stats.per_worker.len()), (placement.copies().len(), stats.workers));
        for (worker, plan) in stats.per_worker.iter().zip(&placement.workers) {
            assert_eq!(worker.cpus, plan.cpus);
            assert!(cfg!(not(target_os = "linux")) || worker.affinity.len() == plan.threads, "{worker:?}");
            assert_ne!(worker.affinity_holds(), Some(false), "{worker:?}");
            assert_eq!(worker.strayed_threads(), 0);
            if plan.one_core_each {
                assert!(worker.affinity.iter().all(|cpus| cpus.len() == 1), "{worker:?}");
            }
            let shares = [worker.local_weights, worker.local_kv].into_iter().flatten();
            assert!(shares.into_iter().all(|share| (0.0..=1.0).contains(&share)));
        }
    }
}

#[test]
fn what_cannot_be_had_is_refused_before_anything_is_loaded() {
    for config in [
        EngineConfig::default().cpus(vec![60_000]),
        EngineConfig::default().nodes(vec![60_000]),
        EngineConfig::default().cpus(vec![]),
    ] {
        assert_eq!(*load(config).unwrap_err().kind(), ErrorKind::InvalidConfig);
    }
}

#[test]
fn too_many_threads_are_lowered_with_one_warning() {
    let engine = load(EngineConfig::default().threads(4096)).unwrap();
    let stats = engine.stats();
    assert!(stats.threads <= Machine::detect().usable_cores().count());
    let warnings = engine.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("4096 threads were asked for"), "{warnings:?}");
}
