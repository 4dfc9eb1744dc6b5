//! Whether the vocabulary in a header is one that llama.cpp can load and then tokenise any text with.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::error::{GgufError, Problem};
use crate::header::{Header, wrong_type};
use crate::value::{Array, Value, ValueType};

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
    /// What is odd about it and does no harm to most texts; llama.cpp goes on, too.
    pub warnings: Vec<String>,
}

/// The keys of `special_token_types` in llama.cpp's `llama_vocab::impl::load`, less their beginning and end.
#[rustfmt::skip]
const SPECIAL_IDS: &[&str] = &[
    "bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "mask", "fim_pre", "fim_suf", "fim_mid", "fim_pad",
    "fim_rep", "fim_sep", "prefix", "suffix", "middle",
];

/// `tokenizer_model` in llama.cpp, less those that cannot turn text into tokens.
const TOKENIZERS: &[&str] = &["bert", "gemma4", "gpt2", "hybriddna", "llama", "plamo2", "rwkv", "t5", "whitespace"];

/// `tokenizer_pre` in llama.cpp. It throws on another name, as it must: the wrong rule spoils every prompt.
#[rustfmt::skip]
pub const PRE_TOKENIZERS: &[&str] = &[
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
    let mut special = SpecialIds::read(header, tokenizer, n_tokens)?;
    special.check_added("bos", tokens)?;
    special.check_added("eos", tokens)?;

    let mut warnings = special.warnings;
    if tokenizer == "llama" {
        warnings.extend(missing_byte_token(&ids));
    }
    let template = match header.get("tokenizer.chat_template") {
        Some(Value::Array(_)) => {
            warnings.push("'tokenizer.chat_template' is a list, and llama.cpp reads one text: no template".to_owned());
            None
        }
        other => other.and_then(Value::as_str),
    };
    Ok(VocabularySummary {
        tokenizer: tokenizer.to_owned(),
        pre_tokenizer: pre_tokenizer.map(str::to_owned),
        n_tokens,
        has_chat_template: template.is_some_and(|template| !template.trim().is_empty()),
        warnings,
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

/// SentencePiece falls back to bytes for what no token covers, and llama.cpp throws on a byte without a token: texts with
/// such characters are refused when they come.
fn missing_byte_token(ids: &HashMap<Cow<'_, [u8]>, usize>) -> Option<String> {
    // Zero cannot be a character of a C string, so nothing ever looks for it.
    let missing = (1..=u8::MAX)
        .find(|byte| !ids.contains_key(format!("<0x{byte:02X}>").as_bytes()) && !ids.contains_key(&[*byte][..]))?;
    Some(format!(
        "the SentencePiece vocabulary has no token for the byte 0x{missing:02X}; a text with characters that no other \
         token covers cannot become tokens and is refused"
    ))
}

/// The tokens with a purpose of their own, as `llama_vocab::impl::load` finds them.
struct SpecialIds<'h> {
    header: &'h Header,
    tokenizer: &'h str,
    n_tokens: u32,
    warnings: Vec<String>,
}

impl<'h> SpecialIds<'h> {
    /// llama.cpp ignores ids outside of the vocabulary: many files write -1 for a token that they do not have, as u32.
    fn read(header: &'h Header, tokenizer: &'h str, n_tokens: u32) -> Result<Self, Problem> {
        let mut special = SpecialIds { header, tokenizer, n_tokens, warnings: Vec::new() };
        for which in SPECIAL_IDS {
            let key = id_key(which);
            if let Some(id) = header.u32(&key)?.filter(|&id| id >= n_tokens) {
                let instead = match special.default_of(which) {
                    Some(default) => format!("token {default} is taken for it"),
                    None => "it is ignored".to_owned(),
                };
                special.warnings.push(format!(
                    "'{key}' is {id}, and the vocabulary has {n_tokens} tokens; as in llama.cpp, {instead}"
                ));
            }
        }
        Ok(special)
    }

    /// What llama.cpp takes where the file names none: the habit of the tokenizer's first model.
    fn default_of(&self, which: &str) -> Option<u32> {
        let id = match (self.tokenizer, which) {
            ("llama" | "plamo2", "unknown") | ("bert", "padding") | ("t5", "padding") => 0,
            ("llama" | "plamo2", "bos") | ("t5", "eos") => 1,
            ("llama" | "plamo2", "eos") | ("t5", "unknown") => 2,
            ("plamo2", "padding") => 3,
            // Falcon's <|endoftext|>.
            ("gpt2" | "hybriddna" | "whitespace", "bos" | "eos") => 11,
            ("bert", "unknown") => 100,
            ("bert", "bos") => 101,
            ("bert", "seperator") => 102,
            ("bert", "mask") => 103,
            _ => return None,
        };
        Some(id).filter(|&id| id < self.n_tokens)
    }

    /// A tokenizer that puts a token before (`bos`) or behind (`eos`) each text must have one: llama.cpp asserts it.
    fn check_added(&mut self, which: &str, tokens: &Array) -> Result<(), Problem> {
        let add_key = format!("tokenizer.ggml.add_{which}_token");
        let added = match (self.tokenizer, which) {
            // Never, or always, whatever the file says.
            ("rwkv", _) => false,
            ("bert", "bos") | ("gemma4", "bos") => true,
            _ => self.header.bool(&add_key)?.unwrap_or(false),
        };
        let key = id_key(which);
        let given = self.header.u32(&key)?.filter(|&id| id < self.n_tokens);
        if !added || given.is_some() {
            return Ok(());
        }
        let Some(default) = self.default_of(which) else {
            return Err(Problem::invalid(format!(
                "this tokenizer adds a token to each text ('{add_key}'), and '{key}' does not say which; llama.cpp \
                 aborts on that: the file was written wrongly"
            )));
        };
        // With SentencePiece that is as it should be; in another vocabulary it may be a word.
        if !matches!(self.tokenizer, "llama" | "plamo2") {
            let text = tokens.text_at(default as usize).unwrap_or_default();
            self.warnings.push(format!(
                "'{add_key}' is true, and '{key}' does not say which token to add; as in llama.cpp, it is {default}, \
                 '{}'",
                text.escape_debug()
            ));
        }
        Ok(())
    }
}

fn id_key(which: &str) -> String {
    format!("tokenizer.ggml.{which}_token_id")
}
