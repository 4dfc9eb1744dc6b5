//! JSON schemas as people and libraries write them, rewritten to the keywords that llguidance takes.
//!
//! Annotations go, references become plain names, and keywords that llguidance does not know become others that say the
//! same or less. Whatever is valid under the result is valid under the schema; the exceptions are `oneOf` whose options
//! overlap, `uniqueItems` of values that are not listed, and formats that nobody defines. What could not be kept is
//! refused by name.

mod names;
mod productive;

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

/// Formats that llguidance has a regular expression for.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"];
/// Keywords with a number of things, which may be written as `3.0`.
const COUNTS: [&str; 6] = ["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"];
/// Keywords that are taken as they are.
const PLAIN: [&str; 11] = [
    "$schema",
    "type",
    "const",
    "enum",
    "required",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
];
/// Of so many listed values every order of different ones is written out: 65 lists.
const MAX_LISTED: usize = 4;

/// The same schema for llguidance, with all definitions that it refers to under `$defs`.
///
/// # Errors
/// In words: a keyword that cannot be kept, a reference to nothing, or a schema that no value satisfies.
pub(super) fn rewrite(schema: &Value) -> Result<Value, String> {
    rewrite_by(Writer::new(schema), schema)
}

/// The same without references to the root, which has a definition like any other where it is referred to.
pub(super) fn rewrite_with_names(schema: &Value) -> Result<Value, String> {
    rewrite_by(Writer { has_root: false, ..Writer::new(schema) }, schema)
}

fn rewrite_by<'a>(mut writer: Writer<'a>, schema: &'a Value) -> Result<Value, String> {
    let mut root = writer.schema(schema, false)?;
    let mut definitions = Map::new();
    while let Some((name, target, open)) = writer.waiting.pop() {
        let written = writer.schema(target, open)?;
        definitions.insert(name, written);
    }
    productive::prune(&mut root, &mut definitions)?;
    if let Value::Object(root) = &mut root {
        if !definitions.is_empty() {
            root.insert("$defs".into(), Value::Object(definitions));
        }
        if let Some(options) = schema.get("x-guidance") {
            root.insert("x-guidance".into(), options.clone());
        }
    }
    Ok(root)
}

struct Writer<'a> {
    root: &'a Value,
    /// Schemas with a name of their own, `$anchor`.
    anchors: HashMap<&'a str, &'a Value>,
    /// What each schema that is referred to is called, closed and open.
    names: HashMap<(*const Value, bool), String>,
    taken: HashSet<String>,
    /// Definitions that are not written yet.
    waiting: Vec<(String, &'a Value, bool)>,
    /// The root can be referred to as `#`.
    has_root: bool,
}

impl<'a> Writer<'a> {
    fn new(root: &'a Value) -> Self {
        let mut anchors = HashMap::new();
        find_anchors(root, &mut anchors);
        Self { root, anchors, names: HashMap::new(), taken: HashSet::new(), waiting: Vec::new(), has_root: true }
    }

    /// `open`: other schemas say more about the same object, so it may not be closed by itself.
    fn schema(&mut self, schema: &'a Value, open: bool) -> Result<Value, String> {
        match schema {
            Value::Bool(_) => Ok(schema.clone()),
            Value::Object(map) => self.object(map, open),
            _ => Err(format!("a schema must be an object or boolean, but {} stands for one", shortened(schema))),
        }
    }

