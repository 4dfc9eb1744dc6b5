//! Tokenizing, and a model's tokenizer without its weights.
//!
//! llama.cpp's tokenizer gets only text without special tokens: its own search for those takes quadratic time and cannot
//! be cancelled. [`partition`] finds them instead, [`effort`] bounds the stack and time of the rest, and [`text`] combines
//! the results.

pub(crate) mod effort;
pub(crate) mod partition;
#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of one plain range are meant")]
mod tests;
pub(crate) mod text;

pub use text::TokenizeOptions;

use std::path::Path;

use llama_concurrent_gguf::{Header, ModelSummary};
use llama_concurrent_types::{Result, Token, TokenTable};

use crate::Model;

/// The tokenizer of a GGUF file, for counting and splitting texts without generating. It holds the vocabulary and no
/// weights, and does not affect engines in the same process.
pub struct Tokenizer {
    model: Model,
    summary: ModelSummary,
}

impl Tokenizer {
    /// Reads the vocabulary of a model file. The header is validated as when loading an engine.
    ///
    /// # Errors
    /// If the file is missing, corrupt or of a kind that cannot run.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let summary = Header::read(path)?.check_model()?;
        Ok(Self { model: Model::load_vocabulary(path)?, summary })
    }

    /// Tokenizes a text. `add_special` adds the special tokens that the vocabulary asks for, such as BOS; `parse_special`
    /// parses special tokens written out in the text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](llama_concurrent_types::ErrorKind::InvalidRequest) if the tokenizer refuses the text.
    pub fn tokenize_with(&self, text: &str, add_special: bool, parse_special: bool) -> Result<Vec<Token>> {
        let options = text::TokenizeOptions {
            begin: add_special,
            end: add_special,
            parse_special,
            ..text::TokenizeOptions::default()
        };
        self.model.tokenize(text, &options)
    }

    /// Bytes of every token, and the tokens that end a generation.
    pub fn token_table(&self) -> &TokenTable {
        self.model.table()
    }

    /// The metadata of the model's file.
    pub fn model(&self) -> &ModelSummary {
        &self.summary
    }
}
