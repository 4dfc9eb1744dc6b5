//! Tiny models of every architecture, for tests: their settings. Which tensors follow from these, llama.cpp says itself.
//!
//! The settings are the least that `load_arch_hparams` and the graphs of `src/models/` in the pinned llama.cpp want, with
//! sliding windows shorter than a test's texts, few layers of each kind, and experts where there are any.

use std::collections::BTreeMap;

use llama_concurrent_gguf::{Array, Value, ValueType, encoders, generators};

use crate::vocabulary;

/// Those without a tiny model, and why.
pub const NOT_SYNTHESIZED: [(&str, &str); 6] = [
    ("arwkv7", "llama.cpp asks for tensors of shapes that do not fit together in a model this small"),
    ("chameleon", "llama.cpp computes half of it"),
    ("deepseek2-ocr", "it is the text part of a model that reads images, with the graph of deepseek2"),
    ("graniteswitch", "it needs adapters in the file"),
    ("plm", "llama.cpp asks for tensors of shapes that do not fit together in a model this small"),
    ("rwkv6qwen2", "llama.cpp asks for tensors of shapes that do not fit together in a model this small"),
];

const N_CTX: u32 = 512;
const N_VOCAB: u32 = 512;
/// Tokens that a sliding window reaches back.
const WINDOW: u32 = 16;

#[rustfmt::skip]
const WITH_EXPERTS: [&str; 53] = [
    "afmoe", "arctic", "bailingmoe", "bailingmoe2", "bailingmoe3", "cohere2moe", "dbrx", "deepseek", "deepseek2",
    "deepseek32", "deepseek4", "dots1", "dots3note", "ernie4_5", "ernie4_5-moe", "exaone-moe", "glm-dsa", "glm4moe",
    "glm5-next", "gpt-oss", "granitemoe", "grok", "grovemoe", "hunyuan-moe", "hy_v3", "hy_v4", "kimi-k3", "kimi-linear",
    "laguna", "lfm2moe", "llama4", "maple", "mellum", "mimo2", "minimax-01", "minimax-m2", "minimax-m3", "mistral4",
    "nemotron_h_moe", "olmoe", "paddleocr", "phimoe", "qwen2moe", "qwen35moe", "qwen3moe", "qwen3next", "qwen3vlmoe",
    "qwen4exp", "smallthinker", "step35", "jamba", "granitehybrid", "nomic-bert-moe",
];

/// Latent attention with one head.
#[rustfmt::skip]
const LATENT: [&str; 10] = [
    "bailingmoe3", "deepseek2", "deepseek32", "dots3note", "glm-dsa", "glm5-next", "hy_v4", "kimi-k3", "kimi-linear",
    "mistral4",
];

/// The second layer has no attention heads.
#[rustfmt::skip]
const SECOND_LAYER_WITHOUT_HEADS: [&str; 10] = [
    "bailingmoe3", "granitehybrid", "jamba", "kimi-k3", "kimi-linear", "lfm2", "lfm2moe", "nemotron_h",
    "nemotron_h_moe", "plamo2",
];

/// Every second layer has a window, as the file says.
#[rustfmt::skip]
const WINDOW_IN_A_LIST: [&str; 9] = [
    "cohere2moe", "dots3note", "gemma4", "granite_swa", "maple", "mimo2", "muse-glimmer", "spark2_5", "step35",
];

/// Architectures of encoders, which all have a tiny model, sorted.
pub fn encoder_names() -> Vec<&'static str> {
    let mut names: Vec<_> = encoders().collect();
    names.sort_unstable();
    names
}

/// Architectures of generators with a tiny model, sorted.
pub fn names() -> Vec<&'static str> {
    let is_made = |name: &&str| NOT_SYNTHESIZED.iter().all(|(without, _)| without != name);
    let mut names: Vec<_> = generators().filter(is_made).collect();
    names.sort_unstable();
    names
}

