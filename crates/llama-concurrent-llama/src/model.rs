//! A loaded model: weights, vocabulary and metadata.

use std::{
    ffi::{CStr, CString, c_char, c_void},
    ops::Range,
    panic::AssertUnwindSafe,
    path::Path,
    ptr::NonNull,
    sync::{Arc, Mutex, PoisonError},
};

use llama_concurrent_gguf::{GraphFaults, TensorType, encoders, graph_faults, is_matrix, is_of_experts, products};
use llama_concurrent_kernels::cache::{Outcome, PackCache};
use llama_concurrent_types::{
    EngineConfig, Error, ErrorKind, FimTokens, LoadProgress, Pooling, ProductShare, Result, Token, TokenTable,
};
use llama_cpp_sys_2 as sys;

use super::{
    ffi,
    kernels::Kernels,
    log, numa,
    pack_cache::{self, PackedFile},
};
use crate::{
    products::Shares,
    tokenizer::{
        effort::Effort,
        partition::{SpecialToken, SpecialTokens},
        text::{RawTokenizer, TextTokenizer, TokenizeOptions},
    },
};

/// Serialises loads: the errors captured from llama.cpp are process-wide, and two loads would mix them up.
static LOADING: Mutex<()> = Mutex::new(());

/// An empty list of offload devices. Without it llama.cpp uses all devices that it finds, and computes long batches on a
/// GPU even with no layer offloaded: on a Mac, where it is built with Metal.
static NO_DEVICES: usize = 0;

/// The name of the kernels' buffers in their shim.
const OURS: &str = "CPU_CONCURRENT";
const OUTPUT: &str = "output.weight";

/// A weight in memory.
struct Weight {
    name: String,
    buffer: String,
    addresses: Range<usize>,
    kind: Option<TensorType>,
    dims: Vec<u64>,
}

impl Weight {
    fn is_ours(&self) -> bool {
        self.buffer == OURS
    }
}

/// A model in memory, shared by all contexts.
pub struct Model {
    raw: NonNull<sys::llama_model>,
    table: Arc<TokenTable>,
    tokenizer: TextTokenizer,
    /// `None` if only the vocabulary was loaded.
    kernels: Option<Kernels>,
    /// "mapped", "written" or "off".
    pack_cache: &'static str,
    warnings: Vec<String>,
    faults: GraphFaults,
    is_encoder: bool,
}

