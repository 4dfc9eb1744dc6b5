//! Texts between two others, on the demo model with tokens for their parts.

use std::path::PathBuf;

use llama_concurrent::Token;
use llama_concurrent_gguf::Value as Metadata;
use llama_concurrent_gguf_synth::Parts;
use llama_concurrent_server::ServerConfig;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Server, demo, engine_config, start, start_model};

// Tokens of the demo that are no text: they serve as marks here.
const BOS: Token = 0;
const MIDDLE: Token = 1;
const PREFIX: Token = 2;
const SUFFIX: Token = 3;
const FILE: Token = 4;

fn with_marks(marks: &[(&str, Token)], config: ServerConfig) -> (TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("model.gguf");
    let mut parts = Parts::read(&demo()).unwrap();
    for (name, token) in marks {
        parts.set(&format!("tokenizer.ggml.{name}_token_id"), Metadata::U32(*token as u32));
    }
    std::fs::write(&path, parts.encode()).unwrap();
    let server = start_model(&path, engine_config(1), config);
    (directory, server)
}

const THREE: [(&str, Token); 3] = [("fim_pre", PREFIX), ("fim_suf", SUFFIX), ("fim_mid", MIDDLE)];

fn tokens(server: &Server, text: &str) -> Vec<Token> {
    server.engine.tokenize_with(text, false, false).unwrap()
}

/// The text of a prompt of tokens.
fn text(server: &Server, parts: &[&[Token]]) -> Value {
    server.engine.detokenize_with(&parts.concat(), true).into()
}

#[test]
fn the_parts_stand_between_their_marks() {
    let (_directory, server) = with_marks(&THREE, ServerConfig::default());
    let [one, two, three] = ["A fox ", "ran", " home."].map(|text| tokens(&server, text));
    let body = json!({"input_prefix": "A fox ", "prompt": "ran", "input_suffix": " home.", "n_predict": 3, "ignore_eos": true});
    let (status, answer) = server.post("/infill", &body);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["prompt"], text(&server, &[&[BOS, PREFIX], &one, &two, &[SUFFIX], &three, &[MIDDLE]]));
    assert_eq!(answer["tokens_predicted"], 3);
    let mut streamed = body.clone();
    streamed["stream"] = true.into();
    assert_eq!(server.stream("/infill", &streamed).last().unwrap()["prompt"], answer["prompt"]);

    let mut others = body;
    others["input_extra"] = json!([{"filename": "a.txt", "text": "A boat."}]);
    let (_, answer) = server.post("/infill", &others);
    assert!(answer["prompt"].as_str().unwrap().contains("A boat.<|system|>"), "{}", answer["prompt"]);

    // OpenAI's name for it, and Ollama's.
    let (_, same) = server.post(
        "/completion",
        &json!({"prompt": text(&server, &[&[PREFIX], &one, &[SUFFIX], &three, &[MIDDLE]]),
        "n_predict": 4, "temperature": 0}),
    );
    let (status, answer) = server
        .post("/v1/completions", &json!({"prompt": "A fox ", "suffix": " home.", "max_tokens": 4, "temperature": 0}));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["choices"][0]["text"], same["content"]);
    let body = json!({"prompt": "A fox ", "suffix": " home.", "options": {"num_predict": 4, "temperature": 0}, "stream": false});
    assert_eq!(server.post("/api/generate", &body).1["response"], same["content"]);
    assert_eq!(server.post("/api/show", &json!({})).1["capabilities"], json!(["completion", "insert", "embedding"]));
    let (status, error) = server.post("/v1/completions", &json!({"prompt": [1, 2], "suffix": "x"}));
    assert_eq!((status, &error["error"]["param"]), (400, &json!("suffix")));
}

