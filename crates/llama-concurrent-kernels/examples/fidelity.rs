//! How true a model is in each format: perplexity on a text, and the error of its logits against the same weights in single
//! precision, with these kernels and with ggml's: `fidelity MODEL TEXT [TOKENS [TYPE...]]`.
//!
//! The model is converted to each type (`Q4_K_M`, `Q8_0`, ...; all if none is named) and each of these back to single precision.
//! These files need some six bytes for each weight beside the model, in the folder for temporary files.

#![allow(unsafe_code)] // It calls llama.cpp itself.

use llama_concurrent_kernels::{Mode, install, set_attention, set_enabled, set_floats};
use llama_cpp_sys_2 as sys;
use std::{env, ffi::CString, fs, path::Path, ptr};

/// Tokens that see each other.
const WINDOW: usize = 512;

const TYPES: [(&str, sys::llama_ftype); 19] = [
    ("Q4_0", sys::LLAMA_FTYPE_MOSTLY_Q4_0),
    ("Q4_1", sys::LLAMA_FTYPE_MOSTLY_Q4_1),
    ("Q5_0", sys::LLAMA_FTYPE_MOSTLY_Q5_0),
    ("Q5_1", sys::LLAMA_FTYPE_MOSTLY_Q5_1),
    ("Q8_0", sys::LLAMA_FTYPE_MOSTLY_Q8_0),
    ("Q2_K", sys::LLAMA_FTYPE_MOSTLY_Q2_K),
    ("Q3_K_M", sys::LLAMA_FTYPE_MOSTLY_Q3_K_M),
    ("Q4_K_S", sys::LLAMA_FTYPE_MOSTLY_Q4_K_S),
    ("Q4_K_M", sys::LLAMA_FTYPE_MOSTLY_Q4_K_M),
    ("Q5_K_M", sys::LLAMA_FTYPE_MOSTLY_Q5_K_M),
    ("Q6_K", sys::LLAMA_FTYPE_MOSTLY_Q6_K),
    ("IQ3_S", sys::LLAMA_FTYPE_MOSTLY_IQ3_S),
    ("IQ3_M", sys::LLAMA_FTYPE_MOSTLY_IQ3_M),
    ("IQ4_NL", sys::LLAMA_FTYPE_MOSTLY_IQ4_NL),
    ("IQ4_XS", sys::LLAMA_FTYPE_MOSTLY_IQ4_XS),
    ("MXFP4_MOE", sys::LLAMA_FTYPE_MOSTLY_MXFP4_MOE),
    ("F16", sys::LLAMA_FTYPE_MOSTLY_F16),
    ("BF16", sys::LLAMA_FTYPE_MOSTLY_BF16),
    ("F32", sys::LLAMA_FTYPE_ALL_F32),
];

fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).expect("no zero in a path")
}

fn convert(from: &Path, to: &Path, kind: sys::llama_ftype) {
    // SAFETY: paths end with a zero, and the parameters are llama.cpp's own.
    let status = unsafe {
        let mut params = sys::llama_model_quantize_default_params();
        params.ftype = kind;
        params.allow_requantize = true;
        sys::llama_model_quantize(c(from).as_ptr(), c(to).as_ptr(), &raw const params)
    };
    assert_eq!(status, 0, "{} is converted", from.display());
}

/// A loaded model with its context.
struct Model {
    model: *mut sys::llama_model,
    context: *mut sys::llama_context,
    n_vocab: usize,
}

impl Model {
    fn load(path: &Path, ours: bool) -> Self {
        set_enabled(ours);
        set_attention(ours);
        // SAFETY: calls as llama.h documents them.
        unsafe {
            let model = sys::llama_model_load_from_file(c(path).as_ptr(), sys::llama_model_default_params());
            assert!(!model.is_null(), "{} is loaded", path.display());
            let mut params = sys::llama_context_default_params();
            (params.n_ctx, params.n_batch, params.n_ubatch) = (WINDOW as u32, WINDOW as u32, WINDOW as u32);
            let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as i32);
            (params.n_threads, params.n_threads_batch) = (threads, threads);
            params.flash_attn_type = sys::LLAMA_FLASH_ATTN_TYPE_ENABLED;
            // What a cache rounds is not the matter here.
            (params.type_k, params.type_v) = (sys::GGML_TYPE_F32, sys::GGML_TYPE_F32);
            let context = sys::llama_init_from_model(model, params);
            assert!(!context.is_null(), "a context");
            let n_vocab = sys::llama_vocab_n_tokens(sys::llama_model_get_vocab(model)) as usize;
            Self { model, context, n_vocab }
        }
    }

    fn tokens(&self, text: &str, most: usize) -> Vec<i32> {
        let mut tokens = vec![0; text.len()];
        // SAFETY: there is room for a token for each byte.
        let count = unsafe {
            let (vocab, room) = (sys::llama_model_get_vocab(self.model), tokens.len() as i32);
            sys::llama_tokenize(vocab, text.as_ptr().cast(), text.len() as i32, tokens.as_mut_ptr(), room, false, false)
        };
        tokens.truncate((count.max(0) as usize).min(most) / WINDOW * WINDOW);
        tokens
    }

    /// The logits of each token of a window.
    fn logits(&self, window: &[i32]) -> Vec<f32> {
        let mut logits = Vec::with_capacity(window.len() * self.n_vocab);
        // SAFETY: the batch has room for the window, and logits are there for each of its tokens.
        unsafe {
            sys::llama_memory_clear(sys::llama_get_memory(self.context), true);
            let mut batch = sys::llama_batch_init(window.len() as i32, 0, 1);
            for (at, token) in window.iter().enumerate() {
                *batch.token.add(at) = *token;
                *batch.pos.add(at) = at as i32;
                *batch.n_seq_id.add(at) = 1;
                **batch.seq_id.add(at) = 0;
                *batch.logits.add(at) = 1;
            }
            batch.n_tokens = window.len() as i32;
            assert_eq!(sys::llama_decode(self.context, batch), 0, "a window is decoded");
            for at in 0..window.len() {
                let row = sys::llama_get_logits_ith(self.context, at as i32);
                logits.extend_from_slice(std::slice::from_raw_parts(row, self.n_vocab));
            }
            sys::llama_batch_free(batch);
        }
        logits
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: nothing uses them any more.
        unsafe {
            sys::llama_free(self.context);
            sys::llama_model_free(self.model);
        }
    }
}

