//! The tensors of each family's models, and the size of what goes into them.
//!
//! Activations and logits stay of order one through any number of layers: a matrix has the standard deviation
//! `1/sqrt(fan_in)`. Two factors, found by trial with llama.cpp, make greedy output depend on the whole context and not fall
//! into repeating one token: queries are larger, so that attention picks positions instead of averaging over all, and what
//! attention adds is smaller than what the feed-forward network adds.

use llama_concurrent_gguf::TensorType;

use crate::encode::TensorPlan;
use crate::shape::{Family, Shape};
use crate::weights::{Fill, QUERY_FACTOR, WeightType};

const ATTENTION_OUTPUT_FACTOR: f64 = 0.5;
/// Gemma multiplies embeddings by the root of their width, and they are its output matrix as well: at full size each token would
/// call for itself.
const GEMMA_EMBEDDING_FACTOR: f64 = 0.1;

/// The tensors of a model of this shape, in the order in which llama.cpp's converter writes them.
pub(super) fn tensors(shape: &Shape, weight_type: WeightType) -> Vec<(TensorPlan, Fill)> {
    let mut list = Tensors { shape, weight_type, all: Vec::new() };
    let (n_embd, n_vocab) = (u64::from(shape.n_embd), u64::from(shape.n_vocab));
    let factor = if shape.family == Family::Gemma3 { GEMMA_EMBEDDING_FACTOR } else { 1.0 };
    list.matrix("token_embd", &[n_embd, n_vocab], factor);
    for layer in 0..shape.n_layer {
        list.attention(layer);
        list.feed_forward(layer);
    }
    list.vector("output_norm.weight", &[n_embd], Fill::Norm);
    if !shape.tied_embeddings {
        list.matrix("output", &[n_embd, n_vocab], 1.0);
    }
    list.all
}

struct Tensors<'s> {
    shape: &'s Shape,
    weight_type: WeightType,
    all: Vec<(TensorPlan, Fill)>,
}

impl Tensors<'_> {
    fn put(&mut self, name: String, dims: &[u64], tensor_type: TensorType, fill: Fill) {
        self.all.push((TensorPlan { name, dims: dims.to_vec(), tensor_type }, fill));
    }

    /// Weights of the size that keeps what they compute of order one, times a factor. Three dimensions are experts'.
    fn matrix(&mut self, name: &str, dims: &[u64], factor: f64) {
        let fill = Fill::Matrix { deviation: factor / (dims[0] as f64).sqrt() };
        self.put(format!("{name}.weight"), dims, self.weight_type.tensor_type(dims.len() == 3), fill);
    }

    /// What is always in single precision.
    fn vector(&mut self, name: &str, dims: &[u64], fill: Fill) {
        self.put(name.to_owned(), dims, TensorType::F32, fill);
    }

    fn attention(&mut self, layer: u32) {
        let Shape { family, n_head, n_head_kv, head_dim, n_embd, .. } = *self.shape;
        let n_embd = u64::from(n_embd);
        let [n_q, n_kv] = [n_head, n_head_kv].map(|heads| u64::from(heads * head_dim));
        let name = |what: &str| format!("blk.{layer}.{what}");
        self.vector(&name("attn_norm.weight"), &[n_embd], Fill::Norm);
        for (which, rows, factor) in [("attn_q", n_q, QUERY_FACTOR), ("attn_k", n_kv, 1.0), ("attn_v", n_kv, 1.0)] {
            self.matrix(&name(which), &[n_embd, rows], factor);
            if matches!(family, Family::Qwen2 | Family::GptOss) {
                self.vector(&name(&format!("{which}.bias")), &[rows], Fill::Small);
            }
        }
        self.matrix(&name("attn_output"), &[n_q, n_embd], ATTENTION_OUTPUT_FACTOR);
        match family {
            Family::Llama | Family::Qwen2 => {}
            Family::Gemma3 | Family::Qwen3Moe => {
                self.vector(&name("attn_q_norm.weight"), &[u64::from(head_dim)], Fill::Norm);
                self.vector(&name("attn_k_norm.weight"), &[u64::from(head_dim)], Fill::Norm);
            }
            Family::GptOss => {
                self.vector(&name("attn_output.bias"), &[n_embd], Fill::Small);
                self.vector(&name("attn_sinks.weight"), &[u64::from(n_head)], Fill::Small);
            }
        }
        if matches!(family, Family::Gemma3 | Family::GptOss) {
            self.vector(&name("post_attention_norm.weight"), &[n_embd], Fill::Norm);
        }
    }

    fn feed_forward(&mut self, layer: u32) {
        let [n_embd, n_ff, n_expert] = [self.shape.n_embd, self.shape.n_ff, self.shape.n_expert].map(u64::from);
        let family = self.shape.family;
        let name = |what: &str| format!("blk.{layer}.{what}");
        // gpt-oss calls this one after attention.
        if family != Family::GptOss {
            self.vector(&name("ffn_norm.weight"), &[n_embd], Fill::Norm);
        }
        let parts = [("ffn_gate", n_embd, n_ff), ("ffn_up", n_embd, n_ff), ("ffn_down", n_ff, n_embd)];
        if n_expert == 0 {
            parts.into_iter().for_each(|(part, k, rows)| self.matrix(&name(part), &[k, rows], 1.0));
        } else {
            self.vector(&name("ffn_gate_inp.weight"), &[n_embd, n_expert], Fill::Small);
            for (part, k, rows) in parts {
                self.matrix(&name(&format!("{part}_exps")), &[k, rows, n_expert], 1.0);
                if family == Family::GptOss {
                    self.vector(&name(&format!("{part}_exps.bias")), &[rows, n_expert], Fill::Small);
                }
            }
            if family == Family::GptOss {
                self.vector(&name("ffn_gate_inp.bias"), &[n_expert], Fill::Small);
            }
        }
        if family == Family::Gemma3 {
            self.vector(&name("post_ffw_norm.weight"), &[n_embd], Fill::Norm);
        }
    }
}
