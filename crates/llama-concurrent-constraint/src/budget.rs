//! What a JSON schema will cost to compile, counted before it is. llguidance bounds what comes of a schema, but some of its work
//! on the way grows with a square or a product of what was written.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

/// Parts that a schema may come to. The work for as many stays below half a second.
const MAX_PARTS: u64 = 10_000;
/// What the following count as, by measurement: a regular expression, which is checked for being empty,
const PATTERN: u64 = 40;
/// two names that are regular expressions, which are checked for having nothing in common,
const PATTERN_PAIR: u64 = 40;
/// an object that may have other properties too, whose names are all texts but the known ones,
const OPEN_OBJECT: u64 = 6;
/// and so many of the simplest things as one part: words of an enumeration, options that are compared with each other.
const SIMPLE: u64 = 8;

/// Counts what a schema comes to when alternatives are multiplied and references that are combined with others are followed.
///
/// # Errors
/// In words, for a schema that comes to too much.
pub(super) fn check(schema: &Value) -> Result<u64, String> {
    check_beside(schema, 0)
}

/// As [`check`], where others came to `before` parts already.
fn check_beside(schema: &Value, before: u64) -> Result<u64, String> {
    let mut count = Count { root: schema, known: HashMap::new(), open: HashSet::new(), definitions: 0 };
    let parts = count.extent(schema).parts.saturating_add(count.definitions).saturating_add(before);
    if parts > MAX_PARTS {
        let parts = if parts == u64::MAX { "countless".into() } else { parts.to_string() };
        return Err(format!(
            "it comes to {parts} parts when alternatives are multiplied, at most {MAX_PARTS} are taken; use fewer properties, \
             patterns and alternatives, above all under 'allOf'"
        ));
    }
    Ok(parts)
}

/// As [`check`], for all schemas within a Lark grammar together.
pub(super) fn check_within(lark: &str) -> Result<(), String> {
    const MARK: &str = "%json";
    let mut parts = 0;
    for (at, _) in lark.match_indices(MARK) {
        let mut values = serde_json::Deserializer::from_str(&lark[at + MARK.len()..]).into_iter::<Value>();
        if let Some(Ok(schema)) = values.next() {
            parts = check_beside(&schema, parts)?;
        }
    }
    Ok(())
}

/// A schema written out.
#[derive(Clone, Copy)]
struct Extent {
    /// Alternatives.
    width: u64,
    /// Parts of all of them.
    parts: u64,
}

impl Extent {
    const ONE: Self = Self { width: 1, parts: 1 };

    fn or(self, other: Self) -> Self {
        Self { width: self.width.saturating_add(other.width), parts: self.parts.saturating_add(other.parts) }
    }

    /// Each alternative of one with each of the other.
    fn and(self, other: Self) -> Self {
        let parts = self.parts.saturating_mul(other.width).saturating_add(other.parts.saturating_mul(self.width));
        Self { width: self.width.saturating_mul(other.width), parts }
    }
}

struct Count<'a> {
    root: &'a Value,
    known: HashMap<&'a str, Extent>,
    /// References that are being followed: recursion ends here.
    open: HashSet<&'a str>,
    /// Parts of everything that is referred to, once each.
    definitions: u64,
}

impl<'a> Count<'a> {
    fn extent(&mut self, schema: &'a Value) -> Extent {
        let Value::Object(schema) = schema else { return Extent::ONE };
        let own = self.own_parts(schema);
        let mut combined: Vec<Extent> = Vec::new();
        for option in list(schema, "allOf") {
            combined.push(self.extent(option));
        }
        for name in ["anyOf", "oneOf"] {
            let options = list(schema, name);
            let mut all = Extent { width: 0, parts: 0 };
            for option in options {
                all = all.or(self.extent(option));
            }
            if name == "oneOf" {
                all.parts = all.parts.saturating_add(square(options) / (SIMPLE * SIMPLE));
            }
            combined.extend((!options.is_empty()).then_some(all));
        }
        let words = list(schema, "enum");
        if !words.is_empty() {
            combined.push(Extent { width: words.len() as u64, parts: words.iter().map(literal).sum() });
        }
        if let Some(Value::String(reference)) = schema.get("$ref") {
            let target = self.target(reference);
            if combined.is_empty() && own == 0 {
                return target;
            }
            combined.push(target);
        }
        let own = Extent { width: 1, parts: own.saturating_add(1) };
        match (combined.as_slice(), own.parts) {
            // An enumeration by itself is one regular expression.
            ([words], 1) if !list(schema, "enum").is_empty() => {
                Extent { width: words.width, parts: words.parts.div_ceil(SIMPLE) }
            }
            _ => combined.into_iter().fold(own, Extent::and),
        }
    }

