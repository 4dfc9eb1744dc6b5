//! Arguments that are JSON already: passed on as they are, up to where they end.

use super::{Around, Fed};
use crate::markers::Found;

/// Nesting beyond this is not well-formed to those who read it (serde_json's limit), and is followed by counting alone.
const MAX_DEPTH: usize = 128;
/// The longest number, in bytes.
const MAX_WORD: usize = 1024;

/// Follows one JSON object. What breaks JSON's rules is passed on too, up to the bracket that closes the first, or to what
/// closes the call.
#[derive(Debug)]
pub(crate) struct Json {
    /// Open brackets, while the text is well-formed.
    open: Vec<u8>,
    /// Open brackets, when it is not.
    depth: usize,
    at: At,
    word: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Value,
    /// A value, or the end of the list.
    First,
    Key,
    /// A key, or the end of the object.
    FirstKey,
    Colon,
    Comma,
    String {
        is_key: bool,
    },
    Escape {
        is_key: bool,
    },
    Hex {
        is_key: bool,
        left: u8,
    },
    Word,
    /// Not well-formed: brackets and strings alone are followed.
    Broken,
    BrokenString,
    BrokenEscape,
}

/// What a byte means.
enum Step {
    On,
    End,
    /// It breaks the rules.
    Wrong,
}

impl Default for Json {
    fn default() -> Self {
        Self { open: Vec::new(), depth: 0, at: At::Value, word: String::new() }
    }
}

impl Json {
    pub(crate) fn feed(&mut self, text: &str, around: Around<'_>, out: &mut String) -> Fed {
        let bytes = text.as_bytes();
        let (mut written, mut at) = (0, 0);
        while at < bytes.len() {
            let byte = bytes[at];
            if matches!(self.at, At::String { .. } | At::BrokenString) && byte < 0x20 {
                // Models write ends of lines into strings as they are. Escaped they mean the same, and are JSON.
                out.push_str(&text[written..at]);
                crate::chars::escape(&text[at..=at], out);
                at += 1;
                written = at;
                continue;
            }
            match self.step(byte) {
                Step::On => at += 1,
                Step::End => {
                    out.push_str(&text[written..=at]);
                    return Fed::end(at + 1, self.at != At::Broken);
                }
                Step::Wrong => {
                    self.at = At::Broken;
                    self.depth = self.open.len();
                    continue;
                }
            }
            if self.at == At::Broken && at < bytes.len() {
                match around.closers.at(&bytes[at..], around.is_last) {
                    Found::At(..) => {
                        out.push_str(&text[written..at]);
                        return Fed::end(at, false);
                    }
                    Found::Maybe(_) => {
                        out.push_str(&text[written..at]);
                        return Fed::more(at);
                    }
                    Found::Nowhere => {}
                }
            }
        }
        out.push_str(&text[written..]);
        Fed { used: bytes.len(), end: around.is_last.then_some(false) }
    }

    fn step(&mut self, byte: u8) -> Step {
        let is_space = matches!(byte, b' ' | b'\n' | b'\t' | b'\r');
        match self.at {
            At::String { is_key } => match byte {
                b'"' => self.at = if is_key { At::Colon } else { At::Comma },
                b'\\' => self.at = At::Escape { is_key },
                _ => {}
            },
            At::Escape { is_key } => match byte {
                b'u' => self.at = At::Hex { is_key, left: 4 },
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at = At::String { is_key },
                _ => {
                    // The string goes on, and with it what it holds.
                    self.depth = self.open.len();
                    self.at = At::BrokenString;
                }
            },
            At::Hex { is_key, left } => match byte {
                b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' if left > 1 => self.at = At::Hex { is_key, left: left - 1 },
                b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' => self.at = At::String { is_key },
                _ => {
                    self.depth = self.open.len();
                    self.at = At::BrokenString;
                    return self.step(byte);
                }
            },
            At::Word => match byte {
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.' if self.word.len() < MAX_WORD => {
                    self.word.push(byte as char);
                }
                _ if !is_word(&self.word) => return Step::Wrong,
                _ => {
                    self.at = At::Comma;
                    return self.step(byte);
                }
            },
            At::Broken => match byte {
                b'"' => self.at = At::BrokenString,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Step::End;
                    }
                }
                _ => {}
            },
            At::BrokenString => match byte {
                b'"' => self.at = At::Broken,
                b'\\' => self.at = At::BrokenEscape,
                _ => {}
            },
            At::BrokenEscape => self.at = At::BrokenString,
            _ if is_space => {}
            At::First if byte == b']' => return self.close(byte),
            At::Value | At::First => match byte {
                b'"' => self.at = At::String { is_key: false },
                b'{' | b'[' if self.open.len() == MAX_DEPTH => return Step::Wrong,
                b'{' | b'[' => {
                    self.open.push(byte);
                    self.at = if byte == b'{' { At::FirstKey } else { At::First };
                }
                b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                    self.word.clear();
                    self.word.push(byte as char);
                    self.at = At::Word;
                }
                _ => return Step::Wrong,
            },
            At::FirstKey if byte == b'}' => return self.close(byte),
            At::Key | At::FirstKey if byte == b'"' => self.at = At::String { is_key: true },
            At::Colon if byte == b':' => self.at = At::Value,
            At::Comma => match (byte, self.open.last()) {
                (b',', Some(b'{')) => self.at = At::Key,
                (b',', Some(_)) => self.at = At::Value,
                (b'}' | b']', _) => return self.close(byte),
                _ => return Step::Wrong,
            },
            At::Key | At::FirstKey | At::Colon => return Step::Wrong,
        }
        Step::On
    }

    fn close(&mut self, byte: u8) -> Step {
        // In ASCII the closing bracket is two behind the opening one.
        match self.open.pop() {
            Some(open) if open + 2 == byte => {}
            other => {
                self.open.extend(other);
                return Step::Wrong;
            }
        }
        self.at = At::Comma;
        if self.open.is_empty() { Step::End } else { Step::On }
    }
}

