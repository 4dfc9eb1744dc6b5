//! Names of properties: which there are, which may be there, and patterns that no name is left for.

use std::collections::HashSet;

use llguidance::{
    derivre::{RegexAst, RegexBuilder},
    regex_to_lark,
};
use serde_json::{Map, Value, json};

use super::{Writer, cannot, closed, is_annotation, must_be};

/// Steps to find out whether a pattern has a name left.
const FUEL: u64 = 10_000;

impl<'a> Writer<'a> {
    /// Schemas of objects that have only names under a schema.
    pub(super) fn property_names(&self, schema: &'a Value) -> Result<Vec<Value>, String> {
        let schema = match schema {
            Value::Bool(true) => return Ok(Vec::new()),
            Value::Bool(false) => return Ok(vec![closed(&[])]),
            Value::Object(schema) => schema,
            other => return Err(must_be("propertyNames", "an object or boolean", other)),
        };
        let mut all = Vec::new();
        for (key, value) in schema {
            match (key.as_str(), value) {
                ("$ref", Value::String(reference)) => {
                    let target = self.target(reference)?;
                    if target.get("$ref").is_some() {
                        return Err(cannot("propertyNames", "refer to the names directly"));
                    }
                    all.extend(self.property_names(target)?);
                }
                ("enum", Value::Array(names)) => {
                    all.push(closed(&names.iter().filter_map(Value::as_str).collect::<Vec<_>>()));
                }
                ("const", name) => all.push(closed(&name.as_str().into_iter().collect::<Vec<_>>())),
                ("pattern", Value::String(pattern)) => all.push(matching(pattern)),
                ("minLength", n) => all.push(matching(&format!("^(?s:.{{{},}})$", super::whole(n)))),
                ("maxLength", n) => all.push(matching(&format!("^(?s:.{{0,{}}})$", super::whole(n)))),
                ("allOf", Value::Array(parts)) => {
                    for part in parts {
                        all.extend(self.property_names(part)?);
                    }
                }
                ("type", Value::String(name)) if name == "string" => {}
                ("format", _) => {}
                (key, _) if is_annotation(key) => {}
                _ => return Err(cannot("propertyNames", "give the names as 'enum', 'pattern' or lengths")),
            }
        }
        Ok(all)
    }

    /// Every name that any part of a schema speaks of; nothing where a part speaks of names that are not listed.
    pub(super) fn all_names(
        &self,
        schema: &'a Map<String, Value>,
        visited: &mut HashSet<*const Map<String, Value>>,
    ) -> Option<Vec<&'a str>> {
        let mut names: Vec<&str> = Vec::new();
        if !visited.insert(std::ptr::from_ref(schema)) {
            return Some(names);
        }
        if schema.contains_key("additionalProperties") || schema.contains_key("patternProperties") {
            return None;
        }
        if let Some(Value::Object(properties)) = schema.get("properties") {
            names.extend(properties.keys().map(String::as_str));
        }
        if let Some(Value::Array(required)) = schema.get("required") {
            names.extend(required.iter().filter_map(Value::as_str));
        }
        let lists = ["allOf", "anyOf", "oneOf"].iter().filter_map(|key| schema.get(*key)?.as_array());
        let dependent = ["dependentSchemas", "dependencies"].iter().filter_map(|key| schema.get(*key)?.as_object());
        let mut parts: Vec<&Value> = lists.flatten().chain(dependent.flat_map(Map::values)).collect();
        for key in ["$ref", "$recursiveRef", "$dynamicRef"] {
            if let Some(Value::String(reference)) = schema.get(key) {
                parts.push(self.target(reference).ok()?);
            }
        }
        for part in parts {
            if let Value::Object(part) = part {
                names.extend(self.all_names(part, visited)?);
            }
        }
        let mut seen = HashSet::new();
        names.retain(|name| seen.insert(*name));
        Some(names)
    }
}

/// An object all of whose names match a pattern.
fn matching(pattern: &str) -> Value {
    json!({"patternProperties": {pattern: true}, "additionalProperties": false})
}

/// Takes away patterns that only names of listed properties match: llguidance lets a comma follow for them, and then no name.
/// Their schemas go to those properties.
///
/// # Errors
/// In words, where that would take too long to find out.
pub(super) fn drop_dead_patterns(schema: &mut Map<String, Value>) -> Result<(), String> {
    let Some(Value::Object(patterns)) = schema.get("patternProperties") else { return Ok(()) };
    let mut listed: Vec<String> = Vec::new();
    if let Some(Value::Object(properties)) = schema.get("properties") {
        listed.extend(properties.keys().cloned());
    }
    if let Some(Value::Array(required)) = schema.get("required") {
        listed.extend(required.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    let mut dead = Vec::new();
    for pattern in patterns.keys() {
        if is_dead(pattern, &listed)? {
            dead.push(pattern.clone());
        }
    }
    for pattern in dead {
        let Some(Value::Object(patterns)) = schema.get_mut("patternProperties") else { break };
        let Some(its) = patterns.shift_remove(&pattern) else { continue };
        let mut names = Vec::new();
        for name in &listed {
            if !is_empty(&[searched(&pattern), RegexAst::Literal(name.clone())])? {
                names.push(name);
            }
        }
        let properties = schema.entry("properties").or_insert_with(|| json!({}));
        let Value::Object(properties) = properties else { break };
        for name in names {
            let own = properties.entry(name.clone()).or_insert(Value::Bool(true));
            *own = if *own == Value::Bool(true) { its.clone() } else { json!({"allOf": [own.take(), its]}) };
        }
    }
    if schema.get("patternProperties").and_then(Value::as_object).is_some_and(Map::is_empty) {
        schema.shift_remove("patternProperties");
    }
    Ok(())
}

fn searched(pattern: &str) -> RegexAst {
    RegexAst::SearchRegex(regex_to_lark(pattern, "dw"))
}

fn is_dead(pattern: &str, listed: &[String]) -> Result<bool, String> {
    let others = listed.iter().map(|name| RegexAst::Not(Box::new(RegexAst::Literal(name.clone()))));
    let parts: Vec<RegexAst> = std::iter::once(searched(pattern)).chain(others).collect();
    is_empty(&parts)
}

/// Whether nothing is matched by all of these.
fn is_empty(parts: &[RegexAst]) -> Result<bool, String> {
    let mut builder = RegexBuilder::new();
    let words = |e: &dyn std::fmt::Display| crate::message::first_words(&e.to_string());
    let both = builder.mk(&RegexAst::And(parts.to_vec())).map_err(|e| words(&e))?;
    let regex = builder.to_regex_limited(both, FUEL);
    Ok(regex.map_err(|e| format!("a pattern of names is too complex: {}", words(&e)))?.always_empty())
}
