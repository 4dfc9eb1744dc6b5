//! Which architectures this build of llama.cpp runs, as generators of text or as encoders, and what it asserts about their
//! shapes.
//!
//! From the pinned sources (llama-cpp-sys-2 0.1.161): names from `src/llama-arch.cpp`, assertions from
//! `src/models/*.cpp`. A test compares the names with those sources where cargo has unpacked them; when the pin moves,
//! it fails with the names to add.

use crate::error::Problem;
use crate::summary::GraphFaults;

/// What llama.cpp asserts about the sizes of the attention heads. A violation aborts the process at the first decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadRule {
    /// Keys and values are equally wide, and rotary embedding covers the whole head.
    KeyEqualsValueEqualsRope,
    /// Keys and values are equally wide.
    KeyEqualsValue,
    /// The graph copes with any.
    Free,
}

/// `GGML_ASSERT(n_embd_head == hparams.n_embd_head_k())` and `GGML_ASSERT(n_embd_head == n_rot)`.
#[rustfmt::skip]
const KEY_EQUALS_VALUE_EQUALS_ROPE: &[&str] = &[
    "apertus", "arcee", "arctic", "baichuan", "chameleon", "codeshell", "cogvlm", "cohere2moe", "dbrx", "deci",
    "deepseek", "dots1", "ernie4_5", "ernie4_5-moe", "exaone", "exaone-moe", "exaone4", "falcon", "granite",
    "granite_swa", "granitemoe", "graniteswitch", "grok", "grovemoe", "hunyuan-dense", "hunyuan-moe",
    "hunyuan_vl", "hy_v3", "internlm2", "jais2", "llama", "llama4", "maincoder", "mellum", "minicpm",
    "mistral3", "olmo", "olmo2", "olmoe", "orion", "paddleocr", "pangu-embedded", "plamo", "qwen2", "qwen2moe",
    "qwen2vl", "qwen3", "qwen3moe", "qwen3vl", "qwen3vlmoe", "seed_oss", "smallthinker", "smollm3",
    "starcoder2", "talkie", "xverse",
];

/// `GGML_ASSERT(n_embd_head == hparams.n_embd_head_k())` alone.
#[rustfmt::skip]
const KEY_EQUALS_VALUE: &[&str] = &[
    "afmoe", "bailingmoe2", "bitnet", "bloom", "chatglm", "cohere2", "command-r", "deepseek4", "glm4",
    "glm4moe", "gpt2", "gptneox", "granitehybrid", "jais", "laguna", "maple", "minimax-01", "minimax-m2",
    "minimax-m3", "mpt", "muse-glimmer", "nanbeige", "nemotron", "nemotron_h", "nemotron_h_moe", "openelm",
    "phi2", "phi3", "qwen", "qwen35", "qwen35moe", "qwen3next", "qwen4exp", "refact", "spark2_5", "stablelm",
    "starcoder",
];

#[rustfmt::skip]
const FREE: &[&str] = &[
    "arwkv7", "bailingmoe", "bailingmoe3", "deepseek2", "deepseek2-ocr", "deepseek32", "dots3note", "falcon-h1",
    "gemma", "gemma2", "gemma3", "gemma3n", "gemma4", "glm-dsa", "glm5-next", "gpt-oss", "hrm_text", "hy_v4",
    "jamba", "kimi-k3", "kimi-linear", "lfm2", "lfm2moe", "mamba", "mamba2", "mimo2", "minicpm3", "mistral4",
    "phimoe", "plamo2", "plamo3", "plm", "rwkv6", "rwkv6qwen2", "rwkv7", "step35",
];

/// Those that make vectors of whole texts: each token attends to all of its text, so that there is no KV cache and nothing is
/// generated. Keys and values are equally wide.
#[rustfmt::skip]
const ENCODERS: &[&str] = &[
    "bert", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "modern-bert", "neo-bert", "nomic-bert",
    "nomic-bert-moe",
];

/// `llm_arch_is_recurrent`: no attention at all, so no heads and no KV cache.
const RECURRENT: &[&str] = &["arwkv7", "mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7"];

/// `llm_arch_is_hybrid`, and deci, whose pruned layers have no attention: some layers may have no heads.
#[rustfmt::skip]
const PARTLY_WITHOUT_HEADS: &[&str] = &[
    "bailingmoe3", "deci", "deepseek4", "falcon-h1", "glm5-next", "granitehybrid", "jamba", "kimi-k3",
    "kimi-linear", "lfm2", "lfm2moe", "minimax-01", "nemotron_h", "nemotron_h_moe", "plamo2", "qwen35",
    "qwen35moe", "qwen3next", "qwen4exp",
];