struct Settings {
    name: &'static str,
    keys: BTreeMap<String, Value>,
}

fn numbers(values: impl IntoIterator<Item = u32>) -> Value {
    Value::Array(Array::numbers(ValueType::U32, values.into_iter().flat_map(u32::to_le_bytes).collect()))
}

fn floats(values: impl IntoIterator<Item = f32>) -> Value {
    Value::Array(Array::numbers(ValueType::F32, values.into_iter().flat_map(f32::to_le_bytes).collect()))
}

fn long_numbers(values: impl IntoIterator<Item = u64>) -> Value {
    Value::Array(Array::numbers(ValueType::U64, values.into_iter().flat_map(u64::to_le_bytes).collect()))
}

impl Settings {
    fn set(&mut self, key: &str, value: Value) {
        self.keys.insert(format!("{}.{key}", self.name), value);
    }

    fn sizes(&mut self, sizes: &[(&str, u32)]) {
        sizes.iter().for_each(|&(key, size)| self.set(key, Value::U32(size)));
    }

    fn floats(&mut self, floats: &[(&str, f32)]) {
        floats.iter().for_each(|&(key, float)| self.set(key, Value::F32(float)));
    }
}

/// The whole metadata of the tiny model of an architecture, its tokenizer included.
pub(super) fn metadata(name: &str) -> Option<Vec<(String, Value)>> {
    let name = names().into_iter().chain(encoders()).find(|&known| known == name)?;
    let mut settings = Settings { name, keys: BTreeMap::new() };
    let is = |names: &[&str]| names.contains(&name);
    let latent = is(&LATENT);

    let (n_embd, n_head, n_ff) = match name {
        "gemma4" => (128, 2, 192),
        "gemma3n" => (64, 1, 96),
        "deepseek4" => (512, 8, 1024),
        "step35" | "laguna" => (160, 2, 384),
        "qwen3" | "muse-glimmer" | "afmoe" => (256, 4, 384),
        _ if latent => (128, 1, 192),
        _ => (256, 2, 384),
    };
    let n_layer = match name {
        // Layers of two kinds in a fixed order, or copies of a few.
        "llama4" | "deepseek4" => 4,
        "gemma4" => 5,
        "gemma3n" => 22,
        "nemotron_h" | "nemotron_h_moe" => 3,
        "hrm_text" => 6,
        _ => 2,
    };
    let n_head_kv = match name {
        "qwen3" | "deepseek4" => 1,
        "muse-glimmer" | "afmoe" => 2,
        _ => n_head,
    };
    let width = n_embd / n_head;
    settings.sizes(&[
        ("vocab_size", N_VOCAB),
        ("context_length", N_CTX),
        ("embedding_length", n_embd),
        ("block_count", n_layer),
        ("leading_dense_block_count", 1),
        ("feed_forward_length", n_ff),
        ("attention.head_count", n_head),
        ("attention.head_count_kv", n_head_kv),
    ]);
    settings.floats(&[
        ("attention.layer_norm_epsilon", 1e-5),
        ("attention.layer_norm_rms_epsilon", 1e-5),
        ("attention.group_norm_epsilon", 1e-5),
        ("logit_scale", 1.0),
    ]);
    attention(&mut settings, n_layer, width);
    windows(&mut settings, n_layer);
    if is(&SECOND_LAYER_WITHOUT_HEADS) {
        let heads = || numbers((0..n_layer).map(|layer| if layer == 1 { 0 } else { n_head }));
        settings.set("attention.head_count", heads());
        settings.set("attention.head_count_kv", heads());
    }
    if name == "glm5-next" {
        settings.set("attention.head_count_kv", numbers((0..n_layer).map(|layer| u32::from(layer != 1))));
    }
    if latent {
        latent_attention(&mut settings, n_layer);
    }
    if is(&WITH_EXPERTS) {
        experts(&mut settings, n_ff);
    }
    recurrence(&mut settings, n_embd, n_head);
    peculiarities(&mut settings, n_embd, n_layer, n_ff, width);
    if encoders().any(|encoder| encoder == name) {
        settings.set("attention.causal", Value::Bool(false));
        settings.sizes(&[("moe_every_n_layers", 2)]);
        settings.keys.insert("tokenizer.ggml.token_type_count".to_owned(), Value::U32(2));
    }

    let general = [
        ("general.architecture", Value::String(name.to_owned())),
        ("general.type", Value::String("model".to_owned())),
        ("general.name", Value::String("tiny, synthetic, random weights".to_owned())),
        ("general.file_type", Value::U32(0)),
        ("general.quantization_version", Value::U32(2)),
    ];
    let general = general.map(|(key, value)| (key.to_owned(), value));
    Some(general.into_iter().chain(settings.keys).chain(vocabulary::synthetic(N_VOCAB)).collect())
}