#[test]
fn other_files_have_marks_too_and_the_suffix_may_be_first() {
    let marks = [&THREE[..], &[("fim_sep", FILE), ("fim_rep", BOS)]].concat();
    let (_directory, server) = with_marks(&marks, ServerConfig { spm_infill: true, ..ServerConfig::default() });
    let [project, name, other, itself] =
        ["myproject\n", "a.txt\n", "A boat.", "filename\n"].map(|text| tokens(&server, text));
    let [one, three] = ["A fox ", " home."].map(|text| tokens(&server, text));
    let body = json!({"input_prefix": "A fox ", "input_suffix": " home.", "n_predict": 1,
        "input_extra": [{"filename": "a.txt", "text": "A boat."}]});
    let (status, answer) = server.post("/infill", &body);
    assert_eq!(status, 200, "{answer}");
    let front = [&[BOS, BOS][..], &project, &[FILE], &name, &other, &[FILE], &itself].concat();
    assert_eq!(answer["prompt"], text(&server, &[&front, &[SUFFIX], &three, &[PREFIX], &one, &[MIDDLE]]));
}

#[test]
fn what_is_too_long_is_cut_at_its_far_end() {
    let (_directory, server) = with_marks(&THREE, ServerConfig::default());
    let long = "A fox ran. ".repeat(3000);
    let body = json!({"input_prefix": format!("{long}here"), "input_suffix": format!("there{long}"), "n_predict": 5});
    let (status, answer) = server.post("/infill", &body);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["tokens_evaluated"], server.engine.n_ctx() - 5);
    assert!(answer["prompt"].as_str().unwrap().contains("here<|user|>there"), "{answer}");
}

