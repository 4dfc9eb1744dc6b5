//! `embed`, `rerank` and `score`.

use std::fs;

use serde_json::Value;

use crate::{Done, Files, call};

fn encoder(files: &Files) -> String {
    let path = files.path("encoder.gguf");
    call(&["synth", "--arch", "bert", "-o", &path]).well();
    path
}

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).expect("a list of numbers")
}

fn squared_length(vector: &Value) -> f64 {
    numbers(vector).iter().map(|x| x * x).sum()
}

#[test]
fn texts_become_vectors_on_lines_and_in_files() {
    let files = Files::new();
    let model = encoder(&files);
    let texts = files.write("texts.jsonl", b"\"A fox\"\n{\"text\": \"A boat\"}\n\n\"A fox\"\n");
    let embed = |more: &[&str]| -> Done {
        call(&[&["embed", "--threads", "1", "-m", &model, "--texts-file", &texts][..], more].concat())
    };
    let lines = embed(&[]).well().json();
    assert_eq!((lines.len(), numbers(&lines[0]["embedding"]).len()), (3, 256));
    assert_eq!((lines[1]["index"].as_u64(), &lines[0]["embedding"]), (Some(1), &lines[2]["embedding"]));
    assert_ne!(lines[0]["embedding"], lines[1]["embedding"]);
    assert!((squared_length(&lines[0]["embedding"]) - 1.0).abs() < 1e-3);
    let longer = embed(&["--no-normalize", "--pooling", "cls"]).well().json();
    assert!((squared_length(&longer[0]["embedding"]) - 1.0).abs() > 1e-3);
    let tokens = embed(&["--pooling", "none"]).well().json();
    assert_eq!(
        tokens[0]["embedding"].as_array().map(Vec::len),
        tokens[0]["n_prompt_tokens"].as_u64().map(|n| n as usize)
    );

    let npy = files.path("vectors.npy");
    assert_eq!(embed(&["-o", &npy]).well().out, "");
    let bytes = fs::read(&npy).expect("the file");
    assert!(bytes.starts_with(b"\x93NUMPY") && bytes.len().is_multiple_of(64));
    embed(&["--pooling", "none", "-o", &npy]).refused(&["--pooling none"]);
    let nowhere = embed(&["-o", &files.path("no/such/folder")]);
    assert!(nowhere.code == Some(1) && nowhere.err.contains("cannot write"), "{}", nowhere.err);
}

#[test]
fn a_text_that_is_too_long_has_an_error_on_its_line() {
    let files = Files::new();
    let (model, long) = (encoder(&files), "sea ".repeat(1000));
    let done = call(&["embed", "-p", "A fox", "-p", &long, "-m", &model]);
    assert_eq!(done.code, Some(2));
    let lines = done.json();
    assert!(lines[0]["embedding"].is_array() && lines[1]["error"].to_string().contains("512"), "{}", lines[1]);
}

#[test]
fn documents_are_ranked_the_best_first() {
    let files = Files::new();
    let model = encoder(&files);
    let documents = ["mice", "boats and sails", "bread"];
    let rerank = ["rerank", "-q", "A fox", "-d", documents[0], "-d", documents[1], "-d", documents[2], "-m", &model];
    let lines = call(&rerank).well().json();
    let scores: Vec<f64> = lines.iter().filter_map(|line| line["score"].as_f64()).collect();
    assert!(scores.len() == 3 && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let best = lines[0]["index"].as_u64().expect("an index") as usize;
    assert_eq!(lines[0]["text"], documents[best]);
    let best_alone = call(&[&rerank[..], &["--top-n", "1"]].concat()).well().json();
    assert_eq!(best_alone, lines[..1]);
    call(&["rerank", "-q", "A fox", "-d", "mice"]).refused(&["no head that ranks"]);
}

#[test]
fn an_encoder_generates_nothing_and_says_so() {
    let files = Files::new();
    let model = encoder(&files);
    let done = call(&["run", "-p", "A fox", "-m", &model]);
    assert!(done.code == Some(2) && done.err.contains("encoder (bert)"), "{}", done.err);
    assert!(call(&["inspect", &model]).well().out.contains("encoder"));
}

#[test]
fn continuations_are_scored() {
    let score = ["score", "-p", "Once upon a", "--continuation", " time", "--continuation", " xylophone"];
    let lines = call(&score).well().json();
    let logprob = |index: usize| lines[index]["logprob"].as_f64().expect("a number");
    assert!(logprob(0) > logprob(1) && logprob(0) < 0.0);
    let each = numbers(&lines[1]["logprobs"]);
    assert!((each.iter().sum::<f64>() - logprob(1)).abs() < 1e-3);
    assert_eq!(each.len(), lines[1]["tokens"].as_array().map_or(0, Vec::len));
}
