//! Real tokenizers against their published test vectors, where those files are at hand.
//!
//! They are looked for in `$LLAMA_CONCURRENT_VOCAB_DIR` and in `../shared/vocab` beside the repository; each is a
//! vocabulary-only GGUF with texts in `FILE.inp` and their tokens in `FILE.out`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use llama_concurrent::{Engine, EngineConfig, SamplingParams, Strategy, Tokenizer};
use llama_concurrent_gguf_synth::{self as synth, Shape, SynthOptions};

fn vocabularies() -> Vec<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vocab");
    let dir = std::env::var_os("LLAMA_CONCURRENT_VOCAB_DIR").map_or(beside, PathBuf::from);
    let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
    let mut files: Vec<_> =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "gguf")).collect();
    files.retain(|path| with_suffix(path, ".inp").exists());
    files.sort();
    if files.is_empty() {
        eprintln!("skipped: no vocabularies in {}", dir.display());
    }
    files
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[test]
fn real_tokenizers_give_their_published_tokens() {
    let dir = tempfile::tempdir().unwrap();
    for vocabulary in vocabularies() {
        // A model of two small layers around the real vocabulary.
        let shape = Shape { n_embd: 64, n_ff: 64, n_head: 2, n_head_kv: 2, ..Shape::TINYLLAMA_1_1B.clone() };
        let options =
            SynthOptions { vocab_donor: Some(vocabulary.clone()), n_layer: Some(2), ..SynthOptions::new(shape) };
        let model = dir.path().join("model.gguf");
        synth::write(&options, &model, &mut |_, _| {}).unwrap();
        let config = EngineConfig::default().slots(1).threads(1);
        let engine = Engine::load(&model, config).unwrap();

        let read = |suffix| fs::read_to_string(with_suffix(&vocabulary, suffix)).unwrap();
        let (texts, tokens) = (read(".inp"), read(".out"));
        let mut checked = 0;
        for (text, expected) in texts.split("\n__ggml_vocab_test__\n").zip(tokens.lines()) {
            let expected: Vec<i32> = expected.split_whitespace().map(|id| id.parse().unwrap()).collect();
            let got = engine.tokenize_with(text, false, false).unwrap();
            assert_eq!(got, expected, "{}: {text:?}", vocabulary.display());
            checked += 1;
        }
        assert!(checked >= 40, "{checked} texts");
        let params = SamplingParams::default().max_tokens(3).ignore_eos(true);
        assert_eq!(engine.generate("The vocabulary is real", params).unwrap().tokens.len(), 3);
    }
}

#[test]
fn a_tokenizer_alone_agrees_with_its_engine_and_leaves_it_alone() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo.gguf");
    // Batched and reproducible at once needs the attention kernels, which a first model without them would rule out.
    let demanding = || {
        let config = EngineConfig::default().strategy(Strategy::Batched).reproducible(true).slots(2).threads(1);
        Engine::load(&model, config).map_err(|error| error.to_string())
    };
    let alone = demanding().map(drop);
    let tokenizer = Tokenizer::load(&model).unwrap();
    assert_eq!(demanding().map(drop), alone);

    let engine = Engine::load(&model, EngineConfig::default().threads(1)).unwrap();
    for text in ["A fox and a boat.", "", "Ünï \u{1F98A}"] {
        for special in [false, true] {
            let (own, of_engine) =
                (tokenizer.tokenize_with(text, special, special), engine.tokenize_with(text, special, special));
            assert_eq!(own.unwrap(), of_engine.unwrap(), "{text:?}");
        }
    }
    assert_eq!(tokenizer.token_table().len(), engine.token_table().len());
    assert_eq!(tokenizer.model(), engine.model());
    assert!(Tokenizer::load("nowhere.gguf").is_err());
}
