//! The Responses API: whole answers, streams, and what is kept.

use llama_concurrent_server::{Limits, ServerConfig};
use serde_json::{Value, json};

use super::{Server, engine_config, start, start_with};

fn asked(more: Value) -> Value {
    let mut body = json!({"model": "any", "input": "A fox?", "max_output_tokens": 12, "temperature": 0});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn text_of(response: &Value) -> String {
    let items = response["output"].as_array().unwrap().iter().filter(|item| item["type"] == "message");
    let parts = items.flat_map(|item| item["content"].as_array().unwrap());
    parts.map(|part| part["text"].as_str().unwrap()).collect()
}

fn delete(server: &Server, path: &str) -> (u16, Value) {
    let (status, _, text) =
        server.exchange(&format!("DELETE {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"));
    (status, serde_json::from_str(&text).unwrap())
}

#[test]
fn a_response_is_that_of_the_chat_route() {
    let server = start();
    let body = asked(json!({"instructions": "Be short.", "metadata": {"a": "b"}, "ignore_eos": true, "stream": null}));
    let (status, response) = server.post("/v1/responses", &body);
    assert_eq!((status, &response["object"]), (200, &json!("response")), "{response}");
    let chat = json!({"messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "A fox?"}],
        "max_tokens": 12, "temperature": 0, "ignore_eos": true});
    let (_, chat) = server.post("/v1/chat/completions", &chat);
    assert_eq!(chat["choices"][0]["message"]["content"], text_of(&response));
    assert_eq!((&response["status"], &response["output"][0]["status"]), (&json!("incomplete"), &json!("incomplete")));
    assert_eq!(response["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(
        (&response["usage"]["output_tokens"], &response["usage"]["output_tokens_details"]["reasoning_tokens"]),
        (&json!(12), &json!(0))
    );
    assert_eq!(response["usage"]["input_tokens"], chat["usage"]["prompt_tokens"]);
    assert_eq!((&response["metadata"], &response["instructions"]), (&json!({"a": "b"}), &json!("Be short.")));
    assert_eq!((&response["temperature"], &response["max_output_tokens"]), (&json!(0), &json!(12)));
    let (_, count) = server.post("/v1/responses/input_tokens", &body);
    assert_eq!(count, json!({"object": "response.input_tokens", "input_tokens": response["usage"]["input_tokens"]}));
    let id = response["id"].as_str().unwrap();
    assert!(id.starts_with("resp_"));
    assert_eq!(server.get(&format!("/v1/responses/{id}")), (200, response.clone()), "it is kept");
    assert_eq!(server.get(&format!("/responses/{id}")).0, 200);
    assert_eq!(
        delete(&server, &format!("/v1/responses/{id}")),
        (200, json!({"id": id, "object": "response", "deleted": true}))
    );
    assert_eq!(server.get(&format!("/v1/responses/{id}")).0, 404);
    assert_eq!(delete(&server, &format!("/v1/responses/{id}")).0, 404);
}

#[test]
fn a_stream_tells_what_the_whole_response_has() {
    let server = start();
    let (_, whole) = server.post("/v1/responses", &asked(json!({})));
    let events = server.stream("/v1/responses", &asked(json!({"stream": true})));
    let numbers: Vec<u64> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert!(numbers.iter().enumerate().all(|(index, number)| index as u64 == *number), "{numbers:?}");
    let names: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        names[..4],
        ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"]
    );
    let text: String = events
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta")
        .map(|event| event["delta"].as_str().unwrap())
        .collect();
    let response = &events.last().unwrap()["response"];
    assert_eq!((&text_of(response), text), (&text_of(&whole), text_of(&whole)));
    for field in ["status", "incomplete_details", "tools", "text"] {
        assert_eq!(response[field], whole[field], "{field}");
    }
    assert_eq!(response["usage"]["output_tokens"], whole["usage"]["output_tokens"]);
    let id = response["id"].as_str().unwrap();
    assert_eq!(server.get(&format!("/v1/responses/{id}")), (200, response.clone()));
}

#[test]
fn a_response_goes_on_from_another() {
    let server = start();
    let (_, first) = server.post("/v1/responses", &asked(json!({"instructions": "Be short."})));
    let id = first["id"].as_str().unwrap();
    let (status, second) =
        server.post("/v1/responses", &asked(json!({"previous_response_id": id, "input": "And a boat?"})));
    assert_eq!((status, &second["previous_response_id"]), (200, &json!(id)), "{second}");
    let chat = json!({"max_tokens": 12, "temperature": 0, "messages": [
        {"role": "user", "content": "A fox?"}, {"role": "assistant", "content": text_of(&first)},
        {"role": "user", "content": "And a boat?"}]});
    let (_, chat) = server.post("/v1/chat/completions", &chat);
    assert_eq!(chat["choices"][0]["message"]["content"], text_of(&second), "without the instructions of the first");
    assert_eq!(chat["usage"]["prompt_tokens"], second["usage"]["input_tokens"]);
    let by_item = json!({"input": [{"role": "user", "content": "A fox?"},
        {"type": "item_reference", "id": first["output"][0]["id"]}, {"role": "user", "content": "And a boat?"}]});
    let (status, third) = server.post("/v1/responses", &asked(by_item));
    assert_eq!((status, text_of(&third)), (200, text_of(&second)), "{third}");
    let (_, count) =
        server.post("/v1/responses/input_tokens", &json!({"previous_response_id": id, "input": "And a boat?"}));
    assert_eq!(count["input_tokens"], second["usage"]["input_tokens"]);

    let (_, gone) = server.post("/v1/responses", &asked(json!({"store": false})));
    let gone = gone["id"].as_str().unwrap();
    let (status, error) = server.post("/v1/responses", &asked(json!({"previous_response_id": gone})));
    assert_eq!((status, &error["error"]["param"]), (400, &json!("previous_response_id")), "{error}");
}

#[test]
fn the_oldest_response_is_forgotten_and_others_keys_find_none() {
    let limits = Limits { max_stored_responses: 2, ..Limits::default() };
    let config = ServerConfig { limits, api_keys: vec!["one".into(), "two".into()], ..ServerConfig::default() };
    let server = start_with(engine_config(1), config);
    let send = |key: &str, head: &str, body: &str| {
        let length = body.len();
        let (status, _, text) = server.exchange(&format!(
            "{head} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        (status, serde_json::from_str::<Value>(&text).unwrap())
    };
    let body = asked(json!({"max_output_tokens": 1})).to_string();
    let ids = [(); 3].map(|()| send("one", "POST /v1/responses", &body).1["id"].as_str().unwrap().to_owned());
    let get = |key: &str, id: &str| send(key, &format!("GET /v1/responses/{id}"), "").0;
    assert_eq!(ids.each_ref().map(|id| get("one", id)), [404, 200, 200]);
    assert_eq!(ids.each_ref().map(|id| get("two", id)), [404, 404, 404]);
}

#[test]
fn an_answer_has_the_form_that_was_asked_for() {
    let server = start();
    let schema = json!({"type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}}, "required": ["age"]});
    let format = json!({"type": "json_schema", "name": "person", "schema": schema, "strict": true});
    let body = asked(json!({"text": {"format": format}, "max_output_tokens": 60}));
    let (status, response) = server.post("/v1/responses", &body);
    assert_eq!((status, &response["status"]), (200, &json!("completed")), "{response}");
    let person: Value = serde_json::from_str(&text_of(&response)).unwrap();
    assert!(person["age"].is_u64(), "{person}");
    assert!(response["completed_at"].is_u64() && response["text"]["format"]["name"] == "person");
}

#[test]
fn log_probabilities_come_with_the_text() {
    let server = start();
    let more = json!({"include": ["message.output_text.logprobs"], "top_logprobs": 2, "ignore_eos": true});
    let (_, response) = server.post("/v1/responses", &asked(more.clone()));
    let logprobs = response["output"][0]["content"][0]["logprobs"].as_array().unwrap();
    assert_eq!((logprobs.len(), logprobs[0]["top_logprobs"].as_array().unwrap().len()), (12, 2));
    let mut body = asked(more);
    body["stream"] = true.into();
    let events = server.stream("/v1/responses", &body);
    let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
    let streamed: Vec<Value> = deltas.flat_map(|event| event["logprobs"].as_array().unwrap().clone()).collect();
    let tokens = |list: &[Value]| list.iter().map(|entry| entry["token"].clone()).collect::<Vec<_>>();
    assert_eq!(tokens(&streamed), tokens(logprobs));
}

#[test]
fn a_wrong_field_is_named_as_the_client_knows_it() {
    let server = start();
    let many = "word ".repeat(5000);
    for (more, param) in [
        (json!({"input": null}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": [{"type": "web_search_call"}]}), "input[0].type"),
        (json!({"input": many}), "input"),
        (json!({"max_output_tokens": 1.5}), "max_output_tokens"),
        (json!({"text": {"format": {"type": "json_schema", "name": "n", "schema": 7}}}), "text.format.schema"),
        (json!({"text": {"verbosity": "low"}}), "text.verbosity"),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (json!({"tools": [{"type": "web_search"}]}), "tools[0].type"),
        (json!({"previous_response_id": "resp_0"}), "previous_response_id"),
        (json!({"previous_response_id": 7}), "previous_response_id"),
        (json!({"background": true}), "background"),
        (json!({"conversation": "conv_1"}), "conversation"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"store": "yes"}), "store"),
        (json!({"n": 2}), "n"),
    ] {
        let (status, error) = server.post("/v1/responses", &asked(more.clone()));
        assert_eq!((status, &error["error"]["param"]), (400, &json!(param)), "{more}: {error}");
    }
    assert_eq!(server.get("/v1/responses/resp_0").0, 404);
    assert_eq!(server.get("/v1/responses/resp_0?stream=true").0, 400);
}
