//! What chat templates use of Python, and the template engine and its compatibility crate lack.

use minijinja::value::{Kwargs, Tuple, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use crate::filters::pad;
use crate::percent;

/// Calls `method` of `value` as Python would.
pub(super) fn call_method(state: &mut State, value: &Value, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        return match (value.kind(), method) {
            (ValueKind::Seq | ValueKind::Iterable, "index") => {
                let (wanted,): (Value,) = from_args(arguments)?;
                let index = value.try_iter()?.position(|item| item == wanted);
                index.map(Value::from).ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "value not in list"))
            }
            (ValueKind::Seq | ValueKind::Iterable, "count") => {
                let (wanted,): (Value,) = from_args(arguments)?;
                Ok(value.try_iter()?.filter(|item| *item == wanted).count().into())
            }
            _ => unknown_method_callback(state, value, method, arguments),
        };
    };
    match method {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(arguments)?;
            Ok(text.strip_prefix(prefix).unwrap_or(text).into())
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(arguments)?;
            Ok(text.strip_suffix(suffix).unwrap_or(text).into())
        }
        "partition" => {
            let (separator,): (&str,) = from_args(arguments)?;
            Ok(match text.split_once(separator) {
                Some((before, after)) => triple(before, separator, after),
                None => triple(text, "", ""),
            })
        }
        "rpartition" => {
            let (separator,): (&str,) = from_args(arguments)?;
            Ok(match text.rsplit_once(separator) {
                Some((before, after)) => triple(before, separator, after),
                None => triple("", "", text),
            })
        }
        "split" => {
            let (separator, limit) = split_arguments(arguments)?;
            let arguments = [separator.into(), limit.into()];
            unknown_method_callback(state, value, method, &arguments)
        }
        "rsplit" => match split_arguments(arguments)? {
            (Some(separator), Some(limit)) if limit >= 0 => {
                let parts = text.rsplitn((limit as usize).saturating_add(1), &*separator);
                let parts: Vec<&str> = parts.collect();
                Ok(Value::from_iter(parts.into_iter().rev()))
            }
            (None, Some(limit)) if limit >= 0 => {
                let mut parts = Vec::new();
                let mut rest = text.trim_end();
                while !rest.is_empty() && (parts.len() as i64) < limit {
                    let word = rest
                        .rfind(char::is_whitespace)
                        .map_or(0, |byte| byte + rest[byte..].chars().next().map_or(1, char::len_utf8));
                    parts.push(&rest[word..]);
                    rest = rest[..word].trim_end();
                }
                if !rest.trim().is_empty() {
                    parts.push(rest);
                }
                Ok(Value::from_iter(parts.into_iter().rev()))
            }
            // Without a limit, the direction makes no difference.
            (separator, _) => unknown_method_callback(state, value, "split", &[separator.into()]),
        },
        "strip" | "lstrip" | "rstrip" => {
            // As the engine's, but `none` stands for all white space.
            let (characters,): (Option<String>,) = from_args(arguments)?;
            let arguments: Vec<Value> = characters.map(Value::from).into_iter().collect();
            unknown_method_callback(state, value, method, &arguments)
        }
        "index" | "rindex" | "find" | "rfind" => {
            let (wanted, start, end): (&str, Option<i64>, Option<i64>) = from_args(arguments)?;
            match (find(text, wanted, start, end, method.starts_with('r')), method) {
                (Some(index), _) => Ok(index.into()),
                (None, "find" | "rfind") => Ok((-1).into()),
                (None, _) => Err(Error::new(ErrorKind::InvalidOperation, "substring not found")),
            }
        }
        "startswith" | "endswith" if arguments.len() > 1 => {
            let (affix, start, end): (Value, Option<i64>, Option<i64>) = from_args(arguments)?;
            let (from, to) = bounds(text, start, end);
            unknown_method_callback(state, &Value::from(&text[from..to.max(from)]), method, &[affix])
        }
        "format" => {
            percent::check_fields(text)?;
            unknown_method_callback(state, value, method, arguments)
        }
        "zfill" => {
            let (width,): (usize,) = from_args(arguments)?;
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
            let width = width.saturating_sub(sign.len());
            Ok(format!("{sign}{}", pad(digits, width, '0', true, false)).into())
        }
        "center" | "ljust" | "rjust" => {
            let (width, fill): (usize, Option<char>) = from_args(arguments)?;
            let (left, right) = (method != "ljust", method != "rjust");
            Ok(pad(text, width, fill.unwrap_or(' '), left, right).into())
        }
        "expandtabs" => {
            let (size,): (Option<usize>,) = from_args(arguments)?;
            Ok(expand_tabs(text, size.unwrap_or(8).min(64)).into())
        }
        "swapcase" => {
            let swap = |c: char| -> String {
                if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() }
            };
            Ok(text.chars().map(swap).collect::<String>().into())
        }
        "casefold" => Ok(text.to_lowercase().replace('ß', "ss").into()),
        "title" => Ok(title(text).into()),
        "istitle" => Ok((text.chars().any(char::is_alphabetic) && title(text) == text).into()),
        "isdecimal" => Ok((!text.is_empty() && text.chars().all(|c| c.is_ascii_digit())).into()),
        "isprintable" => Ok((!text.chars().any(char::is_control)).into()),
        "isidentifier" => {
            let starts = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
            Ok((starts && text.chars().all(|c| c.is_alphanumeric() || c == '_')).into())
        }
        "encode" => Ok(value.clone()),
        "splitlines" => {
            let (keep_ends, named): (Option<bool>, Kwargs) = from_args(arguments)?;
            let keep_ends = keep_ends.or(named.get("keepends")?).unwrap_or(false);
            named.assert_all_used()?;
            Ok(split_lines(text, keep_ends).into_iter().map(Value::from).collect())
        }
        "join" => {
            let (items,): (&Value,) = from_args(arguments)?;
            let mut texts = Vec::new();
            for item in items.try_iter()? {
                let Some(item) = item.as_str() else {
                    let detail = format!("join wants strings, not {}", item.kind());
                    return Err(Error::new(ErrorKind::InvalidOperation, detail));
                };
                texts.push(item.to_owned());
            }
            Ok(texts.join(text).into())
        }
        _ => unknown_method_callback(state, value, method, arguments),
    }
}

