//! Parts of a tool's schema as schemas of their own.

use serde_json::{Map, Value, json};

use llama_concurrent_constraint::lark;

/// The expression for JSON under all of these parts of `root`, of certain types only if some are named.
pub(super) fn json(all: &[&Value], types: Option<&[&str]>, root: &Value, escapes: Option<&str>) -> String {
    let mut schema = match (all, types) {
        ([one @ Value::Object(_)], None) => (*one).clone(),
        (all, None) => json!({"allOf": all}),
        (all, Some(types)) => {
            let mut parts: Vec<Value> = all.iter().map(|part| (*part).clone()).collect();
            parts.push(json!({"type": types}));
            json!({"allOf": parts})
        }
    };
    let definitions = reached(&schema, root);
    if let Value::Object(map) = &mut schema {
        map.remove("$defs");
        if !definitions.is_empty() {
            map.insert("$defs".into(), Value::Object(definitions));
        }
        // Wishes for white space hold for the whole.
        if let Some(options) = root.get("x-guidance") {
            map.insert("x-guidance".into(), options.clone());
        }
    }
    lark::json(schema, escapes)
}

/// Definitions that a part refers to, and those that they refer to.
fn reached(part: &Value, root: &Value) -> Map<String, Value> {
    let mut found = Map::new();
    let Some(Value::Object(all)) = root.get("$defs") else { return found };
    let mut open = vec![part];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(map) => {
                let name = map.get("$ref").and_then(Value::as_str).and_then(|of| of.strip_prefix("#/$defs/"));
                if let Some((name, of)) = name.and_then(|name| all.get_key_value(name))
                    && !found.contains_key(name)
                {
                    found.insert(name.clone(), of.clone());
                    open.push(of);
                }
                open.extend(map.iter().filter(|(key, _)| *key != "$defs").map(|(_, value)| value));
            }
            Value::Array(list) => open.extend(list),
            _ => {}
        }
    }
    found
}
