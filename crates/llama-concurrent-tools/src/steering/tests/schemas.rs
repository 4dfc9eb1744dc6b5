//! Random schemas of arguments.

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// The schema of a tool's arguments.
pub(super) fn arguments(rng: &mut Rng) -> Value {
    let mut root = object(rng, 2);
    if rng.u8(..8) == 0 {
        root = json!({"type": "object", "anyOf": [object(rng, 1), object(rng, 1)]});
    }
    root["$defs"] = json!({"a": schema(rng, 1), "b": scalar(rng), "tree": {
        "type": "object",
        "properties": {"value": scalar(rng), "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}},
        "required": ["value"],
        "additionalProperties": false,
    }});
    root
}

fn schema(rng: &mut Rng, depth: usize) -> Value {
    if rng.u8(..8) == 0 {
        let of = *rng.choice(["#/$defs/a", "#/$defs/b", "#/$defs/tree"].iter()).expect("three");
        return if of.ends_with('a') && depth < 2 { scalar(rng) } else { json!({"$ref": of}) };
    }
    if depth == 0 {
        return scalar(rng);
    }
    match rng.u8(..10) {
        0 | 1 => object(rng, depth - 1),
        2 => list(rng, depth - 1),
        3 => json!({"anyOf": [schema(rng, depth - 1), schema(rng, depth - 1)]}),
        4 => json!({"allOf": [object(rng, depth - 1), object(rng, depth - 1)]}),
        5 => json!({"type": "object", "additionalProperties": scalar(rng), "maxProperties": 2}),
        _ => scalar(rng),
    }
}

fn scalar(rng: &mut Rng) -> Value {
    match rng.u8(..16) {
        0 => json!({"type": "integer"}),
        1 => json!({"type": "integer", "minimum": rng.i32(-10..10), "maximum": rng.i32(10..300)}),
        2 => {
            json!({"type": "integer", "multipleOf": *rng.choice([2, 3, 7].iter()).expect("three"), "minimum": 0, "maximum": 500})
        }
        3 => json!({"type": "number"}),
        4 => json!({"type": "number", "minimum": 0, "exclusiveMaximum": 1}),
        5 => json!({"type": "string", "minLength": rng.u8(..3), "maxLength": rng.u8(2..7)}),
        6 => {
            json!({"type": "string", "pattern": *rng.choice(["^[a-z]{2,4}$", "x", "^(a|b)*$", "[0-9]-[0-9]"].iter()).expect("four")})
        }
        7 => {
            json!({"type": "string", "format": *rng.choice(["date", "uuid", "path", "ipv4", "email", "date-time"].iter()).expect("six")})
        }
        8 => json!({"enum": ["a", 1, null, [1, "x"], "true"]}),
        9 => json!({"const": *rng.choice(["k", "1", "l m"].iter()).expect("three")}),
        10 => json!({"type": ["string", "null"]}),
        11 => json!({"type": ["string", "integer"], "maxLength": 4}),
        12 => json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": 2}]}),
        13 => json!({}),
        _ => json!({"type": *rng.choice(["boolean", "null", "string", "string"].iter()).expect("four")}),
    }
}

fn list(rng: &mut Rng, depth: usize) -> Value {
    if rng.u8(..4) == 0 {
        return json!({"type": "array", "items": {"enum": ["p", "q", "r"]}, "uniqueItems": true, "minItems": rng.u8(..3)});
    }
    let mut list = json!({"type": "array", "items": schema(rng, depth), "maxItems": rng.u8(1..4)});
    if rng.bool() {
        list["minItems"] = 1.into();
    }
    if rng.u8(..4) == 0 {
        list["prefixItems"] = json!([schema(rng, depth)]);
    }
    list
}

fn object(rng: &mut Rng, depth: usize) -> Value {
    const NAMES: [&str; 6] = ["aa", "ab", "b_1", "text", "dé", "c c"];
    let mut names: Vec<&str> = NAMES.into_iter().filter(|_| rng.bool()).collect();
    // Some notations cannot hold it.
    names.retain(|name| *name != "c c" || rng.u8(..6) == 0);
    let properties: Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), schema(rng, depth))).collect();
    let required: Vec<&str> = names.iter().copied().filter(|_| rng.bool()).collect();
    let mut object = json!({"type": "object", "properties": properties, "required": required});
    match rng.u8(..8) {
        0 => object["additionalProperties"] = false.into(),
        1 => object["additionalProperties"] = scalar(rng),
        2 => object["patternProperties"] = json!({"^aa$": scalar(rng)}),
        3 if names.len() > 1 => object["dependentRequired"] = json!({names[0]: [names[1]]}),
        4 if !names.is_empty() => object["minProperties"] = 1.into(),
        _ => {}
    }
    object
}
