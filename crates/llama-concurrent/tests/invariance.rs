//! Sequences that are decoded together get the bits that they get alone, in every architecture for which that is promised.

#![allow(missing_docs)]

use std::path::Path;

use llama_concurrent::{Completion, Engine, EngineConfig, KvType, Prompt, Request, SamplingParams, Strategy, Token};
use llama_concurrent_gguf::TensorType;
use llama_concurrent_gguf_synth::{Parts, write_architecture};
use llama_concurrent_llama::{ROW_BY_ROW, tensors_of};

const N_VOCAB: i32 = 500;

/// Eight bits for 32 weights, as in Q8_0.
fn quantised(weights: &[u8]) -> Vec<u8> {
    let floats: Vec<f32> = weights.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    floats
        .chunks(32)
        .flat_map(|block| {
            let largest = block.iter().fold(0.0f32, |most, weight| most.max(weight.abs()));
            let scale = half::f16::from_f32(largest / 127.0);
            let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            let values = block.iter().map(move |weight| (weight * inverse).round() as i8 as u8);
            scale.to_le_bytes().into_iter().chain(values).collect::<Vec<_>>()
        })
        .collect()
}

/// A tiny model with all matrices in Q8_0, except routers of experts, which are floats.
fn write_model(name: &str, path: &Path) {
    write_architecture(name, 7, path, tensors_of).expect("a tiny model");
    let mut parts = Parts::read(path).expect("what was written");
    for tensor in &mut parts.tensors {
        let is_matrix = tensor.dims.len() > 1 && tensor.dims[0].is_multiple_of(32) && tensor.name.ends_with("weight");
        let is_matrix = is_matrix && !["norm", "_inp"].iter().any(|part| tensor.name.contains(part));
        if is_matrix && tensor.tensor_type == TensorType::F32 {
            tensor.data = quantised(&tensor.data);
            tensor.tensor_type = TensorType::Q8_0;
        }
    }
    std::fs::write(path, parts.encode()).expect("it can be written");
}

fn prompt(index: usize) -> Vec<Token> {
    (0..5 + index * 47 % 150).map(|at| ((at * 37 + index * 101) as Token) % N_VOCAB).collect()
}

fn request(index: usize) -> Request {
    let params =
        SamplingParams::default().max_tokens(8).temperature(1.0).seed(index as u32).ignore_eos(true).logprobs(5);
    Request::new(Prompt::Tokens(prompt(index))).params(params)
}

fn assert_same(name: &str, alone: &Completion, together: &Completion) {
    assert_eq!(alone.tokens, together.tokens, "{name}");
    assert_eq!(alone.logprobs, together.logprobs, "{name}, bit by bit");
}

#[test]
fn company_threads_chunks_and_reuse_change_no_bit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ROW_BY_ROW {
        let path = folder.path().join(format!("{name}.gguf"));
        write_model(name, &path);
        for kv_type in [KvType::F16, KvType::F32].into_iter().take(if name == "llama" { 2 } else { 1 }) {
            let mut first: Option<Vec<Completion>> = None;
            // Chunks of 32 and of 24 tokens.
            for (threads, slots, n_batch, prefix_reuse) in [(1, 1, 64, false), (2, 4, 24, true), (3, 2, 64, true)] {
                let config = EngineConfig::default().threads(threads).slots(slots).n_batch(n_batch).pin(false);
                let config = config.prefix_reuse(prefix_reuse).n_ctx(512).reproducible(true);
                let engine = Engine::load(&path, config.type_k(kv_type).type_v(kv_type)).expect("it loads");
                if engine.stats().kernels == "off" {
                    println!("skipped: no kernels on this machine");
                    return;
                }
                let stats = engine.stats();
                assert_eq!(stats.strategy, Strategy::Batched, "{name}: {:?}", stats.products);
                assert_eq!(stats.kernels_share(), 1.0, "{name}: {:?}", stats.products);
                // The second time, beginnings are there already.
                for _ in 0..2 {
                    let found = engine.run_all((0..4).map(request).collect(), |_, _| ());
                    let found: Vec<Completion> = found.into_iter().map(|one| one.expect("generated")).collect();
                    let first = first.get_or_insert_with(|| found.clone());
                    first.iter().zip(&found).for_each(|(first, found)| assert_same(name, first, found));
                }
            }
        }
    }
}
