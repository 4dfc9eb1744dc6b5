//! UTF-8 decoding of a byte stream that arrives in pieces.
//!
//! A token is a piece of bytes, not of text: one character may be spread over several tokens, and a model may produce
//! bytes that are no character at all. A caller must see neither half a character nor a wrong replacement for one that
//! the next token completes.

use std::str;

/// The longest proper prefix of a UTF-8 character.
const MAX_TAIL: usize = 3;

/// Decodes a stream of byte pieces and keeps back only the bytes of a character that is not complete yet.
///
/// Invalid bytes become U+FFFD, one for each maximal subpart of an ill-formed sequence: everything that
/// [`push`](Self::push) and [`finish`](Self::finish) wrote, taken together, equals [`String::from_utf8_lossy`] of all the
/// input, however the input was split.
#[derive(Debug, Clone, Default)]
pub struct Utf8Decoder {
    tail: [u8; MAX_TAIL],
    tail_len: usize,
}

impl Utf8Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends every character that `bytes` completes to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut String) {
        let rest = self.complete_tail(bytes, out);
        self.decode(rest, out);
    }

    /// Ends the stream: an incomplete character becomes one U+FFFD. Afterwards the decoder is as new.
    pub fn finish(&mut self, out: &mut String) {
        if self.has_pending() {
            out.push(char::REPLACEMENT_CHARACTER);
            self.tail_len = 0;
        }
    }

    /// True while the start of a character waits for the rest of it.
    pub fn has_pending(&self) -> bool {
        self.tail_len > 0
    }

    /// Settles the kept tail with as many of `bytes` as that takes, and returns the others.
    fn complete_tail<'a>(&mut self, mut bytes: &'a [u8], out: &mut String) -> &'a [u8] {
        while let (true, Some((&byte, rest))) = (self.has_pending(), bytes.split_first()) {
            let mut longer = [0; MAX_TAIL + 1];
            longer[..self.tail_len].copy_from_slice(&self.tail[..self.tail_len]);
            longer[self.tail_len] = byte;
            let longer = &longer[..=self.tail_len];
            match str::from_utf8(longer) {
                Ok(character) => {
                    out.push_str(character);
                    self.tail_len = 0;
                    bytes = rest;
                }
                Err(error) if error.error_len().is_none() => {
                    self.keep(longer);
                    bytes = rest;
                }
                // The tail was the whole ill-formed subpart; `byte` begins something new.
                Err(_) => self.finish(out),
            }
        }
        bytes
    }

    /// Decodes `bytes`, which start at a character border, and keeps an incomplete end.
    fn decode(&mut self, mut bytes: &[u8], out: &mut String) {
        loop {
            let error = match str::from_utf8(bytes) {
                Ok(text) => return out.push_str(text),
                Err(error) => error,
            };
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            out.push_str(str::from_utf8(valid).unwrap_or_default());
            match error.error_len() {
                Some(invalid) => {
                    out.push(char::REPLACEMENT_CHARACTER);
                    bytes = &rest[invalid..];
                }
                None => return self.keep(rest),
            }
        }
    }

    fn keep(&mut self, incomplete: &[u8]) {
        self.tail[..incomplete.len()].copy_from_slice(incomplete);
        self.tail_len = incomplete.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
        let mut decoder = Utf8Decoder::new();
        let mut out = String::new();
        for piece in pieces {
            decoder.push(piece, &mut out);
        }
        decoder.finish(&mut out);
        assert!(!decoder.has_pending());
        out
    }

    #[test]
    fn a_character_appears_with_its_last_byte() {
        let mut decoder = Utf8Decoder::new();
        let mut out = String::new();
        for &byte in &"😀".as_bytes()[..3] {
            decoder.push(&[byte], &mut out);
            assert_eq!(out, "");
            assert!(decoder.has_pending());
        }
        decoder.push(&"😀".as_bytes()[3..], &mut out);
        assert_eq!(out, "😀");
        assert!(!decoder.has_pending());
    }

    #[test]
    fn a_byte_that_breaks_a_character_is_not_lost() {
        assert_eq!(decode_pieces([b"\xe2\x82".as_slice(), b"a"]), "\u{fffd}a");
        assert_eq!(decode_pieces([b"\xe2\x82".as_slice(), "é".as_bytes()]), "\u{fffd}é");
        assert_eq!(decode_pieces([b"\xf0".as_slice(), b"\xf0\x9f", b"\x98\x80"]), "\u{fffd}😀");
    }

    #[test]
    fn the_end_of_the_stream_replaces_an_incomplete_character_once() {
        assert_eq!(decode_pieces([b"a\xf0\x9f\x98".as_slice()]), "a\u{fffd}");
        assert_eq!(decode_pieces([b"\xf0".as_slice(), b"\x9f", b"\x98"]), "\u{fffd}");
    }

    #[test]
    fn empty_pieces_change_nothing() {
        assert_eq!(decode_pieces([b"".as_slice(), b"\xc3", b"", b"\xa9"]), "é");
    }

    #[test]
    fn surrogates_overlong_forms_and_stray_bytes_match_the_standard_library() {
        for bytes in [b"\xed\xa0\x80".as_slice(), b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\x80\x80", b"\xff", b"\xe0\x80"] {
            for split in 0..=bytes.len() {
                let (a, b) = bytes.split_at(split);
                assert_eq!(decode_pieces([a, b]), String::from_utf8_lossy(bytes));
            }
        }
    }

    /// Bytes that often begin, continue and break characters of every length.
    fn nasty_byte() -> impl Strategy<Value = u8> {
        prop_oneof![
            prop::sample::select(vec![
                0x41, 0x80, 0x82, 0x98, 0x9f, 0xa0, 0xbf, 0xc3, 0xe0, 0xe2, 0xed, 0xf0, 0xf4, 0xff
            ]),
            any::<u8>(),
        ]
    }

    proptest! {
        #![proptest_config(super::super::seeded())]

        #[test]
        fn any_split_equals_the_lossy_decoding_of_the_whole(
            pieces in prop::collection::vec(prop::collection::vec(nasty_byte(), 0..6), 0..12)
        ) {
            let whole = pieces.concat();
            let decoded = decode_pieces(pieces.iter().map(Vec::as_slice));
            prop_assert_eq!(decoded, String::from_utf8_lossy(&whole));
        }

        #[test]
        fn valid_text_comes_back_whole_and_without_delay(text in "\\PC{0,40}", piece_len in 1usize..5) {
            let mut decoder = Utf8Decoder::new();
            let mut out = String::new();
            let mut pushed = 0;
            for piece in text.as_bytes().chunks(piece_len) {
                decoder.push(piece, &mut out);
                pushed += piece.len();
                let complete = (0..=pushed).rfind(|&n| text.is_char_boundary(n)).unwrap_or(0);
                prop_assert_eq!(&out, &text[..complete]);
            }
            prop_assert!(!decoder.has_pending());
        }
    }
}
