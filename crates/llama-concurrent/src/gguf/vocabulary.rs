//! Whether the vocabulary in a header is one that llama.cpp can load and then tokenise any text with.

use std::borrow::Cow;
use std::collections::HashMap;

use super::error::{GgufError, Problem};
use super::header::{Header, wrong_type};
use super::value::{Array, Value, ValueType};

/// The vocabulary of a model or of a tokenizer file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VocabularySummary {
    /// The kind of tokenizer as llama.cpp names it: `"gpt2"` is byte-level BPE, `"llama"` SentencePiece.
    pub tokenizer: String,
    /// The rule by which BPE tokenizers cut text into words first.
    pub pre_tokenizer: Option<String>,
    /// The number of tokens.
    pub n_tokens: u32,
    /// Whether the file brings a chat template.
    pub has_chat_template: bool,
}

/// The keys of `special_token_types` in llama.cpp's `llama_vocab::impl::load`, those with a meaning for generation.
const SPECIAL_IDS: &[&str] = &[
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
    "tokenizer.ggml.unknown_token_id",
    "tokenizer.ggml.seperator_token_id",
    "tokenizer.ggml.padding_token_id",
    "tokenizer.ggml.mask_token_id",
];

/// `tokenizer_model` in llama.cpp, less those that cannot turn text into tokens.
const TOKENIZERS: &[&str] = &["bert", "gemma4", "gpt2", "hybriddna", "llama", "plamo2", "rwkv", "t5", "whitespace"];

/// `tokenizer_pre` in llama.cpp. It throws on another name, as it must: the wrong rule spoils every prompt.
#[rustfmt::skip]
pub(super) const PRE_TOKENIZERS: &[&str] = &[
    "a.x-4.0", "afmoe", "bailingmoe", "bailingmoe2", "bloom", "chameleon", "chatglm-bpe", "codeshell", "cohere2moe",
    "command-r", "dbrx", "deepseek-coder", "deepseek-llm", "deepseek-r1-qwen", "deepseek-v3", "default", "exaone",
    "exaone-moe", "exaone4", "f2llmv2", "falcon", "falcon-h1", "falcon3", "gemma4", "gigachat", "glm4", "glm5", "gpt-2",
    "gpt-4o", "gpt3-finnish", "granite-docling", "granite-embed-multi-311m", "granite-embed-multi-97m", "grok-2",
    "hunyuan", "hunyuan-dense", "hy_v4", "jais", "jais-2", "jina-de", "jina-es", "jina-v1-en", "jina-v2-code",
    "jina-v2-de", "jina-v2-es", "jina-v5-nano", "joyai-llm", "kanana2", "kimi-k2", "kormo", "laguna", "lfm2",
    "llada-moe", "llama-bpe", "llama-v3", "llama3", "llama4", "megrez", "mellum", "mellum2", "midm-2.0", "minerva-7b",
    "minicpm5", "minimax-m2", "mmbert", "modern-bert", "mpt", "olmo", "phi-2", "pixtral", "poro-chat", "qwen2",
    "qwen35", "refact", "roberta-bpe", "sarvam-moe", "seed-coder", "smaug-bpe", "smollm", "solar-open", "spark2_5",
    "stablelm2", "starcoder", "superbpe", "talkie", "tekken", "tiny_aya", "trillion", "ufakzeka", "viking",
    "whitespace", "youtu",
];

/// No vocabulary is larger by far; keeps the memory for the search for duplicates bounded.
const MAX_TOKENS: usize = 1 << 22;

/// `LLAMA_TOKEN_TYPE_CONTROL`: a token such as `<|endoftext|>` that is no text.
pub(super) const CONTROL: i32 = 3;

impl Header {
    /// Checks the vocabulary alone, as is right for a file that donates its tokenizer and has no weights.
    ///
    /// # Errors
    ///
    /// The vocabulary is missing, contradictory, or of a kind that this build does not know.
    pub fn check_vocabulary(&self) -> Result<VocabularySummary, GgufError> {
        check(self).map_err(|problem| problem.at(self.path()))
    }
}

