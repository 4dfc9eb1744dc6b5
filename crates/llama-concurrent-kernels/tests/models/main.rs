//! Whole models through llama.cpp with the kernels on: compared with the same weights in single precision, and against
//! what ggml makes of them.
//!
//! Single precision is reference enough: its own error is a thousandth of that of activations quantised to eight bits.

#![allow(unsafe_code)] // It calls llama.cpp itself.
#![cfg(target_arch = "x86_64")]

mod demo;
mod llama;

use demo::{write_adapter, write_model};
use llama::{Cache, Model, kernels_are_here, tokens_of};
use llama_concurrent_kernels::{Mode, WeightFormat, install};
use std::{path::PathBuf, sync::Mutex};
use tempfile::TempDir;

/// Attention kernels are switched for the whole process.
static SWITCH: Mutex<()> = Mutex::new(());

/// The demo model with all weights of a kind, and the same with the values of those weights.
struct Files {
    _folder: TempDir,
    quantised: PathBuf,
    values: PathBuf,
    adapter: PathBuf,
}

impl Files {
    fn new(kind: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [quantised, values, adapter] = ["q.gguf", "f.gguf", "lora.gguf"].map(|name| folder.path().join(name));
        write_model(&quantised, kind, false);
        write_model(&values, kind, true);
        write_adapter(&adapter);
        Self { _folder: folder, quantised, values, adapter }
    }
}

/// Root mean square of the differences, relative to the reference.
fn error(result: &[f32], reference: &[f32]) -> f64 {
    let square = |v: f32| f64::from(v) * f64::from(v);
    let wrong: f64 = result.iter().zip(reference).map(|(a, b)| square(a - b)).sum();
    (wrong / reference.iter().map(|v| square(*v)).sum::<f64>()).sqrt()
}

fn perplexity(logits: &[f32], tokens: &[i32], n_vocab: usize) -> f64 {
    let rows = logits.chunks_exact(n_vocab);
    // The last row of a window would foretell the first token of the next.
    let scored: Vec<f64> = rows
        .zip(tokens.iter().skip(1))
        .enumerate()
        .filter(|(row, _)| row % llama::WINDOW != llama::WINDOW - 1)
        .map(|(_, (row, next))| {
            let most = row.iter().copied().fold(f32::MIN, f32::max);
            let sum: f64 = row.iter().map(|logit| f64::from(logit - most).exp()).sum();
            sum.ln() - f64::from(row[*next as usize] - most)
        })
        .collect();
    (scored.iter().sum::<f64>() / scored.len() as f64).exp()
}

fn best(row: &[f32]) -> usize {
    (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).expect("a vocabulary")
}

/// Where the likeliest token is another than with ggml, the two were closer than ggml's own error.
fn check_choices(ours: &[f32], stock: &[f32], reference: &[f32], n_vocab: usize) -> usize {
    let rows = ours.chunks_exact(n_vocab).zip(stock.chunks_exact(n_vocab)).zip(reference.chunks_exact(n_vocab));
    rows.filter(|((ours, stock), reference)| {
        let (mine, theirs) = (best(ours), best(stock));
        let wrong = stock.iter().zip(*reference).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let gap = stock[theirs] - stock[mine];
        assert!(gap <= 2.0 * wrong, "logits {gap} apart were swapped; ggml is wrong by up to {wrong}");
        mine != theirs
    })
    .count()
}

#[test]
fn logits_choices_and_perplexity_are_those_of_ggml_in_every_format() {
    let _guard = SWITCH.lock();
    if !kernels_are_here() {
        return;
    }
    let mut squares = [0.0; 2];
    // Of the formats with a codebook one stands for all: they differ by their books, and ggml takes long to search those.
    let quantised = |format: &&WeightFormat| !format.is_float && (!format.has_codebook || format.name == "IQ3_S");
    for &WeightFormat { ggml_type: kind, name, .. } in install(Mode::Auto).formats.iter().filter(quantised) {
        let files = Files::new(kind);
        let tokens = tokens_of(&files.values, 4 * llama::WINDOW);
        let run = |path, ours| Model::load(path, ours).logits(&tokens, Cache::F16, None);
        let reference = run(&files.values, false);
        let (ours, stock) = (run(&files.quantised, true), run(&files.quantised, false));
        let n_vocab = reference.len() / tokens.len();
        let errors = [error(&ours, &reference), error(&stock, &reference)];
        let other = check_choices(&ours, &stock, &reference, n_vocab);
        let [p, q] = [&ours, &stock].map(|logits| perplexity(logits, &tokens, n_vocab));
        println!(
            "{name}: errors {errors:.5?}, {other} of {} choices other, perplexity {p:.4}, ggml {q:.4}",
            tokens.len()
        );
        assert!(errors[0] < 1.1 * errors[1], "{name}: ours is wrong by {errors:?}");
        assert!((p / q - 1.0).abs() < 0.005, "{name}: perplexity {p}, with ggml {q}");
        squares.iter_mut().zip(errors).for_each(|(sum, error)| *sum += error * error);
    }
    assert!(squares[0] < squares[1], "over all formats, ours is no worse: {squares:?}");
}

