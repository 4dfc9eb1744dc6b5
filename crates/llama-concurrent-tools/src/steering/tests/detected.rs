//! From a template to a call: forms that are detected by their signs, steered and read back.

use llama_concurrent_types::Constraint;
use serde_json::json;

use super::Vocabulary;
use crate::event::Message;
use crate::families;
use crate::format::Format;
use crate::parser::{Parser, ParserOptions};
use crate::steering::{Steering, SteeringOptions};
use crate::tool::{Tool, ToolChoice};

/// What templates of each family have in them, the form that it shows, and a call as such a model writes it.
const FAMILIES: &[(&str, &str, &str)] = &[
    (
        "{{ '<tool_call>' }}",
        "hermes",
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"x\", \"n\": 1}}\n</tool_call>",
    ),
    ("[TOOL_CALLS] [CALL_ID]", "mistral-id", "[TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]{\"a\": \"x\", \"n\": 1}"),
    ("[TOOL_CALLS] [ARGS]", "mistral", "[TOOL_CALLS]f[ARGS]{\"a\": \"x\", \"n\": 1}"),
    (
        "[TOOL_CALLS]",
        "mistral-list",
        "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": \"x\", \"n\": 1}, \"id\": \"abcdefghi\"}]",
    ),
    ("<|python_tag|>", "llama-3", "{\"name\": \"f\", \"parameters\": {\"a\": \"x\", \"n\": 1}}"),
    ("[func_name1(params_name1", "llama-4", "[f(a=\"x\", n=1)]"),
    ("List of tools: [", "lfm", "<|tool_call_start|>[f(a=\"x\", n=1)]<|tool_call_end|>"),
    (
        "<|tool_calls_section_begin|>",
        "kimi-k2",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{\"a\": \"x\", \"n\": 1}\
         <|tool_call_end|><|tool_calls_section_end|>",
    ),
    (
        "<｜tool▁calls▁begin｜>",
        "deepseek-v3.1",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\": \"x\", \"n\": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    ),
    (
        "DSML",
        "dsml-v4",
        "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"a\" string=\"true\">x</｜DSML｜parameter>\n\
         <｜DSML｜parameter name=\"n\" string=\"false\">1</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>",
    ),
    (
        "<function= <parameter=",
        "qwen-coder",
        "<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>\n<parameter=n>\n1\n</parameter>\n</function>\n</tool_call>",
    ),
    (
        "<minimax:tool_call>",
        "minimax-m2",
        "<minimax:tool_call>\n<invoke name=\"f\">\n<parameter name=\"a\">x</parameter>\n<parameter name=\"n\">1</parameter>\n\
         </invoke>\n</minimax:tool_call>",
    ),
    (
        "]<]minimax[>[",
        "minimax-m3",
        "]<]minimax[>[<tool_call>\n]<]minimax[>[<invoke name=\"f\">]<]minimax[>[<a>x]<]minimax[>[</a>]<]minimax[>[<n>1\
         ]<]minimax[>[</n>]<]minimax[>[</invoke>\n]<]minimax[>[</tool_call>",
    ),
    (
        "<arg_key> <tool_call>",
        "glm",
        "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>x</arg_value>\n<arg_key>n</arg_key>\n<arg_value>1</arg_value>\n\
         </tool_call>",
    ),
    ("<|tool_call>call:", "gemma", "<|tool_call>call:f{a:<|\"|>x<|\"|>,n:1}<tool_call|>"),
    (
        "<|open|> <|close|> <|end_of_msg|>",
        "kimi-k3",
        "<|open|>tools<|sep|><|open|>call tool=\"f\" index=\"1\"<|sep|><|open|>argument key=\"a\" type=\"string\"<|sep|>x\
         <|close|>argument<|sep|><|open|>argument key=\"n\" type=\"number\"<|sep|>1<|close|>argument<|sep|><|close|>call<|sep|>\
         <|close|>tools<|sep|>",
    ),
    (
        "<|channel|>",
        "harmony",
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"a\": \"x\", \"n\": 1}<|call|>",
    ),
    (">>>all", "functionary-v3.2", "f\n{\"a\": \"x\", \"n\": 1}"),
    (
        "<atem:function_calls> <|eom|>",
        "muse",
        " to=f<|message|><atem:function_calls>\n<atem:invoke name=\"f\">\n<atem:parameter name=\"a\">x</atem:parameter>\n\
         <atem:parameter name=\"n\">1</atem:parameter>\n</atem:invoke>\n</atem:function_calls><|eot|>",
    ),
];

#[test]
fn calls_as_models_write_them_are_let_through_and_read() {
    let parameters = json!({
        "type": "object",
        "properties": {"a": {"type": "string"}, "n": {"type": "integer"}},
        "required": ["a"],
    });
    let tools = [Tool::new("f", parameters)];
    for (template, name, text) in FAMILIES {
        let format = Format::detect(template);
        assert_eq!(format.call_form(), Some(*name), "{template}");
        for control in [false, true] {
            let vocabulary = Vocabulary::new(&format, control);
            let options = SteeringOptions { choice: ToolChoice::Required, ..SteeringOptions::default() };
            let steering = Steering::new(&format, &tools, &options, &vocabulary.table).unwrap().unwrap();
            let compile = |constraint: &Constraint| vocabulary.compile(constraint);
            let mut matcher = steering.matcher(compile, vocabulary.table.clone(), Vec::new()).unwrap();
            let mut is_complete = false;
            for token in vocabulary.tokens(text) {
                is_complete = matcher.accept(token).unwrap_or_else(|why| panic!("{name} {control}: {why}"));
            }
            let may_end = is_complete
                || matches!(
                    matcher.allowed().unwrap(),
                    llama_concurrent_types::Allowed::Nothing
                        | llama_concurrent_types::Allowed::Tokens { may_end: true, .. }
                );
            assert!(may_end, "{name} {control}");
        }
        let mut parser = Parser::new(&format, &tools, ParserOptions::default());
        let mut message: Message = parser.push(text).into_iter().collect();
        message.extend(parser.finish());
        assert_eq!(message.calls.len(), 1, "{name}: {message:?}");
        let arguments: serde_json::Value = serde_json::from_str(&message.calls[0].arguments).unwrap();
        assert_eq!((message.calls[0].name.as_str(), arguments), ("f", json!({"a": "x", "n": 1})), "{name}");
    }
}

/// A limit on tokens may end an answer anywhere: what closes a call is never said, however much of it there is.
#[test]
fn what_closes_a_call_is_no_content_where_it_is_cut() {
    let tools = [Tool::new("f", json!({"type": "object", "properties": {"a": {}, "n": {}}}))];
    for (template, name, text) in FAMILIES {
        let format = Format::detect(template);
        for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)) {
            let mut parser = Parser::new(&format, &tools, ParserOptions::default());
            let mut events = parser.push(&text[..end]);
            events.extend(parser.finish());
            let message: Message = events.into_iter().collect();
            if !message.calls.is_empty() {
                assert_eq!(message.content, "", "{name}, cut at {end}: {message:?}");
            }
        }
    }
}

#[test]
fn many_tools_are_compiled_in_every_form() {
    let parameters = json!({
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "a & b ~ c"},
            "mode": {"enum": ["read", "write", null]},
            "lines": {"type": "array", "items": {"type": "integer", "minimum": 1}},
            "options": {"type": "object", "properties": {"deep": {"type": "boolean"}}, "required": ["deep"]},
            "note": {"type": ["string", "null"], "maxLength": 200},
        },
        "required": ["path", "mode"],
    });
    let tools: Vec<Tool> = (0..30).map(|n| Tool::new(format!("tool_{n}"), parameters.clone())).collect();
    for format in families::all() {
        let vocabulary = Vocabulary::new(&format, true);
        let options = SteeringOptions { choice: ToolChoice::Required, parallel: true, ..SteeringOptions::default() };
        let steering = Steering::new(&format, &tools, &options, &vocabulary.table).unwrap().unwrap();
        let compile = |constraint: &Constraint| vocabulary.compile(constraint);
        let matcher = steering.matcher(compile, vocabulary.table.clone(), Vec::new());
        assert!(matcher.is_ok(), "{:?}: {:?}", format.call_form(), matcher.err());
    }
}