fn attention(settings: &mut Settings, n_layer: u32, width: u32) {
    match settings.name {
        "bloom" | "mpt" | "refact" | "jais" | "baichuan" => settings.floats(&[("attention.max_alibi_bias", 8.0)]),
        _ => {}
    }
    if matches!(settings.name, "mpt" | "dbrx" | "olmo") {
        settings.floats(&[("attention.clamp_kqv", 1.0)]);
    }
    settings.sizes(&[("attention.group_norm_groups", 8)]);
    match settings.name {
        "minimax-m3" => settings.sizes(&[("rope.dimension_count", 64)]),
        "deepseek4" => settings.sizes(&[
            ("attention.key_length", width),
            ("attention.value_length", width),
            ("rope.dimension_count", width / 2),
            ("attention.q_lora_rank", 64),
        ]),
        "minicpm3" => settings.sizes(&[("attention.q_lora_rank", 512), ("attention.kv_lora_rank", 512)]),
        _ => {}
    }
    if matches!(
        settings.name,
        "qwen2vl"
            | "qwen3vl"
            | "qwen3vlmoe"
            | "qwen35"
            | "qwen35moe"
            | "qwen4exp"
            | "glm4"
            | "glm4moe"
            | "hunyuan_vl"
            | "paddleocr"
            | "deepseek2-ocr"
    ) {
        settings.set("rope.dimension_sections", numbers([width / 4; 4]));
    }
    if matches!(
        settings.name,
        "minimax-m3" | "deepseek32" | "deepseek4" | "glm-dsa" | "dots3note" | "hy_v4" | "qwen4exp" | "glm5-next"
    ) {
        let heads = if settings.name == "minimax-m3" { 2 } else { 64 };
        let key_length = if settings.name == "qwen4exp" { width } else { 128 };
        settings.sizes(&[
            ("attention.indexer.head_count", heads),
            ("attention.indexer.key_length", key_length),
            ("attention.indexer.top_k", 131_072),
            ("attention.indexer.block_size", 4),
            ("attention.indexer.kpool", 4),
            ("attention.indexer.local_blocks", 1),
        ]);
        settings.set("attention.indexer.kpool_select_tail", Value::Bool(true));
    }
    if matches!(settings.name, "dots3note" | "hy_v4") {
        settings.set("attention.indexer.types", numbers((0..n_layer).map(|layer| (layer + 1) % 2)));
    }
}

fn windows(settings: &mut Settings, n_layer: u32) {
    settings.sizes(&[("attention.sliding_window", WINDOW)]);
    if WINDOW_IN_A_LIST.contains(&settings.name) {
        let of_layer = |layer: u32| if settings.name == "gemma4" { u32::from(layer % 5 != 4) } else { layer % 2 };
        settings.set("attention.sliding_window_pattern", numbers((0..n_layer).map(of_layer)));
    } else {
        settings.sizes(&[("attention.sliding_window_pattern", 2)]);
    }
}

