//! Values as Python and Gemma write them, turned into JSON character by character.

use serde_json::Value;

use super::json::is_word;
use super::{Around, Fed};
use crate::chars::{escape, is_space, quote};

/// Nesting at most; what is deeper is an error.
const MAX_DEPTH: usize = 128;
/// The longest name, number or word, in bytes.
const MAX_WORD: usize = 1024;
/// Gemma's quotation mark, a token of its own.
const GEMMA_QUOTE: &str = "<|\"|>";

/// Reads one value, or the arguments of a call in Python.
#[derive(Debug)]
pub(crate) struct Literal {
    is_gemma: bool,
    /// What is open: a call, a dict, a list or a tuple, by its opening bracket in Python; `c` is a call.
    open: Vec<u8>,
    at: At,
    word: String,
    quote: char,
    /// Positional arguments so far.
    n_positional: usize,
    /// Whether the element that is read is the first of its container.
    is_first: bool,
    /// Whether the brackets of a call have become an object's.
    has_begun: bool,
    /// A high surrogate whose other half has to follow.
    surrogate: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Where one value is all, or Gemma's arguments begin.
    Value,
    /// A value, or the end of the list.
    Item,
    /// A name in front of `=`, a positional value, or the end of the call.
    Argument,
    /// A key of a dict, or its end.
    Key,
    KeyWord,
    /// Within a string, which may be a key.
    String {
        is_key: bool,
    },
    Escape {
        is_key: bool,
    },
    Code {
        is_key: bool,
        left: u8,
    },
    /// Behind a key.
    Colon,
    /// A number or a name; `is_value`: behind a key.
    Word {
        is_value: bool,
    },
    /// Behind a name that may be an argument's.
    Equals,
    /// Behind a value.
    Comma,
    Done,
}

struct Wrong;

impl Literal {
    /// Behind the opening bracket of a call.
    pub(crate) fn python_call() -> Self {
        Self { open: vec![b'c'], at: At::Argument, ..Self::new(false) }
    }

    /// In front of `{`.
    pub(crate) fn gemma() -> Self {
        Self::new(true)
    }

    fn new(is_gemma: bool) -> Self {
        Self {
            is_gemma,
            open: Vec::new(),
            at: At::Value,
            word: String::new(),
            quote: '"',
            n_positional: 0,
            is_first: true,
            has_begun: false,
            surrogate: None,
        }
    }

    /// A whole text that is one value in Python, as JSON.
    pub(super) fn python_value(text: &str) -> Option<String> {
        let mut reader = Self::new(false);
        let mut out = String::new();
        // The end of the text ends a word.
        for c in text.chars().chain(['\n']) {
            if reader.at == At::Done || (reader.at == At::Comma && reader.open.is_empty()) {
                if is_space(c) {
                    continue;
                }
                return None;
            }
            reader.step(c, &Value::Null, &mut out).ok()?;
        }
        let is_whole = reader.open.is_empty() && matches!(reader.at, At::Done | At::Comma);
        is_whole.then_some(out)
    }