    fn object(&mut self, schema: &'a Map<String, Value>, open: bool) -> Result<Value, String> {
        if let Some(inner) = only_wrapped(schema) {
            return self.schema(inner, open);
        }
        // Parts that describe one object together are closed together.
        let is_composed = is_composed(schema);
        let inner_open = open || is_composed;
        let mut out = Map::new();
        let mut also = Vec::new();
        for (key, value) in schema {
            match key.as_str() {
                "$ref" | "$recursiveRef" | "$dynamicRef" => {
                    let reference = self.reference(key, value, inner_open)?;
                    out.insert("$ref".into(), reference.into());
                }
                "properties" | "patternProperties" => {
                    let Value::Object(children) = value else { return Err(must_be(key, "an object", value)) };
                    let written: Result<Map<_, _>, String> =
                        children.iter().map(|(name, child)| Ok((name.clone(), self.schema(child, false)?))).collect();
                    out.insert(key.clone(), Value::Object(written?));
                }
                "items" | "prefixItems" if value.is_array() => {
                    out.insert(key.clone(), self.list(key, value, false)?);
                }
                "items" | "additionalItems" | "additionalProperties" => {
                    out.insert(key.clone(), self.schema(value, false)?);
                }
                "allOf" | "anyOf" | "oneOf" => {
                    let inner = if key == "allOf" { true } else { inner_open };
                    out.insert(key.clone(), self.list(key, value, inner)?);
                }
                "format" => {
                    let format = value.as_str().unwrap_or_default();
                    let format = if format.starts_with("uuid") { "uuid" } else { format };
                    if FORMATS.contains(&format) {
                        out.insert(key.clone(), format.into());
                    }
                }
                key if COUNTS.contains(&key) => {
                    out.insert(key.into(), whole(value));
                }
                key if PLAIN.contains(&key) => {
                    out.insert(key.into(), value.clone());
                }
                "propertyNames" => also.extend(self.property_names(value)?),
                "dependentRequired" | "dependentSchemas" | "dependencies" => {
                    also.extend(self.dependencies(key, value)?);
                }
                "not" => match value {
                    Value::Bool(false) => {}
                    Value::Bool(true) => return Ok(false.into()),
                    Value::Object(inner) if inner.is_empty() => return Ok(false.into()),
                    _ => return Err(cannot("not", "say what is allowed, with 'enum', 'anyOf' or 'pattern'")),
                },
                "if" if schema.contains_key("then") || schema.contains_key("else") => {
                    return Err(cannot(
                        "if",
                        "write the cases as 'anyOf', each with a 'const' that tells it from others",
                    ));
                }
                "contains" if schema.get("minContains").and_then(Value::as_u64) != Some(0) => {
                    return Err(cannot("contains", "describe the items with 'prefixItems' and 'items'"));
                }
                "contains" if schema.contains_key("maxContains") => {
                    return Err(cannot("maxContains", "describe the items with 'prefixItems' and 'items'"));
                }
                "unevaluatedItems" if *value == Value::Bool(false) => {
                    if ["allOf", "anyOf", "oneOf", "$ref"].iter().any(|key| schema.contains_key(*key)) {
                        return Err(cannot("unevaluatedItems", "write 'items': false beside the 'prefixItems'"));
                    }
                    if !schema.contains_key("items") {
                        also.push(json!({"items": false, "prefixItems": trues(schema.get("prefixItems"))}));
                    }
                }
                "unevaluatedItems" | "unevaluatedProperties" if !value.is_boolean() => {
                    return Err(cannot(key, "write 'items' or 'additionalProperties'"));
                }
                // Annotations, what is read elsewhere, and what nobody knows.
                _ => {}
            }
        }
        // What describes objects or lists, and names no type, means one, as in llama-server.
        let has = |keys: &[&str]| keys.iter().any(|key| schema.contains_key(*key));
        if !open && !is_composed && !has(&["type", "enum", "const", "$ref", "$recursiveRef", "$dynamicRef"]) {
            let implied = match () {
                () if has(&["properties", "patternProperties"]) => Some("object"),
                () if has(&["items", "prefixItems"]) => Some("array"),
                () => None,
            };
            if let Some(implied) = implied {
                out.insert("type".into(), implied.into());
            }
        }
        if schema.get("nullable") == Some(&Value::Bool(true))
            && let Some(Value::String(name)) = out.get("type")
        {
            let both = json!([name, "null"]);
            out.insert("type".into(), both);
        }
        if schema.get("uniqueItems") == Some(&Value::Bool(true)) {
            self.keep_unique(schema, &mut out);
        }
        if out.contains_key("multipleOf") {
            bound_multiples(&mut out);
        }
        names::drop_dead_patterns(&mut out)?;
        let wants_closed = schema.get("unevaluatedProperties") == Some(&Value::Bool(false));
        if !open && is_composed {
            match self.all_names(schema, &mut HashSet::new()) {
                Some(names) if wants_closed || !names.is_empty() => also.push(closed(&names)),
                None if wants_closed => {
                    return Err(cannot("unevaluatedProperties", "list all properties in one place, without patterns"));
                }
                _ => {}
            }
        } else if (!open || wants_closed)
            && !schema.contains_key("additionalProperties")
            && (wants_closed || schema.contains_key("properties") || schema.contains_key("patternProperties"))
        {
            out.insert("additionalProperties".into(), false.into());
        }
        if !also.is_empty() {
            match out.entry("allOf").or_insert_with(|| json!([])) {
                Value::Array(all) => all.extend(also),
                other => return Err(must_be("allOf", "a list", other)),
            }
        }
        Ok(Value::Object(out))
    }

    fn list(&mut self, key: &str, value: &'a Value, open: bool) -> Result<Value, String> {
        let Value::Array(list) = value else { return Err(must_be(key, "a list", value)) };
        list.iter().map(|schema| self.schema(schema, open)).collect::<Result<Vec<_>, _>>().map(Value::Array)
    }

