//! Models of well-known shapes with random weights: as large and as fast as the real ones, made on the spot, and
//! without sense in what they say. For tests, benchmarks and sizing a machine.
//!
//! Every matrix is of the one type asked for, the embeddings too. (llama.cpp's own quantiser stores the output matrix
//! of a Q4_0 model as Q6_K, so a real file of the same model is a few per cent larger.) The same options give the same
//! bytes on every machine.

use std::path::{Path, PathBuf};

use llama_concurrent_gguf::{GgufError, GgufErrorKind, Header, Value};

use crate::encode::{FilePlan, TensorPlan};
use crate::shape::Shape;
use crate::tensors;
use crate::unfinished::Unfinished;
use crate::vocabulary;
use crate::weights::{Fill, Generator, WeightType};

/// What to write.
#[derive(Debug, Clone)]
pub struct SynthOptions {
    /// The sizes of the model; see [`Shape::PRESETS`].
    pub shape: Shape,
    /// How all matrices are stored. Norms and biases are always F32.
    pub weight_type: WeightType,
    /// A GGUF file to take the tokenizer from, with or without weights. Its vocabulary then decides the number of
    /// embedding rows, so the model's size differs from the preset's. Without it, the tokenizer is made up too: byte
    /// level BPE that needs roughly one token for three to four characters of English.
    pub vocab_donor: Option<PathBuf>,
    /// Another seed gives other weights.
    pub seed: u64,
    /// So many layers instead of the shape's (1 to 512): a model of the same width, faster to write and to run.
    pub n_layer: Option<u32>,
}

