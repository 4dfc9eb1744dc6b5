//! OpenAI's routes: whole answers, streams as clients parse them, several choices, forms.

use serde_json::{Value, json};

use super::start;

#[test]
fn a_chat_is_answered() {
    let server = start();
    let body = json!({
        "model": "any", "messages": [{"role": "system", "content": "Be short."},
            {"role": "user", "content": [{"type": "text", "text": "A fox?"}]}],
        "max_tokens": 8, "temperature": 0, "ignore_eos": true, "user": "someone", "unknown": {"field": 1},
    });
    let (status, answer) = server.post("/v1/chat/completions", &body);
    assert_eq!((status, &answer["object"]), (200, &json!("chat.completion")), "{answer}");
    let choice = &answer["choices"][0];
    assert_eq!((&choice["message"]["role"], &choice["finish_reason"]), (&json!("assistant"), &json!("length")));
    assert!(choice["message"]["content"].as_str().is_some_and(|text| !text.is_empty()));
    assert_eq!(answer["usage"]["completion_tokens"], 8);
    let prompt = answer["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(answer["usage"]["total_tokens"], prompt + 8);
    assert_eq!(answer["timings"]["predicted_n"], 8);
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
}

#[test]
fn a_streamed_chat_begins_with_its_role_and_ends_with_its_counts() {
    let server = start();
    let messages = json!([{"role": "user", "content": "Hello"}]);
    let mut body = json!({"messages": messages, "max_tokens": 12, "temperature": 0, "stream": true});
    body["stream_options"] = json!({"include_usage": true});
    let events = server.stream("/v1/chat/completions", &body);
    assert_eq!(events.last(), Some(&json!("[DONE]")));
    let chunks = &events[..events.len() - 1];
    assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["id"] == chunks[0]["id"]));
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": null}));
    let (usage, before) = chunks.split_last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert!(before.iter().all(|chunk| chunk["usage"].is_null()));
    let end = before.last().unwrap();
    assert!(end["choices"][0]["finish_reason"].is_string() && end["choices"][0]["delta"] == json!({}), "{end}");

    let text: String = before.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    let (_, whole) =
        server.post("/v1/chat/completions", &json!({"messages": messages, "max_tokens": 12, "temperature": 0}));
    assert_eq!(whole["choices"][0]["message"]["content"], text, "as without streaming");
    assert_eq!(whole["usage"]["completion_tokens"], usage["usage"]["completion_tokens"]);
}

#[test]
fn without_asking_no_chunk_has_counts() {
    let server = start();
    let events = server.stream("/v1/completions", &json!({"prompt": "A", "max_tokens": 3, "stream": true}));
    assert!(events.iter().all(|event| event.get("usage").is_none()));
    assert_eq!(events[0]["object"], "text_completion");
}

#[test]
fn every_prompt_gets_n_answers_in_order() {
    let server = start();
    let body = json!({"prompt": ["A fox", [5, 6, 7]], "n": 2, "max_tokens": 4, "ignore_eos": true, "seed": 3});
    let (status, answer) = server.post("/v1/completions", &body);
    assert_eq!(status, 200, "{answer}");
    let choices = answer["choices"].as_array().unwrap();
    assert_eq!(choices.iter().map(|choice| choice["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let (_, single) = server.post("/v1/completions", &json!({"prompt": "A fox", "max_tokens": 4, "seed": 3}));
    let of_prompts = answer["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(of_prompts, single["usage"]["prompt_tokens"].as_u64().unwrap() + 3, "a prompt counts once");
    assert_eq!(answer["usage"]["completion_tokens"], 16);

    let mut streamed = body;
    streamed["stream"] = true.into();
    let events = server.stream("/v1/completions", &streamed);
    for index in 0..4 {
        let of_choice = |event: &&Value| event["choices"][0]["index"] == index;
        let text: String =
            events.iter().filter(of_choice).filter_map(|event| event["choices"][0]["text"].as_str()).collect();
        assert_eq!(choices[index as usize]["text"], text);
    }
}

#[test]
fn stop_texts_and_bias_are_obeyed() {
    let server = start();
    let (_, free) = server.post("/v1/completions", &json!({"prompt": "Once", "max_tokens": 24, "temperature": 0}));
    let text = free["choices"][0]["text"].as_str().unwrap();
    let stop: String = text.chars().skip(8).take(3).collect();
    let stopped = json!({"prompt": "Once", "max_tokens": 24, "temperature": 0, "stop": stop});
    let (_, answer) = server.post("/v1/completions", &stopped);
    assert_eq!(answer["choices"][0]["text"], text[..text.find(&stop).unwrap()]);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");

    let first = server.engine.tokenize_with(text, false, false).unwrap()[0];
    let forbidden =
        json!({"prompt": "Once", "max_tokens": 1, "temperature": 0, "logit_bias": {first.to_string(): -100}});
    let (_, answer) = server.post("/v1/completions", &forbidden);
    assert_ne!(answer["choices"][0]["text"], text[..answer["choices"][0]["text"].as_str().unwrap().len()]);
}

#[test]
fn a_schema_is_held_to() {
    let server = start();
    let schema = json!({"type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["age"], "additionalProperties": false});
    let format = json!({"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": true}});
    let body =
        json!({"messages": [{"role": "user", "content": "How old?"}], "response_format": format, "max_tokens": 60});
    let (status, answer) = server.post("/v1/chat/completions", &body);
    assert_eq!(status, 200, "{answer}");
    let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
    let value: Value = serde_json::from_str(content).unwrap_or_else(|error| panic!("{error}: {content}"));
    assert!(value["age"].as_u64().is_some_and(|age| age <= 99), "{content}");
}

/// A template gets the tools only where calls are possible at all.
#[test]
fn tools_that_must_not_be_called_change_nothing() {
    let server = start();
    let plain = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 6, "temperature": 0});
    let mut forbidden = plain.clone();
    forbidden["tools"] = json!([{"type": "function", "function": {"name": "f", "parameters": {}}}]);
    forbidden["tool_choice"] = "none".into();
    let (_, wanted) = server.post("/v1/chat/completions", &plain);
    let (status, answer) = server.post("/v1/chat/completions", &forbidden);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["choices"][0]["message"], wanted["choices"][0]["message"]);
    assert_eq!(answer["usage"]["prompt_tokens"], wanted["usage"]["prompt_tokens"]);
}

#[test]
fn log_probabilities_come_with_their_tokens() {
    let server = start();
    let chat = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "ignore_eos": true,
        "temperature": 0, "logprobs": true, "top_logprobs": 3});
    let (_, whole) = server.post("/v1/chat/completions", &chat);
    let content = whole["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(content.len(), 5);
    for entry in content {
        assert_eq!(entry["top_logprobs"].as_array().unwrap().len(), 3);
        assert_eq!(entry["top_logprobs"][0]["logprob"], entry["logprob"], "greedy takes the likeliest");
    }
    let mut streamed = chat;
    streamed["stream"] = true.into();
    let events = server.stream("/v1/chat/completions", &streamed);
    let of_stream: Vec<Value> = events
        .iter()
        .filter_map(|event| event["choices"][0]["logprobs"]["content"].as_array())
        .flatten()
        .map(|entry| entry["id"].clone())
        .collect();
    assert_eq!(of_stream, content.iter().map(|entry| entry["id"].clone()).collect::<Vec<_>>());

    let (_, text) =
        server.post("/v1/completions", &json!({"prompt": "Hi", "max_tokens": 4, "ignore_eos": true, "logprobs": 2}));
    let logprobs = &text["choices"][0]["logprobs"];
    for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(logprobs[list].as_array().unwrap().len(), 4, "{list}");
    }
}

