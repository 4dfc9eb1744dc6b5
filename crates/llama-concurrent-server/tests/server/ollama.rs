//! Ollama's routes.

use std::time::Duration;

use llama_concurrent_server::{Limits, ServerConfig};
use serde_json::{Value, json};

use crate::{Server, engine_config, start, start_with};

/// The lines of a stream.
fn lines(server: &Server, path: &str, body: &Value) -> Vec<Value> {
    let (status, head, text) = server.exchange(&server.head(path, &body.to_string()));
    assert_eq!(status, 200, "{text}");
    assert!(head.contains("content-type: application/x-ndjson"), "{head}");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn joined(lines: &[Value], pointer: &str) -> String {
    lines.iter().filter_map(|line| line.pointer(pointer)?.as_str()).collect()
}

fn user(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

/// A server whose chats have the form that `template` shows.
fn with_template(template: &str) -> Server {
    start_with(engine_config(1).chat_template(template), ServerConfig::default())
}

fn assert_figures(last: &Value, tokens: u64) {
    assert_eq!((&last["done"], &last["eval_count"]), (&json!(true), &json!(tokens)), "{last}");
    for name in ["total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_duration"] {
        assert!(last[name].is_u64(), "{name}: {last}");
    }
    assert!(last["prompt_eval_count"].as_u64() > Some(0));
}

#[test]
fn a_chat_is_answered_in_lines_or_whole() {
    let server = start();
    let mut body = json!({
        "model": "some:latest",
        "messages": user("Hi"),
        "options": {"num_predict": 5, "temperature": 0, "ignore_eos": true, "num_ctx": 4096},
        "keep_alive": "5m",
    });
    let streamed = lines(&server, "/api/chat", &body);
    let (last, parts) = streamed.split_last().unwrap();
    assert!(parts.iter().all(|part| part["done"] == false && part["message"]["role"] == "assistant"), "{parts:?}");
    assert!(streamed.iter().all(|line| line["model"] == "some:latest" && line["created_at"].is_string()));
    assert_eq!((&last["done_reason"], &last["message"]["content"]), (&json!("length"), &json!("")));
    assert_figures(last, 5);
    body["stream"] = false.into();
    let (status, whole) = server.post("/api/chat", &body);
    assert_eq!(status, 200, "{whole}");
    assert_eq!(whole["message"]["content"], joined(&streamed, "/message/content"));
    assert_eq!(whole["done_reason"], "length");
    assert_figures(&whole, 5);
}

#[test]
fn a_text_is_a_chat_of_one_message_unless_it_is_raw() {
    let server = start();
    let options = json!({"num_predict": 4, "temperature": 0, "ignore_eos": true});
    let mut body = json!({"prompt": "A fox", "system": "Be short.", "options": options, "stream": false});
    let (status, answer) = server.post("/api/generate", &body);
    assert_eq!(status, 200, "{answer}");
    assert_figures(&answer, 4);
    let chat = json!([{"role": "system", "content": "Be short."}, {"role": "user", "content": "A fox"}]);
    let (_, same) = server.post("/api/chat", &json!({"messages": chat, "options": options, "stream": false}));
    assert_eq!(answer["response"], same["message"]["content"]);
    assert_eq!(answer["prompt_eval_count"], same["prompt_eval_count"]);

    body = json!({"prompt": "A fox", "raw": true, "options": options});
    let streamed = lines(&server, "/api/generate", &body);
    let native = json!({"prompt": "A fox", "n_predict": 4, "temperature": 0, "ignore_eos": true});
    let (_, native) = server.post("/completion", &native);
    assert_eq!(joined(&streamed, "/response"), native["content"].as_str().unwrap());
    assert_figures(streamed.last().unwrap(), 4);
    body["stream"] = false.into();
    let (_, whole) = server.post("/api/generate", &body);
    assert_eq!(whole["response"], native["content"]);
}

#[test]
fn a_request_for_nothing_loads_the_model() {
    let server = start();
    let (status, loaded) = server.post("/api/chat", &json!({"model": "x", "messages": []}));
    assert_eq!((status, &loaded["done_reason"], &loaded["done"]), (200, &json!("load"), &json!(true)), "{loaded}");
    assert_eq!(loaded["message"], json!({"role": "assistant", "content": ""}));
    let (_, unloaded) = server.post("/api/generate", &json!({"model": "x", "keep_alive": 0}));
    assert_eq!((&unloaded["done_reason"], &unloaded["response"]), (&json!("unload"), &json!("")));
}

#[test]
fn calls_come_whole_with_arguments_as_an_object() {
    let server = with_template(
        "{# {\"name\": function name, \"parameters\" #}{% for m in messages %}<{{ m.role }} {{ m.name }}>{{ m.content }}\
         {% for c in m.tool_calls %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}\
         {% if tools %}{{ tools | tojson }}{% endif %}<assistant>",
    );
    let tools = json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]);
    let city = json!({"type": "object", "properties": {"city": {"const": "Oslo"}}, "required": ["city"]});
    let call = json!({
        "type": "object",
        "properties": {"name": {"const": "weather"}, "parameters": city},
        "required": ["name", "parameters"],
    });
    let history = json!([
        {"role": "user", "content": "How warm is it?"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Rome"}}}]},
        {"role": "tool", "tool_name": "weather", "content": "20"},
        {"role": "user", "content": "And in Oslo?"},
    ]);
    let mut body = json!({"messages": history, "tools": tools, "format": call, "options": {"num_predict": 200}});
    let called = |call: &Value| {
        assert_eq!(call["function"]["name"], "weather");
        assert_eq!(call["function"]["arguments"], json!({"city": "Oslo"}));
    };
    let streamed = lines(&server, "/api/chat", &body);
    let with_calls: Vec<_> = streamed.iter().filter(|line| line["message"]["tool_calls"].is_array()).collect();
    assert_eq!(with_calls.len(), 1, "{streamed:?}");
    called(&with_calls[0]["message"]["tool_calls"][0]);
    assert_eq!(streamed.last().unwrap()["done_reason"], "stop");
    body["stream"] = false.into();
    let (_, whole) = server.post("/api/chat", &body);
    called(&whole["message"]["tool_calls"][0]);
    assert_eq!(whole["message"]["content"], "");

    // A call that was cut is not one.
    body["options"]["num_predict"] = 12.into();
    let (_, cut) = server.post("/api/chat", &body);
    assert!(cut["message"].get("tool_calls").is_none(), "{cut}");
    assert_eq!(cut["done_reason"], "length");
}

#[test]
fn thoughts_stand_apart() {
    let server = with_template(
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>\
         {% if enable_thinking is not defined or enable_thinking %}<think>{% else %}<think></think>{% endif %}",
    );
    let options = json!({"num_predict": 4, "ignore_eos": true});
    let mut body = json!({"messages": user("Hi"), "options": options, "think": true});
    let streamed = lines(&server, "/api/chat", &body);
    assert_ne!(joined(&streamed, "/message/thinking"), "");
    assert_eq!(joined(&streamed, "/message/content"), "");
    let (_, text) = server.post("/api/generate", &json!({"prompt": "Hi", "options": options, "stream": false}));
    assert!(text["thinking"].is_string() && text["response"] == "", "{text}");
    body["think"] = false.into();
    let streamed = lines(&server, "/api/chat", &body);
    assert_eq!(joined(&streamed, "/message/thinking"), "");
    assert_ne!(joined(&streamed, "/message/content"), "");
    assert_eq!(
        server.post("/api/show", &json!({"model": "x"})).1["capabilities"],
        json!(["completion", "thinking", "embedding"])
    );
}

#[test]
fn an_answer_has_the_format() {
    let server = start();
    let schema = json!({"type": "object", "properties": {"a": {"const": "b"}}, "required": ["a"]});
    let mut body =
        json!({"prompt": "Hi", "format": schema, "options": {"num_predict": 60, "temperature": 0}, "stream": false});
    let (_, answer) = server.post("/api/generate", &body);
    assert_eq!(serde_json::from_str::<Value>(answer["response"].as_str().unwrap()).unwrap(), json!({"a": "b"}));
    body["logprobs"] = true.into();
    body["top_logprobs"] = 2.into();
    let (_, answer) = server.post("/api/generate", &body);
    let scored = answer["logprobs"].as_array().unwrap();
    assert_eq!(scored.len() as u64, answer["eval_count"].as_u64().unwrap());
    assert_eq!(scored[0]["top_logprobs"].as_array().map(Vec::len), Some(2));
    body["stream"] = true.into();
    let streamed = lines(&server, "/api/generate", &body);
    let n: usize = streamed.iter().filter_map(|line| line["logprobs"].as_array()).map(Vec::len).sum();
    assert_eq!(n, scored.len());
}

#[test]
fn the_model_is_described() {
    let server = start();
    let (_, tags) = server.get("/api/tags");
    let model = &tags["models"][0];
    assert_eq!((&model["name"], &model["model"]), (&json!("default"), &json!("default")));
    assert_eq!(model["details"]["format"], "gguf");
    assert!(model["size"].as_u64() > Some(0) && model["digest"].as_str().map(str::len) == Some(64));
    assert!(model["modified_at"].as_str().unwrap().ends_with('Z'));
    let (_, running) = server.get("/api/ps");
    assert_eq!(running["models"][0]["context_length"], server.engine.n_ctx());
    let (_, shown) = server.post("/api/show", &json!({"model": "anything:latest"}));
    let architecture = shown["model_info"]["general.architecture"].as_str().unwrap();
    assert_eq!(shown["model_info"][format!("{architecture}.context_length")], server.engine.model().n_ctx_train);
    assert!(shown["template"].as_str().is_some_and(|template| template.contains("messages")), "{shown}");
    assert_eq!(shown["capabilities"][0], "completion");
    assert!(server.get("/api/version").1["version"].is_string());
}

#[test]
fn texts_become_vectors() {
    let server = start();
    let length = |vector: &Value| vector.as_array().unwrap().iter().map(|x| x.as_f64().unwrap().powi(2)).sum::<f64>();
    let (status, one) = server.post("/api/embed", &json!({"model": "x", "input": "A fox"}));
    assert_eq!(status, 200, "{one}");
    assert!((length(&one["embeddings"][0]) - 1.0).abs() < 1e-3);
    assert!(one["prompt_eval_count"].as_u64() > Some(0) && one["total_duration"].is_u64());
    let (_, two) = server.post("/api/embed", &json!({"input": ["A fox", "A boat"], "dimensions": 8}));
    assert_eq!(two["embeddings"].as_array().map(Vec::len), Some(2));
    assert_eq!(two["embeddings"][1].as_array().map(Vec::len), Some(8));
    for nothing in [json!(""), json!([])] {
        assert_eq!(server.post("/api/embed", &json!({"input": nothing})).1["embeddings"], json!([]));
    }
    let (_, old) = server.post("/api/embeddings", &json!({"prompt": "A fox"}));
    assert_eq!(old["embedding"].as_array().map(Vec::len), Some(server.engine.model().n_embd as usize));
    assert_eq!(server.post("/api/embeddings", &json!({"prompt": ""})).1, json!({"embedding": []}));

    let long = "A fox ran. ".repeat(2000);
    let (status, cut) = server.post("/api/embed", &json!({"input": long}));
    assert_eq!((status, &cut["prompt_eval_count"]), (200, &json!(server.engine.n_ctx())), "{}", cut["error"]);
    let (status, error) = server.post("/api/embed", &json!({"input": long, "truncate": false}));
    assert_eq!(status, 400);
    assert!(error["error"].is_string());
}

#[test]
fn errors_are_texts_that_name_the_field() {
    let server = start();
    let chat = |field: &str, value: Value| {
        let mut body = json!({"messages": user("Hi")});
        body[field] = value;
        ("/api/chat", body)
    };
    for ((path, body), named) in [
        (chat("messages", json!("Hi")), "'messages'"),
        (chat("messages", json!([{"role": "user", "content": 7}])), "'messages[0].content'"),
        (chat("messages", json!([{"role": "user", "content": "Hi", "images": ["x"]}])), "'messages[0].images'"),
        (chat("model", json!(1)), "'model'"),
        (chat("stream", json!("no")), "'stream'"),
        (chat("options", json!({"temperature": "hot"})), "'options.temperature'"),
        (chat("options", json!({"top_p": 2})), "'options.top_p'"),
        (chat("options", json!({"stop": [1]})), "'options.stop[0]'"),
        (chat("options", json!({"num_predict": 1.5})), "'options.num_predict'"),
        (chat("format", json!({"type": "object", "not": {}})), "not"),
        (chat("think", json!(true)), "'think'"),
        (chat("think", json!("hard")), "'think'"),
        (chat("tools", json!({})), "'tools'"),
        (chat("tools", json!([{}])), "'tools'"),
        (chat("top_logprobs", json!("x")), "'top_logprobs'"),
        (chat("keep_alive", json!([])), "'keep_alive'"),
        (("/api/generate", json!({"prompt": 1})), "'prompt'"),
        (("/api/generate", json!({"prompt": "a", "template": "{{ .Prompt }}"})), "'template'"),
        (("/api/generate", json!({"prompt": "a", "raw": true, "system": "b"})), "'system'"),
        (("/api/generate", json!({"prompt": "a", "context": 1})), "'context'"),
        (("/api/embed", json!({})), "'input'"),
        (("/api/embed", json!({"input": [1]})), "'input[0]'"),
        (("/api/embed", json!({"input": {"a": 1}})), "'input'"),
        (("/api/embed", json!({"input": "a", "dimensions": 0})), "'dimensions'"),
        (("/api/embeddings", json!({"prompt": []})), "'prompt'"),
        (("/api/show", json!({"model": 1})), "'model'"),
        (("/api/chat", json!([])), "JSON object"),
    ] {
        let mut body = body;
        if path == "/api/chat" && body.get("top_logprobs").is_some() {
            body["logprobs"] = true.into();
        }
        let (status, answer) = server.post(path, &body);
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(named)), "{body}: {answer}");
    }
}