impl SynthOptions {
    /// Q4_0, a tokenizer of our own, seed 0, all layers.
    pub fn new(shape: Shape) -> Self {
        SynthOptions { shape, weight_type: WeightType::Q4_0, vocab_donor: None, seed: 0, n_layer: None }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SynthReport {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub file_bytes: u64,
    /// The number of weights.
    pub parameters: u64,
    /// The number of tensors.
    pub n_tensors: usize,
    /// Layers of the model.
    pub n_layer: u32,
    /// Tokens in its vocabulary.
    pub n_vocab: u32,
}

/// Writes a synthetic model to `out`, replacing a file of that name once the new one is complete. `progress` is told
/// the bytes written and the bytes in all, after each few MiB.
///
/// Takes a few MiB of memory, and as much again as the donor's vocabulary.
///
/// # Errors
///
/// [`Invalid`](llama_concurrent_gguf::GgufErrorKind::Invalid) for a shape that cannot be a model; whatever
/// [`Header::read`] and [`Header::check_vocabulary`] say of the donor;
/// [`NotFound`](llama_concurrent_gguf::GgufErrorKind::NotFound) and [`Io`](llama_concurrent_gguf::GgufErrorKind::Io) for a directory that is missing,
/// full or not writable. No partial file is left behind.
pub fn write(options: &SynthOptions, out: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<SynthReport, GgufError> {
    let mut shape = options.shape.clone();
    shape.n_layer = options.n_layer.unwrap_or(shape.n_layer);
    shape.check(out)?;
    options.weight_type.check(&shape, out)?;
    let tokenizer = match &options.vocab_donor {
        Some(donor) => {
            let (tokenizer, n_vocab) = donated_tokenizer(donor)?;
            shape.n_vocab = n_vocab;
            tokenizer
        }
        None => vocabulary::synthetic(shape.n_vocab),
    };

    let (tensors, fills): (Vec<TensorPlan>, Vec<Fill>) =
        tensors::tensors(&shape, options.weight_type).into_iter().unzip();
    let mut metadata = shape.metadata(options.weight_type);
    metadata.extend(tokenizer);
    let plan = FilePlan { metadata, tensors };
    let header = plan.encode_header();
    let total = header.len() as u64 + plan.data_len();

    let mut unfinished = Unfinished::create(out, total)?;
    unfinished.append(&header)?;
    progress(unfinished.written(), total);
    let mut generator = Generator::new(options.seed);
    for (index, (tensor, fill)) in plan.tensors.iter().zip(fills).enumerate() {
        generator.each_chunk(index, tensor, fill, |chunk| {
            unfinished.append(chunk)?;
            progress(unfinished.written(), total);
            Ok(())
        })?;
    }
    unfinished.finish()?;
    Ok(SynthReport {
        path: out.to_owned(),
        file_bytes: total,
        parameters: plan.tensors.iter().map(|tensor| tensor.dims.iter().product::<u64>()).sum(),
        n_tensors: plan.tensors.len(),
        n_layer: shape.n_layer,
        n_vocab: shape.n_vocab,
    })
}

/// The number of weights of a synthetic model of this shape, with the shape's own vocabulary.
pub fn parameters(shape: &Shape) -> u64 {
    let tensors = tensors::tensors(shape, WeightType::Q4_0);
    tensors.iter().map(|(tensor, _)| tensor.dims.iter().product::<u64>()).sum()
}

/// Everything that the donor says about its tokenizer, word for word, and the size of its vocabulary.
fn donated_tokenizer(donor: &Path) -> Result<(Vec<(String, Value)>, u32), GgufError> {
    let header = Header::read(donor)?;
    let vocabulary = header.check_vocabulary()?;
    let tokenizer = header
        .metadata()
        .filter(|(key, _)| key.starts_with("tokenizer."))
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect();
    Ok((tokenizer, vocabulary.n_tokens))
}

impl Shape {
    /// Everything that llama.cpp wants to know, the tokenizer excepted.
    fn metadata(&self, weight_type: WeightType) -> Vec<(String, Value)> {
        let arch = self.family.architecture();
        let general = [
            ("general.architecture", Value::String(arch.to_owned())),
            ("general.type", Value::String("model".to_owned())),
            ("general.name", Value::String(format!("{} (synthetic, random weights)", self.name))),
            ("general.file_type", Value::U32(weight_type.file_type())),
            ("general.quantization_version", Value::U32(2)),
        ];
        let sizes = [
            ("block_count", Value::U32(self.n_layer)),
            ("context_length", Value::U32(self.n_ctx_train)),
            ("embedding_length", Value::U32(self.n_embd)),
            ("feed_forward_length", Value::U32(self.n_ff)),
            ("attention.head_count", Value::U32(self.n_head)),
            ("attention.head_count_kv", Value::U32(self.n_head_kv)),
            ("attention.layer_norm_rms_epsilon", Value::F32(self.norm_epsilon)),
            ("attention.key_length", Value::U32(self.head_dim)),
            ("attention.value_length", Value::U32(self.head_dim)),
            ("rope.dimension_count", Value::U32(self.head_dim)),
            ("rope.freq_base", Value::F32(self.rope_freq_base)),
            ("vocab_size", Value::U32(self.n_vocab)),
        ];
        let windows = [("attention.sliding_window", Value::U32(self.window))];
        let experts = [
            ("expert_count", Value::U32(self.n_expert)),
            ("expert_used_count", Value::U32(self.n_expert_used)),
            ("expert_feed_forward_length", Value::U32(self.n_ff)),
        ];
        let sizes = sizes
            .into_iter()
            .chain(windows.into_iter().filter(|_| self.window > 0))
            .chain(experts.into_iter().filter(|_| self.n_expert > 0));
        let sizes = sizes.map(|(key, value)| (format!("{arch}.{key}"), value));
        general.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(sizes).collect()
    }

    /// What would make llama.cpp refuse the model, or this module write nonsense.
    fn check(&self, out: &Path) -> Result<(), GgufError> {
        let sizes =
            [self.n_layer, self.n_embd, self.n_ff, self.n_head, self.n_head_kv, self.head_dim, self.n_ctx_train];
        let n_heads = self.n_head.saturating_mul(self.head_dim);
        let zero = sizes.contains(&0);
        let wrong = if zero {
            "a size of 0".to_owned()
        } else if self.n_layer > 512 {
            format!("{} layers, and llama.cpp takes 512 at most", self.n_layer)
        } else if !self.n_embd.is_multiple_of(32) || !self.n_ff.is_multiple_of(32) {
            format!("rows of {} and {} weights, and both must be multiples of 32", self.n_embd, self.n_ff)
        } else if !self.head_dim.is_multiple_of(2) || !n_heads.is_multiple_of(32) {
            format!(
                "{} heads of {} values, which must be an even number, and a multiple of 32 in all",
                self.n_head, self.head_dim
            )
        } else if !self.n_head.is_multiple_of(self.n_head_kv) {
            format!("{} heads and {} for keys and values, which must divide them", self.n_head, self.n_head_kv)
        } else if self.n_expert > 0 && !(1..=self.n_expert).contains(&self.n_expert_used) {
            format!("{} experts of which {} are used", self.n_expert, self.n_expert_used)
        } else if self.n_vocab < vocabulary::FEWEST_TOKENS {
            format!("{} tokens, and {} are the fewest", self.n_vocab, vocabulary::FEWEST_TOKENS)
        } else if self.n_vocab > 1 << 20 || self.n_embd.max(self.n_ff).max(n_heads) > 1 << 20 {
            "a size of more than a million".to_owned()
        } else {
            return Ok(());
        };
        let message = format!("cannot write a synthetic model of the shape '{}': it has {wrong}", self.name);
        Err(GgufError::new(GgufErrorKind::Invalid, out, message))
    }
}
