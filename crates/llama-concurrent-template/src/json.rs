//! The filter `tojson` of chat templates.
//!
//! A model has seen tool schemas as Python's `json.dumps` writes them: a space after commas and colons, and no HTML
//! escapes. The template engine's own filter differs in both.

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};
use serde_json::Value as Json;

use crate::{contents::NONCHARACTERS, limits::DEEPEST, printer::float_repr};

/// `value | tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`, as transformers defines it.
pub(super) fn tojson(value: &Value, ensure_ascii: Option<bool>, options: Kwargs) -> Result<String, Error> {
    if value.is_undefined() {
        let detail = "tojson of an undefined value; test it with `is defined` first";
        return Err(Error::new(ErrorKind::UndefinedError, detail));
    }
    let style = Style::from_arguments(ensure_ascii, &options)?;
    let sort_keys = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    options.assert_all_used()?;

    let mut json = serde_json::to_value(value)
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, "tojson cannot write this").with_source(error))?;
    if depth(&json) > DEEPEST {
        let detail = format!("tojson of a value that is nested more than {DEEPEST} times");
        return Err(Error::new(ErrorKind::InvalidOperation, detail));
    }
    if sort_keys {
        json.sort_all_objects();
    }
    let mut out = String::new();
    style.write(&json, 0, &mut out);
    Ok(out)
}

/// JSON on one line, as `json.dumps` writes it.
pub(super) fn dumps(json: &Json) -> String {
    let (item_separator, key_separator) = (", ".to_owned(), ": ".to_owned());
    let style = Style { ensure_ascii: false, indent: None, item_separator, key_separator };
    let mut out = String::new();
    style.write(json, 0, &mut out);
    out
}

fn depth(json: &Json) -> usize {
    match json {
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Json::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// How `json.dumps` lays out a document.
struct Style {
    ensure_ascii: bool,
    /// The indentation of one level; `None` for one line.
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
}

impl Style {
    fn from_arguments(ensure_ascii: Option<bool>, options: &Kwargs) -> Result<Self, Error> {
        let indent = match options.get::<Option<Value>>("indent")? {
            None => None,
            Some(indent) => Some(match indent.as_str() {
                Some(text) => text.to_owned(),
                None => " ".repeat(i64::try_from(indent)?.clamp(0, 64) as usize),
            }),
        };
        // Python drops the space after a comma that ends a line.
        let default_item_separator = if indent.is_some() { "," } else { ", " };
        let separators = options.get::<Option<Vec<String>>>("separators")?;
        let (item_separator, key_separator) = match separators.as_deref() {
            None => (default_item_separator.to_owned(), ": ".to_owned()),
            Some([item, key]) => (item.clone(), key.clone()),
            Some(_) => {
                let detail = "separators of tojson are two: between items, and after keys";
                return Err(Error::new(ErrorKind::InvalidOperation, detail));
            }
        };
        let by_name = options.get::<Option<bool>>("ensure_ascii")?;
        Ok(Self { ensure_ascii: ensure_ascii.or(by_name).unwrap_or(false), indent, item_separator, key_separator })
    }

    fn write(&self, json: &Json, depth: usize, out: &mut String) {
        match json {
            Json::Null => out.push_str("null"),
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(float) => out.push_str(&float_repr(float)),
                None => out.push_str(&number.to_string()),
            },
            Json::String(text) => self.write_string(text, out),
            Json::Array(items) => self.write_items(('[', ']'), items, depth, out, |item, out| {
                self.write(item, depth + 1, out);
            }),
            Json::Object(map) => self.write_items(('{', '}'), map, depth, out, |(key, item), out| {
                self.write_string(key, out);
                out.push_str(&self.key_separator);
                self.write(item, depth + 1, out);
            }),
        }
    }

    fn write_items<I: IntoIterator>(
        &self,
        (open, close): (char, char),
        items: I,
        depth: usize,
        out: &mut String,
        write_item: impl Fn(I::Item, &mut String),
    ) {
        out.push(open);
        let mut empty = true;
        for item in items {
            if !empty {
                out.push_str(&self.item_separator);
            }
            empty = false;
            self.break_line(depth + 1, out);
            write_item(item, out);
        }
        if !empty {
            self.break_line(depth, out);
        }
        out.push(close);
    }

    fn break_line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(indent.as_str(), depth));
        }
    }

    fn write_string(&self, text: &str, out: &mut String) {
        // Without `ensure_ascii`, Python and serde_json escape the same characters in the same way.
        let quoted = Json::from(text).to_string();
        if !self.ensure_ascii {
            return out.push_str(&quoted);
        }
        for character in quoted.chars() {
            // Python escapes DEL too. Nobody wrote a noncharacter: it marks something, and must come out as it is.
            if (character.is_ascii() && character != '\x7f') || NONCHARACTERS.contains(&character) {
                out.push(character);
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
}
