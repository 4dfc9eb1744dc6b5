use super::*;
use crate::work::Lanes;

fn convert(body: &Value) -> ApiResult<Value> {
    Lanes::new().here(|job| to_chat(&Fields::body(body)?, job))
}

fn asked(more: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": "Hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn a_conversation_with_all_its_blocks_becomes_messages() {
    let body = json!({
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.101; cch=a5145;"},
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        ],
        "messages": [
            {"role": "user", "content": "How warm"},
            {"role": "user", "content": [{"type": "text", "text": "is it?"}]},
            {"role": "assistant", "content": [
                {"type": "redacted_thinking", "data": "..."},
                {"type": "thinking", "thinking": "A tool knows.", "signature": "s"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Oslo"}},
                {"type": "tool_use", "id": "b", "name": "time"},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "7"}, {"type": "text", "text": "sun"}]},
                {"type": "tool_result", "tool_use_id": "b", "is_error": true, "content": "no clock"},
                {"type": "text", "text": "So?"},
            ]},
            {"role": "assistant", "content": "It is"},
        ],
    });
    let call = |id: &str, name: &str, arguments: Value| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let parts = |a: &str, b: &str| json!([{"type": "text", "text": a}, {"type": "text", "text": b}]);
    assert_eq!(
        convert(&body).unwrap(),
        json!({"messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": parts("How warm", "is it?")},
            {"role": "assistant", "content": "I look.", "reasoning_content": "A tool knows.",
             "tool_calls": [call("a", "weather", json!({"city": "Oslo"})), call("b", "time", json!({}))]},
            {"role": "tool", "content": parts("7", "sun"), "tool_call_id": "a"},
            {"role": "tool", "content": "Error: no clock", "tool_call_id": "b"},
            {"role": "user", "content": "So?"},
            {"role": "assistant", "content": "It is"},
        ]})
    );
}

