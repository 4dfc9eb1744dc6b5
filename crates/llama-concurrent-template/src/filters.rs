//! Filters that the engine lacks, or that differ from Python's on none, undefined and empty values.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher, RandomState};

use minijinja::value::{ArgType, Kwargs, Rest, Tuple, ValueKind, ValueOrKwargs, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value, filters as own};

use crate::printer::{repr, text_of};
use crate::{json, percent};

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("fromjson", from_json);
    for name in ["length", "count"] {
        environment.add_filter(name, length);
    }
    for name in ["e", "escape", "forceescape"] {
        environment.add_filter(name, move |value: &Value| escape(value, name == "forceescape"));
    }
    environment
        .add_filter("first", |value: &Value| Ok::<_, Error>(items(value)?.into_iter().next().unwrap_or_default()));
    environment.add_filter("last", |value: &Value| Ok::<_, Error>(items(value)?.pop().unwrap_or_default()));
    environment.add_filter("random", random);
    environment.add_filter("items", pairs);
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.add_filter("abs", |value: Value| own::abs(number(value)));
    environment.add_filter("round", |value: Value, precision: Option<i32>, method: Option<&str>, named: Kwargs| {
        own::round(number(value), precision, method, named)
    });
    environment.add_filter("string", |value: &Value| text_of(value));
    environment.add_filter("pprint", |value: &Value| repr(value));
    environment.add_filter("attr", attribute);
    environment
        .add_filter("center", |value: &Value, width: Option<usize>| center(&text_of(value), width.unwrap_or(80)));
    environment.add_filter("wordcount", |value: &Value| word_count(&text_of(value)));
    environment.add_filter("truncate", truncate);
    environment.add_filter("striptags", |value: &Value| minijinja_contrib::filters::striptags(text_of(value)));
    environment.add_filter("wordwrap", word_wrap);
    environment.add_filter("urlencode", url_encode);
    environment.add_filter("xmlattr", xml_attributes);
    environment.add_filter("indent", indent);
    environment.add_filter("replace", replace);
    environment.add_filter("dictsort", dict_sort);
    environment.add_filter("groupby", group_by);
    environment.add_filter("title", |value: &Value| title(&text_of(value)));
    environment.add_filter("filesizeformat", |value: Value, binary: Option<bool>| {
        Ok::<_, Error>(minijinja_contrib::filters::filesizeformat(f64::try_from(number(value))?, binary))
    });
    environment.add_filter("format", |format: &str, arguments: Rest<ValueOrKwargs>| {
        let arguments: Vec<Value> = arguments.iter().map(|argument| (**argument).clone()).collect();
        percent::format(format, &arguments)
    });
    environment.add_filter(percent::FILTER, |format: &str, argument: &Value| percent::apply(format, argument));
    environment.add_filter("batch", |state: &State, value: Value, count: usize, fill: Option<Value>| {
        own::batch(state, value, checked_count(count)?, fill)
    });
    environment.add_filter("slice", |state: &State, value: Value, count: usize, fill: Option<Value>| {
        own::slice(state, value, checked_count(count)?, fill)
    });
    over_the_truthy(environment);
}

/// The engine makes so many items, however few there are to group.
fn checked_count(count: usize) -> Result<usize, Error> {
    if count > 1 << 16 {
        return Err(wrong(format!("{count} items in a group; at most 65536 are taken")));
    }
    Ok(count)
}

/// In Jinja these give nothing for whatever counts as false, and so also for `false` and `0`.
fn over_the_truthy(environment: &mut Environment<'static>) {
    macro_rules! add {
        ($name:literal, $filter:path $(, $argument:ident: $type:ty)*) => {
            environment.add_filter(
                $name,
                |state: &mut State, value: Value $(, $argument: $type)*, rest: Rest<ValueOrKwargs>| {
                    if value.is_true() { $filter(state, value $(, $argument)*, rest) } else { Ok(Vec::new()) }
                },
            );
        };
    }
    add!("map", own::map);
    add!("select", own::select, test: Option<Cow<'_, str>>);
    add!("reject", own::reject, test: Option<Cow<'_, str>>);
    add!("selectattr", own::selectattr, name: Cow<'_, str>, test: Option<Cow<'_, str>>);
    add!("rejectattr", own::rejectattr, name: Cow<'_, str>, test: Option<Cow<'_, str>>);
}

fn wrong(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail.into())
}

/// What a loop over the value gives; nothing for undefined, an error for none.
fn items(value: &Value) -> Result<Vec<Value>, Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(Vec::new()),
        ValueKind::None => Err(wrong("none is not iterable")),
        _ => Ok(value.try_iter()?.collect()),
    }
}

