//! Synthetic models, written and read back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use llama_concurrent_gguf::{GgufError, GgufErrorKind, Header, Value};
use llama_concurrent_gguf_synth::{self as synth, Family, Shape, SynthOptions, SynthReport, WeightType, metadata};

const TINY: Shape = Shape {
    name: "tiny",
    family: Family::Llama,
    n_layer: 2,
    n_embd: 64,
    n_ff: 96,
    n_expert: 0,
    n_expert_used: 0,
    n_head: 4,
    n_head_kv: 2,
    head_dim: 16,
    window: 0,
    n_vocab: 300,
    n_ctx_train: 128,
    rope_freq_base: 10_000.0,
    norm_epsilon: 1e-5,
    tied_embeddings: false,
};

/// With experts where the type wants them.
fn options(weight_type: WeightType) -> SynthOptions {
    let with_experts = Shape { family: Family::Qwen3Moe, n_expert: 4, n_expert_used: 2, ..TINY };
    let shape = if weight_type == WeightType::MXFP4 { with_experts } else { TINY };
    SynthOptions { weight_type, ..SynthOptions::new(shape) }
}

fn write(options: &SynthOptions, out: &Path) -> Result<SynthReport, GgufError> {
    synth::write(options, out, &mut |_, _| ())
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, GgufError>, kind: GgufErrorKind, words: &str) {
    let error = result.expect_err(words);
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    assert!(text.contains(words), "'{words}' is not in: {text}");
    assert!(text.starts_with(&error.path().display().to_string()), "{text}");
}

/// A directory of its own, removed at the end.
struct TestDir(PathBuf);

