//! Schemas that only values without end would satisfy, because what they require contains them again.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Replaces every part that no finite value satisfies by `false`, so that nothing begins what cannot be ended.
///
/// # Errors
/// In words, if nothing is left.
pub(super) fn prune(root: &mut Value, definitions: &mut Map<String, Value>) -> Result<(), String> {
    // From nothing up: a schema counts once a value for it can be put together from those that count already.
    let mut known: HashMap<String, bool> = definitions.keys().map(|name| (format!("#/$defs/{name}"), false)).collect();
    known.insert("#".into(), false);
    let mut grows = true;
    while grows {
        grows = false;
        // Backwards, as definitions mostly come before what they refer to.
        for (name, schema) in definitions.iter().rev() {
            let name = format!("#/$defs/{name}");
            if !known[&name] && is_finite(schema, &known) {
                known.insert(name, true);
                grows = true;
            }
        }
        if !known["#"] && is_finite(root, &known) {
            known.insert("#".into(), true);
            grows = true;
        }
    }
    if !known["#"] {
        return Err("no value satisfies it: a part that is required is false, or contains itself without end".into());
    }
    if known.values().all(|&finite| finite) {
        return Ok(());
    }
    prune_within(root, &known);
    definitions.values_mut().for_each(|schema| prune_within(schema, &known));
    Ok(())
}

fn prune_within(schema: &mut Value, known: &HashMap<String, bool>) {
    if !is_finite(schema, known) {
        *schema = Value::Bool(false);
        return;
    }
    let Value::Object(map) = schema else { return };
    for (key, value) in map {
        match (key.as_str(), value) {
            ("properties" | "patternProperties", Value::Object(children)) => {
                children.values_mut().for_each(|child| prune_within(child, known));
            }
            ("items" | "prefixItems" | "allOf" | "anyOf" | "oneOf", Value::Array(children)) => {
                children.iter_mut().for_each(|child| prune_within(child, known));
            }
            ("items" | "additionalItems" | "additionalProperties", child) => prune_within(child, known),
            _ => {}
        }
    }
}

/// Whether a value of finitely many parts satisfies a schema, as far as references and `false` decide it.
fn is_finite(schema: &Value, known: &HashMap<String, bool>) -> bool {
    let schema = match schema {
        Value::Object(schema) => schema,
        other => return *other != Value::Bool(false),
    };
    let list = |key: &str| schema.get(key).and_then(Value::as_array);
    let by_reference = schema.get("$ref").and_then(Value::as_str);
    let mut each = |value: &Value| is_finite(value, known);
    by_reference.is_none_or(|name| known.get(name).copied().unwrap_or(true))
        && list("allOf").is_none_or(|all| all.iter().all(&mut each))
        && list("anyOf").is_none_or(|all| all.is_empty() || all.iter().any(&mut each))
        && list("oneOf").is_none_or(|all| all.is_empty() || all.iter().any(&mut each))
        && match schema.get("type") {
            Some(Value::String(name)) => own_type(name, schema, known),
            Some(Value::Array(names)) => {
                names.is_empty() || names.iter().filter_map(Value::as_str).any(|name| own_type(name, schema, known))
            }
            _ => true,
        }
}

fn own_type(name: &str, schema: &Map<String, Value>, known: &HashMap<String, bool>) -> bool {
    match name {
        "object" => {
            let names = schema.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            names.iter().filter_map(Value::as_str).all(|name| {
                let property = schema.get("properties").and_then(|all| all.get(name));
                let property = property.or_else(|| schema.get("additionalProperties"));
                // A pattern may have a word in it.
                schema.contains_key("patternProperties") || property.is_none_or(|inner| is_finite(inner, known))
            })
        }
        "array" => {
            let n = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0) as usize;
            let listed = ["prefixItems", "items"].iter().find_map(|key| schema.get(*key)?.as_array());
            let listed = listed.map_or(&[][..], Vec::as_slice);
            let rest = ["items", "additionalItems"].iter().find_map(|key| schema.get(*key).filter(|v| !v.is_array()));
            listed.iter().take(n).all(|item| is_finite(item, known))
                && (n <= listed.len() || rest.is_none_or(|item| is_finite(item, known)))
        }
        _ => true,
    }
}
