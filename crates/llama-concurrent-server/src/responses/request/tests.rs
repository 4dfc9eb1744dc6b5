use super::*;

fn of(more: Value) -> ApiResult<(Value, Value)> {
    let (chat, echo) = options(&Fields::body(&more)?)?;
    Ok((chat.into(), echo.into()))
}

#[test]
fn options_get_the_names_of_the_chat_api() {
    let tool =
        json!({"type": "function", "name": "f", "description": null, "parameters": {"type": "object"}, "strict": true});
    let schema = json!({"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": true});
    for (given, field, expected) in [
        (json!({"max_output_tokens": 5}), "max_completion_tokens", json!(5)),
        (json!({"temperature": 0.5}), "temperature", json!(0.5)),
        (json!({"min_p": 0.5}), "min_p", json!(0.5)),
        (json!({}), "continue_final_message", json!(false)),
        (
            json!({"tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}]}),
            "tools",
            json!([tool]),
        ),
        (json!({"tool_choice": "required"}), "tool_choice", json!("required")),
        (json!({"reasoning": {"effort": "low", "summary": "auto"}}), "reasoning_effort", json!("low")),
        (json!({"text": {"format": {"type": "json_object"}}}), "response_format", json!({"type": "json_object"})),
        (
            json!({"text": {"format": schema}}),
            "response_format",
            json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}),
        ),
        (json!({"text": {"verbosity": "low"}}), "verbosity", json!("low")),
        (json!({"top_logprobs": 3}), "top_logprobs", Value::Null),
        (json!({"top_logprobs": 3, "include": ["message.output_text.logprobs"]}), "top_logprobs", json!(3)),
        (json!({"include": ["message.output_text.logprobs"]}), "logprobs", json!(true)),
        (json!({"include": ["reasoning.encrypted_content"]}), "logprobs", Value::Null),
    ] {
        let (chat, _) = of(given.clone()).unwrap_or_else(|error| panic!("{given}: {}", error.json()));
        assert_eq!(chat[field], expected, "{given}");
    }
}

#[test]
fn a_response_tells_what_was_asked() {
    let (_, echo) = of(json!({})).unwrap();
    assert_eq!((&echo["tools"], &echo["tool_choice"], &echo["metadata"]), (&json!([]), &json!("auto"), &json!({})));
    let asked = json!({"metadata": {"a": "b"}, "tool_choice": "none", "text": {"verbosity": "medium"}, "user": "me",
        "reasoning": {"effort": "high"}, "truncation": "auto", "instructions": "Be kind.", "unknown": 1});
    let (_, echo) = of(asked.clone()).unwrap();
    for name in ["metadata", "tool_choice", "user", "reasoning", "truncation", "instructions"] {
        assert_eq!(echo[name], asked[name]);
    }
    assert_eq!(echo["text"], json!({"verbosity": "medium", "format": {"type": "text"}}));
    assert_eq!(echo.get("unknown"), None);
}

#[test]
fn what_cannot_be_read_is_named() {
    for (body, param) in [
        (json!({"max_output_tokens": "many"}), "max_output_tokens"),
        (json!({"tools": {}}), "tools"),
        (json!({"tools": [{"type": "web_search"}]}), "tools[0].type"),
        (json!({"tools": [{"name": "f"}]}), "tools[0].type"),
        (json!({"tools": [{"type": "function"}]}), "tools[0].name"),
        (json!({"tools": [{"type": "function", "name": "f", "parameters": 1}]}), "tools[0].parameters"),
        (json!({"tools": [{"type": "function", "name": "f", "strict": "yes"}]}), "tools[0].strict"),
        (json!({"text": "x"}), "text"),
        (json!({"text": {"format": {"type": "xml"}}}), "text.format.type"),
        (json!({"text": {"format": {"type": "json_schema"}}}), "text.format.schema"),
        (json!({"reasoning": "high"}), "reasoning"),
        (json!({"reasoning": {"effort": 3}}), "reasoning.effort"),
        (json!({"reasoning": {"summary": 3}}), "reasoning.summary"),
        (json!({"include": [1]}), "include[0]"),
        (json!({"top_logprobs": 21}), "top_logprobs"),
        (json!({"truncation": "always"}), "truncation"),
        (json!({"metadata": []}), "metadata"),
        (json!({"metadata": {"a": 1}}), "metadata.a"),
        (json!({"metadata": {"a": "x".repeat(513)}}), "metadata"),
        (json!({"metadata": {"x".repeat(65): "a"}}), "metadata"),
        (json!({"metadata": Map::from_iter((0..17).map(|n| (n.to_string(), json!("a"))))}), "metadata"),
    ] {
        assert_eq!(of(body.clone()).map(drop).unwrap_err().json()["error"]["param"], param, "{body}");
    }
}
