//! The Messages API: whole answers, streams, counts, and errors in its own form.

use llama_concurrent_server::ServerConfig;
use serde_json::{Value, json};

use super::{Server, engine_config, start, start_with};

fn asked(more: Value) -> Value {
    let mut body = json!({"model": "any", "max_tokens": 12, "temperature": 0,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "A fox?"}]}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn text_of(message: &Value) -> String {
    message["content"].as_array().unwrap().iter().filter_map(|block| block["text"].as_str()).collect()
}

/// Names and bodies of events.
fn events(server: &Server, body: &Value) -> Vec<(String, Value)> {
    let (status, head, text) = server.exchange(&server.head("/v1/messages", &body.to_string()));
    assert!(status == 200 && head.contains("content-type: text/event-stream"), "{text}");
    let each = text.split_terminator("\n\n").filter_map(|event| event.split_once('\n'));
    each.map(|(name, data)| {
        let data: Value = serde_json::from_str(data.trim_start_matches("data: ")).unwrap();
        (name.trim_start_matches("event: ").to_owned(), data)
    })
    .collect()
}

#[test]
fn a_message_is_answered_as_on_the_chat_route() {
    let server = start();
    let body = asked(json!({"system": [{"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral"}}],
        "metadata": {"user_id": "u"}, "ignore_eos": true}));
    let (status, message) = server.post("/v1/messages", &body);
    assert_eq!(
        (status, &message["type"], &message["role"]),
        (200, &json!("message"), &json!("assistant")),
        "{message}"
    );
    assert_eq!((&message["stop_reason"], &message["stop_sequence"]), (&json!("max_tokens"), &Value::Null));
    assert!(message["id"].as_str().unwrap().starts_with("msg_"));
    let chat = json!({"messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "A fox?"}],
        "max_tokens": 12, "temperature": 0, "ignore_eos": true});
    let (_, chat) = server.post("/v1/chat/completions", &chat);
    assert_eq!(chat["choices"][0]["message"]["content"], text_of(&message));
    let usage = &message["usage"];
    let prompt = usage["input_tokens"].as_u64().unwrap() + usage["cache_read_input_tokens"].as_u64().unwrap();
    assert_eq!((chat["usage"]["prompt_tokens"].as_u64().unwrap(), &usage["output_tokens"]), (prompt, &json!(12)));
    let (_, count) = server.post("/v1/messages/count_tokens", &body);
    assert_eq!(count, json!({"input_tokens": prompt}));
}

#[test]
fn a_stream_has_the_blocks_of_the_whole_message() {
    let server = start();
    let (_, message) = server.post("/v1/messages", &asked(json!({})));
    let events = events(&server, &asked(json!({"stream": true})));
    assert!(events.iter().all(|(name, data)| data["type"] == name.as_str()), "{events:?}");
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..3], ["message_start", "ping", "content_block_start"]);
    assert_eq!(names[names.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
    let text: String = events.iter().filter_map(|(_, data)| data["delta"]["text"].as_str()).collect();
    assert_eq!(text, text_of(&message));
    let end = &events[events.len() - 2].1;
    assert_eq!(end["delta"]["stop_reason"], message["stop_reason"]);
    assert_eq!(end["usage"]["output_tokens"], message["usage"]["output_tokens"]);
    let of =
        |usage: &Value| usage["input_tokens"].as_u64().unwrap() + usage["cache_read_input_tokens"].as_u64().unwrap();
    assert_eq!(of(&events[0].1["message"]["usage"]), of(&end["usage"]));
}

#[test]
fn the_stop_sequence_that_ended_a_message_is_told() {
    let server = start();
    let (_, free) = server.post("/v1/messages", &asked(json!({})));
    let stop: String = text_of(&free).chars().skip(4).take(3).collect();
    let body = json!({"stop_sequences": ["never written", stop]});
    let (_, message) = server.post("/v1/messages", &asked(body.clone()));
    assert_eq!(
        (&message["stop_reason"], &message["stop_sequence"]),
        (&json!("stop_sequence"), &json!(stop)),
        "{message}"
    );
    let mut body = asked(body);
    body["stream"] = true.into();
    let events = events(&server, &body);
    assert_eq!(events[events.len() - 2].1["delta"], json!({"stop_reason": "stop_sequence", "stop_sequence": stop}));
}

#[test]
fn a_last_message_of_the_assistant_is_continued() {
    let server = start();
    let begun = json!([{"role": "user", "content": "A fox?"}, {"role": "assistant", "content": [{"type": "text", "text": "It is"}]}]);
    let (_, message) = server.post("/v1/messages", &asked(json!({"messages": begun})));
    let (_, chat) = server.post(
        "/v1/chat/completions",
        &json!({"max_tokens": 12, "temperature": 0, "messages": [
        {"role": "user", "content": "A fox?"}, {"role": "assistant", "content": "It is"}]}),
    );
    assert_eq!(chat["choices"][0]["message"]["content"], text_of(&message));
}

#[test]
fn a_history_with_tools_is_read() {
    let server = start();
    let body = asked(json!({
        "tools": [{"name": "weather", "description": "d", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}],
        "tool_choice": {"type": "none"},
        "thinking": {"type": "disabled"},
        "messages": [
            {"role": "user", "content": "How warm is it?"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "abcdefghi", "name": "weather", "input": {"city": "Oslo"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "abcdefghi", "content": "7", "is_error": false}]},
        ],
    }));
    let (status, message) = server.post("/v1/messages", &body);
    assert!(status == 200 && !text_of(&message).is_empty(), "{message}");
    let (status, count) = server.post("/v1/messages/count_tokens", &body);
    assert!(status == 200 && count["input_tokens"].as_u64().unwrap() > 0, "{count}");
}

