//! What a model file holds, in numbers and for a person.

use std::fmt;

use super::tensor::TensorType;
use super::window::SlidingWindow;

/// A model as its header describes it. [`Display`](fmt::Display) gives some lines for a terminal.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ModelSummary {
    /// The architecture as llama.cpp names it, such as `"llama"`.
    pub architecture: String,
    /// The model's own name.
    pub name: Option<String>,
    /// How most weights are stored, such as `"Q4_0"`.
    pub file_type: String,
    /// The number of files that make up the model.
    pub n_files: u32,
    /// The size of all weights in bytes.
    pub tensor_bytes: u64,
    /// The number of weights.
    pub parameters: u64,
    /// The layers that each token passes.
    pub n_layer: u32,
    /// The width of the embedding.
    pub n_embd: u32,
    /// Attention heads per layer; the most, where layers differ; 0 without attention.
    pub n_head: u32,
    /// Heads of keys and values per layer; the most, where layers differ.
    pub n_head_kv: u32,
    /// The width of a head of keys.
    pub head_dim_k: u32,
    /// The width of a head of values.
    pub head_dim_v: u32,
    /// The longest context that the model was trained with, in tokens.
    pub n_ctx_train: u32,
    /// Experts per layer; 0 in a dense model.
    pub n_expert: u32,
    /// The number of tokens in the vocabulary.
    pub n_vocab: u32,
    /// The kind of tokenizer, such as `"gpt2"` (byte-level BPE) or `"llama"` (SentencePiece).
    pub tokenizer: String,
    /// Whether the file brings a chat template.
    pub has_chat_template: bool,
    /// Whether it makes vectors of texts and generates nothing: BERT and its like.
    pub is_encoder: bool,
    /// Whether it has weights that rank a text.
    pub has_rank_head: bool,
    /// Layers that attend to the last tokens only, where there are any.
    pub sliding_window: Option<SlidingWindow>,
    /// What a row of a batch costs.
    pub work: ModelWork,
    /// The matrices that rows are multiplied with, of all files of the model; those that are alike as one entry.
    pub matrices: Vec<MatrixGroup>,
    /// What the graph of this architecture gets wrong in llama.cpp.
    pub faults: GraphFaults,
    /// Whether its files can be mapped into memory; otherwise the weights must be read.
    pub can_be_mapped: bool,
    /// What llama.cpp warns of, too, and goes on: the model runs, and somebody should know.
    pub warnings: Vec<String>,
    pub(super) kv_elements_k: u64,
    pub(super) kv_elements_v: u64,
}

/// The matrices that a model multiplies with, for estimates of time. The look-up of embeddings is not among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ModelWork {
    /// Weights that each row is multiplied with, the output matrix aside.
    pub body_weights: u64,
    /// Their bytes, which each call reads once.
    pub body_bytes: u64,
    /// Weights of the output matrix, for rows whose logits are wanted.
    pub output_weights: u64,
    /// Their bytes.
    pub output_bytes: u64,
    /// Weights of all experts together; a row is multiplied with `n_expert_used` of `n_expert` parts of them.
    pub expert_weights: u64,
    /// Their bytes; a call reads those of the experts that its rows are sent to.
    pub expert_bytes: u64,
    /// Experts that a row is sent to; 0 in a dense model.
    pub n_expert_used: u32,
}

/// Matrices of one shape and format.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MatrixGroup {
    /// How the weights are stored.
    pub tensor_type: TensorType,
    /// Elements per dimension, the contiguous one first: columns, rows, and of some the number of matrices.
    pub dims: Vec<u64>,
    /// How many tensors there are.
    pub count: u64,
    /// The name of the first.
    pub first: String,
    /// Whether each holds the matrices of several experts, of which a row is sent to some.
    pub is_experts: bool,
    /// Bytes of all together.
    pub bytes: u64,
}

impl MatrixGroup {
    /// Multiplications for each row, where one is sent to so many experts.
    pub fn products(&self, n_expert_used: u32) -> u64 {
        self.count.saturating_mul(products(&self.dims, self.is_experts, n_expert_used))
    }
}

/// Multiplications of a row with a matrix of these dimensions, or with those of the experts that it is sent to.
pub fn products(dims: &[u64], is_experts: bool, n_expert_used: u32) -> u64 {
    let (of_one, matrices) = match dims {
        [columns, rows, experts] if is_experts => (&[*columns, *rows][..], (*experts).min(u64::from(n_expert_used))),
        all => (all, 1),
    };
    of_one.iter().fold(matrices, |product, &dim| product.saturating_mul(dim))
}

/// What the graph that llama.cpp builds for an architecture gets wrong, and whoever calls it must work around.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GraphFaults {
    /// Why a context must hold one sequence only; `None` if it can hold several.
    pub one_sequence: Option<&'static str>,
    /// Whether logits are right only in a call that asks for those of every row.
    pub needs_all_logits: bool,
}

/// Bytes per element of a KV cache of f16, llama.cpp's default.
const F16_BYTES: f64 = 2.0;
/// Tokens of one call at most, llama.cpp's default.
const DEFAULT_N_BATCH: usize = 512;

