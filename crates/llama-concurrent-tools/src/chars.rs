//! White space and JSON's escapes, as the parsers need them.

use std::fmt::Write;

/// White space that belongs to markup: what stands between a marker and a text.
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\n' | '\t' | '\r')
}

/// The longest part of `text` that ends at or before `end` with a whole character.
pub(crate) fn up_to(text: &str, end: usize) -> &str {
    let end = (0..=end.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}

/// How many bytes at the end of `text` are white space.
pub(crate) fn trailing_space(text: &str) -> usize {
    text.len() - text.trim_end_matches(is_space).len()
}

/// Writes `text` as it stands between the quotes of a JSON string.
pub(crate) fn escape(text: &str, out: &mut String) {
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        plain = at + 1;
        match short {
            "" => drop(write!(out, "\\u{byte:04x}")),
            short => out.push_str(short),
        }
    }
    out.push_str(&text[plain..]);
}

/// Writes `text` as a JSON string.
pub(crate) fn quote(text: &str, out: &mut String) {
    out.push('"');
    escape(text, out);
    out.push('"');
}