/// The part of a text that Python's `start` and `end` mean, in bytes.
fn bounds(text: &str, start: Option<i64>, end: Option<i64>) -> (usize, usize) {
    let length = text.chars().count() as i64;
    let byte = |index: i64| {
        let index = if index < 0 { (length + index).max(0) } else { index };
        text.char_indices().nth(index as usize).map_or(text.len(), |(byte, _)| byte)
    };
    (start.map_or(0, byte), end.map_or(text.len(), byte))
}

/// The character at which `wanted` begins.
fn find(text: &str, wanted: &str, start: Option<i64>, end: Option<i64>, last: bool) -> Option<usize> {
    let (from, to) = bounds(text, start, end);
    let part = text.get(from..to)?;
    let found = if last { part.rfind(wanted) } else { part.find(wanted) };
    found.map(|byte| text[..from + byte].chars().count())
}

fn expand_tabs(text: &str, size: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    for character in text.chars() {
        match character {
            '\t' if size == 0 => {}
            '\t' => {
                let spaces = size - column % size;
                out.extend(std::iter::repeat_n(' ', spaces));
                column += spaces;
            }
            character => {
                out.push(character);
                column = if matches!(character, '\n' | '\r') { 0 } else { column + 1 };
            }
        }
    }
    out
}

/// Python's `str.title`: whatever is no letter ends a word.
fn title(text: &str) -> String {
    let mut in_word = false;
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if in_word {
            out.extend(character.to_lowercase());
        } else {
            out.extend(character.to_uppercase());
        }
        in_word = character.is_alphabetic();
    }
    out
}

/// Lines as Python splits them, which also ends them at a lone carriage return.
fn split_lines(text: &str, keep_ends: bool) -> Vec<&str> {
    const ENDS: [char; 10] =
        ['\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some(end) = rest.find(ENDS) else {
            lines.push(rest);
            break;
        };
        let width = match rest[end..].chars().next() {
            Some('\r') if rest[end..].starts_with("\r\n") => 2,
            other => other.map_or(1, char::len_utf8),
        };
        lines.push(&rest[..if keep_ends { end + width } else { end }]);
        rest = &rest[end + width..];
    }
    lines
}

fn triple(before: &str, separator: &str, after: &str) -> Value {
    Tuple::from([before, separator, after].map(Value::from)).into()
}

/// The arguments `sep` and `maxsplit`, by position or by name.
fn split_arguments(arguments: &[Value]) -> Result<(Option<String>, Option<i64>), Error> {
    let (separator, limit, named): (Option<String>, Option<i64>, Kwargs) = from_args(arguments)?;
    let separator = match separator {
        Some(separator) => Some(separator),
        None => named.get("sep")?,
    };
    let limit = match limit {
        Some(limit) => Some(limit),
        None => named.get("maxsplit")?,
    };
    named.assert_all_used()?;
    Ok((separator, limit))
}
