//! Chats with tools and thoughts: calls are made of what the model writes, whole and streamed.

use llama_concurrent_server::ServerConfig;
use serde_json::{Value, json};

use crate::{Server, engine_config, start, start_with};

fn tools() -> Value {
    json!([
        {"type": "function", "function": {"name": "weather", "description": "The weather of a city", "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 12},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["city", "days"],
        }}},
        {"type": "function", "function": {"name": "clock", "parameters": {
            "type": "object", "properties": {"zone": {"enum": ["UTC", "CET"]}}, "required": ["zone"],
        }}},
    ])
}

fn ask(fields: Value) -> Value {
    let mut body = json!({
        "messages": [{"role": "user", "content": "How warm is it in Oslo?"}],
        "tools": tools(), "tool_choice": "required", "max_tokens": 300, "temperature": 0,
    });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn answer(server: &Server, fields: Value) -> Value {
    let body = ask(fields);
    let (status, answer) = server.post("/v1/chat/completions", &body);
    assert_eq!(status, 200, "{body}: {answer}");
    answer
}

/// Name and arguments of a call, which are those of a tool.
fn checked(call: &Value) -> (String, Value) {
    assert_eq!(call["type"], "function", "{call}");
    assert!(!call["id"].as_str().expect("an id").is_empty());
    let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).expect("JSON");
    let name = call["function"]["name"].as_str().unwrap().to_owned();
    match name.as_str() {
        "weather" => {
            assert!(arguments["city"].as_str().unwrap().chars().count() <= 12, "{arguments}");
            assert!((1..=9).contains(&arguments["days"].as_i64().unwrap()), "{arguments}");
        }
        "clock" => assert!(["UTC", "CET"].contains(&arguments["zone"].as_str().unwrap()), "{arguments}"),
        other => panic!("{other} is no tool"),
    }
    (name, arguments)
}

/// What a stream comes to.
fn streamed(server: &Server, fields: Value) -> Value {
    let mut body = ask(fields);
    body["stream"] = true.into();
    let mut message = json!({"content": "", "reasoning_content": "", "tool_calls": [], "finish_reason": null});
    for chunk in server.stream("/v1/chat/completions", &body) {
        let Some(choice) = chunk["choices"].get(0) else { continue };
        let delta = &choice["delta"];
        for name in ["content", "reasoning_content"] {
            if let Some(text) = delta[name].as_str() {
                message[name] = (message[name].as_str().unwrap().to_owned() + text).into();
            }
        }
        for piece in delta["tool_calls"].as_array().into_iter().flatten() {
            let calls = message["tool_calls"].as_array_mut().unwrap();
            let index = piece["index"].as_u64().unwrap() as usize;
            if index == calls.len() {
                assert!(
                    piece["function"]["name"].is_string() && piece["id"].is_string(),
                    "the name comes first: {piece}"
                );
                calls.push(piece.clone());
            } else {
                let more = piece["function"]["arguments"].as_str().unwrap();
                let so_far = calls[index]["function"]["arguments"].as_str().unwrap().to_owned();
                calls[index]["function"]["arguments"] = (so_far + more).into();
            }
        }
        if !choice["finish_reason"].is_null() {
            assert!(message["finish_reason"].is_null(), "one end");
            message["finish_reason"] = choice["finish_reason"].clone();
        }
    }
    message
}

#[test]
fn a_call_that_is_required_comes_and_is_valid() {
    let server = start();
    for (fields, only) in [
        (json!({}), None),
        (json!({"parallel_tool_calls": false}), None),
        (json!({"temperature": 1.5, "top_k": 0, "top_p": 1, "min_p": 0, "seed": 3}), None),
        (json!({"tool_choice": {"type": "function", "function": {"name": "clock"}}}), Some("clock")),
        (json!({"tool_choice": {"type": "function", "name": "weather"}}), Some("weather")),
        (
            json!({"tools": null, "functions": [tools()[1]["function"]], "function_call": {"name": "clock"},
            "tool_choice": null}),
            Some("clock"),
        ),
    ] {
        let whole = answer(&server, fields.clone());
        let choice = &whole["choices"][0];
        let calls = choice["message"]["tool_calls"].as_array().unwrap_or_else(|| panic!("{fields}: {whole}"));
        // A model of stories may go on calling until it has no tokens left.
        let is_whole = choice["finish_reason"] == "tool_calls";
        assert!(is_whole || choice["finish_reason"] == "length", "{whole}");
        let n = if is_whole { calls.len() } else { calls.len() - 1 };
        for call in &calls[..n] {
            let (name, _) = checked(call);
            assert!(only.is_none_or(|only| only == name), "{fields}: {name}");
        }
        if fields["parallel_tool_calls"] == false {
            assert_eq!((calls.len(), is_whole), (1, true), "{whole}");
            assert_eq!(choice["message"]["content"], Value::Null);
        }
        let stream = streamed(&server, fields.clone());
        let plain = |calls: &[Value]| calls.iter().map(|call| call["function"].clone()).collect::<Vec<_>>();
        assert_eq!(plain(stream["tool_calls"].as_array().unwrap()), plain(calls), "{fields}");
        assert_eq!(stream["finish_reason"], choice["finish_reason"]);
    }
}