fn length(value: &Value) -> Result<usize, Error> {
    match value.len() {
        Some(length) => Ok(length),
        None if value.kind() == ValueKind::Iterable => Ok(items(value)?.len()),
        None if value.is_undefined() => Ok(0),
        None => Err(wrong(format!("cannot calculate length of value of type {}", value.kind()))),
    }
}

fn pairs(value: &Value) -> Result<Vec<Value>, Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(Vec::new()),
        ValueKind::Map => items(value)?
            .into_iter()
            .map(|key| {
                let item = value.get_item(&key)?;
                Ok(Tuple::from([key, item]).into())
            })
            .collect(),
        kind => Err(wrong(format!("items wants a mapping, not {kind}"))),
    }
}

fn random(value: &Value) -> Result<Value, Error> {
    let mut items = items(value)?;
    if items.is_empty() {
        return Ok(Value::UNDEFINED);
    }
    let index = RandomState::new().build_hasher().finish() as usize % items.len();
    Ok(items.swap_remove(index))
}

/// Truth values count as numbers.
fn number(value: Value) -> Value {
    if value.kind() == ValueKind::Bool { i64::from(value.is_true()).into() } else { value }
}

/// The argument by position or by its name.
fn argument<'a, T: ArgType<'a, Output = T>>(
    positional: Option<T>,
    named: &'a Kwargs,
    name: &'a str,
) -> Result<Option<T>, Error> {
    match positional {
        Some(value) => Ok(Some(value)),
        None if named.has(name) => named.get::<T>(name).map(Some),
        None => Ok(None),
    }
}

/// What is no number is the default, also a list or a dict.
fn int(value: &Value, default: Option<Value>, base: Option<u32>, named: Kwargs) -> Result<Value, Error> {
    let default = argument(default, &named, "default")?.unwrap_or_else(|| Value::from(0));
    let base = argument(base, &named, "base")?.unwrap_or(10);
    named.assert_all_used()?;
    if let Some(text) = value.as_str() {
        return Ok(whole(text.trim(), base).map_or(default, Value::from));
    }
    if value.is_integer() {
        return Ok(value.clone());
    }
    Ok(match f64::try_from(number(value.clone())) {
        Ok(float) if float.is_finite() => Value::from(float.trunc() as i128),
        _ => default,
    })
}

/// An integer as Python reads it: with a sign, underscores and, where the base allows it, a prefix; else a float cut short.
fn whole(text: &str, base: u32) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.replace('_', "").to_lowercase();
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, of)| Some((lower.strip_prefix(prefix).filter(|_| base == 0 || base == of)?, of)));
    let (digits, base) = prefixed.unwrap_or((&lower, if base == 0 { 10 } else { base }));
    if (2..=36).contains(&base)
        && let Ok(number) = i128::from_str_radix(digits, base)
    {
        return Some(sign * number);
    }
    text.parse().ok().filter(|float: &f64| float.is_finite()).map(|float| float.trunc() as i128)
}

fn float(value: &Value, default: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    let default = argument(default, &named, "default")?.unwrap_or_else(|| Value::from(0.0));
    named.assert_all_used()?;
    let float = match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None => f64::try_from(number(value.clone())).ok(),
    };
    Ok(float.map_or(default, Value::from))
}

/// Attributes of Python's own objects are never the items of a dict.
fn attribute(value: &Value, name: &str) -> Result<Value, Error> {
    if value.kind() == ValueKind::Map { Ok(Value::UNDEFINED) } else { value.get_attr(name) }
}

pub(crate) fn center(text: &str, width: usize) -> String {
    pad(text, width, ' ', true, true)
}