pub(super) fn check(header: &Header) -> Result<VocabularySummary, Problem> {
    let tokenizer = tokenizer(header)?;
    let pre_tokenizer = header.str("tokenizer.ggml.pre")?;
    if matches!(tokenizer, "gpt2" | "hybriddna" | "whitespace") {
        check_bpe(header, pre_tokenizer)?;
    } else if tokenizer == "gemma4" {
        check_merges(header)?;
    }

    let tokens = tokens(header)?;
    let n_tokens = tokens.len() as u32;
    let ids = distinct_ids(tokens)?;
    check_attributes(header, "tokenizer.ggml.scores", n_tokens, &[ValueType::F32, ValueType::I32])?;
    check_attributes(header, "tokenizer.ggml.token_type", n_tokens, &[ValueType::I32])?;
    if tokenizer == "llama" {
        check_byte_tokens(&ids)?;
    }

    for key in SPECIAL_IDS {
        if let Some(id) = header.u32(key)?
            && id >= n_tokens
        {
            return Err(Problem::invalid(format!(
                "'{key}' is {id}, and the vocabulary has {n_tokens} tokens; the file was written wrongly"
            )));
        }
    }
    check_added_token(header, tokenizer, "bos", n_tokens)?;
    check_added_token(header, tokenizer, "eos", n_tokens)?;

    Ok(VocabularySummary {
        tokenizer: tokenizer.to_owned(),
        pre_tokenizer: pre_tokenizer.map(str::to_owned),
        n_tokens,
        has_chat_template: header.str("tokenizer.chat_template")?.is_some_and(|template| !template.trim().is_empty()),
    })
}

fn tokenizer(header: &Header) -> Result<&str, Problem> {
    match header.str("tokenizer.ggml.model")? {
        None => Err(Problem::unsupported(
            "the file has no vocabulary ('tokenizer.ggml.model' is missing), so text cannot become tokens; \
             get a complete file of the model",
        )),
        Some("no_vocab" | "none") => Err(Problem::unsupported(
            "the model comes without a vocabulary and works on token numbers only; this program needs text",
        )),
        Some(name) if TOKENIZERS.contains(&name) => Ok(name),
        Some(other) => Err(Problem::unsupported(format!(
            "the tokenizer '{}' is unknown to the llama.cpp in this build; a newer version of this program may have it",
            other.escape_debug()
        ))),
    }
}

fn check_bpe(header: &Header, pre_tokenizer: Option<&str>) -> Result<(), Problem> {
    match pre_tokenizer {
        // Kimi-K2 cuts text without merges.
        Some("kimi-k2") => Ok(()),
        None | Some("") => check_merges(header),
        Some(pre) if PRE_TOKENIZERS.contains(&pre) => check_merges(header),
        Some(pre) => Err(Problem::unsupported(format!(
            "the pre-tokenizer '{}' is unknown to the llama.cpp in this build; a newer version of this program may \
             have it",
            pre.escape_debug()
        ))),
    }
}

fn check_merges(header: &Header) -> Result<(), Problem> {
    strings(header, "tokenizer.ggml.merges").map(|_| ())
}

fn tokens(header: &Header) -> Result<&Array, Problem> {
    let tokens = strings(header, "tokenizer.ggml.tokens")?;
    match tokens.len() {
        0 => Err(Problem::invalid("the vocabulary is empty; get a complete file of the model")),
        count if count > MAX_TOKENS => Err(Problem::invalid(format!(
            "the vocabulary has {count} tokens, more than any model; the file is damaged"
        ))),
        _ => Ok(tokens),
    }
}

fn strings<'h>(header: &'h Header, key: &str) -> Result<&'h Array, Problem> {
    match header.get(key) {
        Some(Value::Array(array)) if array.element_type() == ValueType::String => Ok(array),
        Some(other) => Err(wrong_type(key, other, "arr[str]")),
        None => Err(Problem::invalid(format!(
            "'{key}' is missing, so text cannot become tokens; get a complete file of the model"
        ))),
    }
}