impl ModelSummary {
    /// Bytes of KV cache that one token of context takes, over all layers, for caches whose elements take so many bytes
    /// each (f16: 2; Q8_0: 34/32).
    ///
    /// An upper bound: layers with a sliding window stop at the window's length (see
    /// [`kv_bytes_per_slot`](Self::kv_bytes_per_slot)), and some architectures share keys and values between layers. Recurrent
    /// layers add a fixed amount per sequence, which is not counted here.
    pub fn kv_bytes_per_token(&self, bytes_per_element_k: f64, bytes_per_element_v: f64) -> f64 {
        self.kv_elements_k as f64 * bytes_per_element_k + self.kv_elements_v as f64 * bytes_per_element_v
    }

    /// Bytes of KV cache that a slot of `n_ctx` tokens takes, where a token takes `bytes_per_token`. Layers with a sliding
    /// window hold the window and the `n_batch` tokens of one call.
    pub fn kv_bytes_per_slot(&self, bytes_per_token: f64, n_ctx: usize, n_batch: usize) -> f64 {
        bytes_per_token * self.sliding_window.map_or(n_ctx as f64, |window| window.mean_tokens(n_ctx, n_batch))
    }
}

impl fmt::Display for ModelSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name: String = self.name.as_deref().unwrap_or("(no name)").escape_debug().collect();
        writeln!(f, "{name}")?;
        writeln!(
            f,
            "  weights       {}, {}, {} in {}",
            parameters(self.parameters),
            self.file_type,
            size(self.tensor_bytes as f64),
            if self.n_files == 1 { "1 file".to_owned() } else { format!("{} files", self.n_files) }
        )?;
        writeln!(f, "  architecture  {}, {} layers, {} wide", self.architecture, self.n_layer, self.n_embd)?;
        if self.n_expert > 0 {
            writeln!(f, "  experts       {} per layer", self.n_expert)?;
        }
        if self.n_head > 0 {
            writeln!(
                f,
                "  attention     {} heads, {} for keys and values, {} wide",
                self.n_head, self.n_head_kv, self.head_dim_k
            )?;
        }
        writeln!(
            f,
            "  vocabulary    {} tokens ({}), {} chat template",
            self.n_vocab,
            self.tokenizer,
            if self.has_chat_template { "with" } else { "without" }
        )?;
        writeln!(f, "  context       {} tokens in training", self.n_ctx_train)?;
        if self.has_rank_head {
            writeln!(f, "  ranks         texts by how well they answer a question")?;
        }
        if self.is_encoder {
            write!(f, "  encoder       makes vectors of whole texts, generates nothing and needs no KV cache")?;
            return self.warnings.iter().try_for_each(|warning| write!(f, "\n  warning       {warning}"));
        }
        let per_token = self.kv_bytes_per_token(F16_BYTES, F16_BYTES);
        if let Some(window) = self.sliding_window {
            let share = window.share * 100.0;
            writeln!(f, "  window        {} tokens in layers with {share:.0} % of the KV cache", window.tokens)?;
        }
        let of_4096 = self.kv_bytes_per_slot(per_token, 4096, DEFAULT_N_BATCH);
        write!(f, "  KV cache      {} per token in f16, {} for 4096 tokens", size(per_token), size(of_4096))?;
        if let Some(why) = self.faults.one_sequence {
            write!(f, "\n  one by one    {why}")?;
        }
        self.warnings.iter().try_for_each(|warning| write!(f, "\n  warning       {warning}"))
    }
}

fn parameters(count: u64) -> String {
    match count as f64 {
        c if c >= 1e9 => format!("{:.2} billion parameters", c / 1e9),
        c if c >= 1e6 => format!("{:.1} million parameters", c / 1e6),
        _ => format!("{count} parameters"),
    }
}

/// A number of bytes for people: `1.50 GiB`, `3.0 MiB`.
pub fn size(bytes: f64) -> String {
    const KIB: f64 = 1024.0;
    match bytes {
        b if b >= KIB * KIB * KIB => format!("{:.2} GiB", b / (KIB * KIB * KIB)),
        b if b >= KIB * KIB => format!("{:.1} MiB", b / (KIB * KIB)),
        b if b >= KIB => format!("{:.1} KiB", b / KIB),
        b => format!("{b:.0} bytes"),
    }
}

/// The name of a number of `general.file_type`, from `enum llama_ftype` in llama.h.
pub(super) fn file_type_name(id: u32) -> Option<&'static str> {
    Some(match id {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        19 => "IQ2_XXS",
        20 => "IQ2_XS",
        21 => "Q2_K_S",
        22 => "IQ3_XS",
        23 => "IQ3_XXS",
        24 => "IQ1_S",
        25 => "IQ4_NL",
        26 => "IQ3_S",
        27 => "IQ3_M",
        28 => "IQ2_S",
        29 => "IQ2_M",
        30 => "IQ4_XS",
        31 => "IQ1_M",
        32 => "BF16",
        36 => "TQ1_0",
        37 => "TQ2_0",
        38 => "MXFP4",
        39 => "NVFP4",
        40 => "Q1_0",
        41 => "Q2_0",
        _ => return None,
    })
}
