//! The vocabulary as plain data, so that text can be made without a model at hand.

use std::{collections::HashMap, sync::OnceLock};

use crate::ids::Token;

/// Tokens that mark the parts of a text whose middle is to be filled in, in a vocabulary that has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FimTokens {
    /// In front of what stands before the gap.
    pub prefix: Token,
    /// In front of what stands behind the gap.
    pub suffix: Token,
    /// The text of the gap follows.
    pub middle: Token,
    /// In front of the name of a repository, where the model knows several files at once.
    pub repository: Option<Token>,
    /// In front of the name of each of its files.
    pub file: Option<Token>,
}

/// Bytes of every token and the set of end-of-generation tokens.
#[derive(Clone, Debug, Default)]
pub struct TokenTable {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    end_of_generation: Vec<Token>,
    /// Tokens that are no text by themselves, and how they are written where they should be seen.
    special: HashMap<Token, Box<[u8]>>,
    special_by_text: HashMap<Box<[u8]>, Token>,
    /// Bytes with which texts of special tokens begin, and the length of the longest.
    special_first: Vec<u8>,
    longest_special: usize,
    /// Tokens that are texts, in the order of their bytes. Made when it is first needed.
    sorted: OnceLock<Vec<Token>>,
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
        Self { bytes, ends, end_of_generation, ..Self::default() }
    }

    /// The same table with the texts of special tokens, such as `<|im_end|>`, which are no text by themselves.
    pub fn with_special(mut self, texts: impl IntoIterator<Item = (Token, Box<[u8]>)>) -> Self {
        self.special = texts.into_iter().filter(|(_, text)| !text.is_empty()).collect();
        // Of two that are written alike the first counts, as in a prompt.
        for (&token, text) in &self.special {
            let first = self.special_by_text.entry(text.clone()).or_insert(token);
            *first = token.min(*first);
        }
        self.longest_special = self.special.values().map(|text| text.len()).max().unwrap_or(0);
        self.special_first = self.special.values().map(|text| text[0]).collect();
        self.special_first.sort_unstable();
        self.special_first.dedup();
        self
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of a token; empty for special tokens and ids outside of the vocabulary.
    pub fn piece(&self, token: Token) -> &[u8] {
        let Some(index) = usize::try_from(token).ok().filter(|&i| i < self.ends.len()) else { return &[] };
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// The bytes of a token, and with `special` also those of special tokens, as they are written in a prompt.
    pub fn text(&self, token: Token, special: bool) -> &[u8] {
        match self.piece(token) {
            [] if special => self.special.get(&token).map_or(&[], |text| text),
            piece => piece,
        }
    }

    /// The special token that is written so, and is no text by itself.
    pub fn special_token(&self, text: &str) -> Option<Token> {
        self.special_by_text.get(text.as_bytes()).copied()
    }

    /// The special token, no text by itself, that this text begins with: the longest of several, with its length.
    pub fn special_at(&self, text: &[u8]) -> Option<(Token, usize)> {
        if !self.special_first.contains(text.first()?) {
            return None;
        }
        let lengths = (1..=text.len().min(self.longest_special)).rev();
        let mut found = lengths.filter_map(|length| Some((*self.special_by_text.get(&text[..length])?, length)));
        found.find(|&(token, _)| self.piece(token).is_empty())
    }

    /// Tokens that make up these bytes, each the longest that fits: not always those that the model would write. `None`: no
    /// token begins with one of the bytes.
    ///
    /// The first call sorts the vocabulary, which takes some 50 ms for 200,000 tokens.
    pub fn spelled(&self, mut bytes: &[u8]) -> Option<Vec<Token>> {
        let sorted = self.sorted.get_or_init(|| {
            let mut tokens: Vec<Token> =
                (0..self.len() as Token).filter(|&token| !self.piece(token).is_empty()).collect();
            tokens.sort_by(|&a, &b| self.piece(a).cmp(self.piece(b)));
            tokens
        });
        let find = |text: &[u8]| {
            let at = sorted.partition_point(|&token| self.piece(token) < text);
            sorted.get(at).copied().filter(|&token| self.piece(token) == text)
        };
        let mut tokens = Vec::new();
        while !bytes.is_empty() {
            let (token, rest) =
                (1..=bytes.len()).rev().find_map(|length| Some((find(&bytes[..length])?, &bytes[length..])))?;
            tokens.push(token);
            bytes = rest;
        }
        Some(tokens)
    }

    /// Bytes of the longest token, special ones included.
    pub fn longest(&self) -> usize {
        let special = self.special.values().map(|text| text.len());
        (0..self.len()).map(|token| self.piece(token as Token).len()).chain(special).max().unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_tokens_have_text_on_request_only() {
        let table = TokenTable::new(["a", "", "bc", ""], vec![1]).with_special([
            (1, b"<end>"[..].into()),
            (3, b""[..].into()),
            (2, b"never seen"[..].into()),
        ]);
        assert_eq!((table.text(1, false), table.text(1, true)), (&b""[..], &b"<end>"[..]));
        assert_eq!((table.text(2, true), table.text(3, true), table.text(9, true)), (&b"bc"[..], &b""[..], &b""[..]));
        assert_eq!((table.special_token("<end>"), table.special_token("bc")), (Some(1), None));
        assert_eq!(table.longest(), 10);
        assert_eq!((table.special_at(b"<end>a"), table.special_at(b"a<end>")), (Some((1, 5)), None));
        assert_eq!((table.special_at(b"never seen"), table.special_at(b"")), (None, None), "the first is a text");
    }

    #[test]
    fn texts_are_spelled_by_the_longest_tokens() {
        let table = TokenTable::new(["a", "b", "", "ab", "abc", "ab"], vec![]);
        for (text, expected) in
            [("", Some(vec![])), ("abab", Some(vec![3, 3])), ("babc", Some(vec![1, 4])), ("abd", None)]
        {
            assert_eq!(table.spelled(text.as_bytes()), expected, "{text}");
        }
    }
}