    /// The name of a definition, which is going to be written.
    fn reference(&mut self, key: &str, value: &'a Value, open: bool) -> Result<String, String> {
        let Value::String(text) = value else { return Err(must_be(key, "a string", value)) };
        let target = self.target(text)?;
        if self.has_root && std::ptr::eq(target, self.root) && !open {
            return Ok("#".into());
        }
        let known = (std::ptr::from_ref(target), open);
        if let Some(name) = self.names.get(&known) {
            return Ok(format!("#/$defs/{name}"));
        }
        let last = text.rsplit(['/', '#']).next().unwrap_or_default();
        let plain: String = last.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '-' }).collect();
        let mut name = if plain.is_empty() { "root".to_owned() } else { plain };
        while !self.taken.insert(name.clone()) {
            name = format!("{name}-{}", self.taken.len());
        }
        self.names.insert(known, name.clone());
        self.waiting.push((name.clone(), target, open));
        Ok(format!("#/$defs/{name}"))
    }

    /// The schema that a reference means. Here alone pointers are read.
    fn target(&self, reference: &str) -> Result<&'a Value, String> {
        let local = match self.root.get("$id").or_else(|| self.root.get("id")).and_then(Value::as_str) {
            Some(id) => reference.strip_prefix(id.trim_end_matches('#')).unwrap_or(reference),
            None => reference,
        };
        let Some(fragment) = local.strip_prefix('#') else {
            return Err(format!(
                "\"$ref\" is {reference:?}; only what is in the schema itself can be referred to, as \"#/$defs/name\""
            ));
        };
        let fragment = percent_decoded(fragment);
        let found = if let Some(path) = fragment.strip_prefix('/') {
            let step = |value: &'a Value, name: &str| {
                let name = name.replace("~1", "/").replace("~0", "~");
                match value {
                    Value::Array(list) => list.get(name.parse::<usize>().ok()?),
                    other => other.get(&name),
                }
            };
            // "#/" is the root to some.
            if path.is_empty() { Some(self.root) } else { path.split('/').try_fold(self.root, step) }
        } else if fragment.is_empty() {
            Some(self.root)
        } else {
            self.anchors.get(fragment.as_str()).copied()
        };
        found.ok_or_else(|| format!("\"$ref\" is {reference:?}, and there is nothing in the schema at that place"))
    }

    /// Values of a schema that are listed.
    fn listed(&self, schema: &'a Value) -> Option<Vec<Value>> {
        let schema = schema.as_object()?;
        if let Some(Value::String(reference)) = schema.get("$ref") {
            return self
                .target(reference)
                .ok()
                .filter(|target| target.get("$ref").is_none())
                .and_then(|t| self.listed(t));
        }
        let mut values: Vec<Value> = Vec::new();
        let all = match (schema.get("enum"), schema.get("const"), schema.get("type")) {
            (Some(Value::Array(list)), ..) => list.clone(),
            (_, Some(one), _) => vec![one.clone()],
            (.., Some(Value::String(name))) if name == "boolean" => vec![true.into(), false.into()],
            _ => return None,
        };
        for value in all {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        Some(values)
    }

    /// Items that differ: written out where their values are few, at most as many as there are values where they are
    /// listed, and not kept otherwise.
    fn keep_unique(&self, schema: &'a Map<String, Value>, out: &mut Map<String, Value>) {
        let Some(values) = schema.get("items").and_then(|items| self.listed(items)) else { return };
        if schema.contains_key("prefixItems") || schema.get("type").and_then(Value::as_str) != Some("array") {
            return;
        }
        let count = |name: &str| out.get(name).and_then(Value::as_u64).map(|n| n as usize);
        let (min, max) = (count("minItems").unwrap_or(0), count("maxItems").unwrap_or(usize::MAX).min(values.len()));
        if values.len() > MAX_LISTED || out.contains_key("enum") || out.contains_key("const") {
            out.insert("maxItems".into(), max.into());
            return;
        }
        let mut lists = vec![Vec::new()];
        let mut from = 0;
        while from < lists.len() {
            let list: Vec<Value> = lists[from].clone();
            from += 1;
            if list.len() < max {
                let longer = values.iter().filter(|value| !list.contains(value));
                let longer: Vec<_> = longer.map(|value| [&list[..], std::slice::from_ref(value)].concat()).collect();
                lists.extend(longer);
            }
        }
        lists.retain(|list| list.len() >= min);
        for name in ["items", "minItems", "maxItems", "additionalItems"] {
            out.remove(name);
        }
        out.insert("enum".into(), lists.into_iter().map(Value::Array).collect());
    }

    /// Schemas that one with `dependentRequired` and the like has to satisfy besides: for each name, that it is not there or
    /// what it brings with it.
    fn dependencies(&mut self, key: &str, value: &'a Value) -> Result<Vec<Value>, String> {
        let Value::Object(dependencies) = value else { return Err(must_be(key, "an object", value)) };
        let mut all = Vec::new();
        for (name, then) in dependencies {
            let then = match then {
                Value::Array(names) => {
                    let mut required = vec![Value::String(name.clone())];
                    required.extend(names.iter().cloned());
                    json!({"required": required})
                }
                schema => json!({"required": [name], "allOf": [self.schema(schema, true)?]}),
            };
            all.push(json!({"anyOf": [{"properties": {name: false}}, then]}));
        }
        Ok(all)
    }
}