#[test]
fn without_a_call_an_answer_is_what_it_was() {
    let server = start();
    let plain = answer(&server, json!({"tools": null, "tool_choice": null, "max_tokens": 12}));
    assert!(plain["choices"][0]["message"].get("tool_calls").is_none());
    assert!(!plain["choices"][0]["message"]["content"].as_str().unwrap().is_empty(), "{plain}");
    let none = answer(&server, json!({"tool_choice": "none", "max_tokens": 12}));
    assert_eq!(none["choices"][0]["message"], plain["choices"][0]["message"], "the model does not see the tools");
    // An answer of a form, though there are tools: the model may do either.
    let format = json!({"type": "json_schema", "json_schema": {"schema": {
        "type": "object", "properties": {"warm": {"type": "boolean"}}, "required": ["warm"]}}});
    let either =
        answer(&server, json!({"tool_choice": "auto", "parallel_tool_calls": false, "response_format": format}));
    let message = &either["choices"][0]["message"];
    match message["content"].as_str() {
        Some(text) => assert!(serde_json::from_str::<Value>(text).unwrap()["warm"].is_boolean(), "{either}"),
        None => drop(checked(&message["tool_calls"][0])),
    }
}

#[test]
fn a_whole_round_with_a_tool_can_be_told() {
    let server = start();
    let first = answer(&server, json!({"parallel_tool_calls": false}));
    let message = first["choices"][0]["message"].clone();
    let id = message["tool_calls"][0]["id"].clone();
    let messages = json!([
        {"role": "user", "content": "How warm is it in Oslo?"}, message,
        {"role": "tool", "tool_call_id": id, "content": "7 degrees"},
    ]);
    let last = answer(&server, json!({"messages": messages, "tool_choice": "none", "max_tokens": 12}));
    assert!(last["choices"][0]["message"]["content"].is_string(), "{last}");
    let (_, prompt) = server.post("/apply-template", &json!({"messages": messages, "tools": tools()}));
    let prompt = prompt["prompt"].as_str().unwrap();
    for part in ["The weather of a city", "<tool_call>\n{\"name\": ", "<tool_response>\n7 degrees\n</tool_response>"] {
        assert!(prompt.contains(part), "{part}: {prompt}");
    }
}

const THINKING: &str = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}{% if add_generation_prompt %}\
    <assistant><think>\n{% endif %}";

#[test]
fn thoughts_come_apart_and_end_with_their_budget() {
    let server = start_with(engine_config(2).chat_template(THINKING), ServerConfig::default());
    let fields = |more: Value| {
        let mut fields = json!({"tools": null, "tool_choice": null, "max_tokens": 40});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fields
    };
    // The prompt opens a thought, which a model of stories never closes.
    let endless = answer(&server, fields(json!({})));
    let message = &endless["choices"][0]["message"];
    assert_eq!(message["content"], "");
    assert!(!message["reasoning_content"].as_str().unwrap().is_empty(), "{endless}");
    let closed = answer(&server, fields(json!({"reasoning_budget_tokens": 5})));
    let message = &closed["choices"][0]["message"];
    let thought = message["reasoning_content"].as_str().unwrap();
    assert!(!thought.is_empty() && thought.len() < 60, "{closed}");
    assert!(!message["content"].as_str().unwrap().is_empty(), "{closed}");
    let stream = streamed(&server, fields(json!({"reasoning_budget_tokens": 5})));
    assert_eq!(
        (&stream["content"], &stream["reasoning_content"]),
        (&message["content"], &message["reasoning_content"])
    );
    let none = answer(&server, fields(json!({"thinking_budget_tokens": 0})));
    assert!(none["choices"][0]["message"].get("reasoning_content").is_none(), "{none}");
    let inside = answer(&server, fields(json!({"reasoning_budget_tokens": 5, "reasoning_format": "none"})));
    let text = inside["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.contains("</think>") && text.contains(thought.trim()), "{inside}");
    // A form holds for the answer, not for the thought.
    let format = json!({"type": "json_schema", "json_schema": {"schema": {"enum": ["yes", "no"]}}});
    let formed = answer(&server, fields(json!({"reasoning_budget_tokens": 5, "response_format": format})));
    let message = &formed["choices"][0]["message"];
    assert!(["\"yes\"", "\"no\""].contains(&message["content"].as_str().unwrap().trim()), "{formed}");
    assert!(!message["reasoning_content"].as_str().unwrap().is_empty());
    // And a call comes behind it.
    let call = answer(&server, json!({"reasoning_budget_tokens": 5, "parallel_tool_calls": false}));
    let message = &call["choices"][0]["message"];
    checked(&message["tool_calls"][0]);
    assert!(!message["reasoning_content"].as_str().unwrap().is_empty(), "{call}");
}

#[test]
fn what_cannot_be_held_to_is_a_400_that_says_so() {
    let server = start();
    for (fields, part) in [
        (json!({"tools": []}), "no tools"),
        (json!({"tool_choice": {"function": {"name": "other"}}}), "'other'"),
        (json!({"tools": [{"type": "web_search"}]}), "web_search"),
        (json!({"reasoning_budget_tokens": -2}), "reasoning_budget_tokens"),
        (json!({"reasoning_format": "loud"}), "reasoning_format"),
        (
            json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {
            "type": "object", "properties": {"a": {"type": "string", "pattern": "("}}, "required": ["a"]}}}]}),
            "",
        ),
    ] {
        let body = ask(fields);
        let (status, answer) = server.post("/v1/chat/completions", &body);
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(part), "{answer}");
    }
}
