//! Files that llama.cpp loads with a warning, or is known to abort on: the first run, the second are an error.

use std::{fs, path::Path};

use llama_concurrent::{ChatMessage, ChatOptions, Engine, EngineConfig, ErrorKind, SamplingParams, Strategy};
use llama_concurrent_gguf::{Array, Value};
use llama_concurrent_gguf_synth::Parts;

fn demo() -> Parts {
    Parts::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo.gguf"))).unwrap()
}

fn load_with(parts: &Parts, config: EngineConfig) -> llama_concurrent::Result<Engine> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.gguf");
    fs::write(&path, parts.encode()).unwrap();
    // The file may go as soon as it is mapped.
    Engine::load(&path, config)
}

fn load(parts: &Parts) -> llama_concurrent::Result<Engine> {
    load_with(parts, EngineConfig::default().slots(2).n_ctx(256).threads(1))
}

fn write(engine: &Engine) -> String {
    let params = SamplingParams::default().max_tokens(8).temperature(0.0);
    engine.generate("Once upon a time", params).unwrap().text
}

#[test]
fn special_ids_outside_of_the_vocabulary_are_warnings() {
    let (mut parts, expected) = (demo(), write(&load(&demo()).unwrap()));
    let keys = ["padding", "seperator", "mask", "unknown", "fim_pre", "middle"];
    for key in keys {
        parts.set(&format!("tokenizer.ggml.{key}_token_id"), Value::U32(u32::MAX));
    }
    let engine = load(&parts).unwrap();
    assert_eq!(
        engine.warnings().iter().filter(|w| w.contains("is 4294967295")).count(),
        keys.len(),
        "{:?}",
        engine.warnings()
    );
    assert_eq!(write(&engine), expected);

    let n_vocab = engine.token_table().len() as u32;
    for key in ["bos", "eos"] {
        let mut parts = demo();
        parts.set(&format!("tokenizer.ggml.{key}_token_id"), Value::U32(n_vocab));
        let engine = load(&parts).unwrap();
        assert!(engine.warnings().iter().any(|w| w.contains("token 11 is taken for it")), "{:?}", engine.warnings());
        write(&engine);
    }
}

#[test]
fn an_added_token_without_an_id_is_the_one_that_llama_cpp_takes() {
    let mut parts = demo();
    parts.remove("tokenizer.ggml.bos_token_id");
    parts.set("tokenizer.ggml.add_bos_token", Value::Bool(true));
    let engine = load(&parts).unwrap();
    assert!(engine.warnings().iter().any(|warning| warning.contains("it is 11, ")), "{:?}", engine.warnings());
    assert_eq!(engine.tokenize("A fox").unwrap()[0], 11);
}

#[test]
fn a_list_of_templates_is_none() {
    let mut parts = demo();
    let one = parts.get("tokenizer.chat_template").and_then(Value::as_str).unwrap().to_owned();
    parts.set("tokenizer.chat_template", Value::Array(Array::from_strings([one])));
    let engine = load(&parts).unwrap();
    assert!(engine.warnings().iter().any(|warning| warning.contains("is a list")), "{:?}", engine.warnings());
    assert!(!engine.model().has_chat_template);
    let _ = engine.chat_prompt(&[ChatMessage::new("user", "Hello")], &ChatOptions::default());
    write(&engine);
}

#[test]
fn sentencepiece_without_bytes_refuses_only_the_texts_that_need_them() {
    let mut parts = demo();
    let n = parts.get("tokenizer.ggml.tokens").and_then(Value::as_array).unwrap().len();
    let letters = ('a'..='z').map(|letter| letter.to_string());
    let tokens = ["<unk>", "<s>", "</s>", "\u{2581}"].map(str::to_owned).into_iter().chain(letters);
    let tokens: Vec<String> = tokens.chain((0..).map(|i| format!("{i}"))).take(n).collect();
    parts.set("tokenizer.ggml.model", Value::String("llama".into()));
    parts.set("tokenizer.ggml.tokens", Value::Array(Array::from_strings(tokens)));
    for key in ["pre", "merges", "token_type", "scores", "bos_token_id", "eos_token_id"] {
        parts.remove(&format!("tokenizer.ggml.{key}"));
    }
    let engine = load(&parts).unwrap();
    assert!(
        engine.warnings().iter().any(|warning| warning.contains("no token for the byte")),
        "{:?}",
        engine.warnings()
    );
    engine.tokenize("a fox").unwrap();
    let error = engine.tokenize("\u{e9}").unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::InvalidRequest, "{error}");
}

#[test]
fn a_file_that_cannot_be_mapped_is_read() {
    let (mut parts, expected) = (demo(), write(&load(&demo()).unwrap()));
    parts.set("general.alignment", Value::U32(8));
    let misplaced = |len: usize| {
        let mut parts = parts.clone();
        parts.set("general.description", Value::String("x".repeat(len)));
        let mut bytes = parts.header();
        // The header's own padding is for 32; one for 8 is enough.
        while bytes.len() > 8 && bytes[bytes.len() - 8..] == [0; 8] {
            bytes.truncate(bytes.len() - 8);
        }
        let padding = parts.header().len() - bytes.len();
        (padding > 0 && padding < 32).then(|| [&bytes, &parts.encode()[parts.header().len()..]].concat())
    };
    let bytes = (0..64).find_map(misplaced).expect("one length leaves the data at no multiple of 32");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.gguf");
    fs::write(&path, bytes).unwrap();
    let pack_cache = Some(llama_concurrent::PackCache::BesideModel);
    for pack_cache in [None, pack_cache] {
        let config = EngineConfig::default().slots(2).n_ctx(256).threads(1).pack_cache(pack_cache);
        let engine = Engine::load(&path, config).unwrap();
        assert!(
            engine.warnings().iter().any(|warning| warning.contains("no multiple of 32")),
            "{:?}",
            engine.warnings()
        );
        assert_eq!(write(&engine), expected);
    }
}

#[test]
fn a_context_length_of_nothing_is_a_warning() {
    let mut parts = demo();
    parts.set("llama.context_length", Value::U32(0));
    let config = EngineConfig::default().slots(1).threads(1).strategy(Strategy::Batched);
    let engine = load_with(&parts, config).unwrap();
    assert!(
        engine.warnings().iter().any(|warning| warning.contains("context_length' is 0")),
        "{:?}",
        engine.warnings()
    );
    write(&engine);
}