/// The id of each token. llama.cpp asserts that no two are equal, after two changes of its own: a token ends at its
/// first zero byte, and an empty one becomes `[EMPTY_id]`.
fn distinct_ids(tokens: &Array) -> Result<HashMap<Cow<'_, [u8]>, usize>, Problem> {
    let mut ids = HashMap::with_capacity(tokens.len());
    for (id, token) in tokens.iter_bytes().enumerate() {
        let end = token.iter().position(|&byte| byte == 0).unwrap_or(token.len());
        let text = match end {
            0 => Cow::Owned(format!("[EMPTY_{id}]").into_bytes()),
            _ => Cow::Borrowed(&token[..end]),
        };
        if let Some(first) = ids.insert(text, id) {
            return Err(Problem::invalid(format!(
                "the vocabulary holds the token '{}' twice, as {first} and {id}; llama.cpp aborts on that: the file \
                 was written wrongly or is damaged",
                token[..end].escape_ascii()
            )));
        }
    }
    Ok(ids)
}

/// Scores and types: an array with an entry for each token. Longer ones do no harm, and exist.
fn check_attributes(header: &Header, key: &str, n_tokens: u32, types: &[ValueType]) -> Result<(), Problem> {
    let array = match header.get(key) {
        None => return Ok(()),
        Some(Value::Array(array)) if types.contains(&array.element_type()) => array,
        Some(other) => return Err(wrong_type(key, other, &format!("arr[{}]", types[0]))),
    };
    if array.len() < n_tokens as usize {
        return Err(Problem::invalid(format!(
            "'{key}' has {} entries for {n_tokens} tokens; the file was written wrongly",
            array.len()
        )));
    }
    Ok(())
}

/// SentencePiece falls back to bytes for what no token covers, and llama.cpp throws on a byte without a token. One
/// unusual character in a prompt would do.
fn check_byte_tokens(ids: &HashMap<Cow<'_, [u8]>, usize>) -> Result<(), Problem> {
    // Zero cannot be a character of a C string, so nothing ever looks for it.
    let missing = (1..=u8::MAX)
        .find(|byte| !ids.contains_key(format!("<0x{byte:02X}>").as_bytes()) && !ids.contains_key(&[*byte][..]));
    match missing {
        None => Ok(()),
        Some(byte) => Err(Problem::unsupported(format!(
            "the SentencePiece vocabulary has no token for the byte 0x{byte:02X}, so some texts cannot become tokens; \
             llama.cpp needs all of <0x00> to <0xFF>: convert the model with byte fallback"
        ))),
    }
}

/// A tokenizer that puts a token before (`bos`) or behind (`eos`) each text must say which: llama.cpp asserts it.
fn check_added_token(header: &Header, tokenizer: &str, which: &str, n_tokens: u32) -> Result<(), Problem> {
    let (add_key, id_key) = (format!("tokenizer.ggml.add_{which}_token"), format!("tokenizer.ggml.{which}_token_id"));
    let added = header.bool(&add_key)?.unwrap_or(false);
    if !added || header.u32(&id_key)?.is_some() {
        return Ok(());
    }
    // What llama.cpp takes instead: the habit of the tokenizer's first model.
    let default = match (tokenizer, which) {
        ("llama" | "plamo2", "bos") | ("t5", "eos") => Some(1),
        ("llama" | "plamo2", _) => Some(2),
        ("bert", "bos") => Some(101),
        // Falcon's <|endoftext|>; in another vocabulary an ordinary word, which would spoil each prompt.
        ("gpt2" | "hybriddna" | "whitespace", _) => Some(11).filter(|&id| is_control(header, id)),
        _ => None,
    };
    if default.is_some_and(|id| id < n_tokens) {
        return Ok(());
    }
    Err(Problem::invalid(format!(
        "'{add_key}' is true, and '{id_key}' is missing, so nothing says which token to add; the file was written \
         wrongly"
    )))
}

fn is_control(header: &Header, id: u32) -> bool {
    let types = header.get("tokenizer.ggml.token_type").and_then(Value::as_array);
    types.and_then(|types| types.u32_at(id as usize)) == Some(CONTROL as u32)
}