/// Pads to a width in characters; what is odd goes where Python puts it.
pub(crate) fn pad(text: &str, width: usize, fill: char, left: bool, right: bool) -> String {
    let width = width.min(1 << 16);
    let missing = width.saturating_sub(text.chars().count());
    let before = match (left, right) {
        (true, true) => missing / 2 + (missing & width & 1),
        (true, false) => missing,
        _ => 0,
    };
    let mut out: String = std::iter::repeat_n(fill, before).collect();
    out.push_str(text);
    out.extend(std::iter::repeat_n(fill, missing - before));
    out
}

fn word_count(text: &str) -> usize {
    text.split(|character: char| !character.is_alphanumeric() && character != '_')
        .filter(|word| !word.is_empty())
        .count()
}

fn truncate(value: &Value, arguments: Rest<ValueOrKwargs>) -> Result<String, Error> {
    type Arguments = (Option<usize>, Option<bool>, Option<String>, Option<usize>, Kwargs);
    let arguments: Vec<Value> = arguments.iter().map(|argument| (**argument).clone()).collect();
    let (length, kill_words, end, leeway, named) = from_args::<Arguments>(&arguments)?;
    let length = argument(length, &named, "length")?.unwrap_or(255);
    let kill_words = argument(kill_words, &named, "killwords")?.unwrap_or(false);
    let end = argument(end, &named, "end")?.unwrap_or_else(|| "...".into());
    let leeway = argument(leeway, &named, "leeway")?.unwrap_or(5);
    named.assert_all_used()?;
    let text = text_of(value);
    // Python measures a list by its items.
    let measured = value.len().unwrap_or_else(|| text.chars().count());
    if measured <= length.saturating_add(leeway) {
        return Ok(text);
    }
    let Some(room) = length.checked_sub(end.chars().count()) else {
        return Err(wrong(format!("truncate expects a length of at least {}", end.chars().count())));
    };
    let kept: String = text.chars().take(room).collect();
    let kept = if kill_words { &kept } else { kept.rsplit_once(' ').map_or(&*kept, |(words, _)| words) };
    Ok(format!("{kept}{end}"))
}

fn word_wrap(
    value: &Value,
    width: Option<usize>,
    break_long_words: Option<bool>,
    wrap_string: Option<String>,
    named: Kwargs,
) -> Result<Value, Error> {
    let wrap_string = argument(wrap_string, &named, "wrapstring")?.unwrap_or_else(|| "\n".into());
    let options = [
        ("width", Value::from(argument(width, &named, "width")?.unwrap_or(79).max(1))),
        ("break_long_words", Value::from(argument(break_long_words, &named, "break_long_words")?.unwrap_or(true))),
        ("break_on_hyphens", Value::from(argument(None, &named, "break_on_hyphens")?.unwrap_or(true))),
        ("wrapstring", Value::from(wrap_string)),
    ];
    named.assert_all_used()?;
    minijinja_contrib::filters::wordwrap(&Value::from(text_of(value)), options.into_iter().collect())
}

fn url_encode(value: &Value) -> Result<String, Error> {
    let pair = |key: &Value, item: &Value| {
        format!("{}={}", percent_encode(&text_of(key), true), percent_encode(&text_of(item), true))
    };
    match value.kind() {
        ValueKind::Map => {
            let pairs = items(value)?.into_iter().map(|key| Ok(pair(&key, &value.get_item(&key)?)));
            Ok(pairs.collect::<Result<Vec<_>, Error>>()?.join("&"))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let pairs = items(value)?.into_iter().map(|item| match &*items(&item)? {
                [key, item] => Ok(pair(key, item)),
                _ => Err(wrong("urlencode wants pairs")),
            });
            Ok(pairs.collect::<Result<Vec<_>, Error>>()?.join("&"))
        }
        _ => Ok(percent_encode(&text_of(value), false)),
    }
}

