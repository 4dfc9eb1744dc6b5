//! A value that a model wrote as text, as JSON of the type that the tool's schema wants.

use serde::de::IgnoredAny;

use super::literal::Literal;
use crate::chars::quote;
use crate::schema::Types;

/// Writes `text` as JSON of one of `types`, as a string if nothing else fits.
pub(super) fn write(text: &str, types: Types, out: &mut String) {
    let trimmed = text.trim();
    if types.is_text() {
        return quote(text, out);
    }
    if is_json(trimmed) {
        let found = Types::of_json(trimmed);
        let is_wanted = types.has(found);
        // Where texts stand as they are, quotes belong to the text.
        if !types.may_be_text() || (is_wanted && found != Types::TEXT) {
            return out.push_str(trimmed);
        }
        return quote(text, out);
    }
    // Models that are trained on Python write its values at times.
    if !types.may_be_text()
        && let Some(json) = Literal::python_value(trimmed)
    {
        return out.push_str(&json);
    }
    quote(text, out);
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_get_the_type_that_the_schema_wants() {
        for (text, schema, expected) in [
            ("5", json!({"type": "integer"}), "5"),
            ("5", json!({"type": "string"}), "\"5\""),
            (" 5\n", json!({"type": "integer"}), "5"),
            ("\"a\"", json!({"type": "string"}), "\"\\\"a\\\"\""),
            ("null", json!({"type": ["string", "null"]}), "null"),
            ("word", json!({"type": ["string", "null"]}), "\"word\""),
            ("2 of them", json!({"type": ["string", "number"]}), "\"2 of them\""),
            ("True", json!({"type": "boolean"}), "true"),
            ("{'a': [None, 1]}", json!({"type": "object"}), "{\"a\": [null, 1]}"),
            ("{not json", json!({"anyOf": [{"type": "object"}, {"type": "string"}]}), "\"{not json\""),
            ("[1]", json!({}), "[1]"),
            ("plain", json!({}), "\"plain\""),
            ("red", json!({"enum": ["red", "blue"]}), "\"red\""),
            ("7", json!({"$ref": "#/$defs/n", "$defs": {"n": {"type": "string"}}}), "\"7\""),
        ] {
            let mut out = String::new();
            write(text, Types::of(&schema, &schema), &mut out);
            assert_eq!(out, expected, "{text} {schema}");
        }
    }
}
