//! Every architecture of encoders, as a tiny model with random weights: vectors and scores as in plain llama.cpp, whatever other
//! texts share the call.

#![allow(missing_docs)]

mod plain;

use std::path::PathBuf;

use llama_concurrent::{
    EmbedOptions, Embedding, Engine, EngineConfig, ErrorKind, Pooling, Prompt, Request, SamplingParams, Token,
};
use llama_concurrent_gguf::{Array, Value};
use llama_concurrent_gguf_synth::{self as synth, Parts};
use llama_cpp_sys_2 as sys;
use plain::Plain;

/// What single precision, and K and V in f16, may make of another order of adding up; of the length of a vector.
const ROUNDING: f32 = 5e-3;

/// Those to whose files llama.cpp's converter may write one.
const WITH_RANK_HEAD: [&str; 4] = ["bert", "jina-bert-v2", "modern-bert", "neo-bert"];

struct Model {
    name: &'static str,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Model {
    fn tiny(name: &'static str) -> Self {
        let (folder, path) = plain::tiny(name);
        Self { name, path, _folder: folder }
    }

    fn load(&self, config: EngineConfig) -> Engine {
        Engine::load(&self.path, config.threads(1).pin(false)).expect("it loads")
    }

    fn assert_close(&self, what: &str, found: &[f32], wanted: &[f32]) {
        assert_eq!(found.len(), wanted.len(), "{}: {what}", self.name);
        let length = wanted.iter().map(|x| x * x).sum::<f32>().sqrt();
        let distance = found.iter().zip(wanted).map(|(x, y)| (x - y).powi(2)).sum::<f32>().sqrt();
        assert!(distance <= ROUNDING * length.max(1.0), "{}: {what}: {distance} of {length}", self.name);
    }
}

fn options(pooling: Pooling) -> EmbedOptions {
    EmbedOptions::default().pooling(pooling).normalize(false)
}

/// Texts of 1 to 120 tokens.
fn texts() -> Vec<Vec<Token>> {
    let token = |text: usize, at: usize| ((text * 7919 + at * 104_729 + at * at * 31) % 500) as Token;
    (0..40).map(|text| (0..1 + (text * 37) % 120).map(|at| token(text, at)).collect()).collect()
}

fn check(name: &'static str) {
    let model = Model::tiny(name);
    let engine = model.load(EngineConfig::default());
    assert!(engine.model().is_encoder);
    assert_eq!(engine.model().has_rank_head, WITH_RANK_HEAD.contains(&name), "{name}");
    let texts = texts();
    let prompts = || texts.iter().cloned().map(Prompt::Tokens);
    let width = engine.model().n_embd as usize;
    for (pooling, in_llama_cpp, width) in [
        (Pooling::Mean, sys::LLAMA_POOLING_TYPE_MEAN, width),
        (Pooling::Cls, sys::LLAMA_POOLING_TYPE_CLS, width),
        (Pooling::Last, sys::LLAMA_POOLING_TYPE_LAST, width),
        (Pooling::Rank, sys::LLAMA_POOLING_TYPE_RANK, 1),
    ] {
        if pooling == Pooling::Rank && !engine.model().has_rank_head {
            continue;
        }
        let mut told = Vec::new();
        let found = engine.embed_batch(prompts(), &options(pooling), |done, total| told.push((done, total)));
        assert!(told.is_sorted() && told.last() == Some(&(texts.len(), texts.len())), "{told:?}");
        let mut plain = Plain::load_encoder(&model.path, in_llama_cpp);
        for (text, found) in texts.iter().zip(found) {
            let Embedding { values, n_prompt_tokens, .. } = found.expect("a vector");
            assert_eq!(n_prompt_tokens, text.len());
            model.assert_close(&format!("{pooling:?} of {} tokens", text.len()), &values, &plain.embed(text, width));
        }
    }
    let each = engine.embed(texts[3].clone(), &options(Pooling::None)).expect("vectors of all tokens");
    assert_eq!(each.vectors().len(), texts[3].len());
    let last = engine.embed(texts[3].clone(), &options(Pooling::Last)).expect("a vector");
    model.assert_close("the last token", each.vectors().last().expect("one"), &last.values);
    let calls = engine.stats().totals.prefill.calls;
    assert!(calls < 4 * texts.len() as u64, "{calls} calls: texts share them");

    // Texts alone, one after the other.
    let alone = model.load(EngineConfig::default().reproducible(true));
    let vectors = |engine: &Engine| -> Vec<Vec<f32>> {
        let all = engine.embed_batch(prompts(), &EmbedOptions::default(), |_, _| ());
        all.into_iter().map(|one| one.expect("a vector").values).collect()
    };
    let first = vectors(&alone);
    assert_eq!(first, vectors(&alone), "{name}: the same numbers each time");
    for (shared, alone) in vectors(&engine).iter().zip(&first) {
        model.assert_close("shared and alone", shared, alone);
    }
}

macro_rules! encoders {
    ($($test:ident: $name:literal,)*) => {
        const TESTED: &[&str] = &[$($name),*];
        $(
            #[test]
            fn $test() {
                check($name);
            }
        )*
    };
}

