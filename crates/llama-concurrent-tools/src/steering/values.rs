//! Values in the notations of Python and Gemma, and as JSON within markup: one structure with several kinds of words, keys and
//! quotation marks.

use std::collections::HashMap;

use llama_concurrent_constraint::lark;
use serde_json::{Map, Value, json};

use super::kinds::{All, Kind, List, OF_NUMBER, OF_TEXT, Object, is_plain, kinds};
use super::lark::{Lark, group, literal};
use super::parameters::objects;
use super::schemas;
use super::texts::{before, holding, plain_number, text, written};
use crate::schema::Types;

/// Escapes that Python reads as JSON does.
const ESCAPES: &str = "nrtbf\\\"u";
/// Names of arguments where none are listed.
const NAME: &str = "[A-Za-z_][A-Za-z0-9_]{0,40}";
/// A terminal that nothing matches.
pub(super) const NOTHING: &str = r"/[^\s\S]/";
/// Gemma's quotation mark.
const QUOTE: &str = "<|\"|>";

/// Any string of JSON.
const STRING: &str = r#""([^"\\\x00-\x1f\x7f]|\\["\\\/bfnrt]|\\u00[01][0-9a-f])*""#;
/// A text that stands between quotation marks as it is.
const PLAIN: &str = r#"[^"\\\x00-\x1f\x7f]*"#;

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Python,
    Gemma,
    /// JSON in which this text does not occur.
    Json(&'static str),
}

/// Writes values of one tool's schema.
#[derive(Debug)]
pub(super) struct Values<'a> {
    style: Style,
    root: &'a Value,
    /// Rules of values, by the schemas that hold for them. `None`: no value is valid.
    rules: HashMap<Vec<*const Value>, Result<Option<String>, String>>,
}

/// The expression for the arguments of a tool: within round brackets as those of a call, or as Gemma's object.
///
/// # Errors
/// In words, for what cannot be written in this notation.
pub(super) fn arguments(lark: &mut Lark<'_>, style: Style, rewritten: &Value) -> Result<String, String> {
    let mut values = Values::new(style, rewritten);
    let mut options = Vec::new();
    let mut why = "its schema allows no object".to_owned();
    for object in objects(rewritten)? {
        match values.object(lark, &object, style == Style::Python) {
            Ok(Some(inner)) if style == Style::Python => options.push(format!("\"(\" {inner} \")\"")),
            Ok(Some(inner)) => options.push(inner),
            Ok(None) => {}
            Err(reason) => why = reason,
        }
    }
    if options.is_empty() { Err(why) } else { Ok(lark.rule(group(&options))) }
}

impl<'a> Values<'a> {
    pub(super) fn new(style: Style, root: &'a Value) -> Self {
        Self { style, root, rules: HashMap::new() }
    }