#[test]
fn adapters_add_to_packed_weights() {
    let _guard = SWITCH.lock();
    if !kernels_are_here() {
        return;
    }
    for kind in [llama_cpp_sys_2::GGML_TYPE_Q4_0, llama_cpp_sys_2::GGML_TYPE_Q4_K] {
        let files = Files::new(kind);
        let tokens = tokens_of(&files.values, llama::WINDOW);
        let run = |path, ours| Model::load(path, ours).logits(&tokens, Cache::F16, Some(&files.adapter));
        let reference = run(&files.values, false);
        let [ours, stock] = [true, false].map(|ours| error(&run(&files.quantised, ours), &reference));
        let without = Model::load(&files.quantised, true).logits(&tokens, Cache::F16, None);
        println!("type {kind}: {ours:.5}, ggml {stock:.5}, without the adapter {:.5}", error(&without, &reference));
        assert!(ours < 1.1 * stock, "type {kind}: ours is wrong by {ours}, ggml by {stock}");
        assert!(error(&without, &reference) > 5.0 * ours, "the adapter changes little");
    }
}

#[test]
fn embeddings_are_those_of_ggml() {
    let _guard = SWITCH.lock();
    if !kernels_are_here() {
        return;
    }
    for kind in [llama_cpp_sys_2::GGML_TYPE_Q8_0, llama_cpp_sys_2::GGML_TYPE_Q6_K] {
        let files = Files::new(kind);
        let tokens = tokens_of(&files.values, 100);
        let run = |path, ours| Model::load(path, ours).embedding(&tokens);
        let reference = run(&files.values, false);
        let [ours, stock] = [true, false].map(|ours| error(&run(&files.quantised, ours), &reference));
        println!("type {kind}: {ours:.6}, ggml {stock:.6}");
        assert!(ours < 1.25 * stock, "type {kind}: ours is wrong by {ours}, ggml by {stock}");
    }
}

#[test]
fn a_quantised_cache_is_read_as_well_as_by_ggml() {
    let _guard = SWITCH.lock();
    if !kernels_are_here() {
        return;
    }
    let files = Files::new(llama_cpp_sys_2::GGML_TYPE_Q8_0);
    let tokens = tokens_of(&files.values, 2 * llama::WINDOW);
    let reference = Model::load(&files.values, false).logits(&tokens, Cache::F16, None);
    let run = |ours| Model::load(&files.quantised, ours).logits(&tokens, Cache::Q8_0, None);
    let [ours, stock] = [true, false].map(|ours| error(&run(ours), &reference));
    println!("{ours:.5}, ggml {stock:.5}");
    assert!(ours < 1.1 * stock, "ours is wrong by {ours}, ggml by {stock}");
}

#[test]
fn models_that_live_together_compute_what_they_compute_alone() {
    let _guard = SWITCH.lock();
    if !kernels_are_here() {
        return;
    }
    let kinds = [llama_cpp_sys_2::GGML_TYPE_Q4_K, llama_cpp_sys_2::GGML_TYPE_IQ4_NL, llama_cpp_sys_2::GGML_TYPE_Q4_K];
    let files = kinds.map(Files::new);
    let tokens = tokens_of(&files[0].values, llama::WINDOW);
    let run = |model: &Model| model.logits(&tokens, Cache::F16, None);
    let alone = files.each_ref().map(|files| run(&Model::load(&files.quantised, true)));
    let together = files.each_ref().map(|files| Model::load(&files.quantised, true));
    // One that leaves its weights to ggml is among them.
    let stock = Model::load_beside(&files[0].quantised, false);
    std::thread::scope(|scope| {
        let others = scope.spawn(|| run(&stock));
        let results = together.each_ref().map(|model| scope.spawn(|| run(model)));
        let results = results.map(|result| result.join().expect("computed"));
        assert!(results == alone, "logits depend on the other sequences");
        assert!(error(&others.join().expect("computed"), &alone[0]) < 0.05);
    });
    let [first, ..] = together;
    assert!(run(&first) == alone[0], "the end of others changed a model");
}