// SAFETY: a loaded llama_model is read-only; llama.cpp documents its use by several contexts in several threads. The
// one function that modifies shared state, creating a context, is under a lock (`Context::new`).
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Model {
    /// Loads a file whose header has been validated. Packed weights are read from `packed`, or written there.
    pub fn load(path: &Path, config: &EngineConfig, packed: Option<&PackedFile>) -> Result<Self> {
        let requested = config.kernels && config.repack;
        Self::open(path, config, packed, || Some(Kernels::acquire(requested, config.reproducible)), false)
    }

    /// Loads only the vocabulary of a file whose header has been validated. Does not affect the selection of kernels.
    pub fn load_vocabulary(path: &Path) -> Result<Self> {
        Self::open(path, &EngineConfig::default(), None, || None, true)
    }

    fn open(
        path: &Path,
        config: &EngineConfig,
        packed: Option<&PackedFile>,
        kernels: impl FnOnce() -> Option<Kernels>,
        vocab_only: bool,
    ) -> Result<Self> {
        let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        log::init_process();
        log::take_captured_errors();
        let kernels = kernels();

        let c_path = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| {
            Error::new(ErrorKind::ModelNotFound, format!("the path {} contains a NUL character", path.display()))
        })?;
        let mut warnings = Vec::from_iter(kernels.as_ref().and_then(|kernels| kernels.warning.clone()));
        let mut cache = None;
        if let (Some(file), Some(kernels)) = (packed, &kernels) {
            match kernels.level {
                Some(_) => cache = Some(PackCache::begin(&file.path, file.model)),
                None => {
                    warnings.push(format!("pack_cache keeps nothing, because nothing is packed: {}", kernels.reason));
                }
            }
        }
        warnings.extend(cache.as_ref().and_then(PackCache::warning).map(str::to_owned));
        let writes = cache.as_ref().is_some_and(|cache| !cache.is_found());
        let mut progress = Progress::new(config.progress.as_ref(), if writes { LOADING_FRACTION } else { 1.0 });
        // SAFETY: a plain constructor.
        let mut params = unsafe { sys::llama_model_default_params() };
        params.n_gpu_layers = 0;
        params.devices = (&raw const NO_DEVICES).cast_mut().cast();
        params.vocab_only = vocab_only;
        params.load_mode = if config.mmap { sys::LLAMA_LOAD_MODE_MMAP } else { sys::LLAMA_LOAD_MODE_NONE };
        params.use_extra_bufts = config.repack;
        params.check_tensors = config.check_tensors;
        params.progress_callback = Some(on_progress);
        params.progress_callback_user_data = (&raw mut progress).cast();

        let mut message = ffi::Message::new();
        // SAFETY: path and message outlive the call, as does `progress`, which the callback uses only during it.
        let raw = unsafe { ffi::lc_model_load(c_path.as_ptr(), params, message.as_mut_ptr(), message.size()) };
        let Some(raw) = NonNull::new(raw) else {
            if progress.stopped {
                return Err(stopped());
            }
            let captured = log::take_captured_errors();
            let reason = [message.text(), captured].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>();
            return Err(Error::new(
                ErrorKind::ModelInvalid,
                format!("llama.cpp cannot load {}: {}", path.display(), reason.join("; ")),
            ));
        };
        let (table, tokenizer, faults) = (Arc::default(), TextTokenizer::default(), GraphFaults::default());
        let mut model = Self { raw, table, tokenizer, kernels, pack_cache: "off", warnings, faults, is_encoder: false };
        if let Some(cache) = cache {
            let outcome = cache.finish(&mut |fraction| progress.report_writing(fraction)).unwrap_or_else(|warning| {
                model.warnings.push(warning);
                Outcome::Nothing
            });
            match outcome {
                Outcome::Stopped => return Err(stopped()),
                Outcome::Repaired => model.warnings.push("packed weights were damaged, and were made anew".into()),
                _ => {}
            }
            model.pack_cache = pack_cache::name(outcome);
        }
        model.table = Arc::new(model.read_table());
        let architecture = model.metadata(c"general.architecture").unwrap_or_default();
        model.faults = graph_faults(&architecture);
        model.is_encoder = encoders().any(|encoder| encoder == architecture);
        model.tokenizer = model.read_tokenizer()?;
        Ok(model)
    }

    pub(super) fn vocab(&self) -> *const sys::llama_vocab {
        // SAFETY: the model is alive; the vocabulary lives as long.
        unsafe { sys::llama_model_get_vocab(self.raw.as_ptr()) }
    }

    pub(super) fn as_ptr(&self) -> *mut sys::llama_model {
        self.raw.as_ptr()
    }

    /// The vocabulary.
    pub fn table(&self) -> &TokenTable {
        &self.table
    }

    /// The same, to be shared.
    pub fn shared_table(&self) -> Arc<TokenTable> {
        self.table.clone()
    }

    /// The instruction set of the kernels that compute its weights, or "off" if ggml computes all.
    pub fn kernels(&self) -> &'static str {
        let any = !self.weights_in(OURS).is_empty();
        self.kernels.as_ref().and_then(|kernels| kernels.level).filter(|_| any).unwrap_or("off")
    }

    /// What llama.cpp's graph would compute wrongly.
    pub(super) fn faults(&self) -> GraphFaults {
        self.faults
    }

    /// Whether our kernels also compute attention.
    pub fn has_our_attention(&self) -> bool {
        self.kernels.as_ref().is_some_and(|kernels| kernels.attention)
    }

    /// The state of the pack cache: "mapped", "written" or "off".
    pub fn pack_cache(&self) -> &'static str {
        self.pack_cache
    }

    /// Settings that were requested and could not be applied.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Releases the memory of the mapped file after its weights were repacked.
    pub fn release_file(&self) {
        #[cfg(target_os = "linux")]
        // SAFETY: the model is alive, and so is what it has mapped.
        unsafe {
            super::mapping::release_all_but(self.weights_in("CPU_Mapped"));
        }
    }

    /// Which kernels compute the products of its matrices; a row is routed to `n_expert_used` experts.
    pub fn products(&self, n_expert_used: u32) -> Vec<ProductShare> {
        let weights = self.weights();
        let has_output = weights.iter().any(|weight| weight.name == OUTPUT);
        let mut shares = Shares::default();
        for (index, weight) in weights.iter().enumerate() {
            // Tied input and output embeddings appear twice if the kernels have packed them.
            let is_lookup = !weight.is_ours()
                && weights.iter().enumerate().any(|(other, w)| other != index && w.name == weight.name);
            if let Some(kind) = weight.kind
                && !is_lookup
                && is_matrix(&weight.name, &weight.dims, has_output)
            {
                let ours = self.kernels.as_ref().and_then(|kernels| kernels.level).filter(|_| weight.is_ours());
                let products = products(&weight.dims, is_of_experts(&weight.name), n_expert_used);
                shares.add(
                    ours,
                    kind.name(),
                    products,
                    weight.dims.iter().product::<u64>() / kind.block_len() * kind.block_bytes(),
                );
            }
        }
        shares.sorted()
    }

    /// The addresses of the weights in a buffer of this type.
    fn weights_in(&self, buffer: &str) -> Vec<Range<usize>> {
        self.weights().into_iter().filter(|weight| weight.buffer == buffer).map(|weight| weight.addresses).collect()
    }

    fn weights(&self) -> Vec<Weight> {
        extern "C" fn add(weight: *const ffi::Weight, all: *mut c_void) {
            // SAFETY: a weight that is shown, and the vector below, during the call below.
            let (weight, all) = unsafe { (&*weight, &mut *all.cast::<Vec<Weight>>()) };
            // SAFETY: names end with NUL, and there are four dimensions.
            let (name, buffer, dims) =
                unsafe { (CStr::from_ptr(weight.name), CStr::from_ptr(weight.buffer), &*weight.dims) };
            let mut dims: Vec<u64> = dims.iter().map(|&dim| dim as u64).collect();
            while dims.len() > 1 && dims.last() == Some(&1) {
                dims.pop();
            }
            all.push(Weight {
                name: name.to_string_lossy().into_owned(),
                buffer: buffer.to_string_lossy().into_owned(),
                addresses: weight.data.expose_provenance()..weight.data.addr() + weight.size as usize,
                kind: u32::try_from(weight.kind).ok().and_then(TensorType::from_id),
                dims,
            });
        }
        let mut all = Vec::new();
        // SAFETY: the model is alive; what is passed is used only during the call.
        unsafe { ffi::lc_each_weight(self.raw.as_ptr(), add, (&raw mut all).cast()) };
        all
    }

    /// The memory ranges of its weights.
    pub(super) fn weight_ranges(&self) -> Vec<ffi::Range> {
        // SAFETY: the model is alive, and there is room for as many ranges as is said.
        ffi::Range::list(|ranges, max| unsafe { ffi::lc_weight_ranges(self.raw.as_ptr(), ranges, max) })
    }

    /// Moves weights that were read to a NUMA node; mapped files are not moved.
    pub fn move_to(&self, node: usize) {
        numa::move_to(node, &self.weight_ranges());
    }

    /// Bytes of all weights in the file.
    pub fn size_bytes(&self) -> u64 {
        // SAFETY: the model is alive.
        unsafe { sys::llama_model_size(self.raw.as_ptr()) }
    }

    /// The embedding size of the model.
    pub(super) fn width(&self) -> usize {
        // SAFETY: the model is alive.
        unsafe { sys::llama_model_n_embd_out(self.raw.as_ptr()) as usize }
    }

    /// Whether each token attends to all of its text, and nothing is generated.
    pub(super) fn is_encoder(&self) -> bool {
        self.is_encoder
    }

    /// How many scores the rank head gives a text.
    pub(super) fn n_ranks(&self) -> usize {
        // SAFETY: the model is alive.
        unsafe { sys::llama_model_n_cls_out(self.raw.as_ptr()) as usize }
    }

    /// How the file says that token embeddings are pooled, if it does.
    pub fn pooling(&self) -> Option<Pooling> {
        let architecture = self.metadata(c"general.architecture")?;
        let key = CString::new(format!("{architecture}.pooling_type")).ok()?;
        match self.metadata(&key)?.as_str() {
            "1" => Some(Pooling::Mean),
            "2" => Some(Pooling::Cls),
            "3" => Some(Pooling::Last),
            "4" => Some(Pooling::Rank),
            _ => None,
        }
    }

    /// A metadata value of the file as text.
    fn metadata(&self, key: &CStr) -> Option<String> {
        let mut value = [0u8; 256];
        // SAFETY: the model is alive, the key ends with NUL, and the buffer is as long as said; the result does too.
        let n = unsafe {
            sys::llama_model_meta_val_str(self.raw.as_ptr(), key.as_ptr(), value.as_mut_ptr().cast(), value.len())
        };
        let text = CStr::from_bytes_until_nul(&value).ok()?;
        (n >= 0).then(|| text.to_string_lossy().into_owned())
    }

    /// Whether the KV of a sequence can be cut and copied at any position.
    pub fn has_plain_kv(&self) -> bool {
        // SAFETY: the model is alive.
        unsafe { !sys::llama_model_is_recurrent(self.raw.as_ptr()) && !sys::llama_model_is_hybrid(self.raw.as_ptr()) }
    }

    /// The size of the sliding window; 0 without one.
    pub(super) fn window(&self) -> usize {
        // SAFETY: the model is alive.
        usize::try_from(unsafe { sys::llama_model_n_swa(self.raw.as_ptr()) }).unwrap_or(0)
    }

    /// The default chat template of the file, or one by name.
    pub fn chat_template(&self, name: Option<&CStr>) -> Option<String> {
        let name = name.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: the model is alive, and the name NULL or NUL-terminated; the result is NULL or a NUL-terminated string
        // owned by the model.
        let template = unsafe { sys::llama_model_chat_template(self.raw.as_ptr(), name) };
        // SAFETY: as above.
        (!template.is_null()).then(|| unsafe { CStr::from_ptr(template) }.to_string_lossy().into_owned())
    }

    /// The texts of control tokens, and of user-defined tokens.
    pub fn special_texts(&self) -> (Vec<String>, Vec<String>) {
        let (mut control, mut user_defined) = (Vec::new(), Vec::new());
        for token in 0..self.table.len() as Token {
            // SAFETY: the token is of the vocabulary, which is alive; its text is NUL-terminated and lives as long.
            let (attributes, text) = unsafe {
                let text = CStr::from_ptr(sys::llama_vocab_get_text(self.vocab(), token));
                (sys::llama_vocab_get_attr(self.vocab(), token), text)
            };
            let texts = if attributes & (sys::LLAMA_TOKEN_ATTR_CONTROL | sys::LLAMA_TOKEN_ATTR_UNKNOWN) != 0 {
                &mut control
            } else if attributes & sys::LLAMA_TOKEN_ATTR_USER_DEFINED != 0 {
                &mut user_defined
            } else {
                continue;
            };
            texts.extend(text.to_str().ok().filter(|text| !text.is_empty()).map(str::to_owned));
        }
        (control, user_defined)
    }

    /// The texts of BOS and EOS, for chat templates; empty if the model has none.
    pub fn bos_and_eos_text(&self) -> (String, String) {
        // SAFETY: the vocabulary is alive.
        let (bos, eos) = unsafe { (sys::llama_vocab_bos(self.vocab()), sys::llama_vocab_eos(self.vocab())) };
        let text = |token| String::from_utf8_lossy(&self.piece(token, true)).into_owned();
        (text(bos), text(eos))
    }

    /// The tokens for filling in; `None` without the three that it takes.
    pub fn fim_tokens(&self) -> Option<FimTokens> {
        let known = |token: Token| (token >= 0).then_some(token);
        // SAFETY: the vocabulary is alive.
        unsafe {
            Some(FimTokens {
                prefix: known(sys::llama_vocab_fim_pre(self.vocab()))?,
                suffix: known(sys::llama_vocab_fim_suf(self.vocab()))?,
                middle: known(sys::llama_vocab_fim_mid(self.vocab()))?,
                repository: known(sys::llama_vocab_fim_rep(self.vocab())),
                file: known(sys::llama_vocab_fim_sep(self.vocab())),
            })
        }
    }

    /// Tokenizes a text.
    ///
    /// # Errors
    /// As `TextTokenizer::tokenize`.
    pub fn tokenize(&self, text: &str, options: &TokenizeOptions<'_>) -> Result<Vec<Token>> {
        let mut tokens = self.tokenizer.tokenize(self, text, options)?;
        self.drop_second_bos(&mut tokens);
        Ok(tokens)
    }

    /// Calls llama.cpp's tokenizer and appends its tokens.
    fn call_tokenizer(
        &self,
        text: &[u8],
        add_special: bool,
        parse_special: bool,
        tokens: &mut Vec<Token>,
    ) -> Result<()> {
        let refuse =
            |why: String| Error::new(ErrorKind::InvalidRequest, format!("the text cannot be tokenized: {why}"));
        let length = i32::try_from(text.len()).map_err(|_| refuse(format!("{} bytes are too many", text.len())))?;
        let start = tokens.len();
        // One token per byte plus the special ones suffices, except for tokenizers that normalise.
        let mut room = length.saturating_add(8);
        for _ in 0..2 {
            tokens.resize(start + room as usize, 0);
            let mut message = ffi::Message::new();
            // SAFETY: text and token buffers are valid for the lengths given; llama.cpp only reads the vocabulary.
            let n = unsafe {
                ffi::lc_tokenize(
                    self.vocab(),
                    text.as_ptr().cast(),
                    length,
                    tokens[start..].as_mut_ptr(),
                    room,
                    add_special,
                    parse_special,
                    message.as_mut_ptr(),
                    message.size(),
                )
            };
            match usize::try_from(n) {
                Ok(n) => {
                    tokens.truncate(start + n);
                    return Ok(());
                }
                Err(_) if n == i32::MIN => return Err(refuse(message.text())),
                Err(_) => room = -n,
            }
        }
        Err(refuse("the tokenizer disagrees with itself about the number of tokens".into()))
    }

    /// llama.cpp's tokenizer on a whole text, including special tokens.
    #[cfg(test)]
    pub fn tokenize_by_llama_cpp(&self, text: &str, add_special: bool, parse_special: bool) -> Vec<Token> {
        let mut tokens = Vec::new();
        self.call_tokenizer(text.as_bytes(), add_special, parse_special, &mut tokens).expect("it takes the text");
        self.drop_second_bos(&mut tokens);
        tokens
    }

    fn read_tokenizer(&self) -> Result<TextTokenizer> {
        let kind = self.metadata(c"tokenizer.ggml.model").unwrap_or_default();
        let mut around = Vec::new();
        self.call_tokenizer(b"", true, false, &mut around)?;
        // SAFETY: the vocabulary is alive.
        let adds_bos = unsafe { sys::llama_vocab_get_add_bos(self.vocab()) };
        let (before, behind) = match around[..] {
            [] => (None, None),
            [one] if adds_bos => (Some(one), None),
            [one] => (None, Some(one)),
            [first, .., last] => (Some(first), Some(last)),
        };
        Ok(TextTokenizer {
            special: SpecialTokens::new(self.special_tokens()),
            effort: Effort::of(&kind, self.metadata(c"tokenizer.ggml.pre").as_deref()),
            before,
            behind,
            // Others may drop white space, accents or unknown characters.
            longest_token: matches!(kind.as_str(), "llama" | "gpt2" | "gemma4").then(|| self.table.longest().max(1)),
        })
    }

    pub(crate) fn special_tokens(&self) -> Vec<SpecialToken> {
        let mut ids: Vec<Token> = vec![0; self.table.len()];
        // SAFETY: the vocabulary is alive, and the buffer has room for all of its tokens.
        let n = unsafe { ffi::lc_special_tokens(self.vocab(), ids.as_mut_ptr(), ids.len() as i32) };
        ids.truncate(usize::try_from(n).unwrap_or(0));
        let special = |token: Token| {
            // SAFETY: the token is of the vocabulary, which is alive; the text is its own and ends with NUL.
            let (attributes, text) = unsafe {
                let text = CStr::from_ptr(sys::llama_vocab_get_text(self.vocab(), token));
                (sys::llama_vocab_get_attr(self.vocab(), token), text.to_bytes().to_vec())
            };
            let has = |attribute| attributes & attribute != 0;
            SpecialToken {
                token,
                text,
                control: has(sys::LLAMA_TOKEN_ATTR_CONTROL | sys::LLAMA_TOKEN_ATTR_UNKNOWN),
                strip_left: has(sys::LLAMA_TOKEN_ATTR_LSTRIP),
                strip_right: has(sys::LLAMA_TOKEN_ATTR_RSTRIP),
            }
        };
        ids.into_iter().map(special).filter(|special| !special.text.is_empty()).collect()
    }

    /// Templates often emit BOS themselves; llama.cpp then adds a second one, which degrades the output.
    fn drop_second_bos(&self, tokens: &mut Vec<Token>) {
        // SAFETY: the vocabulary is alive.
        let bos = unsafe { sys::llama_vocab_bos(self.vocab()) };
        if bos >= 0 && tokens.len() >= 2 && tokens[0] == bos && tokens[1] == bos {
            tokens.remove(0);
        }
    }

    fn piece(&self, token: Token, special: bool) -> Vec<u8> {
        let mut piece = vec![0u8; 64];
        for _ in 0..2 {
            if token < 0 {
                return Vec::new();
            }
            // SAFETY: the buffer is valid for its length, and the token was checked to be in the vocabulary or negative.
            let n = unsafe {
                sys::llama_token_to_piece(
                    self.vocab(),
                    token,
                    piece.as_mut_ptr().cast::<c_char>(),
                    piece.len() as i32,
                    0,
                    special,
                )
            };
            match usize::try_from(n) {
                Ok(n) => {
                    piece.truncate(n);
                    return piece;
                }
                Err(_) => piece.resize(n.unsigned_abs() as usize, 0),
            }
        }
        Vec::new()
    }

    fn read_table(&self) -> TokenTable {
        // SAFETY: the vocabulary is alive.
        let n_vocab = unsafe { sys::llama_vocab_n_tokens(self.vocab()) };
        let ends = (0..n_vocab)
            // SAFETY: the token is in the vocabulary.
            .filter(|&token| unsafe { sys::llama_vocab_is_eog(self.vocab(), token) })
            .collect();
        let table = TokenTable::new((0..n_vocab).map(|token| self.piece(token, false)), ends);
        let special = (0..n_vocab).filter(|&token| table.piece(token).is_empty());
        let special = special.map(|token| (token, self.piece(token, true).into())).collect::<Vec<_>>();
        table.with_special(special)
    }
}

