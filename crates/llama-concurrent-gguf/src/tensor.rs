//! Tensor descriptions: how many bytes a ggml type takes, and where a tensor lies in its file.

/// How ggml stores the elements of a tensor: in blocks of `block_len` elements, `block_bytes` bytes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorType {
    id: u32,
    name: &'static str,
    block_len: u64,
    block_bytes: u64,
}

/// From `enum ggml_type` (ggml.h) and the `block_*` structs (ggml-common.h). The numbers missing from the sequence
/// were given to types that ggml has since removed.
const TYPES: &[TensorType] = &[
    TensorType::F32,
    TensorType::F16,
    TensorType::Q4_0,
    tensor_type(3, "Q4_1", 32, 20),
    tensor_type(6, "Q5_0", 32, 22),
    tensor_type(7, "Q5_1", 32, 24),
    TensorType::Q8_0,
    tensor_type(9, "Q8_1", 32, 36),
    tensor_type(10, "Q2_K", 256, 84),
    tensor_type(11, "Q3_K", 256, 110),
    tensor_type(12, "Q4_K", 256, 144),
    tensor_type(13, "Q5_K", 256, 176),
    tensor_type(14, "Q6_K", 256, 210),
    tensor_type(15, "Q8_K", 256, 292),
    tensor_type(16, "IQ2_XXS", 256, 66),
    tensor_type(17, "IQ2_XS", 256, 74),
    tensor_type(18, "IQ3_XXS", 256, 98),
    tensor_type(19, "IQ1_S", 256, 50),
    tensor_type(20, "IQ4_NL", 32, 18),
    tensor_type(21, "IQ3_S", 256, 110),
    tensor_type(22, "IQ2_S", 256, 82),
    tensor_type(23, "IQ4_XS", 256, 136),
    tensor_type(24, "I8", 1, 1),
    tensor_type(25, "I16", 1, 2),
    tensor_type(26, "I32", 1, 4),
    tensor_type(27, "I64", 1, 8),
    tensor_type(28, "F64", 1, 8),
    tensor_type(29, "IQ1_M", 256, 56),
    tensor_type(30, "BF16", 1, 2),
    tensor_type(34, "TQ1_0", 256, 54),
    tensor_type(35, "TQ2_0", 256, 66),
    tensor_type(39, "MXFP4", 32, 17),
    tensor_type(40, "NVFP4", 64, 36),
    tensor_type(41, "Q1_0", 128, 18),
    tensor_type(42, "Q2_0", 64, 18),
];

/// Numbers that ggml has withdrawn: 4, 5 in 2023, the rest when repacking moved from the file to load time.
const REMOVED: &[u32] = &[4, 5, 31, 32, 33, 36, 37, 38];

const fn tensor_type(id: u32, name: &'static str, block_len: u64, block_bytes: u64) -> TensorType {
    TensorType { id, name, block_len, block_bytes }
}

impl TensorType {
    /// 32-bit IEEE floats.
    pub const F32: TensorType = tensor_type(0, "F32", 1, 4);
    /// 16-bit IEEE floats.
    pub const F16: TensorType = tensor_type(1, "F16", 1, 2);
    /// Blocks of 32: an f16 scale, then 32 four-bit values with an offset of 8.
    pub const Q4_0: TensorType = tensor_type(2, "Q4_0", 32, 18);
    /// Blocks of 32: an f16 scale, then 32 signed bytes.
    pub const Q8_0: TensorType = tensor_type(8, "Q8_0", 32, 34);
    /// Blocks of 32: an exponent of two, then 32 four-bit floats.
    pub const MXFP4: TensorType = tensor_type(39, "MXFP4", 32, 17);

    /// The type with this number in `enum ggml_type`.
    pub fn from_id(id: u32) -> Option<TensorType> {
        TYPES.iter().copied().find(|t| t.id == id)
    }

    /// Whether ggml once gave this number to a type that it no longer reads.
    pub(super) fn was_removed(id: u32) -> bool {
        REMOVED.contains(&id)
    }