#[test]
fn errors_have_anthropics_form() {
    let config = ServerConfig { api_keys: vec!["secret".into()], ..ServerConfig::default() };
    let server = start_with(engine_config(1), config);
    let send = |path: &str, headers: &str, body: &Value| {
        let body = body.to_string();
        let length = body.len();
        let (status, head, text) = server.exchange(&format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nanthropic-version: 2023-06-01\r\n{headers}\
             x-request-id: r7\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        assert!(head.contains("request-id: r7"), "{head}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        (status, answer)
    };
    let key = "x-api-key: secret\r\n";
    assert_eq!(send("/v1/messages", key, &asked(json!({}))).0, 200);
    let many = "word ".repeat(1200);
    for (path, headers, body, status, kind, words) in [
        ("/v1/messages", "", asked(json!({})), 401, "authentication_error", "API key"),
        ("/v1/messages", key, json!({}), 400, "invalid_request_error", "'messages' is required"),
        ("/v1/messages", key, asked(json!({"max_tokens": "many"})), 400, "invalid_request_error", "'max_tokens'"),
        (
            "/v1/messages",
            key,
            asked(json!({"stop_sequences": [1]})),
            400,
            "invalid_request_error",
            "'stop_sequences[0]'",
        ),
        ("/v1/messages", key, asked(json!({"n": 2})), 400, "invalid_request_error", "'n' cannot be used"),
        (
            "/v1/messages",
            key,
            asked(json!({"tool_choice": {"type": "any"}})),
            400,
            "invalid_request_error",
            "'tool_choice' wants a call",
        ),
        (
            "/v1/messages",
            key,
            asked(json!({"output_config": {"format": {"type": "json_schema", "schema": 7}}})),
            400,
            "invalid_request_error",
            "'output_config.format.schema' must be a JSON schema",
        ),
        (
            "/v1/messages",
            key,
            asked(json!({"messages": [{"role": "user", "content": many}]})),
            400,
            "invalid_request_error",
            "prompt is too long: ",
        ),
        ("/v1/messages/count_tokens", key, json!({"messages": 1}), 400, "invalid_request_error", "'messages'"),
        ("/v1/messages/batches", key, json!({}), 404, "not_found_error", "/v1/messages/batches"),
    ] {
        let (got, answer) = send(path, headers, &body);
        assert_eq!(
            (got, &answer["type"], &answer["error"]["type"]),
            (status, &json!("error"), &json!(kind)),
            "{answer}"
        );
        assert!(answer["error"]["message"].as_str().unwrap().contains(words), "{answer}");
        assert_eq!(answer["request_id"], "r7");
    }
    let many = json!({"messages": [{"role": "user", "content": many}]});
    assert_eq!(send("/v1/messages/count_tokens", key, &many).0, 200, "one that is too long is counted");
}