fn latent_attention(settings: &mut Settings, n_layer: u32) {
    let without_positions = settings.name == "glm5-next";
    let sizes = [
        ("attention.key_length", if without_positions { 512 } else { 576 }),
        ("attention.value_length", 512),
        ("attention.key_length_mla", 192),
        ("attention.value_length_mla", 128),
        ("attention.kv_lora_rank", 512),
        ("attention.q_lora_rank", 512),
        ("rope.dimension_count", if without_positions { 0 } else { 64 }),
    ];
    settings.sizes(&sizes);
    match settings.name {
        "dots3note" => {
            settings.sizes(&[
                ("attention.kv_lora_rank_swa", 512),
                ("attention.key_length_swa", 576),
                ("attention.value_length_swa", 512),
                ("attention.key_length_mla_swa", 192),
                ("attention.value_length_mla_swa", 128),
            ]);
            settings.floats(&[("rope.freq_base_swa", 10_000.0)]);
        }
        "bailingmoe3" => {
            settings.set("rope.dimension_sections", numbers([8, 12, 12, 0]));
            settings.set("swiglu_clamp_exp", floats([0.0, 4.0]));
            settings.set("swiglu_clamp_shexp", floats([0.0, 5.0]));
        }
        "hy_v4" => {
            settings.sizes(&[("hyper_connection.count", 4)]);
            settings.floats(&[
                ("hyper_connection.epsilon", 1e-6),
                ("hyper_connection.magnitude", 2.0),
                ("swiglu_clamp_exp", 10.0),
                ("expert_weights_scale", 1.0),
            ]);
            settings.set("expert_weights_norm", Value::Bool(true));
        }
        _ => {}
    }
    let _ = n_layer;
}

fn experts(settings: &mut Settings, n_ff: u32) {
    settings.sizes(&[
        ("expert_count", 4),
        ("expert_used_count", 2),
        ("expert_shared_count", 1),
        ("expert_feed_forward_length", n_ff),
        ("expert_shared_feed_forward_length", n_ff / 2),
        ("expert_chunk_feed_forward_length", n_ff / 2),
        ("expert_latent_length", n_ff),
        ("interleave_moe_layer_step", 2),
        ("expert_gating_func", if settings.name == "deepseek4" { 4 } else { 2 }),
        ("experts_per_group", 2),
    ]);
    settings.floats(&[("expert_group_scale", 1.0)]);
}

fn recurrence(settings: &mut Settings, n_embd: u32, n_head: u32) {
    let inner =
        if matches!(settings.name, "qwen3next" | "qwen35" | "qwen35moe" | "qwen4exp") { 256 } else { 2 * n_embd };
    if !matches!(
        settings.name,
        "mamba"
            | "mamba2"
            | "jamba"
            | "granitehybrid"
            | "falcon-h1"
            | "nemotron_h"
            | "nemotron_h_moe"
            | "plamo2"
            | "qwen3next"
            | "qwen35"
            | "qwen35moe"
            | "qwen4exp"
            | "kimi-linear"
            | "kimi-k3"
            | "bailingmoe3"
            | "glm5-next"
            | "arwkv7"
            | "rwkv6qwen2"
            | "minimax-01"
            | "rwkv6"
            | "rwkv7"
            | "lfm2"
            | "lfm2moe"
    ) {
        return;
    }
    settings.sizes(&[
        ("ssm.inner_size", inner),
        ("ssm.conv_kernel", 4),
        ("ssm.state_size", 128),
        ("ssm.time_step_rank", n_head),
        ("ssm.group_count", if settings.name == "plamo2" { 0 } else { 2 }),
        ("kda.head_dim", 128),
        ("full_attention_interval", 2),
        ("wkv.head_size", n_embd / n_head),
        ("shortconv.l_cache", 3),
        ("time_mix_extra_dim", 64),
        ("time_decay_extra_dim", 128),
        ("token_shift_count", 2),
        ("attention.decay_lora_rank", 32),
        ("attention.iclr_lora_rank", 32),
        ("attention.value_residual_mix_lora_rank", 32),
        ("attention.gate_lora_rank", 32),
    ]);
    settings.set("kda.safe_gate", Value::Bool(true));
    settings.floats(&[("kda.gate_lower_bound", -5.0)]);
}