/// The inner schema of one that only wraps it, as libraries write it to add a description.
fn only_wrapped(schema: &Map<String, Value>) -> Option<&Value> {
    let says = |key: &&String| !is_annotation(key);
    let mut keys = schema.keys().filter(says);
    match (keys.next(), keys.next()) {
        (Some(key), None) if key == "allOf" => match schema["allOf"].as_array().map(Vec::as_slice) {
            Some([inner]) => Some(inner),
            _ => None,
        },
        _ => None,
    }
}

fn is_annotation(key: &str) -> bool {
    matches!(
        key,
        "$schema"
            | "$id"
            | "id"
            | "$comment"
            | "$defs"
            | "definitions"
            | "title"
            | "description"
            | "default"
            | "examples"
            | "example"
            | "deprecated"
            | "readOnly"
            | "writeOnly"
            | "$anchor"
            | "x-guidance"
    )
}

/// Whether several schemas describe one value.
fn is_composed(schema: &Map<String, Value>) -> bool {
    let own = ["properties", "patternProperties", "required", "additionalProperties"];
    let n_combined = ["anyOf", "oneOf", "$ref", "$recursiveRef", "$dynamicRef", "dependentSchemas", "dependencies"]
        .iter()
        .filter(|key| schema.contains_key(**key))
        .count();
    let has_own = own.iter().any(|key| schema.contains_key(*key));
    schema.contains_key("allOf")
        || n_combined > 1
        || n_combined == 1 && has_own
        || n_combined == 1 && schema.get("unevaluatedProperties") == Some(&Value::Bool(false))
}

fn find_anchors<'a>(value: &'a Value, found: &mut HashMap<&'a str, &'a Value>) {
    match value {
        Value::Object(map) => {
            for name in ["$anchor", "$dynamicAnchor"] {
                if let Some(Value::String(anchor)) = map.get(name) {
                    found.entry(anchor).or_insert(value);
                }
            }
            map.values().for_each(|value| find_anchors(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| find_anchors(value, found)),
        _ => {}
    }
}

/// An object with these names and no others.
fn closed(names: &[&str]) -> Value {
    let properties: Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), true.into())).collect();
    json!({"properties": properties, "additionalProperties": false})
}

fn trues(list: Option<&Value>) -> Value {
    let n = list.and_then(Value::as_array).map_or(0, Vec::len);
    vec![Value::Bool(true); n].into()
}

/// A multiple has to end at certain digits, which a model may miss for long; so its greatest is one that all readers keep
/// exactly.
fn bound_multiples(schema: &mut Map<String, Value>) {
    const GREATEST: i64 = (1 << 53) - 1;
    let names = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];
    if names.iter().filter_map(|name| schema.get(*name)?.as_f64()).any(|bound| bound.abs() >= GREATEST as f64) {
        return;
    }
    for (name, exclusive, bound) in
        [("minimum", "exclusiveMinimum", -GREATEST), ("maximum", "exclusiveMaximum", GREATEST)]
    {
        if !schema.contains_key(name) && !schema.contains_key(exclusive) {
            schema.insert(name.into(), bound.into());
        }
    }
}

/// A number of things, written as `3.0` too.
fn whole(value: &Value) -> Value {
    match value.as_f64() {
        Some(number) if !value.is_u64() && number >= 0.0 && number.fract() == 0.0 && number < 9e15 => {
            (number as u64).into()
        }
        _ => value.clone(),
    }
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| byte == b'%') {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

fn cannot(key: &str, instead: &str) -> String {
    format!("the keyword '{key}' cannot be held to; {instead}")
}

fn must_be(key: &str, what: &str, value: &Value) -> String {
    format!("'{key}' must be {what}, but is {}", shortened(value))
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 { text.chars().take(60).chain("...".chars()).collect() } else { text }
}

#[cfg(test)]
mod tests;
