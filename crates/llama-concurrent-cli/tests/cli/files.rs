//! `synth` and `inspect`.

use std::{fs, path::Path};

use crate::{Files, call, demo_model, run};

#[test]
fn a_tiny_model_of_an_architecture_runs() {
    let files = Files::new();
    let out = files.path("tiny.gguf");
    let list = call(&["synth", "--arch", "list"]).well().out;
    assert!(list.lines().any(|name| name == "gpt-oss"), "{list}");
    let told = call(&["synth", "--arch", "gpt-oss", "-o", &out]).well().out;
    assert!(told.contains("gpt-oss") && told.contains("window        16 tokens"), "{told}");
    for more in [&["--swa-full"][..], &[]] {
        run(&[&["-m", &out, "-p", "The people", "--max-tokens", "2", "--ignore-eos"][..], more].concat()).well();
    }
    call(&["synth", "--arch", "clip", "-o", &files.path("clip.gguf")]).refused(&["'clip'"]);
    call(&["synth", "--arch", "gpt-oss", "--type", "q8_0", "-o", &files.path("q8.gguf")]).refused(&["--arch"]);
    call(&["synth", "--arch", "gpt-oss"]).refused(&["--output"]);
    assert!(!Path::new(&files.path("clip.gguf")).exists());
}

#[test]
fn a_synthetic_model_is_written_inspected_and_run() {
    let files = Files::new();
    let out = files.path("small.gguf");
    let model = demo_model();
    let donor = model.to_str().expect("a path in UTF-8");
    let args = ["synth", "--preset", "smollm-135m", "--layers", "1", "--vocab", donor, "--seed", "3", "-o", &out];
    let told = call(&args).well().out;
    assert!(told.contains("1 layers, 576 wide") && told.contains("small.gguf"), "{told}");
    let first = fs::read(&out).expect("the model");

    call(&args).refused(&["small.gguf", "--force"]);
    call(&[&args[..], &["--force"]].concat()).well();
    assert!(fs::read(&out).expect("the model") == first, "equal options give equal files");

    call(&["inspect", &out]).well();
    run(&["-m", &out, "-p", "A fox", "--max-tokens", "3", "--ignore-eos"]).well();
    let names: Vec<_> = fs::read_dir(files.path("")).expect("the directory").collect();
    assert_eq!(names.len(), 1, "nothing else is left behind");
}

#[test]
fn impossible_wishes_are_refused() {
    let files = Files::new();
    let out = files.path("small.gguf");
    call(&["synth", "--preset", "smollm-135m", "--force", "-o", &files.path("")]).refused(&["directory", "model.gguf"]);
    call(&["synth", "--preset", "gpt-9", "-o", &out]).refused(&["'gpt-9'", "tinyllama-1.1b"]);
    call(&["synth", "--preset", "smollm-135m", "--type", "q3", "-o", &out]).refused(&["q3", "q4_0"]);
    call(&["synth", "--preset", "smollm-135m", "--vocab", &files.path("no.gguf"), "-o", &out]).refused(&["no.gguf"]);
    call(&["synth", "--preset", "smollm-135m", "-o", &files.path("no/where.gguf")]).refused(&["where.gguf"]);
    assert!(!Path::new(&out).exists());
}

#[test]
fn a_model_is_described() {
    let model = demo_model();
    let out = call(&["inspect", model.to_str().expect("a path in UTF-8")]).well().out;
    for word in ["architecture  llama", "with chat template", "KV cache", "16 slots", "GGUF version 3", "% ("] {
        assert!(out.contains(word), "'{word}' is missing in: {out}");
    }
}

#[test]
fn a_model_is_described_in_json() {
    let model = demo_model();
    let model = model.to_str().expect("a path in UTF-8");
    let inspect = |args: &[&str]| call(&[&["inspect", model, "--json"], args].concat()).well().json().remove(0);
    let short = inspect(&["--slots", "4", "--n-ctx", "100"]);
    assert!(short["metadata"].is_null() && short["tensors"].is_null() && short["error"].is_null());
    let per_token = short["model"]["kv_bytes_per_token"].as_f64().expect("a number");
    assert_eq!(short["memory"]["kv_bytes"].as_f64(), Some(per_token * 400.0));
    assert_eq!(short["model"]["has_chat_template"], true);
    assert!(
        short["model"]["warnings"].as_array().is_some_and(Vec::is_empty) && short["model"]["one_sequence"].is_null()
    );
    let products = short["model"]["products"].as_array().expect("products");
    let of = |ours: bool| products.iter().filter(move |share| (share["kernels"] != "ggml") == ours);
    let sum = |ours| of(ours).map(|share| share["products"].as_f64().expect("a number")).sum::<f64>();
    let share = short["model"]["kernels_share"].as_f64().expect("a number");
    assert!((share - sum(true) / (sum(true) + sum(false))).abs() < 1e-9, "{}", short["model"]);

    let long = inspect(&["--metadata", "--tensors"]);
    assert_eq!(long["metadata"]["general.architecture"], "llama");
    assert!(long["metadata"]["tokenizer.ggml.tokens"]["length"].as_u64().is_some_and(|n| n > 100));
    let tensors = long["tensors"].as_array().expect("tensors");
    let bytes: u64 = tensors.iter().map(|tensor| tensor["bytes"].as_u64().expect("bytes")).sum();
    assert_eq!(long["model"]["tensor_bytes"].as_u64(), Some(bytes));
}

#[test]
fn what_cannot_run_can_be_looked_into() {
    let files = Files::new();
    let model = files.changed_model("llama", "bogus");
    let done = call(&["inspect", &model, "--metadata"]).refused(&["bogus"]);
    assert!(done.out.contains("general.name"), "{}", done.out);
    let done = call(&["inspect", &model, "--json"]).refused(&["bogus"]);
    assert!(done.json()[0]["error"].as_str().is_some_and(|error| error.contains("bogus")));
}
