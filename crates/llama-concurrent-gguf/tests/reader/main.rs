//! Files made to order, whole and broken.

mod damage;
mod files;
mod models;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use llama_concurrent_gguf::{Array, GgufError, GgufErrorKind, Header, ModelSummary, TensorType, Value};
use llama_concurrent_gguf_synth::{FilePlan, TensorPlan};

const N_EMBD: u64 = 32;
const N_LAYER: u32 = 2;
const TOKENS: [&str; 4] = ["a", "b", "ab", "<end>"];

/// A model of the smallest size that passes all checks. The last tensor needs no padding, so that each byte counts.
fn tiny_model() -> FilePlan {
    let mut metadata: Vec<(String, Value)> = Vec::new();
    let mut put = |key: &str, value: Value| metadata.push((key.to_owned(), value));
    put("general.architecture", Value::String("llama".to_owned()));
    put("general.name", Value::String("tiny".to_owned()));
    put("llama.block_count", Value::U32(N_LAYER));
    put("llama.context_length", Value::U32(64));
    put("llama.embedding_length", Value::U32(N_EMBD as u32));
    put("llama.feed_forward_length", Value::U32(64));
    put("llama.attention.head_count", Value::U32(4));
    put("llama.attention.head_count_kv", Value::U32(2));
    put("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    put("llama.rope.dimension_count", Value::U32(8));
    put("tokenizer.ggml.model", Value::String("gpt2".to_owned()));
    put("tokenizer.ggml.pre", Value::String("gpt-2".to_owned()));
    put("tokenizer.ggml.tokens", Value::Array(Array::from_strings(TOKENS)));
    put("tokenizer.ggml.token_type", Value::Array(Array::from_i32([1, 1, 1, 3])));
    put("tokenizer.ggml.merges", Value::Array(Array::from_strings(["a b"])));
    put("tokenizer.ggml.eos_token_id", Value::U32(3));

    let tensor = |name: String, dims: &[u64], tensor_type| TensorPlan { name, dims: dims.to_vec(), tensor_type };
    let mut tensors = vec![tensor("token_embd.weight".to_owned(), &[N_EMBD, TOKENS.len() as u64], TensorType::Q4_0)];
    for layer in 0..N_LAYER {
        tensors.push(tensor(format!("blk.{layer}.attn_norm.weight"), &[N_EMBD], TensorType::F32));
        tensors.push(tensor(format!("blk.{layer}.attn_q.weight"), &[N_EMBD, N_EMBD], TensorType::F16));
    }
    FilePlan { metadata, tensors }
}

/// The bytes of a file with zeros for weights.
fn encode(plan: &FilePlan) -> Vec<u8> {
    let mut bytes = plan.encode_header();
    bytes.resize(bytes.len() + plan.data_len() as usize, 0);
    bytes
}

/// The tiny model with some metadata replaced (or added) and removed.
fn tiny_model_with(replaced: &[(&str, Value)], removed: &[&str]) -> FilePlan {
    let mut plan = tiny_model();
    plan.metadata.retain(|(key, _)| !removed.contains(&key.as_str()));
    for (key, value) in replaced {
        match plan.metadata.iter_mut().find(|(present, _)| present == key) {
            Some((_, present)) => *present = value.clone(),
            None => plan.metadata.push(((*key).to_owned(), value.clone())),
        }
    }
    plan
}

fn parse(bytes: &[u8]) -> Result<Header, GgufError> {
    parse_as(bytes, bytes.len() as u64)
}

/// As if the file were of another length than there are bytes.
fn parse_as(bytes: &[u8], file_len: u64) -> Result<Header, GgufError> {
    Header::parse(bytes, file_len, Path::new("test.gguf"))
}

fn check(plan: &FilePlan) -> Result<ModelSummary, GgufError> {
    parse(&encode(plan))?.check_model()
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
        let path = std::env::temp_dir().join(format!("llama-concurrent-gguf-{}-{number}", std::process::id()));
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
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
