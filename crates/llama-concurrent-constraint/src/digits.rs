//! A bound on the digits of a number in JSON, which a schema cannot express. Small models that begin to write zeros go on to
//! the end of their output otherwise.

use std::sync::Arc;

use llama_concurrent_types::Token;
use llguidance::toktrie::{SimpleVob, TokEnv};

/// Digits before the point and after it, as in llama.cpp's own grammars.
const MAX_DIGITS: u32 = 16;
/// Digits of an exponent. More of them are no number to most readers.
const MAX_EXPONENT: u32 = 2;

/// Where a text of JSON has come to, as far as numbers are concerned.
#[derive(Clone)]
pub(super) struct Digits {
    vocabulary: Arc<Numeric>,
    place: Place,
}

/// The tokens of a vocabulary that may go on with a number or begin one.
pub(super) struct Numeric {
    environment: TokEnv,
    tokens: Vec<Token>,
}

#[derive(Clone, Copy, Default)]
struct Place {
    in_string: bool,
    escaped: bool,
    /// Digits directly before this place.
    n_digits: u32,
    in_exponent: bool,
}

impl Numeric {
    pub(super) fn new(environment: TokEnv, n_vocab: Token) -> Self {
        let has_digits = |token: &Token| {
            let bytes = environment.tok_trie().token(*token as u32);
            let before = bytes.iter().position(u8::is_ascii_digit);
            before.is_some_and(|n| !bytes[..n].iter().any(|byte| matches!(byte, b'"' | b'a'..=b'd' | b'f'..=b'z')))
        };
        let tokens = (0..n_vocab).filter(has_digits).collect();
        Self { environment, tokens }
    }
}

impl Digits {
    pub(super) fn new(vocabulary: Arc<Numeric>) -> Self {
        Self { vocabulary, place: Place::default() }
    }

    /// Takes tokens out of a mask that would make a number too long, unless nothing else could follow.
    pub(super) fn limit(&self, mask: &mut SimpleVob, may_end: bool) {
        if self.place.in_string {
            return;
        }
        let trie = self.vocabulary.environment.tok_trie();
        let is_long = |token: &&Token| {
            let mut place = self.place;
            let mut bytes = trie.token(**token as u32).iter();
            mask.is_allowed(**token as u32) && bytes.any(|&byte| place.pass(byte))
        };
        let long: Vec<Token> = self.vocabulary.tokens.iter().filter(is_long).copied().collect();
        if long.is_empty() {
            return;
        }
        long.iter().for_each(|&token| mask.disallow_token(token as u32));
        if mask.is_zero() && !may_end {
            long.iter().for_each(|&token| mask.allow_token(token as u32));
        }
    }

    pub(super) fn pass(&mut self, token: Token) {
        for &byte in self.vocabulary.environment.tok_trie().token(token as u32) {
            self.place.pass(byte);
        }
    }
}

impl Place {
    /// Goes on by a byte; whether it is a digit too many.
    fn pass(&mut self, byte: u8) -> bool {
        if self.in_string {
            let ends = byte == b'"' && !self.escaped;
            self.escaped = byte == b'\\' && !self.escaped;
            self.in_string = !ends;
            return false;
        }
        match byte {
            b'0'..=b'9' => {
                self.n_digits += 1;
                return self.n_digits > if self.in_exponent { MAX_EXPONENT } else { MAX_DIGITS };
            }
            b'e' | b'E' => self.in_exponent = self.n_digits > 0,
            b'+' | b'-' if self.in_exponent => {}
            b'"' => (self.in_string, self.in_exponent) = (true, false),
            _ => self.in_exponent = false,
        }
        self.n_digits = 0;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_many(text: &str) -> bool {
        let mut place = Place::default();
        text.bytes().any(|byte| place.pass(byte))
    }

    #[test]
    fn digits_are_counted_outside_of_strings() {
        for fine in [
            "1234567890123456",
            "-1234567890123456.1234567890123456e-12",
            r#"["12345678901234567890", 1]"#,
            r#"{"a\"1e999": 1, "b\\": true}"#,
            "[1234567890,1234567890]",
            "true12345",
        ] {
            assert!(!too_many(fine), "{fine}");
        }
        for long in ["12345678901234567", "0.12345678901234567", "1e123", "1E+123", r#"{"a\\": 12345678901234567}"#] {
            assert!(too_many(long), "{long}");
        }
    }
}
