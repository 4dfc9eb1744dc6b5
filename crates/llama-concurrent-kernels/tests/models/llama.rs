//! Just enough of llama.cpp: models, and what they compute for some tokens.

use super::demo::HELDOUT;
use llama_concurrent_kernels::{Mode, install, set_attention, set_enabled};
use llama_cpp_sys_2 as sys;
use std::{
    ffi::{CString, c_char, c_void},
    fs,
    path::Path,
    ptr,
    sync::Once,
};

/// Tokens that are computed together; each window begins anew.
pub const WINDOW: usize = 256;

#[derive(Clone, Copy)]
pub enum Cache {
    F16,
    Q8_0,
}

pub fn kernels_are_here() -> bool {
    let status = install(Mode::Auto);
    if status.level.is_none() {
        eprintln!("SKIPPED: models with the kernels: {}", status.reason);
    }
    status.level.is_some()
}

pub struct Model(*mut sys::llama_model);

// SAFETY: a loaded model is only read.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Model {
    /// Loads with our kernels or with those of ggml, attention included; no other model may compute meanwhile.
    pub fn load(path: &Path, ours: bool) -> Self {
        set_attention(ours);
        Self::load_beside(path, ours)
    }

    /// As `load`, with whatever computes attention now.
    pub fn load_beside(path: &Path, ours: bool) -> Self {
        static QUIET: Once = Once::new();
        extern "C" fn ignore(_: sys::ggml_log_level, _: *const c_char, _: *mut c_void) {}
        let path = CString::new(path.as_os_str().as_encoded_bytes()).expect("no zero in it");
        set_enabled(ours);
        // SAFETY: calls as llama.h documents them.
        unsafe {
            QUIET.call_once(|| {
                sys::llama_log_set(Some(ignore), ptr::null_mut());
                sys::llama_backend_init();
            });
            let mut params = sys::llama_model_default_params();
            params.n_gpu_layers = 0;
            let model = sys::llama_model_load_from_file(path.as_ptr(), params);
            assert!(!model.is_null(), "the model loads");
            Self(model)
        }
    }

    fn context(&self, change: impl FnOnce(&mut sys::llama_context_params)) -> *mut sys::llama_context {
        // SAFETY: the model lives.
        unsafe {
            let mut params = sys::llama_context_default_params();
            (params.n_ctx, params.n_batch, params.n_ubatch) = (WINDOW as u32, WINDOW as u32, WINDOW as u32);
            (params.n_threads, params.n_threads_batch) = (1, 1);
            params.flash_attn_type = sys::LLAMA_FLASH_ATTN_TYPE_ENABLED;
            change(&mut params);
            let context = sys::llama_init_from_model(self.0, params);
            assert!(!context.is_null(), "a context");
            context
        }
    }

    /// Logits after each token, one row after the other.
    pub fn logits(&self, tokens: &[i32], cache: Cache, adapter: Option<&Path>) -> Vec<f32> {
        let kind = match cache {
            Cache::F16 => sys::GGML_TYPE_F16,
            Cache::Q8_0 => sys::GGML_TYPE_Q8_0,
        };
        let context = self.context(|params| (params.type_k, params.type_v) = (kind, kind));
        let mut all = Vec::new();
        // SAFETY: calls as llama.h documents them; a row of logits has as many as the vocabulary.
        unsafe {
            if let Some(path) = adapter {
                let path = CString::new(path.as_os_str().as_encoded_bytes()).expect("no zero in it");
                let mut adapter = sys::llama_adapter_lora_init(self.0, path.as_ptr());
                assert!(!adapter.is_null(), "the adapter loads");
                assert_eq!(sys::llama_set_adapters_lora(context, &raw mut adapter, 1, &mut 1.0), 0);
            }
            let n_vocab = sys::llama_vocab_n_tokens(sys::llama_model_get_vocab(self.0)) as usize;
            for window in tokens.chunks(WINDOW) {
                decode(context, window);
                for row in 0..window.len() {
                    let logits = sys::llama_get_logits_ith(context, row as i32);
                    all.extend_from_slice(std::slice::from_raw_parts(logits, n_vocab));
                }
            }
            sys::llama_free(context);
        }
        all
    }

    /// The mean of what comes out of the last layer.
    pub fn embedding(&self, tokens: &[i32]) -> Vec<f32> {
        let context = self.context(|params| {
            params.embeddings = true;
            params.pooling_type = sys::LLAMA_POOLING_TYPE_MEAN;
        });
        // SAFETY: as above.
        unsafe {
            decode(context, tokens);
            let n_embd = sys::llama_model_n_embd(self.0) as usize;
            let embedding = std::slice::from_raw_parts(sys::llama_get_embeddings_seq(context, 0), n_embd).to_vec();
            sys::llama_free(context);
            embedding
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: loaded in `load`, freed once; contexts are gone.
        unsafe { sys::llama_model_free(self.0) }
    }
}

/// # Safety
/// The context lives; there are at most a window of tokens, of its vocabulary.
unsafe fn decode(context: *mut sys::llama_context, tokens: &[i32]) {
    // SAFETY: the batch has room for all tokens.
    unsafe {
        sys::llama_memory_clear(sys::llama_get_memory(context), true);
        let mut batch = sys::llama_batch_init(tokens.len() as i32, 0, 1);
        batch.n_tokens = tokens.len() as i32;
        for (i, token) in tokens.iter().enumerate() {
            *batch.token.add(i) = *token;
            *batch.pos.add(i) = i as i32;
            *batch.n_seq_id.add(i) = 1;
            **batch.seq_id.add(i) = 0;
            *batch.logits.add(i) = 1;
        }
        assert_eq!(sys::llama_decode(context, batch), 0);
        sys::llama_batch_free(batch);
    }
}

/// The first tokens of a text that the model was not trained on.
pub fn tokens_of(model: &Path, count: usize) -> Vec<i32> {
    let text = fs::read_to_string(HELDOUT).expect("the text is there");
    let model = Model::load(model, false);
    let mut tokens = vec![0; text.len() + 2];
    // SAFETY: text and tokens are as long as said.
    let n = unsafe {
        let vocab = sys::llama_model_get_vocab(model.0);
        let (length, room) = (text.len() as i32, tokens.len() as i32);
        sys::llama_tokenize(vocab, text.as_ptr().cast(), length, tokens.as_mut_ptr(), room, true, false)
    };
    tokens.truncate(n as usize);
    assert!(tokens.len() >= count, "the text has {n} tokens");
    tokens.truncate(count);
    tokens
}
