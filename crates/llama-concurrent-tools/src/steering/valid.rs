//! Whether a value is valid under a schema that the constraint crate rewrote: for values that the schema itself lists.

use regex::Regex;
use serde_json::{Map, Value};

/// What a reference means.
pub(super) fn target<'a>(reference: &str, root: &'a Value) -> Option<&'a Value> {
    root.get("$defs")?.get(reference.strip_prefix("#/$defs/")?)
}

pub(super) fn is_valid(value: &Value, schema: &Value, root: &Value) -> bool {
    match schema {
        Value::Object(map) => {
            let list = |key: &str| map.get(key).and_then(Value::as_array);
            let each = |schema: &Value| is_valid(value, schema, root);
            let reference = map.get("$ref").and_then(Value::as_str);
            reference.and_then(|reference| target(reference, root)).is_none_or(&each)
                && list("allOf").is_none_or(|all| all.iter().all(each))
                && list("anyOf").is_none_or(|all| all.iter().any(each))
                && list("oneOf").is_none_or(|all| all.iter().any(each))
                && under(value, map, root)
        }
        other => *other != Value::Bool(false),
    }
}

/// By a schema's own keywords, without its references and alternatives.
pub(super) fn under(value: &Value, map: &Map<String, Value>, root: &Value) -> bool {
    let number = |key: &str| map.get(key).and_then(Value::as_f64);
    let within = |length: usize, min: &str, max: &str| {
        number(min).is_none_or(|min| length as f64 >= min) && number(max).is_none_or(|max| length as f64 <= max)
    };
    let is_listed = map.get("const").is_none_or(|one| one == value)
        && map.get("enum").and_then(Value::as_array).is_none_or(|all| all.contains(value));
    let own = match value {
        Value::String(text) => {
            let pattern = map.get("pattern").and_then(Value::as_str);
            within(text.chars().count(), "minLength", "maxLength") && pattern.is_none_or(|p| matches(p, text))
        }
        Value::Number(n) => {
            let n = n.as_f64().unwrap_or(f64::NAN);
            let fits = |step: f64| (n / step - (n / step).round()).abs() < 1e-9;
            number("minimum").is_none_or(|min| n >= min)
                && number("maximum").is_none_or(|max| n <= max)
                && number("exclusiveMinimum").is_none_or(|min| n > min)
                && number("exclusiveMaximum").is_none_or(|max| n < max)
                && number("multipleOf").is_none_or(fits)
        }
        Value::Array(list) => {
            let listed = ["prefixItems", "items"].iter().find_map(|key| map.get(*key)?.as_array());
            let listed = listed.map_or(&[][..], Vec::as_slice);
            let rest = ["items", "additionalItems"].iter().find_map(|key| map.get(*key).filter(|v| !v.is_array()));
            let of = |index: usize| listed.get(index).or(rest);
            within(list.len(), "minItems", "maxItems")
                && list.iter().enumerate().all(|(at, item)| of(at).is_none_or(|of| is_valid(item, of, root)))
        }
        Value::Object(object) => {
            let required = map.get("required").and_then(Value::as_array).into_iter().flatten();
            within(object.len(), "minProperties", "maxProperties")
                && required.filter_map(Value::as_str).all(|name| object.contains_key(name))
                && object.iter().all(|(name, value)| of_property(map, name).all(|of| is_valid(value, of, root)))
        }
        Value::Bool(_) | Value::Null => true,
    };
    is_listed && own && has_type(value, map)
}

fn has_type(value: &Value, map: &Map<String, Value>) -> bool {
    let is = |name: &str| match value {
        Value::String(_) => name == "string",
        Value::Number(n) => name == "number" || (name == "integer" && n.as_f64().is_some_and(|n| n.fract() == 0.0)),
        Value::Bool(_) => name == "boolean",
        Value::Null => name == "null",
        Value::Array(_) => name == "array",
        Value::Object(_) => name == "object",
    };
    match map.get("type") {
        Some(Value::String(name)) => is(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(is),
        _ => true,
    }
}

/// The schemas of a property, by the keywords for its name.
pub(super) fn of_property<'a>(map: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a Value> {
    let own = map.get("properties").and_then(|all| all.get(name));
    let patterns = map.get("patternProperties").and_then(Value::as_object).into_iter().flatten();
    let mut found: Vec<&Value> = own.into_iter().collect();
    found.extend(patterns.filter(|(pattern, _)| matches(pattern, name)).map(|(_, of)| of));
    if found.is_empty() {
        found.extend(map.get("additionalProperties"));
    }
    found.into_iter()
}

/// Whether a pattern is found; one that cannot be read is not.
fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
}
