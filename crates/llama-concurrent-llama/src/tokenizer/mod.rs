//! Texts to tokens, and a model's tokenizer without its weights.
//!
//! llama.cpp's tokenizer is asked for text without special tokens only: it looks for those in time that grows with the
//! square of the text, and never looks whether its caller still waits. [`partition`] finds them instead, [`effort`] knows
//! how much stack and time the rest takes, [`text`] puts the parts together.

pub(crate) mod effort;
pub(crate) mod partition;
#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of one plain range are meant")]
mod tests;
pub(crate) mod text;

pub use text::Wishes;

use std::path::Path;

use llama_concurrent_gguf::{Header, ModelSummary};
use llama_concurrent_types::{Result, Token, TokenTable};

use crate::Model;

/// The tokenizer of a GGUF file, for counting and cutting texts where nothing is generated. It holds the vocabulary and
/// none of the weights, and engines beside it do not notice it.
pub struct Tokenizer {
    model: Model,
    summary: ModelSummary,
}

impl Tokenizer {
    /// Reads the vocabulary of a model file. The rest of its header is checked as loading an engine does.
    ///
    /// # Errors
    /// A file that is missing, damaged or of a kind that cannot run.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let summary = Header::read(path)?.check_model()?;
        Ok(Self { model: Model::load_vocabulary(path)?, summary })
    }

    /// Tokens of a text. `add_special` adds BOS and the like where the model wants them; `parse_special` reads special
    /// tokens that are written out in the text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](llama_concurrent_types::ErrorKind::InvalidRequest) if the tokenizer refuses the text.
    pub fn tokenize_with(&self, text: &str, add_special: bool, parse_special: bool) -> Result<Vec<Token>> {
        let wishes = text::Wishes { begin: add_special, end: add_special, parse_special, ..text::Wishes::default() };
        self.model.tokenize(text, &wishes)
    }

    /// Bytes of every token, and the tokens that end a generation.
    pub fn token_table(&self) -> &TokenTable {
        self.model.table()
    }

    /// What the model's file says about it.
    pub fn model(&self) -> &ModelSummary {
        &self.summary
    }
}
