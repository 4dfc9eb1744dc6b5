//! The sizes of well-known models, from their published configurations.

/// The architectures that can be synthesised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// Llama and those built alike (TinyLlama, SmolLM).
    Llama,
    /// Qwen 2 and 2.5: as Llama, with biases on queries, keys and values.
    Qwen2,
    /// Gemma 3: norms on queries and keys and after each part of a layer, and a sliding window in five of six layers.
    Gemma3,
    /// Qwen 3 with experts: norms on queries and keys.
    Qwen3Moe,
    /// gpt-oss: experts, biases, attention sinks, and a sliding window in every second layer.
    GptOss,
}

impl Family {
    /// The name in `general.architecture`.
    pub fn architecture(self) -> &'static str {
        match self {
            Family::Llama => "llama",
            Family::Qwen2 => "qwen2",
            Family::Gemma3 => "gemma3",
            Family::Qwen3Moe => "qwen3moe",
            Family::GptOss => "gpt-oss",
        }
    }
}

/// The sizes of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// The name by which people ask for it.
    pub name: &'static str,
    /// The architecture.
    pub family: Family,
    /// Transformer blocks.
    pub n_layer: u32,
    /// Width of the embedding; a multiple of 32.
    pub n_embd: u32,
    /// Width inside the feed-forward network, or inside each expert; a multiple of 32.
    pub n_ff: u32,
    /// Experts of a layer, 0 for a dense model.
    pub n_expert: u32,
    /// Experts that compute a token.
    pub n_expert_used: u32,
    /// Attention heads.
    pub n_head: u32,
    /// Heads of keys and values; divides `n_head`.
    pub n_head_kv: u32,
    /// Width of a head, even; `n_head` times it is a multiple of 32.
    pub head_dim: u32,
    /// Tokens that layers with a sliding window reach back, 0 where there are none.
    pub window: u32,
    /// Tokens, unless a donor gives the vocabulary.
    pub n_vocab: u32,
    /// The context that the model claims to be trained for, in tokens.
    pub n_ctx_train: u32,
    /// Base of the rotary embedding's frequencies.
    pub rope_freq_base: f32,
    /// Added to the mean square before its root in RMS norms.
    pub norm_epsilon: f32,
    /// Whether the output matrix is the embedding matrix, and so not in the file.
    pub tied_embeddings: bool,
}

impl Shape {
    /// TinyLlama 1.1B: 0.62 GB in Q4_0.
    pub const TINYLLAMA_1_1B: Shape = Shape {
        name: "tinyllama-1.1b",
        family: Family::Llama,
        n_layer: 22,
        n_embd: 2048,
        n_ff: 5632,
        n_expert: 0,
        n_expert_used: 0,
        n_head: 32,
        n_head_kv: 4,
        head_dim: 64,
        window: 0,
        n_vocab: 32000,
        n_ctx_train: 2048,
        rope_freq_base: 10_000.0,
        norm_epsilon: 1e-5,
        tied_embeddings: false,
    };

    /// SmolLM 135M: 76 MB in Q4_0.
    pub const SMOLLM_135M: Shape = Shape {
        name: "smollm-135m",
        family: Family::Llama,
        n_layer: 30,
        n_embd: 576,
        n_ff: 1536,
        n_expert: 0,
        n_expert_used: 0,
        n_head: 9,
        n_head_kv: 3,
        head_dim: 64,
        window: 0,
        n_vocab: 49152,
        n_ctx_train: 2048,
        rope_freq_base: 10_000.0,
        norm_epsilon: 1e-5,
        tied_embeddings: true,
    };

    /// Llama 3.2 1B: 0.70 GB in Q4_0.
    pub const LLAMA_3_2_1B: Shape = Shape {
        name: "llama-3.2-1b",
        family: Family::Llama,
        n_layer: 16,
        n_embd: 2048,
        n_ff: 8192,
        n_expert: 0,
        n_expert_used: 0,
        n_head: 32,
        n_head_kv: 8,
        head_dim: 64,
        window: 0,
        n_vocab: 128_256,
        n_ctx_train: 131_072,
        rope_freq_base: 500_000.0,
        norm_epsilon: 1e-5,
        tied_embeddings: true,
    };