#[test]
fn options_get_the_names_of_the_chat_api() {
    let tool = json!({"name": "f", "description": "d", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}});
    let function = json!({"name": "f", "parameters": {"type": "object"}, "description": "d"});
    for (given, field, expected) in [
        (json!({"stop_sequences": ["a"]}), "stop", json!(["a"])),
        (json!({"max_tokens": 5}), "max_tokens", json!(5)),
        (json!({"top_k": 5}), "top_k", json!(5)),
        (json!({"min_p": 0.5}), "min_p", json!(0.5)),
        (json!({"tools": [tool]}), "tools", json!([{"type": "function", "function": function}])),
        (json!({"tool_choice": {"type": "auto"}}), "tool_choice", json!("auto")),
        (json!({"tool_choice": {"type": "any"}}), "tool_choice", json!("required")),
        (json!({"tool_choice": {"type": "none"}}), "tool_choice", json!("none")),
        (
            json!({"tool_choice": {"type": "tool", "name": "f"}}),
            "tool_choice",
            json!({"type": "function", "function": {"name": "f"}}),
        ),
        (
            json!({"tool_choice": {"type": "any", "disable_parallel_tool_use": true}}),
            "parallel_tool_calls",
            json!(false),
        ),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 99}}), "thinking_budget_tokens", json!(99)),
        (json!({"thinking": {"type": "enabled"}}), "chat_template_kwargs", json!({"enable_thinking": true})),
        (json!({"thinking": {"type": "disabled"}}), "chat_template_kwargs", json!({"enable_thinking": false})),
        (json!({"thinking": {"type": "adaptive"}}), "chat_template_kwargs", Value::Null),
        (
            json!({"thinking": {"type": "disabled"}, "chat_template_kwargs": {"enable_thinking": 1, "a": 2}}),
            "chat_template_kwargs",
            json!({"enable_thinking": 1, "a": 2}),
        ),
        (json!({"output_config": {"effort": "low"}}), "reasoning_effort", json!("low")),
        (
            json!({"output_config": {"format": {"type": "json_schema", "schema": {}}}}),
            "response_format",
            json!({"type": "json_schema", "json_schema": {"schema": {}}}),
        ),
        (
            json!({"output_format": {"type": "json_schema", "schema": true}}),
            "response_format",
            json!({"type": "json_schema", "json_schema": {"schema": true}}),
        ),
    ] {
        let chat = convert(&asked(given.clone())).unwrap_or_else(|error| panic!("{given}: {}", error.json()));
        assert_eq!(chat[field], expected, "{given}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let said = |role: &str, content: Value| json!({"messages": [{"role": role, "content": content}]});
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}});
    for (body, param) in [
        (json!({}), "messages"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": {}}), "messages"),
        (json!({"messages": [7]}), "messages[0]"),
        (json!({"messages": [{"content": "Hi"}]}), "messages[0].role"),
        (said("tool", json!("Hi")), "messages[0].role"),
        (json!({"messages": [{"role": "user"}]}), "messages[0].content"),
        (said("user", json!(7)), "messages[0].content"),
        (said("user", json!(["Hi"])), "messages[0].content[0]"),
        (said("user", json!([{"text": "Hi"}])), "messages[0].content[0].type"),
        (said("user", json!([{"type": 1}])), "messages[0].content[0].type"),
        (said("user", json!([{"type": "text"}])), "messages[0].content[0].text"),
        (said("user", json!([image])), "messages[0].content[0].type"),
        (said("user", json!([{"type": "tool_use", "id": "a", "name": "f"}])), "messages[0].content[0].type"),
        (said("assistant", json!([{"type": "thinking", "thinking": 1}])), "messages[0].content[0].thinking"),
        (said("assistant", json!([{"type": "tool_use", "name": "f"}])), "messages[0].content[0].id"),
        (
            said("assistant", json!([{"type": "tool_use", "id": "a", "name": "f", "input": "x"}])),
            "messages[0].content[0].input",
        ),
        (said("user", json!([{"type": "tool_result"}])), "messages[0].content[0].tool_use_id"),
        (
            said("user", json!([{"type": "tool_result", "tool_use_id": "a", "content": [image]}])),
            "messages[0].content[0].content[0].type",
        ),
        (
            said("user", json!([{"type": "tool_result", "tool_use_id": "a", "is_error": "yes"}])),
            "messages[0].content[0].is_error",
        ),
        (asked(json!({"system": 7})), "system"),
        (asked(json!({"system": [image]})), "system[0].type"),
        (asked(json!({"tools": {}})), "tools"),
        (asked(json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]})), "tools[0].type"),
        (asked(json!({"tools": [{"name": "f"}]})), "tools[0].input_schema"),
        (asked(json!({"tools": [{"input_schema": {}}]})), "tools[0].name"),
        (asked(json!({"tool_choice": "any"})), "tool_choice"),
        (asked(json!({"tool_choice": {"type": "maybe"}})), "tool_choice.type"),
        (asked(json!({"tool_choice": {"type": "tool"}})), "tool_choice.name"),
        (
            asked(json!({"tool_choice": {"type": "auto", "disable_parallel_tool_use": 1}})),
            "tool_choice.disable_parallel_tool_use",
        ),
        (asked(json!({"thinking": true})), "thinking"),
        (asked(json!({"thinking": {"type": "deep"}})), "thinking.type"),
        (asked(json!({"thinking": {"type": "enabled", "budget_tokens": -1}})), "thinking.budget_tokens"),
        (asked(json!({"chat_template_kwargs": []})), "chat_template_kwargs"),
        (asked(json!({"output_config": {"effort": 1}})), "output_config.effort"),
        (asked(json!({"output_config": {"format": {"type": "xml"}}})), "output_config.format.type"),
        (asked(json!({"output_config": {"format": {"type": "json_schema"}}})), "output_config.format.schema"),
    ] {
        assert_eq!(convert(&body).unwrap_err().json()["error"]["param"], param, "{body}");
    }
}

#[test]
fn figures_for_a_bill_are_no_instructions() {
    for (text, rest) in [
        (
            "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli; cch=a5145;You are helpful; a=b;",
            "You are helpful; a=b;",
        ),
        ("x-anthropic-billing-header: cch=00000;", ""),
        ("x-anthropic-billing-header:", ""),
        ("You are helpful.", "You are helpful."),
    ] {
        assert_eq!(without_billing(text), rest);
    }
}
