//! Values that stand in markup as they are: which texts may stand there so that they are read as what the schema wants.

use llama_concurrent_constraint::lark::{is_possible, pattern};
use serde_json::{Map, Value};

use super::kinds::{Kind, OF_NUMBER, OF_TEXT, is_plain};
use super::lark::{Lark, literal};
use crate::schema::Types;

/// Any text.
const ANY: &str = "(?s:.*)";
/// Digits as JSON schemas bound them.
const WHOLE: &str = "-?(0|[1-9][0-9]{0,15})";
const NUMBER: &str = r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,16})?([eE][+\-]?[0-9]{1,2})?";

/// How a value's kinds are written where texts stand as they are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Texts, and what is read as a number or a word of JSON: an expression for a terminal.
    pub(super) plain: Option<String>,
    /// Types that are to be written as JSON, which then begin otherwise than every one of those texts.
    pub(super) json: Vec<&'static str>,
}

/// `reading`: the types that whoever reads the value expects. `stop`: a text that ends every value. `none`: regular expressions
/// of texts that would be read as something else.
///
/// # Errors
/// In words, for a text that cannot be written.
pub(super) fn written(kinds: &[Kind<'_>], reading: Types, stop: &str, none: &[&str]) -> Result<Written, String> {
    let has_texts = kinds.iter().any(Kind::is_text);
    if !(reading.is_text() || has_texts && reading.may_be_text()) {
        // Where a text is possible, JSON of a type that is not expected is taken for one.
        let is_read = |of: &&str| !reading.may_be_text() || reading.has(Types::named(of));
        return Ok(Written { plain: None, json: kinds.iter().map(type_of).filter(is_read).collect() });
    }
    let mut none: Vec<String> = none.iter().map(|text| (*text).to_owned()).collect();
    none.push(holding(stop));
    let (mut options, mut json): (Vec<String>, Vec<&'static str>) = (Vec::new(), Vec::new());
    let mut is_read_otherwise = Types::NONE;
    // Any text is also what looks like JSON of a type of which anything is allowed.
    let takes_any = kinds.iter().any(|kind| matches!(kind, Kind::Text(maps) if is_plain(maps, &OF_TEXT)));
    for (of, like) in LIKE.iter().filter(|(of, _)| !reading.is_text() && reading.has(*of)) {
        if takes_any && kinds.iter().any(|kind| is_everything(kind, *of)) {
            continue;
        }
        is_read_otherwise = is_read_otherwise.or(*of);
        none.push((*like).to_owned());
        for kind in kinds.iter().filter(|kind| type_of(kind) == of.name()) {
            match kind {
                Kind::Boolean => options.push("\"true\" | \"false\"".into()),
                Kind::Null => options.push("\"null\"".into()),
                Kind::Literal(value) if !(value.is_array() || value.is_object()) => {
                    options.push(literal(&value.to_string()));
                }
                _ if of.may_be_list() || of.may_be_object() => json.push(of.name()),
                other => options.extend(plain_number(other).map(|number| format!("/{number}/"))),
            }
        }
    }
    if !json.is_empty() {
        let is_read = |of: &&str| matches!(*of, "array" | "object") && reading.has(Types::named(of));
        json.extend(kinds.iter().map(type_of).filter(is_read));
        json.sort_unstable();
        json.dedup();
        none.push(r"[\s\[{](?s:.*)".to_owned());
    }
    // Apart from those, since a text may not look like one.
    for kind in kinds {
        match kind {
            Kind::Text(maps) => options.extend(text(maps, &[], &none)?.map(|text| format!("({text})"))),
            Kind::Literal(Value::String(text)) if !text.contains(stop) && !is_like(text, is_read_otherwise) => {
                options.push(literal(text));
            }
            _ => {}
        }
    }
    let plain = (!options.is_empty()).then(|| format!("({})", options.join(" | ")));
    Ok(Written { plain, json })
}

/// The regular expression for texts that hold another.
pub(super) fn holding(text: &str) -> String {
    format!("(?s:.*){}(?s:.*)", regex::escape(text).replace('/', r"\/").replace('\n', r"\n"))
}

/// What JSON of each type looks like, or begins with.
const LIKE: [(Types, &str); 5] = [
    (Types::NUMBER, r"\s*-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+\-]?[0-9]+)?\s*"),
    (Types::BOOLEAN, r"\s*(true|false)\s*"),
    (Types::NULL, r"\s*null\s*"),
    (Types::LIST, r"\s*\[(?s:.*)"),
    (Types::OBJECT, r"\s*\{(?s:.*)"),
];

fn is_like(text: &str, types: Types) -> bool {
    let text = text.trim();
    match text.bytes().next() {
        Some(b'[') => types.may_be_list(),
        Some(b'{') => types.may_be_object(),
        _ => serde_json::from_str::<Value>(text)
            .is_ok_and(|value| !value.is_string() && types.has(Types::of_value(&value))),
    }
}

/// JSON schema's name of the type of a kind's values.
pub(super) fn type_of(kind: &Kind<'_>) -> &'static str {
    match kind {
        Kind::Literal(value) => Types::of_value(value).name(),
        Kind::Text(_) => "string",
        Kind::Number { .. } => "number",
        Kind::Boolean => "boolean",
        Kind::Null => "null",
        Kind::List(_) => "array",
        Kind::Object(_) => "object",
    }
}

/// Whether a kind is every value of a type.
fn is_everything(kind: &Kind<'_>, of: Types) -> bool {
    match kind {
        Kind::Number { maps, whole } => of == Types::NUMBER && !whole && is_plain(maps, &OF_NUMBER),
        Kind::Boolean => of == Types::BOOLEAN,
        Kind::Null => of == Types::NULL,
        Kind::List(list) => {
            let is_any = list.first.is_empty() && list.rest.as_ref().is_some_and(Vec::is_empty);
            of == Types::LIST && is_any && list.min == 0 && list.max.is_none()
        }
        Kind::Object(object) => {
            of == Types::OBJECT
                && object.is_map()
                && object.rest.as_ref().is_some_and(Vec::is_empty)
                && object.min == 0
                && object.max.is_none()
        }
        Kind::Literal(_) | Kind::Text(_) => false,
    }
}

/// Texts under the keywords for texts, which match all of these regular expressions and none of those: an expression for a
/// terminal. `None`: there are no such texts.
pub(super) fn text(maps: &[&Map<String, Value>], also: &[&str], none: &[String]) -> Result<Option<String>, String> {
    let mut all: Vec<String> = also.iter().map(|text| (*text).to_owned()).collect();
    for map in maps {
        let count = |key: &str| map.get(key).and_then(Value::as_u64);
        if let Some(max) = count("maxLength") {
            all.push(format!("(?s:.{{{},{max}}})", count("minLength").unwrap_or(0)));
        } else if let Some(min) = count("minLength").filter(|min| *min > 0) {
            all.push(format!("(?s:.{{{min},}})"));
        }
        if let Some(own) = map.get("pattern").and_then(Value::as_str) {
            all.push(pattern(own).ok_or_else(|| {
                format!(
                    "the pattern {own:?} cannot be held to in this form; let its anchors stand at its ends, outside of groups"
                )
            })?);
        }
        if let Some(format) = map.get("format").and_then(Value::as_str) {
            let known = FORMATS.iter().find(|(name, _)| *name == format);
            all.extend(known.map(|(_, expression)| (*expression).to_owned()));
        }
    }
    let has_own = all.len() > also.len();
    if all.is_empty() {
        all.push(ANY.into());
    }
    let is_possible = !has_own || is_possible(&all, none);
    let all = all.iter().map(|one| format!("/{one}/")).chain(none.iter().map(|one| format!("~/{one}/")));
    Ok(is_possible.then(|| all.collect::<Vec<_>>().join(" & ")))
}

/// Formats as texts that every reader takes for one; there are others.
const FORMATS: [(&str, &str); 10] = [
    (
        "date",
        r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|[0-9]{4}-(0[13-9]|1[0-2])-(29|30)|[0-9]{4}-(0[13578]|1[02])-31",
    ),
    ("time", r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+\-]([01][0-9]|2[0-3]):[0-5][0-9])"),
    (
        "date-time",
        r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+\-]([01][0-9]|2[0-3]):[0-5][0-9])",
    ),
    ("duration", r"P([1-9][0-9]{0,4}[YMWD]|T[1-9][0-9]{0,6}[HMS]|[1-9][0-9]{0,4}DT[1-9][0-9]{0,6}[HMS])"),
    ("email", r"[A-Za-z0-9_+\-]+(\.[A-Za-z0-9_+\-]+)*@[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)+"),
    ("hostname", r"[a-z0-9]([a-z0-9\-]{0,40}[a-z0-9])?(\.[a-z0-9]([a-z0-9\-]{0,40}[a-z0-9])?){0,4}"),
    ("ipv4", r"((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"),
    (
        "ipv6",
        r"([0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}|([0-9a-fA-F]{1,4}:){1,5}(:[0-9a-fA-F]{1,4})|::([0-9a-fA-F]{1,4})?",
    ),
    ("uuid", r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    ("uri", r"[a-z][a-z0-9+.\-]*:(\/\/[a-z0-9.\-]+(:[0-9]{1,5})?)?[A-Za-z0-9_.~!$&'()*+,;=:@\/%?#\-]{0,2000}"),
];

/// The regular expression of a number that is not bounded.
pub(super) fn plain_number(kind: &Kind<'_>) -> Option<&'static str> {
    match kind {
        Kind::Number { maps, whole } if is_plain(maps, &OF_NUMBER) => Some(if *whole { WHOLE } else { NUMBER }),
        _ => None,
    }
}

/// A text with `close` behind it, up to a special token in one terminal: a terminal goes on for as long as it can, and would take
/// the beginning of what closes it for more of the text.
pub(super) fn before(lark: &mut Lark<'_>, plain: &str, close: &str) -> String {
    let (lead, rest) = lark.led(close);
    let lead = if lead.is_empty() { String::new() } else { literal(lead) };
    let terminal = lark.terminal(format!("{plain} {lead}"));
    format!("{terminal} {rest}")
}