    /// The number in `enum ggml_type`.
    pub fn id(self) -> u32 {
        self.id
    }

    /// The name in capitals, as in file names: `"Q4_0"`.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Elements per block; a row must be a multiple of it.
    pub fn block_len(self) -> u64 {
        self.block_len
    }

    /// Bytes per block.
    pub fn block_bytes(self) -> u64 {
        self.block_bytes
    }

    /// The elements and bytes of a tensor of this shape; `None` where one of them does not fit in 63 bits, as ggml needs.
    pub fn size_of(self, dims: &[u64]) -> Option<(u64, u64)> {
        let elements = dims.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim))?;
        let bytes = (elements / self.block_len).checked_mul(self.block_bytes)?;
        let representable = elements.max(bytes) <= i64::MAX as u64;
        representable.then_some((elements, bytes))
    }

    /// Whether ggml multiplies with weights of this type on the CPU. The others are formats of intermediate results
    /// or of indices; as weights they reach an unchecked null function pointer.
    pub(super) fn is_weight(self) -> bool {
        !matches!(self.name, "Q8_1" | "Q8_K" | "I8" | "I16" | "I32" | "I64" | "F64")
    }
}

/// One tensor as its file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    pub(super) name: String,
    pub(super) dims: Vec<u64>,
    pub(super) tensor_type: TensorType,
    pub(super) offset: u64,
    pub(super) elements: u64,
    pub(super) bytes: u64,
}

impl TensorInfo {
    /// The name, such as `"blk.0.attn_q.weight"`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Elements per dimension, the contiguous one first: a matrix is `[columns, rows]`. At most 4 entries.
    pub fn dims(&self) -> &[u64] {
        &self.dims
    }

    /// How the elements are stored.
    pub fn tensor_type(&self) -> TensorType {
        self.tensor_type
    }

    /// Bytes from the start of the file's data section to the first element.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The number of elements.
    pub fn elements(&self) -> u64 {
        self.elements
    }

    /// The size in bytes, without padding.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

const EMBEDDINGS: &str = "token_embd.weight";
pub(super) const OUTPUT: &str = "output.weight";

/// By the last part of their names.
#[rustfmt::skip]
const BY_ELEMENT: &[&str] = &[
    "attn_sinks", "conv", "exp_probs_b", "rope_factors_long", "rope_factors_short", "rope_freqs", "ssm_a", "ssm_d",
    "time_mix_decay", "time_mix_first", "time_mix_ln", "time_mix_r_k",
];
/// Tensors of which rows are looked up.
#[rustfmt::skip]
const LOOKED_UP: &[&str] = &[
    "attn_compressor_ape", "embed_tokens", "ffn_gate_tid2eid", "indexer_compressor_ape", "per_layer_token_embd",
    "position_embd", "token_types",
];

/// Whether the rows of a batch are multiplied with this tensor, in a model with or without an output matrix of its own: if
/// without, the input embeddings serve as one.
pub fn is_matrix(name: &str, dims: &[u64], has_output: bool) -> bool {
    let has_rows = dims.iter().skip(1).any(|&dim| dim > 1);
    if !has_rows || (name == EMBEDDINGS && has_output) {
        return false;
    }
    !is_by_element(name) && !LOOKED_UP.contains(&last_part(name))
}

/// Whether a tensor is added, multiplied element by element, or scanned with.
pub(super) fn is_by_element(name: &str) -> bool {
    let last = last_part(name);
    matches!(last, "bias" | "scale")
        || ["_norm", "lerp", "conv1d"].iter().any(|part| last.contains(part))
        || BY_ELEMENT.contains(&last)
}

/// Of `blk.0.attn_q.weight` the last word that says what it is.
fn last_part(name: &str) -> &str {
    name.strip_suffix(".weight").unwrap_or(name).rsplit('.').next().unwrap_or(name)
}

/// Whether a tensor holds the matrices of several experts, of which a row is multiplied with some.
pub fn is_of_experts(name: &str) -> bool {
    name.contains("_exps.") || name.contains("_chexps.")
}