#[test]
fn one_model_cannot_be_changed_and_errors_have_one_form() {
    let server = start_with(
        engine_config(1),
        ServerConfig {
            page: false,
            api_keys: vec!["key".into()],
            limits: Limits::default(),
            ..ServerConfig::default()
        },
    );
    let with_key = |method: &str, path: &str| {
        server.exchange(&format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer key\r\ncontent-length: 2\r\n\r\n{{}}"
        ))
    };
    let text = |body: &str| serde_json::from_str::<Value>(body).unwrap()["error"].as_str().map(str::to_owned);
    for (method, path, status) in [
        ("POST", "/api/pull", 501),
        ("POST", "/api/push", 501),
        ("POST", "/api/create", 501),
        ("POST", "/api/copy", 501),
        ("DELETE", "/api/delete", 501),
        ("POST", "/api/blobs/sha256:00", 501),
        ("GET", "/api/chat", 405),
        ("GET", "/api/nothing", 404),
    ] {
        let (answered, _, body) = with_key(method, path);
        assert_eq!(answered, status, "{path}: {body}");
        assert!(text(&body).is_some(), "{path}: {body}");
    }
    let (status, body) = server.get("/api/tags");
    assert_eq!(status, 401);
    assert!(body["error"].is_string(), "{body}");
    assert!(server.get("/v1/nothing").1["error"]["message"].is_string(), "elsewhere in OpenAI's");
    assert_eq!(server.get("/"), (200, json!("Ollama is running")));
    let (status, _, body) = server.exchange("HEAD / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert_eq!((status, body.as_str()), (200, ""));
}

#[test]
fn a_stream_that_fails_says_so_in_a_line() {
    let limits = Limits { timeout: Some(Duration::from_millis(1)), ..Limits::default() };
    let server = start_with(engine_config(1), ServerConfig { limits, ..ServerConfig::default() });
    let body = json!({"prompt": "A", "raw": true, "options": {"num_predict": 900, "ignore_eos": true}});
    let streamed = lines(&server, "/api/generate", &body);
    assert!(streamed.last().unwrap()["error"].is_string(), "{streamed:?}");
}