/// Whether it is a number, or one of JSON's three words.
pub(super) fn is_word(word: &str) -> bool {
    matches!(word, "true" | "false" | "null") || is_number(word)
}

pub(super) fn is_number(word: &str) -> bool {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let mut rest = word.strip_prefix('-').unwrap_or(word);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.starts_with('0')) {
        return false;
    }
    rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let length = digits(exponent);
        return length > 0 && length == exponent.len();
    }
    rest.is_empty()
}

/// JSON within a string of JSON, as some models write arguments after what they have seen in OpenAI's API.
#[derive(Debug, Default)]
pub(crate) struct Quoted {
    inner: Json,
    /// Whether the inner text is whole, and well-formed.
    inner_end: Option<bool>,
}

impl Quoted {
    pub(crate) fn feed(&mut self, text: &str, around: Around<'_>, out: &mut String) -> Fed {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let plain = memchr::memchr2(b'"', b'\\', &bytes[at..]).unwrap_or(bytes.len() - at);
            self.pass(&text[at..at + plain], around, out);
            at += plain;
            match bytes.get(at) {
                None => break,
                Some(b'"') => {
                    // What ends before its brackets do is not well-formed.
                    return Fed::end(at + 1, self.inner_end == Some(true));
                }
                Some(_) => match escape_length(&text[at..]) {
                    Some(length) => {
                        let decoded: Result<String, _> =
                            serde_json::from_str(&format!("\"{}\"", &text[at..at + length]));
                        self.pass(decoded.as_deref().unwrap_or(&text[at..at + length]), around, out);
                        at += length;
                    }
                    None if around.is_last => {
                        self.pass(&text[at..], around, out);
                        at = bytes.len();
                    }
                    None => return Fed::more(at),
                },
            }
        }
        Fed { used: at, end: around.is_last.then_some(false) }
    }

    fn pass(&mut self, text: &str, around: Around<'_>, out: &mut String) {
        if self.inner_end.is_some() {
            if !text.trim().is_empty() {
                self.inner_end = Some(false);
                out.push_str(text);
            }
            return;
        }
        let fed = self.inner.feed(text, Around { is_last: false, ..around }, out);
        self.inner_end = fed.end;
        if fed.used < text.len() {
            // Behind the end, or at what closes the call: within the string it closes nothing.
            if fed.end.is_none() {
                self.inner_end = Some(false);
            }
            self.pass(&text[fed.used..], around, out);
        }
    }
}

/// The length of the escape that `text` begins with, with its second half where it is one of a pair.
fn escape_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    match bytes.get(1)? {
        b'u' => {
            let is_high = |hex: &[u8]| matches!(hex, [b'd' | b'D', b'8' | b'9' | b'a'..=b'b' | b'A'..=b'B', ..]);
            let hex = bytes.get(2..6)?;
            if !is_high(hex) {
                return Some(up_to_boundary(text, 6));
            }
            match bytes.get(6..8) {
                Some(b"\\u") => (bytes.len() >= 12).then(|| up_to_boundary(text, 12)),
                Some(_) => Some(6),
                None if bytes.get(6).is_some_and(|&byte| byte != b'\\') => Some(6),
                None => None,
            }
        }
        _ => Some(up_to_boundary(text, 2)),
    }
}

/// `length`, or more where a character would be cut.
fn up_to_boundary(text: &str, length: usize) -> usize {
    (length..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len())
}
