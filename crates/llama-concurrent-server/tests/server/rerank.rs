//! Documents in the order in which they answer a query, and what encoders do on the other routes.

use std::path::{Path, PathBuf};

use llama_concurrent::{EngineConfig, Pooling};
use llama_concurrent_server::ServerConfig;
use serde_json::{Value, json};

use crate::{Server, engine_config, start, start_model, start_with};

const QUERY: &str = "What does a fox eat?";
const DOCUMENTS: [&str; 4] =
    ["The boat has a red sail.", "A fox eats mice and berries.", "It rained all day.", "A cook eats soup."];

fn reranker() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/rerank.gguf")
}

fn server() -> Server {
    start_model(&reranker(), EngineConfig::default().threads(1).pin(false), ServerConfig::default())
}

#[test]
fn documents_are_ranked_as_by_jinas_api_and_by_tei() {
    let server = server();
    for path in ["/v1/rerank", "/rerank", "/v1/reranking", "/reranking"] {
        let (status, answer) = server.post(path, &json!({"query": QUERY, "documents": DOCUMENTS, "model": "x"}));
        assert_eq!(status, 200, "{answer}");
        let results = answer["results"].as_array().unwrap();
        let scores: Vec<f64> = results.iter().map(|result| result["relevance_score"].as_f64().unwrap()).collect();
        assert!(scores.len() == 4 && scores.is_sorted_by(|a, b| a >= b), "{answer}");
        assert_eq!(results[0]["index"], 1);
        assert!(results[0].get("document").is_none());
        assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &json!("x")));
        assert!(answer["usage"]["prompt_tokens"].as_u64() > Some(40));
        assert_eq!(answer["usage"]["prompt_tokens"], answer["usage"]["total_tokens"]);
    }
    let objects: Vec<Value> = DOCUMENTS.iter().map(|text| json!({"text": text})).collect();
    let body = json!({"query": QUERY, "documents": objects, "top_n": 2, "return_documents": true});
    let (_, answer) = server.post("/v1/rerank", &body);
    assert_eq!(answer["results"].as_array().map(Vec::len), Some(2));
    assert_eq!(answer["results"][0]["document"]["text"], DOCUMENTS[1]);
    let (_, list) =
        server.post("/rerank", &json!({"query": QUERY, "texts": DOCUMENTS, "top_n": 99, "return_text": true}));
    assert_eq!((list.as_array().map(Vec::len), &list[0]["text"]), (Some(4), &json!(DOCUMENTS[1])));
    assert!(list[0]["score"].is_number() && list[0].get("relevance_score").is_none());
}

#[test]
fn what_cannot_be_ranked_is_refused_in_words() {
    let server = server();
    for (body, name) in [
        (json!({"documents": DOCUMENTS}), "query"),
        (json!({"query": 7, "documents": DOCUMENTS}), "query"),
        (json!({"query": QUERY}), "documents"),
        (json!({"query": QUERY, "documents": []}), "documents"),
        (json!({"query": QUERY, "documents": null}), "documents"),
        (json!({"query": QUERY, "documents": 123}), "documents"),
        (json!({"query": QUERY, "documents": [1, 2]}), "documents[0]"),
        (json!({"query": QUERY, "documents": DOCUMENTS, "top_n": 0}), "top_n"),
        (json!({"query": QUERY, "documents": ["a", "sea ".repeat(3000)]}), "documents"),
    ] {
        let (status, answer) = server.post("/v1/rerank", &body);
        assert_eq!(status, 400, "{body}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(name), "{name}: {answer}");
    }
    let (status, answer) = start().post("/v1/rerank", &json!({"query": QUERY, "documents": DOCUMENTS}));
    assert_eq!((status, &answer["error"]["type"]), (501, &json!("not_supported_error")));
}

#[test]
fn an_encoder_embeds_and_refuses_to_generate() {
    let server = server();
    let (status, answer) = server.post("/v1/embeddings", &json!({"input": ["A fox", "A boat"], "dimensions": 16}));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["data"][1]["embedding"].as_array().map(Vec::len), Some(16));
    for (path, body) in [
        ("/completion", json!({"prompt": "A fox"})),
        ("/v1/completions", json!({"prompt": "A fox"})),
        ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": "A fox"}]})),
        ("/v1/responses", json!({"input": "A fox"})),
        ("/v1/messages", json!({"max_tokens": 4, "messages": [{"role": "user", "content": "A fox"}]})),
        ("/api/generate", json!({"prompt": "A fox", "stream": false})),
    ] {
        let (status, answer) = server.post(path, &body);
        assert_eq!(status, 400, "{path}: {answer}");
        let words = answer.to_string();
        assert!(words.contains("encoder") || words.contains("chat template"), "{path}: {words}");
    }
    for path in ["/health", "/props", "/slots", "/v1/models", "/metrics"] {
        assert_eq!(server.get(path).0, 200, "{path}");
    }
}

#[test]
fn vectors_of_all_tokens_come_where_the_server_is_started_for_them() {
    let config = ServerConfig { pooling: Some(Pooling::None), ..ServerConfig::default() };
    let server = start_with(engine_config(1), config);
    let (status, answer) = server.post("/embedding", &json!({"content": "A fox ran home"}));
    assert_eq!(status, 200);
    let tokens = server.post("/tokenize", &json!({"content": "A fox ran home", "add_special": true})).1;
    assert_eq!(answer[0]["embedding"].as_array().map(Vec::len), tokens["tokens"].as_array().map(Vec::len));
    let (status, error) = server.post("/v1/embeddings", &json!({"input": "A fox"}));
    assert!(status == 400 && error.to_string().contains("--pooling none"), "{error}");
    let (status, answer) = server.post("/api/embed", &json!({"input": "A fox"}));
    assert!(status == 200 && answer["embeddings"][0][0].is_number(), "{answer}");
}