    /// Of keywords that are no alternatives.
    fn own_parts(&mut self, schema: &'a Map<String, Value>) -> u64 {
        let object = |name| match schema.get(name) {
            Some(Value::Object(object)) => Some(object),
            _ => None,
        };
        let (properties, patterns) = (object("properties"), object("patternProperties"));
        let (n, n_patterns) = [properties, patterns].map(|of| of.map_or(0, Map::len) as u64).into();
        let mut parts = n_patterns * PATTERN + n_patterns * n_patterns / 2 * PATTERN_PAIR + n * n_patterns / SIMPLE;
        if schema.contains_key("minProperties") || schema.contains_key("maxProperties") {
            parts += n * n / SIMPLE;
        }
        let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
        parts += if n > 0 && !is_closed { OPEN_OBJECT } else { 0 };
        let children = properties.into_iter().chain(patterns).flat_map(Map::values);
        let single = ["items", "additionalItems", "additionalProperties"].iter().filter_map(|name| schema.get(*name));
        for child in children.chain(single).chain(list(schema, "prefixItems")) {
            let inner = self.extent(child);
            // Compiled once, however often it is referred to.
            parts = parts.saturating_add(if is_reference(child) { 1 } else { inner.parts });
        }
        // Each has its name besides its value.
        parts = parts.saturating_add(n);
        for name in ["pattern", "format", "multipleOf"] {
            parts = parts.saturating_add(if schema.contains_key(name) { PATTERN } else { 0 });
        }
        parts.saturating_add(schema.get("const").map_or(0, literal) / SIMPLE)
    }

    fn target(&mut self, reference: &'a str) -> Extent {
        if let Some(&known) = self.known.get(reference) {
            return known;
        }
        let path = reference.strip_prefix('#').map(|path| path.trim_start_matches('/'));
        let step = |value: &'a Value, name: &str| match value {
            Value::Array(list) => list.get(name.parse::<usize>().ok()?),
            other => other.get(name),
        };
        let found = path.and_then(|path| path.split('/').filter(|name| !name.is_empty()).try_fold(self.root, step));
        let (Some(schema), true) = (found, self.open.insert(reference)) else { return Extent::ONE };
        let extent = self.extent(schema);
        self.open.remove(reference);
        if !is_reference(schema) {
            self.definitions = self.definitions.saturating_add(extent.parts);
        }
        self.known.insert(reference, extent);
        extent
    }
}

/// Whether a schema is nothing but a reference.
fn is_reference(schema: &Value) -> bool {
    schema.as_object().is_some_and(|schema| schema.len() == 1 && schema.contains_key("$ref"))
}

fn list<'a>(schema: &'a Map<String, Value>, name: &str) -> &'a [Value] {
    schema.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn square(list: &[Value]) -> u64 {
    (list.len() as u64).saturating_mul(list.len() as u64)
}

/// Parts of a value that is to be repeated: long texts count as several.
fn literal(value: &Value) -> u64 {
    match value {
        Value::String(text) => 1 + text.len() as u64 / 64,
        Value::Array(list) => SIMPLE * (1 + list.iter().map(literal).sum::<u64>()),
        Value::Object(object) => SIMPLE * (1 + object.values().map(literal).sum::<u64>()),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(i: usize) -> Value {
        json!({"type": "object", "properties": {format!("k{i}"): {"type": "string"}}})
    }

    #[test]
    fn what_schemas_are_written_for_is_cheap() {
        let tree = json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {
            "name": {"type": "string", "minLength": 1}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}}});
        assert!(check(&tree).unwrap() < 40);
        let words: Vec<String> = (0..5000).map(|i| format!("word{i}")).collect();
        assert!(check(&json!({"type": "string", "enum": words})).unwrap() < 1000);
        let wide: Map<String, Value> = (0..4000).map(|i| (format!("p{i}"), json!({"type": "string"}))).collect();
        check(&json!({"type": "object", "properties": wide})).unwrap();
        check(&json!({"anyOf": (0..500).map(object).collect::<Vec<_>>(), "type": "object"})).unwrap();
        check(&json!({"allOf": [{"$ref": "#/$defs/a"}, object(1)], "$defs": {"a": object(2)}})).unwrap();
    }

    #[test]
    fn what_multiplies_is_refused() {
        let any = json!({"anyOf": (0..10).map(object).collect::<Vec<_>>()});
        let all = |n| json!({"allOf": vec![any.clone(); n]});
        assert!(check(&all(2)).is_ok());
        let error = check(&all(4)).unwrap_err();
        assert!(error.contains("410000 parts"), "{error}");
        let twice = |i: usize| json!({"allOf": [{"$ref": format!("#/$defs/{i}")}, {"$ref": format!("#/$defs/{i}")}]});
        let doubling: Map<String, Value> = (0..80).map(|i| (i.to_string(), twice(i + 1))).collect();
        let error = check(&json!({"$ref": "#/$defs/0", "$defs": doubling})).unwrap_err();
        assert!(error.contains("countless"), "{error}");
        let names = |n: usize| (0..n).map(|i| (format!("^a{i}"), json!(true))).collect::<Map<_, _>>();
        assert!(check(&json!({"patternProperties": names(20)})).is_ok());
        assert!(check(&json!({"patternProperties": names(40)})).is_err());
        assert!(check(&json!({"properties": names(500), "minProperties": 1})).is_err());
        assert!(check(&json!({"oneOf": vec![json!({"const": 1}); 2000]})).is_err());
        assert!(check_within(&format!("start: \"%json\" %json {}", all(4))).is_err());
        assert!(check_within("start: %json {\"type\": \"integer\"} \"%json [\"").is_ok());
    }
}