    pub(crate) fn feed(&mut self, text: &str, around: Around<'_>, out: &mut String) -> Fed {
        if !self.has_begun && self.open == [b'c'] {
            out.push('{');
        }
        self.has_begun = true;
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            if self.is_gemma && c == '<' {
                let rest = &text[at..];
                if rest.starts_with(GEMMA_QUOTE) {
                    if self.gemma_quote(out).is_err() {
                        return Fed::end(at, false);
                    }
                    at += GEMMA_QUOTE.len();
                    continue;
                }
                if GEMMA_QUOTE.starts_with(rest) && !around.is_last {
                    return Fed::more(at);
                }
            }
            if self.step(c, around.schema, out).is_err() {
                return Fed::end(at, false);
            }
            at += c.len_utf8();
            if self.at == At::Done {
                return Fed::end(at, true);
            }
        }
        if around.is_last && matches!(self.at, At::Word { .. } | At::KeyWord | At::Equals) {
            // What is left of a text that broke off.
            out.push_str(&std::mem::take(&mut self.word));
        }
        Fed { used: at, end: around.is_last.then_some(false) }
    }

    fn gemma_quote(&mut self, out: &mut String) -> Result<(), Wrong> {
        match self.at {
            At::String { is_key } => self.end_string(is_key, out),
            At::Value | At::Item => self.begin_string('"', false, out),
            At::Key => self.begin_string('"', true, out),
            _ => return Err(Wrong),
        }
        Ok(())
    }

    fn begin_string(&mut self, quote: char, is_key: bool, out: &mut String) {
        self.separate(out);
        out.push('"');
        self.quote = quote;
        self.at = At::String { is_key };
    }

    fn end_string(&mut self, is_key: bool, out: &mut String) {
        self.drop_surrogate(out);
        out.push('"');
        self.at = if is_key { At::Colon } else { At::Comma };
        self.finish_if_alone();
    }

    fn finish_if_alone(&mut self) {
        if self.open.is_empty() {
            self.at = At::Done;
        }
    }

    /// What stands in front of an element or a key.
    fn separate(&mut self, out: &mut String) {
        let in_value_of_dict = matches!(self.at, At::Value);
        if !self.is_first && !in_value_of_dict {
            out.push_str(", ");
        }
        self.is_first = false;
    }

    fn step(&mut self, c: char, schema: &Value, out: &mut String) -> Result<(), Wrong> {
        match self.at {
            At::String { is_key } => {
                if self.is_gemma {
                    escape(c.encode_utf8(&mut [0; 4]), out);
                } else if c == '\\' {
                    self.at = At::Escape { is_key };
                } else if c == self.quote {
                    self.end_string(is_key, out);
                } else {
                    self.drop_surrogate(out);
                    escape(c.encode_utf8(&mut [0; 4]), out);
                }
            }
            At::Escape { is_key } => {
                self.at = At::String { is_key };
                let meant = match c {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    '\\' | '"' | '\'' | '/' => c,
                    'x' | 'u' => {
                        self.word.clear();
                        self.at = At::Code { is_key, left: if c == 'x' { 2 } else { 4 } };
                        return Ok(());
                    }
                    '\n' => return Ok(()),
                    other => {
                        // Python keeps what it does not know.
                        escape("\\", out);
                        other
                    }
                };
                self.drop_surrogate(out);
                escape(meant.encode_utf8(&mut [0; 4]), out);
            }
            At::Code { is_key, left } => {
                if !c.is_ascii_hexdigit() {
                    return Err(Wrong);
                }
                self.word.push(c);
                if left > 1 {
                    self.at = At::Code { is_key, left: left - 1 };
                    return Ok(());
                }
                self.at = At::String { is_key };
                let code = u32::from_str_radix(&std::mem::take(&mut self.word), 16).map_err(|_| Wrong)?;
                self.code(code, out);
            }
            At::Word { is_value } => {
                if self.word.len() < MAX_WORD && !(is_space(c) || ",:)]}=('\"[{<".contains(c)) {
                    self.word.push(c);
                    return Ok(());
                }
                if !is_value && self.open == [b'c'] && is_name(&self.word) && (c == '=' || is_space(c)) {
                    self.at = At::Equals;
                    return self.step(c, schema, out);
                }
                self.end_word(is_value, schema, out)?;
                return if self.at == At::Done { Ok(()) } else { self.step(c, schema, out) };
            }
            At::Equals if is_space(c) => {}
            At::Equals if c == '=' => {
                let name = std::mem::take(&mut self.word);
                self.separate(out);
                quote(&name, out);
                out.push_str(": ");
                self.at = At::Value;
            }
            At::Equals => {
                self.end_word(false, schema, out)?;
                return self.step(c, schema, out);
            }
            At::KeyWord => {
                if c == ':' {
                    let name = std::mem::take(&mut self.word);
                    self.separate(out);
                    quote(name.trim(), out);
                    out.push_str(": ");
                    self.at = At::Value;
                } else if self.word.len() >= MAX_WORD || "{}[],".contains(c) {
                    return Err(Wrong);
                } else {
                    self.word.push(c);
                }
            }
            At::Done => return Err(Wrong),
            _ if is_space(c) => {}
            At::Colon if c == ':' => {
                out.push_str(": ");
                self.at = At::Value;
            }
            At::Comma if c == ',' => self.at = self.next(),
            At::Comma if ")]}".contains(c) => return self.close(c, out),
            At::Item | At::Argument | At::Key if ")]}".contains(c) => return self.close(c, out),
            At::Key if c == '"' || (c == '\'' && !self.is_gemma) => self.begin_string(c, true, out),
            At::Key => {
                self.word.clear();
                self.word.push(c);
                self.at = At::KeyWord;
            }
            At::Value | At::Item | At::Argument => return self.begin_value(c, schema, out),
            At::Colon | At::Comma => return Err(Wrong),
        }
        Ok(())
    }

    fn begin_value(&mut self, c: char, schema: &Value, out: &mut String) -> Result<(), Wrong> {
        match c {
            '"' | '\'' if !self.is_gemma => {
                self.name_positional(schema, out)?;
                self.begin_string(c, false, out);
            }
            '{' | '[' | '(' => {
                if self.open.len() >= MAX_DEPTH || (self.is_gemma && c == '(') {
                    return Err(Wrong);
                }
                self.name_positional(schema, out)?;
                self.separate(out);
                out.push(if c == '{' { '{' } else { '[' });
                self.open.push(c as u8);
                self.is_first = true;
                self.at = if c == '{' { At::Key } else { At::Item };
            }
            _ if self.is_gemma && self.open.is_empty() => return Err(Wrong),
            c if c.is_alphanumeric() || "_-+.".contains(c) => {
                self.word.clear();
                self.word.push(c);
                self.at = At::Word { is_value: self.at == At::Value };
            }
            _ => return Err(Wrong),
        }
        Ok(())
    }

    fn end_word(&mut self, is_value: bool, schema: &Value, out: &mut String) -> Result<(), Wrong> {
        let word = std::mem::take(&mut self.word);
        self.at = if is_value { At::Value } else { self.next() };
        if self.at == At::Argument {
            self.name_positional(schema, out)?;
        }
        self.separate(out);
        let plain = word.strip_prefix('+').unwrap_or(&word).replace('_', "");
        match word.as_str() {
            "True" => out.push_str("true"),
            "False" => out.push_str("false"),
            "None" => out.push_str("null"),
            word if is_word(word) => out.push_str(word),
            _ if is_word(&plain) => out.push_str(&plain),
            word if self.is_gemma || !self.open.is_empty() => quote(word, out),
            _ => return Err(Wrong),
        }
        self.at = At::Comma;
        self.finish_if_alone();
        Ok(())
    }

    /// A value without a name goes to the property at its place.
    fn name_positional(&mut self, schema: &Value, out: &mut String) -> Result<(), Wrong> {
        if self.at != At::Argument {
            return Ok(());
        }
        let index = self.n_positional;
        self.n_positional += 1;
        let names = schema.get("properties").and_then(Value::as_object);
        let Some((name, _)) = names.and_then(|names| names.iter().nth(index)) else { return Err(Wrong) };
        self.separate(out);
        quote(name, out);
        out.push_str(": ");
        self.at = At::Value;
        Ok(())
    }

    fn close(&mut self, c: char, out: &mut String) -> Result<(), Wrong> {
        let open = self.open.pop().ok_or(Wrong)?;
        match (open, c) {
            (b'c', ')') | (b'{', '}') => out.push('}'),
            (b'[', ']') | (b'(', ')') => out.push(']'),
            _ => {
                self.open.push(open);
                return Err(Wrong);
            }
        }
        self.is_first = false;
        self.at = At::Comma;
        self.finish_if_alone();
        Ok(())
    }

    fn next(&self) -> At {
        match self.open.last() {
            Some(b'c') => At::Argument,
            Some(b'{') => At::Key,
            _ => At::Item,
        }
    }

    fn code(&mut self, code: u32, out: &mut String) {
        match (self.surrogate.take(), code) {
            (Some(high), 0xdc00..0xe000) => {
                let whole = 0x10000 + ((high - 0xd800) << 10) + (code - 0xdc00);
                out.extend(char::from_u32(whole));
            }
            (stale, 0xd800..0xdc00) => {
                self.surrogate = stale;
                self.drop_surrogate(out);
                self.surrogate = Some(code);
            }
            (stale, code) => {
                self.surrogate = stale;
                self.drop_surrogate(out);
                let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                escape(c.encode_utf8(&mut [0; 4]), out);
            }
        }
    }

    fn drop_surrogate(&mut self, out: &mut String) {
        if self.surrogate.take().is_some() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && word.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c))
}
