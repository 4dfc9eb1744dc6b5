use serde_json::json;

use super::*;

fn of(schema: Value) -> Value {
    rewrite(&schema).unwrap_or_else(|error| panic!("{error}: {schema}"))
}

#[test]
fn annotations_and_unknown_words_go() {
    let schema = json!({"type": "string", "title": "T", "format": "path", "description": "d", "x-order": 3,
        "minLength": 2.0, "deprecated": true, "contentEncoding": "base64"});
    assert_eq!(of(schema), json!({"type": "string", "minLength": 2}));
    assert_eq!(of(json!({"type": "string", "format": "uuid4"})), json!({"type": "string", "format": "uuid"}));
    assert_eq!(of(json!({"type": "string", "nullable": true})), json!({"type": ["string", "null"]}));
    let known: Vec<Value> = FORMATS.iter().map(|format| of(json!({"format": format}))["format"].clone()).collect();
    assert_eq!(known, FORMATS);
}

#[test]
fn references_are_read_as_the_standard_writes_them() {
    let definitions = json!({"a/b": {"type": "boolean"}, "c d": {"type": "null"}, "e~f": {"type": "integer"},
        "g%h": {"type": "string"}, "i": {"$anchor": "here", "type": "number"}});
    for (reference, wanted) in [
        ("#/$defs/a~1b", "boolean"),
        ("#/$defs/c%20d", "null"),
        ("#/$defs/e~0f", "integer"),
        ("#/$defs/g%25h", "string"),
        ("#here", "number"),
        ("https://example.com/s#/$defs/i", "number"),
        ("#/properties/x", "array"),
    ] {
        let schema = json!({"$id": "https://example.com/s", "$ref": reference, "$defs": definitions,
            "properties": {"x": {"type": "array"}}});
        let written = of(schema);
        let name = written["$ref"].as_str().unwrap().strip_prefix("#/$defs/").expect("a definition");
        assert!(!name.contains(['/', '~', '%', ' ']), "{name}");
        assert_eq!(written["$defs"][name]["type"], wanted, "{reference}");
    }
    for wrong in ["#/$defs/none", "#/$defs/a/b", "other.json#/x", "#nowhere"] {
        let error = rewrite(&json!({"$ref": wrong, "$defs": definitions})).unwrap_err();
        assert!(error.contains(wrong) && error.contains("$ref"), "{error}");
    }
}

#[test]
fn an_object_that_lists_its_properties_has_no_others() {
    let person = json!({"type": "object", "properties": {"a": {"type": "object", "properties": {}}}});
    let written = of(person);
    assert_eq!(written["additionalProperties"], false);
    assert_eq!(written["properties"]["a"]["additionalProperties"], false);
    for open in [json!({"type": "object"}), json!({"type": "object", "required": ["a"]})] {
        assert_eq!(of(open.clone()), open);
    }
    let more = json!({"type": "object", "properties": {"a": true}, "additionalProperties": {"type": "integer"}});
    assert_eq!(of(more.clone()), more);
}

#[test]
fn what_describes_objects_or_lists_is_one() {
    let kind = |schema| of(schema).get("type").cloned();
    assert_eq!(kind(json!({"properties": {"a": true}})), Some("object".into()));
    assert_eq!(kind(json!({"patternProperties": {"^a": true}})), Some("object".into()));
    assert_eq!(kind(json!({"items": {"type": "integer"}})), Some("array".into()));
    assert_eq!(kind(json!({"prefixItems": [{"type": "integer"}]})), Some("array".into()));
    for other in [json!({"minimum": 3}), json!({"enum": [1], "items": true}), json!({"required": ["a"]})] {
        assert_eq!(kind(other.clone()), None, "{other}");
    }
    assert_eq!(kind(json!({"type": ["array", "null"], "items": true})), Some(json!(["array", "null"])));
}

#[test]
fn what_describes_one_object_together_is_closed_together() {
    let schema = json!({"allOf": [{"$ref": "#/$defs/base"}, {"properties": {"b": {"type": "integer"}}}],
        "$defs": {"base": {"type": "object", "properties": {"a": {"type": "string"}}}},
    });
    let written = of(schema);
    let all = written["allOf"].as_array().unwrap();
    assert_eq!(all[2], json!({"properties": {"a": true, "b": true}, "additionalProperties": false}));
    assert_eq!(written["$defs"]["base"].get("additionalProperties"), None, "open where more is said");
    // One that is referred to in both ways is written twice.
    let both = json!({"anyOf": [{"$ref": "#/$defs/base"}, {"allOf": [{"$ref": "#/$defs/base"}, {"required": ["c"]}]}],
        "$defs": {"base": {"type": "object", "properties": {"a": {"type": "string"}}}}});
    let written = of(both);
    assert_eq!(written["$defs"].as_object().unwrap().len(), 2);
    // A single one that is wrapped for its description is itself.
    let wrapped = json!({"allOf": [{"$ref": "#/$defs/base"}], "description": "d", "$defs": {"base": {"type": "null"}}});
    assert_eq!(of(wrapped)["$ref"], "#/$defs/base");
}