    /// A value of one of these kinds, which are those of `all`. `None`: it cannot be written.
    pub(super) fn of_kinds(
        &mut self,
        lark: &mut Lark<'_>,
        kinds: &[Kind<'a>],
        all: &All<'a>,
    ) -> Result<Option<String>, String> {
        let mut options = Vec::new();
        for kind in kinds {
            options.extend(self.kind(lark, kind, all)?);
        }
        Ok((!options.is_empty()).then(|| lark.rule(options.join(" | "))))
    }

    fn value(&mut self, lark: &mut Lark<'_>, all: &All<'a>) -> Result<Option<String>, String> {
        let mut key: Vec<*const Value> = all.iter().map(|schema| std::ptr::from_ref(*schema)).collect();
        key.sort_unstable();
        if let Some(known) = self.rules.get(&key) {
            return known.clone();
        }
        let name = lark.reserve('r');
        self.rules.insert(key.clone(), Ok(Some(name.clone())));
        let body = kinds(all, self.root).and_then(|kinds| {
            let options: Result<Vec<_>, _> = kinds.iter().map(|kind| self.kind(lark, kind, all)).collect();
            Ok(options?.into_iter().flatten().collect::<Vec<_>>().join(" | "))
        });
        let rule = body.map(|body| {
            (!body.is_empty()).then(|| {
                lark.define(&name, &body);
                name.clone()
            })
        });
        if !matches!(rule, Ok(Some(_))) {
            // It may have been referred to from within.
            lark.define(&name, NOTHING);
        }
        self.rules.insert(key, rule.clone());
        rule
    }

    fn kind(&mut self, lark: &mut Lark<'_>, kind: &Kind<'a>, all: &All<'a>) -> Result<Option<String>, String> {
        Ok(match kind {
            Kind::Literal(value) => self.literal(lark, value),
            Kind::Text(maps) => self.text(lark, kind, maps, all)?,
            Kind::Number { .. } => match plain_number(kind) {
                Some(number) => Some(lark.terminal(format!("/{number}/"))),
                None => Some(number(lark, kind)),
            },
            Kind::Boolean => Some(format!("{} | {}", self.word("true"), self.word("false"))),
            Kind::Null => Some(self.word("null")),
            Kind::List(list) => self.list(lark, list)?,
            Kind::Object(object) => match object.clone().bounded() {
                Some(object) => self.object(lark, &object, false)?,
                None => None,
            },
        })
    }

    fn text(
        &mut self,
        lark: &mut Lark<'_>,
        kind: &Kind<'a>,
        maps: &[&Map<String, Value>],
        all: &All<'a>,
    ) -> Result<Option<String>, String> {
        Ok(match self.style {
            // What contradicts itself would make the whole grammar impossible.
            Style::Python if text(maps, &[], &[]) == Ok(None) => None,
            Style::Python => Some(self.json(lark, all, "string")),
            Style::Json(stop) if is_plain(maps, &OF_TEXT) => {
                text(&[], &[STRING], &[holding(stop)])?.map(|string| lark.terminal(string))
            }
            Style::Json(stop) => {
                text(maps, &[PLAIN], &[holding(stop)])?.map(|text| lark.terminal(format!(r#""\"" ({text}) "\"""#)))
            }
            Style::Gemma => {
                let text = written(std::slice::from_ref(kind), Types::TEXT, QUOTE, &[])?;
                text.plain.map(|plain| format!("{} {}", lark.markup(QUOTE), before(lark, &plain, QUOTE)))
            }
        })
    }

    fn json(&mut self, lark: &mut Lark<'_>, all: &All<'a>, name: &str) -> String {
        let json = schemas::json(all, Some(&[name]), self.root, Some(ESCAPES));
        lark.rule(json)
    }

    fn word(&self, word: &'static str) -> String {
        literal(match (self.style, word) {
            (Style::Python, "true") => "True",
            (Style::Python, "false") => "False",
            (Style::Python, "null") => "None",
            _ => word,
        })
    }

    /// A value that is listed. `None`: it cannot be written.
    fn literal(&mut self, lark: &mut Lark<'_>, value: &Value) -> Option<String> {
        Some(match value {
            Value::Null => self.word("null"),
            Value::Bool(true) => self.word("true"),
            Value::Bool(false) => self.word("false"),
            Value::Number(_) => literal(&value.to_string()),
            Value::String(text) => self.quoted(lark, text)?,
            Value::Array(list) => {
                let items: Option<Vec<String>> = list.iter().map(|item| self.literal(lark, item)).collect();
                format!("\"[\" {} \"]\"", items?.join(&format!(" {} ", self.comma())))
            }
            Value::Object(map) => {
                let pairs: Option<Vec<String>> = map.iter().map(|(key, value)| self.pair(lark, key, value)).collect();
                format!("\"{{\" {} \"}}\"", pairs?.join(&format!(" {} ", self.comma())))
            }
        })
    }

    fn pair(&mut self, lark: &mut Lark<'_>, key: &str, value: &Value) -> Option<String> {
        Some(format!("{} {}", self.key(lark, key)?, self.literal(lark, value)?))
    }

    fn quoted(&self, lark: &mut Lark<'_>, text: &str) -> Option<String> {
        match self.style {
            Style::Python => Some(literal(&Value::from(text).to_string())),
            Style::Json(stop) => {
                let json = Value::from(text).to_string();
                (!json.contains(stop)).then(|| literal(&json))
            }
            Style::Gemma if text.contains(QUOTE) => None,
            Style::Gemma => {
                let quote = lark.markup(QUOTE);
                let text = if text.is_empty() { String::new() } else { literal(text) };
                Some(format!("{quote} {text} {quote}"))
            }
        }
    }

    /// A key within an object and what stands behind it.
    fn key(&self, lark: &mut Lark<'_>, name: &str) -> Option<String> {
        match self.style {
            Style::Python | Style::Json(_) => Some(format!("{} \": \"", self.quoted(lark, name)?)),
            Style::Gemma => {
                let is_bare =
                    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || "{}[],:\"<>|".contains(c));
                if is_bare {
                    Some(literal(&format!("{name}:")))
                } else {
                    Some(format!("{} \":\"", self.quoted(lark, name)?))
                }
            }
        }
    }

    fn comma(&self) -> &'static str {
        match self.style {
            Style::Python | Style::Json(_) => "\", \"",
            Style::Gemma => "\",\"",
        }
    }

    /// An object, or with `is_call` the arguments of a call in Python without their brackets.
    fn object(&mut self, lark: &mut Lark<'_>, object: &Object<'a>, is_call: bool) -> Result<Option<String>, String> {
        let inner =
            if object.is_map() { self.any_names(lark, object, is_call)? } else { self.listed(lark, object, is_call)? };
        Ok(inner.map(|inner| if is_call { inner } else { format!("\"{{\" {inner} \"}}\"") }))
    }

    fn listed(&mut self, lark: &mut Lark<'_>, object: &Object<'a>, is_call: bool) -> Result<Option<String>, String> {
        let mut pairs = Vec::new();
        for property in &object.properties {
            let key = if is_call {
                is_identifier(property.name).then(|| literal(&format!("{}=", property.name)))
            } else {
                self.key(lark, property.name)
            };
            let written = match key {
                None => {
                    Err(format!("the argument {:?} has a name that the notation cannot hold; rename it", property.name))
                }
                Some(key) => self.value(lark, &property.of).map(|value| value.map(|value| format!("{key} {value}"))),
            };
            match written {
                Ok(Some(pair)) => pairs.push((pair, property.required)),
                Ok(None) if property.required => return Ok(None),
                Err(why) if property.required => return Err(why),
                Ok(None) | Err(_) => {}
            }
        }
        Ok(Some(self.sequence(lark, &pairs)))
    }

    /// Pairs of which some need not be there, with commas between those that are.
    fn sequence(&mut self, lark: &mut Lark<'_>, pairs: &[(String, bool)]) -> String {
        let comma = self.comma();
        // What may come behind another pair, and what may come first, from the last pair on.
        let (mut behind, mut first) = (String::new(), "\"\"".to_owned());
        for (pair, required) in pairs.iter().rev() {
            let pair = lark.rule(pair.clone());
            first = if *required { format!("{pair} {behind}") } else { format!("{pair} {behind} | {first}") };
            let one = format!("{comma} {pair}");
            behind = if *required { format!("{one} {behind}") } else { format!("({one})? {behind}") };
            behind = lark.rule(behind);
            first = lark.rule(first);
        }
        first
    }

    /// Pairs of any names.
    fn any_names(&mut self, lark: &mut Lark<'_>, object: &Object<'a>, is_call: bool) -> Result<Option<String>, String> {
        let key = match (self.style, is_call) {
            (Style::Python, true) => format!("/{NAME}=/"),
            (Style::Python | Style::Json(_), _) => format!("/\"{NAME}\": /"),
            (Style::Gemma, _) => format!("/{NAME}:/"),
        };
        let of = object.rest.clone().unwrap_or_default();
        let key = lark.terminal(key);
        let pair = self.value(lark, &of)?.map(|value| format!("{key} {value}"));
        Ok(self.repeated(pair, object.min, object.max))
    }

    fn list(&mut self, lark: &mut Lark<'_>, list: &List<'a>) -> Result<Option<String>, String> {
        let comma = self.comma();
        let mut items = Vec::new();
        let mut max = list.max;
        for (index, of) in list.first.iter().take(list.max.unwrap_or(usize::MAX)).enumerate() {
            match self.value(lark, of)? {
                Some(item) => items.push((item, index < list.min)),
                None => {
                    max = Some(index);
                    break;
                }
            }
        }
        if max.is_some_and(|max| max < list.min) {
            return Ok(None);
        }
        let n_first = items.len();
        let more = max.map(|max| max.saturating_sub(n_first));
        let missing = list.min.saturating_sub(n_first);
        let rest = match &list.rest {
            Some(of) if more != Some(0) => self.value(lark, of)?,
            _ => None,
        };
        if n_first == 0 {
            return Ok(self.repeated(rest, list.min, max).map(|inner| format!("\"[\" {inner} \"]\"")));
        }
        if missing > 0 && rest.is_none() {
            return Ok(None);
        }
        // An item comes only behind all before it.
        let mut tail = rest.map_or(String::new(), |rest| {
            let most = more.map_or(String::new(), |more| more.to_string());
            format!("({comma} {rest}){{{missing},{most}}}")
        });
        for (index, (item, required)) in items.iter().enumerate().rev() {
            let separator = if index == 0 { "" } else { comma };
            let whole = format!("{separator} {item} {tail}");
            tail = lark.rule(if *required { whole } else { format!("({whole})?") });
        }
        Ok(Some(format!("\"[\" {tail} \"]\"")))
    }

    /// So many of the same with commas between them. `None`: as few as there may be are too many.
    fn repeated(&mut self, one: Option<String>, min: usize, max: Option<usize>) -> Option<String> {
        let comma = self.comma();
        match one {
            None => (min == 0).then(|| "\"\"".to_owned()),
            Some(_) if max == Some(0) => (min == 0).then(|| "\"\"".to_owned()),
            Some(_) if max.is_some_and(|max| max < min) => None,
            Some(one) => {
                let most = max.map_or(String::new(), |max| (max - 1).to_string());
                let more = if max == Some(1) {
                    String::new()
                } else {
                    format!("({comma} {one}){{{},{most}}}", min.saturating_sub(1))
                };
                Some(if min == 0 { format!("({one} {more})?") } else { format!("{one} {more}") })
            }
        }
    }
}

/// Numbers within bounds.
fn number(lark: &mut Lark<'_>, kind: &Kind<'_>) -> String {
    let Kind::Number { maps, whole } = kind else { return NOTHING.into() };
    let bounds = maps.iter().map(|map| {
        let own = OF_NUMBER.iter().filter_map(|key| Some(((*key).to_owned(), map.get(*key)?.clone())));
        Value::Object(own.collect())
    });
    let mut parts: Vec<Value> = bounds.filter(|own| *own != json!({})).collect();
    let name = if *whole { "integer" } else { "number" };
    let schema = match &mut parts[..] {
        [Value::Object(own)] => {
            own.insert("type".into(), name.into());
            parts.remove(0)
        }
        _ => json!({"type": name, "allOf": parts}),
    };
    lark.rule(lark::json(schema, None))
}

fn is_identifier(name: &str) -> bool {
    let is_first = |c: char| c.is_alphabetic() || c == '_';
    name.len() <= 256 && name.starts_with(is_first) && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}
