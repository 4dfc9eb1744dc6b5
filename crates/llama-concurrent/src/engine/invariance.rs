//! Whether a row's results depend on the other rows of a call.
//!
//! With ggml's kernels they do: they add up in another order when there are more rows. With ours they do not, and neither
//! does what ggml computes row by row. So where ours compute all matrices and attention, sequences that are decoded
//! together get what they would get alone, bit by bit.

use llama_concurrent_kernels::{Mode, install};

use crate::{
    backend::llama::attention_is_left_to_ggml,
    config::{EngineConfig, KvType},
    gguf::{Header, ModelSummary, TensorInfo},
};

/// Architectures whose attention is the plain one that the kernels compute: no ALiBi, no soft cap, no sinks.
const PLAIN: [&str; 3] = ["llama", "qwen2", "qwen3"];
/// Rows of a weight that the kernels pack together.
const PANEL: u64 = 16;
/// Input embeddings: their rows are looked up, and nothing is added up.
const EMBEDDINGS: &str = "token_embd.weight";
const OUTPUT: &str = "output.weight";

/// Why a row's results may depend on other rows, or nothing if they do not.
pub(super) fn why_not(config: &EngineConfig, header: &Header, summary: &ModelSummary) -> Option<String> {
    if !config.kernels || !config.repack {
        return Some("the kernels are off, or repacking is, which they need".into());
    }
    let kernels = install(Mode::Auto);
    if kernels.level.is_none() {
        return Some(kernels.reason.clone());
    }
    if attention_is_left_to_ggml() {
        return Some("another engine of this process lives that was loaded without kernels".into());
    }
    if !config.flash_attn {
        return Some("flash attention is off".into());
    }
    if config.type_k == KvType::F32 || config.type_v == KvType::F32 {
        return Some("the KV cache is of f32".into());
    }
    let fits = |width: u32| width.is_multiple_of(32) && (32..=256).contains(&width);
    let heads = fits(summary.head_dim_k) && fits(summary.head_dim_v);
    if !PLAIN.contains(&summary.architecture.as_str()) || !heads {
        return Some(format!("the kernels may leave attention of {} to ggml", summary.architecture));
    }
    let tied = header.tensors().iter().all(|tensor| tensor.name() != OUTPUT);
    let is_multiplied = |tensor: &&TensorInfo| tensor.dims().len() > 1 && (tied || tensor.name() != EMBEDDINGS);
    let left = header.tensors().iter().filter(is_multiplied).find(|tensor| {
        let kind = tensor.tensor_type();
        let known = kernels.formats.contains(&kind.name());
        // With experts there is a third dimension, and a router that ggml computes.
        !known || !matches!(tensor.dims(), [k, rows] if k % kind.block_len() == 0 && rows % PANEL == 0)
    })?;
    Some(format!("the kernels do not compute {} of type {}", left.name(), left.tensor_type().name()))
}
