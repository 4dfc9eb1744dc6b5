//! `"%s" % value`: the operator on strings, which the template engine lacks.
//!
//! None can be added to it. So `"..." % x` is rewritten before it is compiled, to the filter `format` that the engine has.

use std::borrow::Cow;

use minijinja::formatting::{FormatStyle, format as format_with};
use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use crate::printer::repr;

/// The name of the filter that the operator becomes.
pub(super) const FILTER: &str = "_percent";

/// `format % arguments`: a tuple gives several arguments, a dict gives named ones, and all else is one.
pub(super) fn apply(text: &str, argument: &Value) -> Result<String, Error> {
    if argument.is_tuple() {
        return format(text, &argument.try_iter()?.collect::<Vec<_>>());
    }
    if argument.kind() == ValueKind::Map && text.contains("%(") {
        check_widths(text)?;
        let named: minijinja::value::Kwargs = argument
            .try_iter()?
            .map(|key| Ok((key.to_string(), argument.get_item(&key)?)))
            .collect::<Result<Vec<_>, Error>>()?
            .into_iter()
            .collect();
        return format_with(FormatStyle::Printf, text, &[named.into()]);
    }
    format(text, std::slice::from_ref(argument))
}

/// Refuses widths and precisions of more than five digits in a printf-style format: they take the time and memory that they say.
fn check_widths(text: &str) -> Result<(), Error> {
    for mut spec in text.split('%').skip(1) {
        if let Some((_, rest)) = spec.strip_prefix('(').and_then(|named| named.split_once(')')) {
            spec = rest;
        }
        let spec = spec.trim_start_matches(['#', '-', '+', ' ', '0']);
        let precision = spec.trim_start_matches(|byte: char| byte.is_ascii_digit());
        check_width(&spec[..spec.len() - precision.len()])?;
        if let Some(precision) = precision.strip_prefix('.') {
            check_width(precision)?;
        }
    }
    Ok(())
}

/// The same for `str.format`.
pub(super) fn check_fields(text: &str) -> Result<(), Error> {
    for field in text.split('{').skip(1) {
        let field = field.split_once('}').map_or(field, |(field, _)| field);
        field.split(|character: char| !character.is_ascii_digit()).try_for_each(check_width)?;
    }
    Ok(())
}

fn check_width(text: &str) -> Result<(), Error> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 5 {
        let message = format!("a width of {digits} digits in a format; at most 5 are taken");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    Ok(())
}

/// As Python's operator on a tuple of these.
pub(super) fn format(text: &str, arguments: &[Value]) -> Result<String, Error> {
    check_widths(text)?;
    if !text.contains("%r") {
        return format_with(FormatStyle::Printf, text, arguments);
    }
    // The engine does not know `repr`. The conversions take their arguments in turn.
    let mut arguments = arguments.to_vec();
    let mut conversions = 0;
    let mut rewritten = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        rewritten.push(character);
        match (character, characters.peek()) {
            ('%', Some('%')) => rewritten.extend(characters.next()),
            ('%', Some('r')) => {
                characters.next();
                rewritten.push('s');
                if let Some(argument) = arguments.get_mut(conversions) {
                    *argument = Value::from(repr(argument));
                }
                conversions += 1;
            }
            ('%', _) => conversions += 1,
            _ => {}
        }
    }
    format_with(FormatStyle::Printf, &rewritten, &arguments)
}

/// Rewrites `'...' % operand` in the code of a template to `'...' | _percent(operand)`.
pub(super) fn as_filter(source: &str) -> Cow<'_, str> {
    if !source.contains("\" %") && !source.contains("' %") && !source.contains("\"%") && !source.contains("'%") {
        return Cow::Borrowed(source);
    }
    let mut rewritten = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(opening) = source[at..].find('{').map(|offset| at + offset) {
        let inside = opening + 2;
        let close = match source.get(opening..inside) {
            Some("{#") => {
                at = source[inside..].find("#}").map_or(source.len(), |offset| inside + offset + 2);
                continue;
            }
            Some("{{") => "}}",
            Some("{%") => "%}",
            _ => {
                at = opening + 1;
                continue;
            }
        };
        at = inside;
        while at < source.len() && !source[at..].starts_with(close) {
            if !source[at..].starts_with(['\'', '"']) {
                at += source[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            }
            let literal_end = after_string(source, at);
            let operator = skip_space(source, literal_end);
            at = literal_end;
            if source[operator..].starts_with('%') && !source[operator..].starts_with("%}") {
                let start = skip_space(source, operator + 1);
                let end = after_operand(source, start);
                rewritten.push_str(&source[copied..literal_end]);
                rewritten.push_str(&format!(" | {FILTER}({})", as_filter_in_code(&source[start..end])));
                (copied, at) = (end, end);
            }
        }
    }
    if copied == 0 {
        return Cow::Borrowed(source);
    }
    rewritten.push_str(&source[copied..]);
    Cow::Owned(rewritten)
}

/// The same for a piece of code.
fn as_filter_in_code(code: &str) -> String {
    let wrapped = format!("{{{{{code}}}}}");
    let rewritten = as_filter(&wrapped);
    rewritten[2..rewritten.len() - 2].to_owned()
}

pub(super) fn skip_space(source: &str, from: usize) -> usize {
    source.len() - source[from..].trim_start().len()
}

/// The position after the string literal that begins here.
fn after_string(source: &str, from: usize) -> usize {
    let quote = source[from..].chars().next();
    let mut escaped = false;
    for (offset, character) in source[from..].char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            character if Some(character) == quote => return from + offset + 1,
            _ => {}
        }
    }
    source.len()
}

/// The position after the operand that begins here: a value with what is looked up in it, its calls and its filters.
fn after_operand(source: &str, from: usize) -> usize {
    let mut at = from;
    while source[at..].starts_with(['-', '+']) {
        at = skip_space(source, at + 1);
    }
    at = match source[at..].chars().next() {
        Some('\'' | '"') => after_string(source, at),
        Some('(' | '[' | '{') => after_bracket(source, at),
        _ => after_word(source, at),
    };
    loop {
        let next = skip_space(source, at);
        at = match source[next..].chars().next() {
            Some('(' | '[') => after_bracket(source, next),
            Some('.' | '|') => after_word(source, skip_space(source, next + 1)),
            _ => return at,
        };
    }
}

fn after_word(source: &str, from: usize) -> usize {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    source[from..].find(|character| !is_word(character)).map_or(source.len(), |offset| from + offset)
}

pub(super) fn after_bracket(source: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = from;
    while let Some(character) = source[at..].chars().next() {
        match character {
            '\'' | '"' => {
                at = after_string(source, at);
                continue;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        at += character.len_utf8();
        if depth == 0 {
            return at;
        }
    }
    source.len()
}