/// In the values of a query a slash is escaped too, and a space is a plus.
fn percent_encode(text: &str, in_query: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => out.push(char::from(byte)),
            b'/' if !in_query => out.push('/'),
            b' ' if in_query => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn xml_attributes(value: &Value, space: Option<bool>) -> Result<Value, Error> {
    let mut out = String::new();
    for pair in pairs(value)? {
        let (key, item) = (pair.get_item_by_index(0)?, pair.get_item_by_index(1)?);
        if item.is_none() || item.is_undefined() {
            continue;
        }
        let key = text_of(&key);
        if key.contains(|character: char| character.is_whitespace() || "/>=".contains(character)) {
            return Err(wrong(format!("xmlattr cannot write the name '{key}'")));
        }
        let before = if out.is_empty() && space == Some(false) { "" } else { " " };
        out.push_str(&format!("{before}{}=\"{}\"", escaped(&key), escaped(&text_of(&item))));
    }
    Ok(Value::from_safe_string(out))
}

/// HTML as Python's markupsafe escapes it. What is escaped already stays, unless it is forced.
fn escape(value: &Value, force: bool) -> Value {
    if value.is_safe() && !force { value.clone() } else { Value::from_safe_string(escaped(&text_of(value))) }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            character => out.push(character),
        }
    }
    out
}

/// Indents every line but the first, and not the empty ones; the width is a number of spaces or the text itself.
fn indent(
    value: &Value,
    width: Option<Value>,
    first: Option<bool>,
    blank: Option<bool>,
    named: Kwargs,
) -> Result<String, Error> {
    let width = argument(width, &named, "width")?.unwrap_or_else(|| Value::from(4));
    let first = argument(first, &named, "first")?.unwrap_or(false);
    let blank = argument(blank, &named, "blank")?.unwrap_or(false);
    named.assert_all_used()?;
    if value.is_none() {
        return Err(wrong("none cannot be indented"));
    }
    let indentation = match width.as_str() {
        Some(text) => text.to_owned(),
        None => " ".repeat(usize::try_from(width)?.min(1 << 16)),
    };
    let text = text_of(value);
    let mut lines = text.split('\n').peekable();
    let mut out = String::with_capacity(text.len());
    let mut is_first = true;
    while let Some(line) = lines.next() {
        // As in Jinja, what is asked for the first line holds for an empty one too.
        if if is_first { first } else { blank || !line.is_empty() } {
            out.push_str(&indentation);
        }
        out.push_str(line);
        out.push_str(if lines.peek().is_some() { "\n" } else { "" });
        is_first = false;
    }
    Ok(out)
}

fn replace(value: &Value, old: &Value, new: &Value, count: Option<i64>) -> String {
    let (text, old, new) = (text_of(value), text_of(old), text_of(new));
    match count {
        Some(count) if count >= 0 => text.replacen(&old, &new, count as usize),
        _ => text.replace(&old, &new),
    }
}

/// The arguments of the engine's filter have names only.
fn dict_sort(value: Value, case_sensitive: Option<bool>, by: Option<String>, named: Kwargs) -> Result<Value, Error> {
    let options = [
        ("case_sensitive", Value::from(argument(case_sensitive, &named, "case_sensitive")?.unwrap_or(false))),
        ("by", Value::from(argument(by, &named, "by")?.unwrap_or_else(|| "key".into()))),
        ("reverse", Value::from(argument(None, &named, "reverse")?.unwrap_or(false))),
    ];
    named.assert_all_used()?;
    own::dictsort(&value, options.into_iter().collect())
}

/// As the engine's, with tuples as groups.
fn group_by(value: Value, attribute: Option<&str>, named: Kwargs) -> Result<Vec<Value>, Error> {
    let groups = own::groupby(value, attribute, named)?;
    let tuple = |group: Value| Ok(Tuple::from(group.try_iter()?.collect::<Vec<_>>()).into());
    groups.try_iter()?.map(tuple).collect()
}

fn title(text: &str) -> String {
    let mut at_start = true;
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_whitespace() || "-({[<".contains(character) {
            at_start = true;
            out.push(character);
        } else if std::mem::take(&mut at_start) {
            out.extend(character.to_uppercase());
        } else {
            out.extend(character.to_lowercase());
        }
    }
    out
}

fn from_json(text: &str) -> Result<Value, Error> {
    let json: serde_json::Value =
        serde_json::from_str(text).map_err(|error| wrong("fromjson cannot read this").with_source(error))?;
    Ok(Value::from(minijinja::value::Serde(&json)))
}
