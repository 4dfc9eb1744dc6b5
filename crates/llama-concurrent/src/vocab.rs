//! The vocabulary as plain data, so that text can be made without a model at hand.

use crate::request::Token;

/// Bytes of every token and the set of end-of-generation tokens.
#[derive(Clone, Debug, Default)]
pub struct TokenTable {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    end_of_generation: Vec<Token>,
}

impl TokenTable {
    /// Collects the pieces of tokens 0, 1, 2 ... and the ids that end a generation.
    pub fn new<P: AsRef<[u8]>>(pieces: impl IntoIterator<Item = P>, mut end_of_generation: Vec<Token>) -> Self {
        let mut bytes = Vec::new();
        let ends = pieces
            .into_iter()
            .map(|piece| {
                bytes.extend_from_slice(piece.as_ref());
                bytes.len()
            })
            .collect();
        end_of_generation.sort_unstable();
        Self { bytes, ends, end_of_generation }
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of a token; empty for control tokens and ids outside the vocabulary.
    pub fn piece(&self, token: Token) -> &[u8] {
        let Some(index) = usize::try_from(token).ok().filter(|&i| i < self.ends.len()) else { return &[] };
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// Whether the token ends a generation.
    pub fn is_end_of_generation(&self, token: Token) -> bool {
        self.end_of_generation.binary_search(&token).is_ok()
    }

    /// The tokens that end a generation, ascending.
    pub fn end_of_generation(&self) -> &[Token] {
        &self.end_of_generation
    }
}
