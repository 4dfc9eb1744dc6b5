//! Bad input: each a 400 that names the field, and the server goes on.

use serde_json::{Value, json};

use super::start;

#[test]
fn a_wrong_field_is_named() {
    let server = start();
    let user = json!([{"role": "user", "content": "Hi"}]);
    let chat = |field: &str, value: Value| {
        let mut body = json!({"messages": user, "max_tokens": 1});
        body[field] = value;
        ("/v1/chat/completions", body)
    };
    let native = |field: &str, value: Value| {
        let mut body = json!({"prompt": "A", "n_predict": 1});
        body[field] = value;
        ("/completion", body)
    };
    let bad = [
        (chat("messages", json!("Hi")), "messages"),
        (chat("messages", json!([])), "messages"),
        (chat("messages", json!([{"content": "Hi"}])), "messages[0].role"),
        (chat("messages", json!([{"role": "user", "content": 7}])), "messages[0].content"),
        (
            chat("messages", json!([{"role": "user", "content": [{"type": "image_url"}]}])),
            "messages[0].content[0].type",
        ),
        (chat("max_tokens", json!("many")), "max_tokens"),
        (chat("max_completion_tokens", json!(1.5)), "max_completion_tokens"),
        (chat("temperature", json!([1])), "temperature"),
        (chat("stop", json!([1])), "stop[0]"),
        (chat("stream", json!("yes")), "stream"),
        (chat("stream_options", json!({"include_usage": 1})), "stream_options.include_usage"),
        (chat("logit_bias", json!({"5": "x"})), "logit_bias.5"),
        (chat("top_logprobs", json!(-1)), "top_logprobs"),
        (chat("n", json!(0)), "n"),
        (chat("seed", json!("a")), "seed"),
        (chat("response_format", json!({"type": "xml"})), "response_format.type"),
        (native("prompt", json!(true)), "prompt"),
        (native("prompt", json!([[1, -1]])), "prompt[0][1]"),
        (native("prompt", json!([[]])), "prompt"),
        (native("n_predict", json!(-2)), "n_predict"),
        (native("n_probs", json!("2")), "n_probs"),
        (native("cache_prompt", json!(1)), "cache_prompt"),
        (native("grammar", json!(["root ::= \"a\""])), "grammar"),
        (native("priority", json!("urgent")), "priority"),
        (native("mirostat", json!(3)), "mirostat"),
        (chat("tools", json!([{"type": "function", "function": {"no_name": "f"}}])), "tools"),
        (chat("tool_choice", json!("required")), "tool_choice"),
        (chat("messages", json!([{"role": "user"}])), "messages[0].content"),
        (chat("messages", json!([{"role": "assistant", "tool_calls": []}])), "messages[0].content"),
        (
            chat("messages", json!([{"role": "assistant", "tool_calls": [{"id": "1"}]}])),
            "messages[0].tool_calls[0].function",
        ),
        (
            chat(
                "messages",
                json!([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": 7}}]}]),
            ),
            "messages[0].tool_calls[0].function.arguments",
        ),
        (chat("messages", json!([{"role": "tool", "content": "a", "tool_call_id": 1}])), "messages[0].tool_call_id"),
        (chat("parse_special", json!("yes")), "parse_special"),
        (chat("reasoning_effort", json!(1)), "reasoning_effort"),
        (("/v1/completions", json!({})), "prompt"),
        (native("echo", json!(true)), "echo"),
        (chat("best_of", json!(3)), "best_of"),
        (chat("reasoning_format", json!("other")), "reasoning_format"),
        (native("adaptive_target", json!(2)), "adaptive_target"),
        (native("lora", json!([{"id": 0, "scale": 1.0}])), "lora"),
        (native("samplers", json!(["temperature", "top_k"])), "samplers"),
        (native("stop_token_ids", json!([-1])), "stop_token_ids[0]"),
        (native("min_tokens", json!("2")), "min_tokens"),
        (native("structured_outputs", json!({"json": {}, "regex": "a"})), "structured_outputs.regex"),
        (("/v1/embeddings", json!({"input": "A", "dimensions": 100_000})), "dimensions"),
        (("/v1/embeddings", json!({"input": "A", "input_type": "query"})), "input_type"),
        (("/v1/embeddings", json!({"input": {"a": 1}})), "input.prompt_string"),
        (("/tokenize", json!({"content": 7})), "content"),
        (("/detokenize", json!({"tokens": ["a"]})), "tokens[0]"),
        (("/apply-template", json!({"messages": user, "tools": 7})), "tools"),
    ];
    for ((path, body), param) in bad {
        let (status, error) = server.post(path, &body);
        assert_eq!((status, &error["error"]["param"]), (400, &json!(param)), "{path} {body}: {error}");
        assert_eq!(error["error"]["type"], "invalid_request_error");
    }
    // Forms that no text has, each before anything is generated.
    for (field, value) in [
        ("regex", json!(r"[^\s\S]")),
        ("json_schema", json!({"$ref": "#"})),
        ("json_schema", json!({"type": "string", "enum": [1]})),
        ("grammar", json!("root ::= a\na ::= b\nb ::= a")),
    ] {
        let (status, error) = server.post("/completion", &native(field, value.clone()).1);
        assert_eq!((status, &error["error"]["type"]), (400, &json!("invalid_request_error")), "{value}: {error}");
    }
    // Values that only the engine can judge; its messages name them.
    for (field, value) in [("min_p", json!(2)), ("repeat_penalty", json!(0)), ("top_p", json!(1.5))] {
        let (status, error) = server.post("/completion", &native(field, value).1);
        let message = error["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!(status, 400, "{error}");
        assert!(message.contains(field.trim_start_matches("repeat_")), "{field}: {message}");
    }
    let out_of_vocabulary = json!({"prompt": [1_000_000], "n_predict": 1});
    assert_eq!(server.post("/completion", &out_of_vocabulary).0, 400);
    assert_eq!(server.post("/completion", &json!({"prompt": "A", "n_predict": 1})).0, 200, "it goes on");
}

#[test]
fn what_is_no_json_or_no_route_is_told() {
    let server = start();
    let send = |path: &str, body: &str| server.exchange(&server.head(path, body));
    for body in ["", "{", "[1]", "\"x\"", "{\"prompt\": 1e999}", "\u{0}"] {
        let (status, _, text) = send("/completion", body);
        assert_eq!(status, 400, "{body}: {text}");
        assert!(text.contains("invalid_request_error"), "{text}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(send("/completion", &deep).0, 400);
    assert_eq!(server.get("/nothing").0, 404);
    assert_eq!(server.get("/completion").0, 405);
    assert_eq!(server.get("/ws").0, 400);
}

#[test]
fn a_page_of_another_origin_is_refused() {
    let server = start();
    let from = |origin: &str| {
        server.exchange(&format!(
            "GET /props HTTP/1.1\r\nhost: localhost:1\r\norigin: {origin}\r\nconnection: close\r\n\r\n"
        ))
    };
    assert_eq!(from("http://localhost:1").0, 200);
    let (status, head, _) = from("http://b:1");
    assert_eq!(status, 403);
    assert!(!head.contains("access-control-allow-origin"));
}

#[test]
fn a_name_that_a_page_could_have_made_ours_is_refused() {
    let refusal = |server: &super::Server, path: &str, hosts: &str| {
        let upgrade =
            "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
        let connection =
            if path == "/ws" { format!("connection: upgrade\r\n{upgrade}") } else { "connection: close\r\n".into() };
        let origin = "origin: http://evil.example:8080\r\n";
        server.exchange(&format!("GET {path} HTTP/1.1\r\n{hosts}{origin}{connection}\r\n"))
    };
    let server = start();
    let evil = "host: evil.example:8080\r\n";
    for path in ["/health", "/slots", "/props", "/metrics", "/ws", "/", "/nothing"] {
        let (status, _, text) = refusal(&server, path, evil);
        assert_eq!(status, 403, "{path}");
        assert!(text.contains("--allowed-hosts evil.example"), "{text}");
    }
    let two = "host: localhost\r\nhost: evil.example\r\n";
    assert_eq!(refusal(&server, "/props", two).0, 400);
    assert_eq!(refusal(&server, "/props", "").0, 400);
    let config = llama_concurrent_server::ServerConfig {
        allowed_hosts: vec!["evil.example".into()],
        ..llama_concurrent_server::ServerConfig::default()
    };
    let server = super::start_with(super::engine_config(1), config);
    assert_eq!(refusal(&server, "/props", evil).0, 200);
}

#[test]
fn allowed_origins_get_their_headers() {
    let config = llama_concurrent_server::ServerConfig {
        cors_origins: vec!["http://b:1".into()],
        ..llama_concurrent_server::ServerConfig::default()
    };
    let server = super::start_with(super::engine_config(1), config);
    let preflight = "OPTIONS /completion HTTP/1.1\r\nhost: localhost:1\r\norigin: http://b:1\r\n\
                     access-control-request-method: POST\r\nconnection: close\r\n\r\n";
    let (status, head, _) = server.exchange(preflight);
    assert_eq!(status, 200);
    assert!(head.contains("access-control-allow-origin: http://b:1"), "{head}");
}

#[test]
fn the_page_and_the_description_are_served() {
    let server = start();
    let (status, head, page) = server.exchange("GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert_eq!(status, 200);
    assert!(head.contains("content-security-policy: default-src 'none'"));
    assert!(!page.contains("src=\"http") && !page.contains("href=\"http"), "nothing comes from elsewhere");
    for (name, kind) in [("page.css", "text/css"), ("main.js", "text/javascript"), ("markdown.js", "text/javascript")] {
        let request = format!("GET /page/{name} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let (status, head, _) = server.exchange(&request);
        assert_eq!(status, 200, "{name}");
        assert!(head.contains(&format!("content-type: {kind}; charset=utf-8")), "{head}");
    }
    assert_eq!(server.get("/page/nothing.js").0, 404);
    let (_, description) = server.get("/openapi.json");
    for (path, methods) in description["paths"].as_object().expect("paths") {
        let (method, described) = methods.as_object().and_then(|methods| methods.iter().next()).expect("a method");
        let status = if method == "get" {
            server.get(&path.replace("{id}", "default")).0
        } else {
            server.post(path, &json!({})).0
        };
        // Only a model has the name "default".
        let is_missing = status == 404 && described["responses"].get("404").is_some();
        // Nor does it rank.
        let is_refused = status == 501 && described["responses"].get("501").is_some();
        assert!([200, 400].contains(&status) || is_missing || is_refused, "{method} {path}: {status}");
    }
}