#[test]
fn names_of_properties_become_closed_objects() {
    let written = of(json!({"type": "object", "propertyNames": {"$ref": "#/$defs/n"},
        "additionalProperties": {"type": "integer"}, "$defs": {"n": {"enum": ["a", "b"], "type": "string"}}}));
    assert_eq!(written["allOf"], json!([{"properties": {"a": true, "b": true}, "additionalProperties": false}]));
    let written = of(json!({"type": "object", "propertyNames": {"pattern": "^x"}}));
    assert_eq!(written["allOf"][0]["patternProperties"], json!({"^x": true}));
    assert!(rewrite(&json!({"propertyNames": {"not": {"const": "a"}}})).unwrap_err().contains("propertyNames"));
}

#[test]
fn different_items_are_written_out_where_they_are_few() {
    let three = json!({"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": true, "minItems": 2});
    let written = of(three);
    let lists = written["enum"].as_array().unwrap();
    assert_eq!(lists.len(), 12, "6 of two and 6 of three");
    assert!(lists.contains(&json!(["c", "a"])) && !lists.contains(&json!(["a", "a"])));
    let many: Vec<usize> = (0..9).collect();
    let written = of(json!({"type": "array", "items": {"enum": many}, "uniqueItems": true}));
    assert_eq!(written["maxItems"], 9);
    let free = json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true});
    assert_eq!(of(free), json!({"type": "array", "items": {"type": "string"}}));
}

#[test]
fn a_pattern_that_only_listed_names_match_is_moved_to_them() {
    let schema = json!({"type": "object", "properties": {"score": {"type": "integer"}},
        "patternProperties": {"^score$": {"minimum": 3}}, "additionalProperties": false});
    assert_eq!(
        of(schema),
        json!({"type": "object", "properties": {"score": {"allOf": [{"type": "integer"}, {"minimum": 3}]}},
            "additionalProperties": false})
    );
    let alive = json!({"type": "object", "properties": {"score": {"type": "integer"}},
        "patternProperties": {"^score": {"minimum": 3}}, "additionalProperties": false});
    assert_eq!(of(alive.clone()), alive);
}

#[test]
fn what_never_ends_is_not_begun() {
    let list = json!({"type": "object", "properties": {"next": {"$ref": "#"}, "n": {"type": "integer"}},
        "required": ["n", "next"]});
    for endless in [json!({"$ref": "#"}), list, json!({"type": "array", "items": {"$ref": "#"}, "minItems": 1})] {
        assert!(rewrite(&endless).unwrap_err().contains("without end"), "{endless}");
    }
    let tree = json!({"$ref": "#/$defs/t", "$defs": {
        "t": {"type": "object", "properties": {"bad": {"$ref": "#/$defs/e"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/t"}}}},
        "e": {"type": "array", "items": {"$ref": "#/$defs/e"}, "minItems": 1}}});
    let written = of(tree);
    assert_eq!(written["$defs"]["t"]["properties"]["bad"], false);
    assert_eq!(written["$defs"]["t"]["properties"]["kids"]["items"], json!({"$ref": "#/$defs/t"}));
}

#[test]
fn what_cannot_be_kept_is_refused_by_name() {
    for (schema, word) in [
        (json!({"not": {"type": "string"}}), "'not'"),
        (json!({"if": {"type": "string"}, "then": {"minLength": 3}}), "'if'"),
        (json!({"type": "array", "contains": {"type": "string"}}), "'contains'"),
        (json!({"unevaluatedProperties": {"type": "string"}}), "'unevaluatedProperties'"),
        (json!({"properties": 3}), "'properties'"),
        (json!(3), "object or boolean"),
    ] {
        let error = rewrite(&schema).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
    let depends =
        of(json!({"type": "object", "properties": {"a": true, "b": true}, "dependentRequired": {"a": ["b"]}}));
    assert_eq!(depends["allOf"], json!([{"anyOf": [{"properties": {"a": false}}, {"required": ["a", "b"]}]}]));
}
