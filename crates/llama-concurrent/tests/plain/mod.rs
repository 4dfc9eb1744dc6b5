//! llama.cpp without the engine: one context, one sequence, one call.

#![allow(unsafe_code)]

use std::{
    ffi::CString,
    path::{Path, PathBuf},
};

use llama_concurrent::Token;
use llama_concurrent_gguf_synth as synth;
use llama_concurrent_llama::tensors_of;
use llama_cpp_sys_2 as sys;

/// Writes a tiny model of an architecture; the folder is removed when it is dropped.
#[allow(dead_code)]
pub fn tiny(architecture: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("tiny.gguf");
    synth::write_architecture(architecture, 7, &path, tensors_of).expect("a tiny model");
    (folder, path)
}

#[allow(dead_code)]
pub struct Plain {
    model: *mut sys::llama_model,
    context: *mut sys::llama_context,
    n_vocab: usize,
}

#[allow(dead_code)] // Not every test uses all of it.
impl Plain {
    pub fn load(path: &Path) -> Self {
        Self::new(path, |_| ())
    }

    /// For [`embed`](Self::embed), with a `LLAMA_POOLING_TYPE_*`.
    pub fn load_encoder(path: &Path, pooling: sys::llama_pooling_type) -> Self {
        Self::new(path, |params| {
            params.embeddings = true;
            params.pooling_type = pooling;
        })
    }

    fn new(path: &Path, change: impl FnOnce(&mut sys::llama_context_params)) -> Self {
        let path = CString::new(path.as_os_str().as_encoded_bytes()).expect("a path without NUL");
        // SAFETY: plain constructors, whose results are checked; the model outlives its context.
        unsafe {
            let mut params = sys::llama_model_default_params();
            params.use_extra_bufts = false;
            let model = sys::llama_model_load_from_file(path.as_ptr(), params);
            assert!(!model.is_null(), "llama.cpp loads it");
            let mut params = sys::llama_context_default_params();
            (params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max) = (256, 512, 512, 1);
            (params.n_threads, params.n_threads_batch) = (1, 1);
            params.flash_attn_type = sys::LLAMA_FLASH_ATTN_TYPE_AUTO;
            params.kv_unified = false;
            change(&mut params);
            let context = sys::llama_init_from_model(model, params);
            assert!(!context.is_null(), "llama.cpp makes a context");
            let n_vocab = sys::llama_vocab_n_tokens(sys::llama_model_get_vocab(model)) as usize;
            Self { model, context, n_vocab }
        }
    }

    /// The first `n` numbers of the vector of a text, or what the rank head says.
    pub fn embed(&mut self, text: &[Token], n: usize) -> Vec<f32> {
        let mut tokens = text.to_vec();
        // SAFETY: the batch lives as long as its tokens; a sequence that was computed has a vector of at least `n` numbers.
        unsafe {
            let memory = sys::llama_get_memory(self.context);
            if !memory.is_null() {
                sys::llama_memory_clear(memory, true);
            }
            let batch = sys::llama_batch_get_one(tokens.as_mut_ptr(), tokens.len() as i32);
            assert_eq!(sys::llama_decode(self.context, batch), 0, "llama.cpp computes it");
            std::slice::from_raw_parts(sys::llama_get_embeddings_seq(self.context, 0), n).to_vec()
        }
    }

    /// Log probabilities of all tokens behind a text.
    pub fn first(&mut self, text: &[Token]) -> Vec<f32> {
        let mut tokens = text.to_vec();
        // Of all tokens, because the graphs of some architectures compute no others.
        let mut wanted = vec![1; tokens.len()];
        // SAFETY: the batch lives as long as its tokens; logits of the last token are there after a decode without error.
        let logits = unsafe {
            sys::llama_memory_clear(sys::llama_get_memory(self.context), true);
            let mut batch = sys::llama_batch_get_one(tokens.as_mut_ptr(), tokens.len() as i32);
            batch.logits = wanted.as_mut_ptr();
            assert_eq!(sys::llama_decode(self.context, batch), 0, "llama.cpp computes it");
            std::slice::from_raw_parts(sys::llama_get_logits_ith(self.context, -1), self.n_vocab)
        };
        let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum();
        logits.iter().map(|&logit| (f64::from(logit) - largest - sum.ln()) as f32).collect()
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // SAFETY: both are ours, and nothing else uses them.
        unsafe {
            sys::llama_free(self.context);
            sys::llama_model_free(self.model);
        }
    }
}
