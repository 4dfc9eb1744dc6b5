//! What cannot be steered, and how that is said.

use serde_json::{Value, json};

use super::Vocabulary;
use crate::format::Format;
use crate::steering::{Steering, SteeringOptions};
use crate::tool::{Tool, ToolChoice};

fn refusal(template: &str, tools: &[Tool], choice: ToolChoice) -> Option<String> {
    let format = Format::detect(template);
    let vocabulary = Vocabulary::new(&format, true);
    let options = SteeringOptions { choice, ..SteeringOptions::default() };
    let steering = match Steering::new(&format, tools, &options, &vocabulary.table) {
        Ok(steering) => steering?,
        Err(why) => return Some(why.to_string()),
    };
    let compile = |constraint: &_| vocabulary.compile(constraint);
    steering.matcher(compile, vocabulary.table.clone(), Vec::new()).err().map(|why| why.to_string())
}

const JSON: &str = "<tool_call>";
const MARKUP: &str = "<function= <parameter=";
const PYTHON: &str = "<|tool_call_start|>";

#[test]
fn requests_that_cannot_be_met_say_what_to_do() {
    let tools = [Tool::new("weather", Value::Null)];
    let named = |name: &str| ToolChoice::Function(name.into());
    for (template, tools, choice, words) in [
        (JSON, &[][..], ToolChoice::Required, "there are no tools; give some"),
        ("no form", &tools[..], ToolChoice::Required, "no form of calls; let tool_choice be 'auto'"),
        (JSON, &tools[..], named("wether"), "'wether', which is none of the tools; there are weather"),
        (JSON, &[][..], named("x"), "there are none"),
    ] {
        let why = refusal(template, tools, choice).expect("refused");
        assert!(why.contains(words), "{why}");
    }
    assert_eq!(refusal("no form", &tools, ToolChoice::Auto), None);
    assert_eq!(refusal(JSON, &tools, ToolChoice::None), None);
}

#[test]
fn names_are_taken_where_something_quotes_them() {
    for name in ["two words", "a\"b\\", "naïve", "<b>", "<|the_end|>", "line\nbreak", "wéather:0"] {
        let tools = [Tool::new(name, Value::Null)];
        assert_eq!(refusal(JSON, &tools, ToolChoice::Required), None, "{name}");
        let is_bare = ["naïve", "wéather:0"].contains(&name);
        for template in [MARKUP, PYTHON, "<|channel|>"] {
            let why = refusal(template, &tools, ToolChoice::Required);
            match (is_bare, template, name) {
                (true, ..) | (_, "<|channel|>", "a\"b\\") => assert_eq!(why, None, "{name} {template}"),
                _ => assert!(why.is_some_and(|why| why.contains("use letters, digits")), "{name} {template}"),
            }
        }
    }
    let long = [Tool::new("x".repeat(300), Value::Null)];
    assert!(refusal(JSON, &long, ToolChoice::Auto).is_some_and(|why| why.contains("at most 256")));
}

#[test]
fn parameters_that_a_form_cannot_hold_are_named() {
    let of =
        |schema: Value| [Tool::new("t", json!({"type": "object", "properties": {"a": schema}, "required": ["a"]}))];
    let pattern = of(json!({"type": "string", "pattern": "(^a|b$)c"}));
    let unknown = of(json!({"not": {"type": "string"}}));
    let contradiction =
        json!({"type": "object", "properties": {"a": {"allOf": [{"const": 1}, {"const": 2}]}}, "required": ["a"]});
    let second = [Tool::new("first", json!({"type": "object"})), Tool::new("second", contradiction)];
    let odd = [Tool::new("t", json!({"type": "object", "properties": {"a b": {}}, "required": ["a b"]}))];
    for (template, tools, words) in [
        (MARKUP, &pattern[..], "the tool 't' cannot be held to its parameters in the form 'qwen-coder': the pattern"),
        (MARKUP, &unknown, "the keyword 'not' cannot be held to"),
        (JSON, &unknown, "the keyword 'not' cannot be held to"),
        (JSON, &second, "calls of the tool 'second' cannot be held to its parameters: "),
        ("<|channel|>", &second, "calls of the tool 'second' cannot be held to its parameters: "),
        (MARKUP, &second, "calls of the tool 'second' cannot be held to its parameters"),
        (PYTHON, &odd, "the argument \"a b\" has a name that the notation cannot hold; rename it"),
    ] {
        let why = refusal(template, tools, ToolChoice::Required).expect("refused");
        assert!(why.contains(words), "{why}");
    }
    for tools in [of(json!({"type": "string"})), odd] {
        assert_eq!(refusal(MARKUP, &tools, ToolChoice::Required), None);
    }
}

#[test]
fn what_need_not_be_there_is_left_out() {
    let schema = json!({"type": "object", "properties": {"a b": {"type": "string"}, "c": {"type": "string", "pattern": "(^a)"}}});
    let tools = [Tool::new("t", schema)];
    assert_eq!(refusal(PYTHON, &tools, ToolChoice::Required), None);
    assert_eq!(refusal(MARKUP, &tools, ToolChoice::Required), None);
}
