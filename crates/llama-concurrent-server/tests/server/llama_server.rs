//! What llama-server's own tests ask for, on its routes and on OpenAI's.

use llama_concurrent::Pooling;
use llama_concurrent_server::ServerConfig;
use serde_json::{Value, json};

use crate::{engine_config, start, start_with};

#[test]
fn progress_goes_from_the_cache_to_the_whole_prompt() {
    let server = start_with(engine_config(1), ServerConfig::default());
    let text = "A fox ran home. ".repeat(40);
    let messages = json!([{"role": "user", "content": text}]);
    let common = json!({"max_tokens": 3, "stream": true, "return_progress": true, "ignore_eos": true});
    let with = |fields: Value| {
        let mut body = common.clone();
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    };
    for (path, body) in [
        ("/v1/chat/completions", with(json!({"messages": messages}))),
        ("/v1/completions", with(json!({"prompt": text}))),
        ("/completion", with(json!({"prompt": text}))),
    ] {
        for is_again in [false, true] {
            let events = server.stream(path, &body);
            let is_told = |event: &&Value| event.get("prompt_progress").is_some();
            let told: Vec<Value> =
                events.iter().filter(is_told).map(|event| event["prompt_progress"].clone()).collect();
            let is_text = |event: &Value| {
                let choice = &event["choices"][0];
                let texts = [&event["content"], &choice["text"], &choice["delta"]["content"]];
                texts.into_iter().any(|text| text.as_str().is_some_and(|text| !text.is_empty()))
            };
            let first = events.iter().position(is_text).expect("an answer");
            assert!(!events[first..].iter().any(|event| is_told(&event)), "{path}: progress comes before text");
            let of = |name: &str| told.iter().map(|one| one[name].as_u64().unwrap()).collect::<Vec<_>>();
            let (total, cache, processed) = (of("total"), of("cache"), of("processed"));
            assert!(told.len() >= 2, "{path}: {told:?}");
            assert_eq!(processed[0], cache[0]);
            assert!(processed.is_sorted_by(|a, b| a < b), "{told:?}");
            assert_eq!(processed.last(), total.last());
            assert!(total.iter().all(|n| *n == total[0]) && cache.iter().all(|n| *n == cache[0]), "{told:?}");
            assert!(cache[0] > total[0] / 2 || !is_again, "{path}: {told:?}");
        }
        let mut silent = body.clone();
        silent["return_progress"] = false.into();
        assert!(server.stream(path, &silent).iter().all(|event| event.get("prompt_progress").is_none()));
    }
}

#[test]
fn timings_come_with_every_token_of_every_stream() {
    let server = start();
    let text = "A fox ran home. ".repeat(20);
    let body = json!({"prompt": text, "messages": [{"role": "user", "content": text}], "max_tokens": 5,
        "temperature": 0, "ignore_eos": true, "stream": true, "timings_per_token": true});
    for path in ["/v1/chat/completions", "/v1/completions", "/completion"] {
        let events = server.stream(path, &body);
        let counts: Vec<u64> = events.iter().filter_map(|event| event["timings"]["predicted_n"].as_u64()).collect();
        assert!(counts.is_sorted() && counts.last() == Some(&5) && counts.len() > 2, "{path}: {events:?}");
        let cached = |event: &Value| event["timings"]["cache_n"].as_u64();
        let again: Vec<u64> = server.stream(path, &body).iter().filter_map(cached).collect();
        assert!(again[0] > 0 && again.iter().all(|n| *n == again[0]), "{path}: {again:?}");
    }
    let mut body = body;
    body["timings_per_token"] = false.into();
    for path in ["/v1/chat/completions", "/v1/completions", "/completion"] {
        let events = server.stream(path, &body);
        assert_eq!(events.iter().filter(|event| event.get("timings").is_some()).count(), 1, "{path}: at the end");
    }
}

#[test]
fn a_model_has_several_names() {
    let aliases = ["first", "second"].map(str::to_owned);
    let config = ServerConfig { model_name: "first".into(), aliases: aliases.into(), ..ServerConfig::default() };
    let server = start_with(engine_config(1), config);
    let (_, list) = server.get("/v1/models");
    assert_eq!(list["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(list["data"][0]["id"], "first");
    assert_eq!(list["data"][0]["aliases"], json!(["first", "second"]));
    for name in ["first", "second"] {
        assert_eq!(server.get(&format!("/v1/models/{name}")).0, 200);
    }
    assert_eq!(server.get("/v1/models/third").0, 404);
}

#[test]
fn a_last_message_of_the_assistant_is_ended_where_the_server_was_told_so() {
    let messages = json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "It is"}]);
    let prompt = |prefill_assistant, fields: Value| {
        let server = start_with(engine_config(1), ServerConfig { prefill_assistant, ..ServerConfig::default() });
        let mut body = json!({ "messages": messages });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        server.post("/apply-template", &body).1["prompt"].as_str().unwrap().to_owned()
    };
    assert!(prompt(true, json!({})).ends_with("It is"));
    assert!(prompt(false, json!({})).ends_with("<|assistant|>\n"));
    assert!(prompt(false, json!({"continue_final_message": true})).ends_with("It is"));
}

#[test]
fn vectors_are_pooled_and_scaled_as_wished() {
    let vector = |pooling: Option<Pooling>, normalize: i64| {
        let server = start_with(engine_config(1), ServerConfig { pooling, ..ServerConfig::default() });
        let body = json!({"content": "A fox ran home", "embd_normalize": normalize});
        let (status, answer) = server.post("/embedding", &body);
        assert_eq!(status, 200, "{answer}");
        let values = answer[0]["embedding"][0].as_array().unwrap().clone();
        values.into_iter().map(|value| value.as_f64().unwrap()).collect::<Vec<_>>()
    };
    let length = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
    let (mean, last) = (vector(None, 2), vector(Some(Pooling::Last), 2));
    assert_ne!(mean, last);
    assert!((length(&mean) - 1.0).abs() < 1e-3);
    assert!((length(&vector(None, -1)) - 1.0).abs() > 1e-3);
    let (status, error) = start().post("/embedding", &json!({"content": "A", "embd_normalize": 1}));
    assert_eq!((status, &error["error"]["param"]), (400, &json!("embd_normalize")));
}