#[test]
fn texts_are_embedded_alike_in_both_encodings() {
    let server = start();
    let (status, floats) = server.post("/v1/embeddings", &json!({"input": ["A fox", "A fox", "The sea"]}));
    assert_eq!(status, 200, "{floats}");
    let vectors: Vec<&Vec<Value>> =
        floats["data"].as_array().unwrap().iter().map(|one| one["embedding"].as_array().unwrap()).collect();
    assert_eq!((vectors.len(), vectors[0].len()), (3, server.engine.model().n_embd as usize));
    assert_eq!(vectors[0], vectors[1]);
    assert_ne!(vectors[0], vectors[2]);
    let (_, short) = server.post("/v1/embeddings", &json!({"input": "A fox", "dimensions": 8}));
    let cut: Vec<f64> = short["data"][0]["embedding"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    let length = cut.iter().map(|value| value * value).sum::<f64>();
    assert!(cut.len() == 8 && (length - 1.0).abs() < 1e-5, "{cut:?}");
    let ratio = |values: &[f64], at: usize| values[at] / values[0];
    let whole: Vec<f64> = vectors[0].iter().filter_map(Value::as_f64).collect();
    assert!((ratio(&cut, 7) - ratio(&whole, 7)).abs() < 1e-3, "the same direction");
    let (_, packed) = server.post("/v1/embeddings", &json!({"input": "A fox", "encoding_format": "base64"}));
    let bytes = packed["data"][0]["embedding"].as_str().unwrap().len() / 4 * 3;
    assert!(bytes.abs_diff(4 * vectors[0].len()) < 3, "four bytes a number");
}

#[test]
fn the_model_is_listed_and_found() {
    let server = start();
    let (status, list) = server.get("/v1/models");
    assert_eq!((status, &list["data"][0]["id"]), (200, &json!("default")));
    assert_eq!(server.get("/v1/models/default").0, 200);
    assert_eq!(server.get("/v1/models/other").0, 404);
}

#[test]
fn forms_of_vllm_are_held_to() {
    let server = start();
    for (field, value, allowed) in [
        ("structured_outputs", json!({"choice": ["yes", "no."]}), &["yes", "no."][..]),
        ("guided_choice", json!(["left", "right"]), &["left", "right"]),
        ("guided_regex", json!("[ab]"), &["a", "b"]),
        ("guided_json", json!({"const": 7}), &["7"]),
        ("guided_grammar", json!("root ::= \"x\""), &["x"]),
    ] {
        let mut body = json!({"prompt": "A fox", "max_tokens": 20});
        body[field] = value;
        let (status, answer) = server.post("/v1/completions", &body);
        let text = answer["choices"][0]["text"].as_str().unwrap_or_default();
        assert!(status == 200 && allowed.contains(&text), "{field}: {answer}");
    }
    let body = json!({"prompt": "A fox", "max_tokens": 6, "temperature": 0, "ignore_eos": true, "return_tokens": true});
    let (_, free) = server.post("/completion", &body);
    let mut stopped = body.clone();
    stopped["stop_token_ids"] = json!([free["tokens"][2]]);
    let (_, answer) = server.post("/completion", &stopped);
    assert!(answer["tokens"].as_array().unwrap().len() < 3, "{answer}");
    assert_eq!(answer["stop_type"], "eos");
    stopped["min_tokens"] = json!(5);
    let (_, answer) = server.post("/completion", &stopped);
    assert!(answer["tokens"].as_array().unwrap().len() >= 5, "{answer}");
}