/// Blocks without `attn_norm`: these normalise behind the attention, otherwise, or have empty blocks.
#[rustfmt::skip]
const WITHOUT_BLOCK_NORM: &[&str] = &[
    "bert", "deci", "exaone4", "hrm_text", "jina-bert-v2", "jina-bert-v3", "modern-bert", "nomic-bert", "nomic-bert-moe",
    "olmo", "olmo2", "qwen4exp", "talkie",
];

/// Graphs that mix up sequences which are computed in one call, and how.
const ONE_SEQUENCE: &[(&str, &str)] = &[(
    "plamo2",
    "llama.cpp writes the states of sequences that are computed together to the wrong places, so each has a context of its own",
)];

/// Graphs that compute the logits of every row, whichever were asked for. llama.cpp then reads those of the first rows.
const ALL_LOGITS: &[&str] = &["cogvlm"];

/// What llama.cpp's graph for this architecture gets wrong.
pub fn graph_faults(name: &str) -> GraphFaults {
    GraphFaults {
        one_sequence: ONE_SEQUENCE.iter().find(|(faulty, _)| *faulty == name).map(|&(_, why)| why),
        needs_all_logits: ALL_LOGITS.contains(&name),
    }
}

/// Known to llama.cpp and not run here: what they are, and what to do instead.
const OTHERS: &[(&[&str], &str)] = &[
    (&["clip"], "is the image or audio part of a multimodal model; give the language model that it belongs to"),
    (&["llama-embed"], "attends to whole texts through a KV cache, which this program does not do"),
    (&["clef"], "scores decisions and writes no text; give a model that generates"),
    (&["t5", "t5encoder"], "is an encoder or an encoder-decoder model, which this program does not run"),
    (&["pockettts", "qwen3tts", "wavtokenizer-dec"], "makes speech and no text; give a model that generates text"),
    (
        &["dream", "llada", "llada-moe", "rnd1"],
        "writes by diffusion instead of token after token, which this program does not run",
    ),
    (
        &["dflash", "eagle3", "gemma4-assistant"],
        "is the draft part of speculative decoding; give the model that it belongs to",
    ),
    (&["gptj"], "is known to llama.cpp by name only: it has no code to run it"),
];

/// What the checks need to know of an architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Architecture {
    pub heads: HeadRule,
    /// Not one layer attends.
    pub recurrent: bool,
    /// It makes vectors of texts and generates nothing.
    pub encoder: bool,
    /// A layer may have no heads.
    pub partly_without_heads: bool,
    /// Each block has an `attn_norm`.
    pub block_norm: bool,
}

/// The architecture of this name, as `general.architecture` gives it.
pub(super) fn find(name: &str) -> Result<Architecture, Problem> {
    let heads = if KEY_EQUALS_VALUE_EQUALS_ROPE.contains(&name) {
        HeadRule::KeyEqualsValueEqualsRope
    } else if KEY_EQUALS_VALUE.contains(&name) || ENCODERS.contains(&name) {
        HeadRule::KeyEqualsValue
    } else if FREE.contains(&name) {
        HeadRule::Free
    } else {
        return Err(not_runnable(name));
    };
    let recurrent = RECURRENT.contains(&name);
    Ok(Architecture {
        heads,
        recurrent,
        encoder: ENCODERS.contains(&name),
        partly_without_heads: recurrent || PARTLY_WITHOUT_HEADS.contains(&name),
        block_norm: !WITHOUT_BLOCK_NORM.contains(&name),
    })
}

fn not_runnable(name: &str) -> Problem {
    let known = OTHERS.iter().find(|(names, _)| names.contains(&name));
    Problem::unsupported(match known {
        Some((_, what)) => format!("a model of the architecture '{}' {what}", printable(name)),
        None => format!(
            "the architecture '{}' is unknown to the llama.cpp in this build; a newer version of this program may \
             run it",
            printable(name)
        ),
    })
}

/// A name from a file, made fit for a terminal.
fn printable(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}

/// The architectures of models that generate text, in no order.
pub fn generators() -> impl Iterator<Item = &'static str> {
    [KEY_EQUALS_VALUE_EQUALS_ROPE, KEY_EQUALS_VALUE, FREE].into_iter().flatten().copied()
}

/// The architectures of models that make vectors of texts and generate nothing.
pub fn encoders() -> impl Iterator<Item = &'static str> {
    ENCODERS.iter().copied()
}

#[cfg(test)]
pub fn all_names() -> impl Iterator<Item = &'static str> {
    let others = OTHERS.iter().flat_map(|(names, _)| *names);
    generators().chain(encoders()).chain(others.copied())
}