impl RawTokenizer for Model {
    fn append(&self, text: &[u8], tokens: &mut Vec<Token>) -> Result<()> {
        self.call_tokenizer(text, false, false, tokens)
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: loaded by us, freed once; contexts hold an `Arc` of the model, so none is left.
        unsafe { sys::llama_model_free(self.raw.as_ptr()) }
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::LoadCancelled, "loading was stopped by the progress callback")
}

/// Reports the progress of a load that may also write a file of packed weights.
const LOADING_FRACTION: f32 = 0.5;

struct Progress<'a> {
    callback: Option<&'a LoadProgress>,
    stopped: bool,
    loading_fraction: f32,
    reported: f32,
}

impl<'a> Progress<'a> {
    fn new(callback: Option<&'a LoadProgress>, loading_fraction: f32) -> Self {
        Self { callback, stopped: false, loading_fraction, reported: 0.0 }
    }

    fn report_loading(&mut self, fraction: f32) -> bool {
        self.report(fraction * self.loading_fraction)
    }

    fn report_writing(&mut self, fraction: f32) -> bool {
        self.report(self.loading_fraction + fraction * (1.0 - self.loading_fraction))
    }

    /// Reports a fraction, which never decreases. Returns whether to continue.
    fn report(&mut self, fraction: f32) -> bool {
        self.reported = fraction.max(self.reported);
        let report = |callback: &LoadProgress| callback(self.reported);
        let go_on = self
            .callback
            .is_none_or(|callback| std::panic::catch_unwind(AssertUnwindSafe(|| report(callback))).unwrap_or(false));
        self.stopped |= !go_on;
        go_on
    }
}

extern "C" fn on_progress(fraction: f32, user_data: *mut c_void) -> bool {
    // SAFETY: `load` passes a `Progress` that outlives the load, and llama.cpp calls from one thread at a time.
    let progress = unsafe { &mut *user_data.cast::<Progress<'_>>() };
    progress.report_loading(fraction)
}