/// Logarithms of probabilities.
fn log_softmax(row: &[f32]) -> impl Fn(usize) -> f64 {
    let most = row.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = row.iter().map(|logit| f64::from(logit - most).exp()).sum();
    move |token| f64::from(row[token] - most) - sum.ln()
}

/// Sums over the tokens of a text.
#[derive(Default)]
struct Sums {
    scored: f64,
    surprise: f64,
    divergence: f64,
    other_choices: f64,
}

impl Sums {
    /// Of a window, against the same weights in single precision.
    fn add(&mut self, window: &[i32], logits: &[f32], exact: &[f32], n_vocab: usize) {
        let best = |row: &[f32]| (0..n_vocab).max_by(|a, b| row[*a].total_cmp(&row[*b]));
        let rows = logits.chunks_exact(n_vocab).zip(exact.chunks_exact(n_vocab));
        for ((row, exact), next) in rows.zip(&window[1..]) {
            let (found, wanted) = (log_softmax(row), log_softmax(exact));
            self.scored += 1.0;
            self.surprise -= found(*next as usize);
            self.divergence += (0..n_vocab).map(|t| wanted(t).exp() * (wanted(t) - found(t))).sum::<f64>();
            self.other_choices += f64::from(u8::from(best(row) != best(exact)));
        }
    }

    fn perplexity(&self) -> f64 {
        (self.surprise / self.scored).exp()
    }
}

fn main() {
    let mut args = env::args().skip(1);
    let (Some(model), Some(text)) = (args.next(), args.next()) else {
        eprintln!("usage: fidelity MODEL TEXT [TOKENS [TYPE...]]");
        std::process::exit(2);
    };
    let most = args.next().map_or(2048, |tokens| tokens.parse().expect("a number of tokens"));
    let wanted: Vec<String> = args.collect();
    let text = fs::read_to_string(text).expect("a text");
    eprintln!("{}", install(Mode::Auto).reason);
    set_floats(true);
    unsafe extern "C" fn quiet(_: sys::ggml_log_level, _: *const std::os::raw::c_char, _: *mut std::os::raw::c_void) {}
    // SAFETY: a function that does nothing.
    unsafe { sys::llama_log_set(Some(quiet), ptr::null_mut()) };
    let folder = tempfile::tempdir().expect("a folder");
    let [source, quantised, values] = ["source", "quantised", "values"].map(|name| folder.path().join(name));
    convert(Path::new(&model), &source, sys::LLAMA_FTYPE_ALL_F32);
    println!(
        "{:10}{:>12}{:>12}{:>12}{:>14}{:>14}{:>9}{:>9}",
        "", "exact", "ours", "ggml", "KL ours", "KL ggml", "other", "ggml"
    );
    for (name, kind) in TYPES.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|one| one == name)) {
        convert(&source, &quantised, *kind);
        convert(&quantised, &values, sys::LLAMA_FTYPE_ALL_F32);
        // One after the other: attention is computed by the one or the other for all models.
        let run = |path: &Path, ours: bool| {
            let model = Model::load(path, ours);
            let tokens = model.tokens(&text, most);
            let logits: Vec<Vec<f32>> = tokens.chunks_exact(WINDOW).map(|window| model.logits(window)).collect();
            (tokens, logits, model.n_vocab)
        };
        let (tokens, exact, n_vocab) = run(&values, false);
        let measure = |logits: &[Vec<f32>]| {
            let mut sums = Sums::default();
            for ((window, logits), exact) in tokens.chunks_exact(WINDOW).zip(logits).zip(&exact) {
                sums.add(window, logits, exact, n_vocab);
            }
            sums
        };
        let [exactly, ours, stock] =
            [measure(&exact), measure(&run(&quantised, true).1), measure(&run(&quantised, false).1)];
        let others = [&ours, &stock].map(|sums| format!("{:.2} %", 100.0 * sums.other_choices / sums.scored));
        println!(
            "{name:10}{:12.4}{:12.4}{:12.4}{:14.7}{:14.7}{:>9}{:>9}",
            exactly.perplexity(),
            ours.perplexity(),
            stock.perplexity(),
            ours.divergence / ours.scored,
            stock.divergence / stock.scored,
            others[0],
            others[1],
        );
    }
}