    /// Qwen 2.5 0.5B: 0.28 GB in Q4_0.
    pub const QWEN2_5_0_5B: Shape = Shape {
        name: "qwen2.5-0.5b",
        family: Family::Qwen2,
        n_layer: 24,
        n_embd: 896,
        n_ff: 4864,
        n_expert: 0,
        n_expert_used: 0,
        n_head: 14,
        n_head_kv: 2,
        head_dim: 64,
        window: 0,
        n_vocab: 151_936,
        n_ctx_train: 32768,
        rope_freq_base: 1_000_000.0,
        norm_epsilon: 1e-6,
        tied_embeddings: true,
    };

    /// Llama 3 8B: 4.5 GB in Q4_0.
    pub const LLAMA_3_8B: Shape = Shape {
        name: "llama-3-8b",
        family: Family::Llama,
        n_layer: 32,
        n_embd: 4096,
        n_ff: 14336,
        n_expert: 0,
        n_expert_used: 0,
        n_head: 32,
        n_head_kv: 8,
        head_dim: 128,
        window: 0,
        n_vocab: 128_256,
        n_ctx_train: 8192,
        rope_freq_base: 500_000.0,
        norm_epsilon: 1e-5,
        tied_embeddings: false,
    };

    /// Gemma 3 1B: 0.56 GB in Q4_0.
    pub const GEMMA_3_1B: Shape = Shape {
        name: "gemma-3-1b",
        family: Family::Gemma3,
        n_layer: 26,
        n_embd: 1152,
        n_ff: 6912,
        n_expert: 0,
        n_expert_used: 0,
        n_head: 4,
        n_head_kv: 1,
        head_dim: 256,
        window: 512,
        n_vocab: 262_144,
        n_ctx_train: 32768,
        rope_freq_base: 1_000_000.0,
        norm_epsilon: 1e-6,
        tied_embeddings: true,
    };

    /// Qwen 3 30B-A3B: 17 GB in Q4_0, of which a token reads a tenth.
    pub const QWEN3_30B_A3B: Shape = Shape {
        name: "qwen3-30b-a3b",
        family: Family::Qwen3Moe,
        n_layer: 48,
        n_embd: 2048,
        n_ff: 768,
        n_expert: 128,
        n_expert_used: 8,
        n_head: 32,
        n_head_kv: 4,
        head_dim: 128,
        window: 0,
        n_vocab: 151_936,
        n_ctx_train: 40960,
        rope_freq_base: 1_000_000.0,
        norm_epsilon: 1e-6,
        tied_embeddings: false,
    };

    /// gpt-oss 20B: 12 GB in MXFP4.
    pub const GPT_OSS_20B: Shape = Shape {
        name: "gpt-oss-20b",
        family: Family::GptOss,
        n_layer: 24,
        n_embd: 2880,
        n_ff: 2880,
        n_expert: 32,
        n_expert_used: 4,
        n_head: 64,
        n_head_kv: 8,
        head_dim: 64,
        window: 128,
        n_vocab: 201_088,
        n_ctx_train: 131_072,
        rope_freq_base: 150_000.0,
        norm_epsilon: 1e-5,
        tied_embeddings: false,
    };

    /// All of the above.
    pub const PRESETS: &'static [Shape] = &[
        Shape::SMOLLM_135M,
        Shape::QWEN2_5_0_5B,
        Shape::GEMMA_3_1B,
        Shape::TINYLLAMA_1_1B,
        Shape::LLAMA_3_2_1B,
        Shape::LLAMA_3_8B,
        Shape::GPT_OSS_20B,
        Shape::QWEN3_30B_A3B,
    ];

    /// The preset of this name, such as `"tinyllama-1.1b"`.
    pub fn by_name(name: &str) -> Option<&'static Shape> {
        Shape::PRESETS.iter().find(|shape| shape.name == name)
    }
}