#[test]
fn a_model_without_marks_says_so_and_wrong_fields_are_named() {
    let server = start();
    let good = json!({"input_prefix": "a", "input_suffix": "b"});
    let (status, error) = server.post("/infill", &good);
    assert_eq!((status, &error["error"]["type"]), (501, &json!("not_supported_error")), "{error}");
    let (status, error) = server.post("/v1/completions", &json!({"prompt": "a", "suffix": "b"}));
    assert_eq!((status, &error["error"]["param"]), (400, &json!("suffix")));
    assert_eq!(server.post("/v1/completions", &json!({"prompt": "a", "suffix": "", "max_tokens": 1})).0, 200);
    let (status, error) = server.post("/api/generate", &json!({"prompt": "a", "suffix": "b"}));
    assert!(status == 400 && error["error"].as_str().unwrap().contains("'suffix'"), "{error}");
    for (field, value, param) in [
        ("input_prefix", Value::Null, "input_prefix"),
        ("input_suffix", Value::Null, "input_suffix"),
        ("input_prefix", json!(1), "input_prefix"),
        ("prompt", json!(["a"]), "prompt"),
        ("input_extra", json!({}), "input_extra"),
        ("input_extra", json!(["a"]), "input_extra[0]"),
        ("input_extra", json!([{}]), "input_extra[0].text"),
        ("input_extra", json!([{"filename": "ok"}]), "input_extra[0].text"),
        ("input_extra", json!([{"filename": 123, "text": "abc"}]), "input_extra[0].filename"),
        ("input_extra", json!([{"filename": 123, "text": 456}]), "input_extra[0].filename"),
        ("n_predict", json!("a"), "n_predict"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let (status, error) = server.post("/infill", &body);
        assert_eq!((status, &error["error"]["param"]), (400, &json!(param)), "{body}: {error}");
    }
}

#[test]
fn an_echo_is_in_front_of_every_answer() {
    let server = start();
    let tokens = tokens(&server, " boat");
    let mut body = json!({"prompt": ["A fox", tokens, "<|user|>Hi"], "n": 2, "max_tokens": 3, "temperature": 0, "ignore_eos": true});
    let (_, plain) = server.post("/v1/completions", &body);
    body["echo"] = true.into();
    let (status, echoed) = server.post("/v1/completions", &body);
    assert_eq!(status, 200, "{echoed}");
    let prompts = ["A fox", " boat", "<|user|>Hi"];
    let expected: Vec<String> = (0..6)
        .map(|index| format!("{}{}", prompts[index / 2], plain["choices"][index]["text"].as_str().unwrap()))
        .collect();
    for (index, text) in expected.iter().enumerate() {
        assert_eq!(echoed["choices"][index]["text"], *text);
    }
    body["stream"] = true.into();
    let mut streamed = vec![String::new(); 6];
    for event in server.stream("/v1/completions", &body) {
        for choice in event["choices"].as_array().into_iter().flatten() {
            streamed[choice["index"].as_u64().unwrap() as usize] += choice["text"].as_str().unwrap();
        }
    }
    assert_eq!(streamed, expected);
    let (_, nothing) = server.post("/v1/completions", &json!({"prompt": "A fox", "echo": true, "max_tokens": 0}));
    assert_eq!(nothing["choices"][0]["text"], "A fox");
    let (status, error) = server.post("/v1/completions", &json!({"prompt": "A", "echo": "yes"}));
    assert_eq!((status, &error["error"]["param"]), (400, &json!("echo")), "{error}");
}

#[test]
fn an_echo_has_the_log_probabilities_of_the_prompt() {
    let server = start();
    let written = json!({"prompt": "A fox", "max_tokens": 12, "temperature": 0, "ignore_eos": true, "logprobs": 2});
    let (_, written) = server.post("/v1/completions", &written);
    let (text, found) = (written["choices"][0]["text"].as_str().unwrap(), &written["choices"][0]["logprobs"]);
    let whole = format!("A fox{text}");

    let mut body = json!({"prompt": ["B", whole], "max_tokens": 2, "temperature": 0, "ignore_eos": true, "logprobs": 2, "echo": true});
    let (status, echoed) = server.post("/v1/completions", &body);
    assert_eq!(status, 200, "{echoed}");
    let choice = &echoed["choices"][1];
    assert!(choice["text"].as_str().unwrap().starts_with(&whole));
    let list = |name: &str| choice["logprobs"][name].as_array().unwrap().clone();
    let (tokens, chosen, top, offsets) =
        (list("tokens"), list("token_logprobs"), list("top_logprobs"), list("text_offset"));
    let n_prompt = tokens.len() - 2;
    assert_eq!(
        (&tokens[0], &chosen[0], &top[0], &offsets[0]),
        (&json!("<|bos|>"), &json!(null), &json!(null), &json!(0))
    );
    assert_eq!(
        (&offsets[1], chosen.len(), top.len(), offsets.len()),
        (&json!(0), n_prompt + 2, n_prompt + 2, n_prompt + 2)
    );
    let starts: Vec<usize> = offsets.iter().map(|at| at.as_u64().unwrap() as usize).collect();
    for (token, ends) in tokens.iter().zip(starts.windows(2)).skip(1) {
        assert_eq!(json!(choice["text"].as_str().unwrap()[ends[0]..ends[1]]), *token);
    }
    // What was generated is scored as it was then.
    let then = found["token_logprobs"].as_array().unwrap();
    assert_eq!(found["tokens"].as_array().unwrap(), &tokens[n_prompt - then.len()..n_prompt]);
    for (now, then) in chosen[n_prompt - then.len()..n_prompt].iter().zip(then) {
        assert!((now.as_f64().unwrap() - then.as_f64().unwrap()).abs() < 1e-3, "{now} {then}");
    }

    body["stream"] = true.into();
    let mut streamed = vec![(String::new(), Vec::new(), Vec::new()); 2];
    for event in server.stream("/v1/completions", &body) {
        for choice in event["choices"].as_array().into_iter().flatten() {
            let (text, tokens, offsets) = &mut streamed[choice["index"].as_u64().unwrap() as usize];
            *text += choice["text"].as_str().unwrap();
            tokens.extend(choice["logprobs"]["tokens"].as_array().into_iter().flatten().cloned());
            offsets.extend(choice["logprobs"]["text_offset"].as_array().into_iter().flatten().cloned());
        }
    }
    assert_eq!(streamed[1], (choice["text"].as_str().unwrap().to_owned(), tokens, offsets));

    // The prompt alone, as programs that compare answers ask for it.
    let alone = json!({"prompt": "A fox", "max_tokens": 0, "logprobs": 1, "echo": true});
    let (_, alone) = server.post("/v1/completions", &alone);
    let choice = &alone["choices"][0];
    assert_eq!(
        (&choice["text"], choice["logprobs"]["tokens"].as_array().unwrap().len()),
        (&json!("A fox"), n_prompt - then.len())
    );
    assert_eq!(alone["usage"]["completion_tokens"], 0);
}