encoders! {
    bert: "bert",
    eurobert: "eurobert",
    gemma_embedding: "gemma-embedding",
    jina_bert_v2: "jina-bert-v2",
    jina_bert_v3: "jina-bert-v3",
    modern_bert: "modern-bert",
    neo_bert: "neo-bert",
    nomic_bert: "nomic-bert",
    nomic_bert_moe: "nomic-bert-moe",
}

#[test]
fn all_are_tested() {
    assert_eq!(TESTED, synth::encoder_architectures());
}

#[test]
fn what_an_encoder_cannot_do_is_an_error_in_words() {
    let engine = Model::tiny("bert").load(EngineConfig::default().n_ctx(4096).slots(8));
    assert_eq!(engine.n_ctx(), 512, "there are no positions behind");
    assert!(engine.warnings().iter().any(|warning| warning.contains("4096")), "{:?}", engine.warnings());
    let refused = engine.generate("A fox", SamplingParams::default()).expect_err("nothing to generate with");
    assert_eq!(*refused.kind(), ErrorKind::InvalidRequest);
    assert!(refused.to_string().contains("encoder (bert)"), "{refused}");
    assert!(engine.submit(Request::new("A fox")).is_err());
    assert_eq!(engine.embed(vec![1; 512], &EmbedOptions::default()).expect("the longest").n_prompt_tokens, 512);
    let too_long = engine.embed(vec![1; 513], &EmbedOptions::default()).expect_err("one more");
    assert!(matches!(too_long.kind(), ErrorKind::PromptTooLong { n_prompt: 513, .. }), "{too_long}");
    assert_eq!(engine.stats().memory.kv_bytes, 0);
}

/// In parts of 64 tokens, and so is what comes of the last one.
#[test]
fn a_model_that_generates_ranks_texts_of_several_parts() {
    let model = Model::tiny("qwen3");
    let engine = model.load(EngineConfig::default().slots(2).n_ctx(256));
    assert!(engine.model().has_rank_head && !engine.model().is_encoder);
    let mut plain = Plain::load_encoder(&model.path, sys::LLAMA_POOLING_TYPE_RANK);
    for text in texts() {
        let found = engine.embed(text.clone(), &options(Pooling::Rank)).expect("a rank").values;
        model.assert_close(&format!("rank of {} tokens", text.len()), &found, &plain.embed(&text, 1));
    }
    assert!(engine.generate(vec![3, 4, 5], SamplingParams::default().max_tokens(2)).is_ok(), "it generates, too");
}

/// llama.cpp would read beyond what it has computed, and abort.
#[test]
fn a_head_that_gives_another_number_of_scores_than_labels_is_none() {
    let with = |name: &'static str, change: fn(&mut Parts)| {
        let model = Model::tiny(name);
        let mut parts = Parts::read(&model.path).expect("a tiny model");
        change(&mut parts);
        std::fs::write(&model.path, parts.encode()).expect("a file");
        model
    };
    for model in [
        with("jina-bert-v2", |parts| {
            let labels = Value::Array(Array::from_strings(["a", "b", "c"]));
            parts.set("jina-bert-v2.classifier.output_labels", labels);
        }),
        with("bert", |parts| parts.tensors.retain(|tensor| !tensor.name.starts_with("cls.output"))),
    ] {
        let engine = model.load(EngineConfig::default());
        assert!(!engine.model().has_rank_head, "{}", model.name);
        assert!(
            engine.rerank("fox", ["mice", "boat"]).is_err() && engine.embed("fox", &options(Pooling::Rank)).is_err()
        );
        assert!(engine.embed("fox", &options(Pooling::Mean)).is_ok());
    }
}

#[test]
fn documents_are_ranked_in_their_order_and_one_too_long_disturbs_no_other() {
    let engine = Model::tiny("bert").load(EngineConfig::default());
    let documents = ["A fox eats mice.".to_owned(), "sea ".repeat(2000), "A boat has sails.".to_owned()];
    let ranks = engine.rerank("What does a fox eat?", &documents).expect("a rank head");
    let too_long = ranks[1].as_ref().expect_err("it has 2,000 words");
    assert!(matches!(too_long.kind(), ErrorKind::PromptTooLong { .. }), "{too_long}");
    let [first, last] = [0, 2].map(|index: usize| ranks[index].as_ref().expect("a score").score);
    assert_ne!(first, last);
    let alone = engine.rerank("What does a fox eat?", [&documents[2]]).expect("a rank head");
    assert!((alone[0].as_ref().expect("a score").score - last).abs() < ROUNDING);

    let generator = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/demo.gguf");
    let generator = Engine::load(generator, EngineConfig::default().threads(1)).expect("the demo model loads");
    let refused = generator.rerank("fox", ["boat"]).expect_err("no rank head");
    assert!(refused.to_string().contains("no head that ranks"), "{refused}");
    let refused = generator.embed("fox", &options(Pooling::Rank)).expect_err("no rank head");
    assert_eq!(*refused.kind(), ErrorKind::InvalidRequest);
}
