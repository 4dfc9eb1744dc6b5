//! How Python prints values: `str` at the top, `repr` within lists and dicts.

use std::fmt::Write;

use minijinja::Value;
use minijinja::value::ValueKind;

use crate::limits::DEEPEST;

/// `str(value)`.
pub(crate) fn text_of(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_undefined() => String::new(),
        None => repr(value),
    }
}

/// `repr(value)`.
pub(crate) fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(value, 0, &mut out);
    out
}

fn write_repr(value: &Value, depth: usize, out: &mut String) {
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map if depth == DEEPEST => out.push_str("..."),
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::String => quote(value.as_str().unwrap_or_default(), out),
        ValueKind::Number => match f64::try_from(value.clone()) {
            Ok(float) if !value.is_integer() => out.push_str(&float_repr(float)),
            _ => write!(out, "{value}").unwrap_or_default(),
        },
        ValueKind::Seq | ValueKind::Iterable => write_items(value, depth, out),
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter().into_iter().flatten().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_repr(&key, depth + 1, out);
                out.push_str(": ");
                write_repr(&value.get_item(&key).unwrap_or_default(), depth + 1, out);
            }
            out.push('}');
        }
        _ => write!(out, "{value}").unwrap_or_default(),
    }
}

fn write_items(value: &Value, depth: usize, out: &mut String) {
    let (open, close) = if value.is_tuple() { ('(', ')') } else { ('[', ']') };
    out.push(open);
    let mut n_items = 0;
    for item in value.try_iter().into_iter().flatten() {
        out.push_str(if n_items > 0 { ", " } else { "" });
        write_repr(&item, depth + 1, out);
        n_items += 1;
    }
    if n_items == 1 && value.is_tuple() {
        out.push(',');
    }
    out.push(close);
}

/// A string as Python writes it in a list: in single quotes, unless it has such and no double ones.
fn quote(text: &str, out: &mut String) {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(mark);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            character if character == mark => out.extend(['\\', mark]),
            character if character.is_control() => {
                let code = u32::from(character);
                write!(out, "\\x{code:02x}").unwrap_or_default();
            }
            character => out.push(character),
        }
    }
    out.push(mark);
}

/// `repr` of a float: as Rust's, but the exponent has a sign and at least two digits.
pub(crate) fn float_repr(float: f64) -> String {
    let text = match float {
        float if float.is_nan() => return "nan".into(),
        float if float.is_infinite() => return if float > 0.0 { "inf".into() } else { "-inf".into() },
        float => format!("{float:?}"),
    };
    match text.split_once('e') {
        None => text,
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
    }
}