impl TestDir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("llama-concurrent-gguf-synth-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary directory is writable");
        TestDir(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("the temporary directory is writable");
        path
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("the directory exists");
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_written_passes_every_check() {
    let dir = TestDir::new();
    for family in [Family::Llama, Family::Qwen2, Family::Gemma3, Family::Qwen3Moe, Family::GptOss] {
        for tied_embeddings in [false, true] {
            for weight_type in WeightType::ALL {
                let n_expert = if matches!(family, Family::Qwen3Moe | Family::GptOss) { 4 } else { 0 };
                let shape = Shape { family, tied_embeddings, n_expert, n_expert_used: n_expert / 2, ..TINY };
                let path = dir.path("model.gguf");
                let options = SynthOptions { shape, ..options(weight_type) };
                if weight_type == WeightType::MXFP4 && n_expert == 0 {
                    assert_refused(write(&options, &path), GgufErrorKind::Invalid, "'tiny' has none; choose q4_0");
                    continue;
                }
                let report = write(&options, &path).unwrap();
                let header = Header::read(&path).unwrap();
                let summary = header.check_model().unwrap();
                assert_eq!(summary.architecture, family.architecture());
                assert!(
                    summary.file_type.starts_with(&weight_type.to_string().to_uppercase()),
                    "{}",
                    summary.file_type
                );
                assert_eq!((summary.n_layer, summary.n_vocab, summary.n_head_kv), (2, 300, 2));
                assert!(summary.has_chat_template);
                assert_eq!(report.parameters, summary.parameters);
                assert_eq!(report.file_bytes, header.file_len());
                assert_eq!(report.n_tensors, header.tensors().len());
                assert_eq!(header.tensor("output.weight").is_some(), !tied_embeddings);
                // Two layers of queries, keys, values, output and three matrices of the feed-forward network.
                let (attention, feed_forward) = (2 * 64 * 64 + 2 * 64 * 32, 3 * 64 * 96);
                if n_expert == 0 {
                    assert_eq!(summary.work.body_weights, 2 * (attention + feed_forward));
                }
                assert_eq!(summary.work.output_weights, 64 * 300);
                assert_eq!(summary.work.expert_weights, 2 * u64::from(n_expert) * feed_forward);
                let has_bias = matches!(family, Family::Qwen2 | Family::GptOss);
                assert_eq!(header.tensor("blk.1.attn_k.bias").is_some(), has_bias);
            }
        }
    }
    assert_eq!(dir.names(), ["model.gguf"]);
}

#[test]
fn sizes_are_those_of_the_real_models() {
    // Parameters of the originals by their model cards; ours have no bias in SmolLM and the like either.
    for (name, parameters) in [
        ("tinyllama-1.1b", 1_100_048_384),
        ("smollm-135m", 134_515_008),
        ("llama-3.2-1b", 1_235_814_400),
        ("qwen2.5-0.5b", 494_032_768),
        ("llama-3-8b", 8_030_261_248),
        ("gemma-3-1b", 999_885_952),
        ("qwen3-30b-a3b", 30_532_122_624),
        ("gpt-oss-20b", 20_914_757_184),
    ] {
        assert_eq!(synth::parameters(Shape::by_name(name).unwrap()), parameters, "{name}");
    }
    assert!(Shape::by_name("gpt-5").is_none());
}

#[test]
fn q4_0_rows_take_18_bytes_per_32_weights() {
    let dir = TestDir::new();
    write(&options(WeightType::Q4_0), &dir.path("m.gguf")).unwrap();
    let header = Header::read(&dir.path("m.gguf")).unwrap();
    let down = header.tensor("blk.0.ffn_down.weight").unwrap();
    assert_eq!((down.dims(), down.bytes()), (&[96, 64][..], 96 / 32 * 18 * 64));
}

#[test]
fn the_same_options_give_the_same_bytes() {
    let dir = TestDir::new();
    let bytes = |options: &SynthOptions| {
        write(options, &dir.path("m.gguf")).unwrap();
        fs::read(dir.path("m.gguf")).unwrap()
    };
    for weight_type in WeightType::ALL {
        let options = options(weight_type);
        let first = bytes(&options);
        assert_eq!(first, bytes(&options));
        let other = bytes(&SynthOptions { seed: 1, ..options });
        let header_len = Header::read(&dir.path("m.gguf")).unwrap().data_offset() as usize;
        assert_eq!(first[..header_len], other[..header_len], "the seed changes the weights only");
        assert_ne!(first, other);
    }
}

#[test]
fn layers_can_be_left_out() {
    let dir = TestDir::new();
    let report = write(&SynthOptions { n_layer: Some(1), ..options(WeightType::F16) }, &dir.path("m.gguf")).unwrap();
    assert_eq!(report.n_layer, 1);
    assert_eq!(Header::read(&dir.path("m.gguf")).unwrap().check_model().unwrap().n_layer, 1);
}

#[test]
fn progress_grows_to_the_size_of_the_file() {
    let dir = TestDir::new();
    let mut calls = Vec::new();
    let report =
        synth::write(&options(WeightType::Q8_0), &dir.path("m.gguf"), &mut |done, of| calls.push((done, of))).unwrap();
    assert!(calls.is_sorted() && calls.iter().all(|&(_, of)| of == report.file_bytes));
    assert_eq!(calls.last(), Some(&(report.file_bytes, report.file_bytes)));
}

#[test]
fn an_existing_file_is_replaced_only_by_a_whole_one() {
    let dir = TestDir::new();
    let path = dir.file("m.gguf", b"precious");
    let bad = SynthOptions { n_layer: Some(513), ..options(WeightType::Q4_0) };
    assert_refused(write(&bad, &path), GgufErrorKind::Invalid, "512 at most");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    write(&options(WeightType::Q4_0), &path).unwrap();
    Header::read(&path).unwrap();
}

#[test]
fn places_that_cannot_be_written() {
    let dir = TestDir::new();
    let good = options(WeightType::Q4_0);
    assert_refused(write(&good, &dir.path("none/m.gguf")), GgufErrorKind::NotFound, "cannot write");
    assert_refused(write(&good, &dir.0), GgufErrorKind::Invalid, "directory");
    let file = dir.file("file", b"");
    assert_refused(write(&good, &file.join("m.gguf")), GgufErrorKind::Io, "cannot write");
    assert_eq!(dir.names(), ["file"]);
}

#[test]
fn shapes_that_are_no_models() {
    let dir = TestDir::new();
    for (shape, words) in [
        (Shape { n_layer: 0, ..TINY }, "a size of 0"),
        (Shape { n_embd: 48, ..TINY }, "multiples of 32"),
        (Shape { n_head: 5, ..TINY }, "5 heads of 16 values"),
        (Shape { head_dim: 25, ..TINY }, "an even number"),
        (Shape { n_expert: 4, ..TINY }, "4 experts of which 0 are used"),
        (Shape { n_head_kv: 3, ..TINY }, "divide them"),
        (Shape { n_vocab: 200, ..TINY }, "the fewest"),
        (Shape { n_embd: 1 << 21, ..TINY }, "more than a million"),
    ] {
        let options = SynthOptions { shape, ..options(WeightType::Q4_0) };
        assert_refused(write(&options, &dir.path("m.gguf")), GgufErrorKind::Invalid, words);
    }
    assert!(dir.names().is_empty());
}

/// A vocabulary of four tokens.
fn donor() -> Vec<(String, Value)> {
    let keys = [
        ("tokenizer.ggml.model", Value::String("gpt2".to_owned())),
        ("tokenizer.ggml.pre", Value::String("gpt-2".to_owned())),
        ("tokenizer.ggml.tokens", metadata::strings(["a", "b", "ab", "<end>"])),
        ("tokenizer.ggml.token_type", metadata::numbers([1, 1, 1, 3])),
        ("tokenizer.ggml.merges", metadata::strings(["a b"])),
        ("tokenizer.ggml.eos_token_id", Value::U32(3)),
    ];
    keys.map(|(key, value)| (key.to_owned(), value)).into()
}

#[test]
fn donors_that_cannot_give_a_tokenizer() {
    let dir = TestDir::new();
    let with = |donor: PathBuf| {
        let options = SynthOptions { vocab_donor: Some(donor), ..options(WeightType::Q4_0) };
        write(&options, &dir.path("m.gguf"))
    };
    assert_refused(with(dir.path("none.gguf")), GgufErrorKind::NotFound, "none.gguf");
    let no_model = donor().split_off(1);
    let donor = dir.file("donor.gguf", &metadata::file(no_model));
    assert_refused(with(donor), GgufErrorKind::Unsupported, "no vocabulary");
}

#[test]
fn a_small_donor_gives_a_small_vocabulary() {
    let dir = TestDir::new();
    let donor = dir.file("donor.gguf", &metadata::file(donor()));
    let options = SynthOptions { vocab_donor: Some(donor), ..options(WeightType::Q4_0) };
    assert_eq!(write(&options, &dir.path("m.gguf")).unwrap().n_vocab, 4);
    Header::read(&dir.path("m.gguf")).unwrap().check_model().unwrap();
}

/// Tokenizers of real models: from the directory in `LLAMA_CONCURRENT_VOCAB_DIR`, or beside the repository.
#[test]
fn real_tokenizers_are_copied_word_for_word() {
    let named = std::env::var_os("LLAMA_CONCURRENT_VOCAB_DIR").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vocab");
    let directory = named.unwrap_or(beside);
    let donors: Vec<PathBuf> = fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "gguf"))
        .collect();
    if donors.is_empty() {
        eprintln!("skipped: no vocabularies in {}; LLAMA_CONCURRENT_VOCAB_DIR can name others", directory.display());
    }
    for donor in donors {
        let dir = TestDir::new();
        let options = SynthOptions { vocab_donor: Some(donor.clone()), ..options(WeightType::Q4_0) };
        let report = write(&options, &dir.path("m.gguf")).unwrap();
        let (original, copy) = (Header::read(&donor).unwrap(), Header::read(&dir.path("m.gguf")).unwrap());
        let summary = copy.check_model().unwrap();
        assert_eq!(summary.n_vocab, original.check_vocabulary().unwrap().n_tokens);
        assert_eq!(copy.tensor("token_embd.weight").unwrap().dims(), [64, u64::from(report.n_vocab)]);
        for (key, value) in original.metadata().filter(|(key, _)| key.starts_with("tokenizer.")) {
            assert_eq!(copy.get(key), Some(value), "{key}");
        }
    }
}