fn peculiarities(settings: &mut Settings, n_embd: u32, n_layer: u32, n_ff: u32, width: u32) {
    match settings.name {
        "gemma4" => {
            settings.sizes(&[
                ("embedding_length_per_layer_input", n_embd / 2),
                ("attention.shared_kv_layers", 0),
                ("attention.key_length_swa", width),
                ("attention.value_length_swa", width),
            ]);
            settings.floats(&[("rope.freq_base_swa", 10_000.0)]);
        }
        "gemma2" => settings.floats(&[("attn_logit_softcapping", 50.0), ("final_logit_softcapping", 30.0)]),
        "grok" => settings.floats(&[("attn_logit_softcapping", 30.0), ("router_logit_softcapping", 30.0)]),
        "nemotron_h" | "nemotron_h_moe" => {
            settings.set("feed_forward_length", numbers((0..n_layer).map(|layer| if layer <= 1 { 0 } else { n_ff })));
        }
        "qwen4exp" | "glm5-next" => {
            settings.sizes(&[
                ("hyper_connection.count", 4),
                ("hyper_connection.sinkhorn_iterations", 2),
                ("hyper_connection.low_rank", 8),
                ("ple.ngram_size", 3),
                ("ple.heads_per_ngram", 2),
                ("ple.conv_kernel", 4),
                ("ple.eos_token_id", 0),
                ("embedding_length_per_layer_input", n_embd / 4),
            ]);
            settings.floats(&[("hyper_connection.epsilon", 1e-6)]);
            settings.set("attention.compress_ratios", numbers((0..n_layer).map(|_| 4)));
            settings.set("ple.layers", numbers([0]));
            settings.set("ple.layer_multipliers", long_numbers([1, 3, 5]));
            settings.set("ple.head_offsets", long_numbers((0..4).map(|head| head * u64::from(N_VOCAB))));
            settings.set("ple.head_vocab_sizes", long_numbers([u64::from(N_VOCAB); 4]));
        }
        "deepseek4" => {
            settings.sizes(&[
                ("attention.output_group_count", 8),
                ("attention.output_lora_rank", 32),
                ("hyper_connection.count", 4),
                ("hyper_connection.sinkhorn_iterations", 2),
                ("hash_layer_count", 0),
            ]);
            settings.floats(&[
                ("attention.compress_rope_freq_base", 160_000.0),
                ("hyper_connection.epsilon", 1e-6),
                ("swiglu_clamp_exp", 10.0),
                ("expert_weights_scale", 1.0),
            ]);
            settings.set("attention.compress_ratios", numbers([0, 0, 4, 128]));
            settings.set("expert_weights_norm", Value::Bool(true));
        }
        "hrm_text" => {
            settings.sizes(&[("hrm.layers_per_stack", 1), ("hrm.h_cycles", 2), ("hrm.l_cycles", 2)]);
        }
        "maple" => settings.floats(&[("swiglu_clamp_exp", 7.0)]),
        "gptneox" => settings.set("use_parallel_residual", Value::Bool(false)),
        "apertus" => {
            for (key, value) in [("alpha_n", 1.0), ("alpha_p", 1.0), ("beta", 1.0), ("eps", 1e-7)] {
                settings.keys.insert(format!("xielu.{key}"), Value::F32(value));
            }
        }
        "kimi-k3" => {
            settings.sizes(&[("attn_res.block_size", 12)]);
            settings.floats(&[("activation.situ_beta", 4.0), ("activation.situ_linear_beta", 25.0)]);
        }
        "minimax-01" => settings.floats(&[("residual_scale", 3.556_558_8)]),
        _ => {}
    }
}
