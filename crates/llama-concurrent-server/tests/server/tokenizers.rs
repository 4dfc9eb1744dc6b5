//! Long runs of one character, with pre-tokenizers whose regular expressions call themselves for each of them.

use std::fs;

use llama_concurrent_server::ServerConfig;
use serde_json::{Value, json};

use super::{demo, engine_config, start_model};

/// As long as the request that overflowed the stack, and longer than any stack suffices for.
const RUNS: [usize; 3] = [6508, 100_000, 1_500_000];

/// The demo model with the name of another pre-tokenizer. The name of the model gives up as many bytes, so that nothing
/// behind them moves.
fn with_pre_tokenizer(name: &str) -> Vec<u8> {
    let string = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let (old, model) = ("gpt-2", "llama-concurrent demo");
    let mut bytes = fs::read(demo()).expect("the demo model");
    for (old, new) in [(old, name), (model, &model[name.len() - old.len()..])] {
        let (old, new) = (string(old), string(new));
        let place = bytes.windows(old.len()).position(|window| window == old).expect("the demo's metadata");
        bytes.splice(place..place + old.len(), new);
    }
    bytes
}

#[test]
fn long_runs_of_a_character_have_an_answer_or_a_400_on_every_route() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["bloom", "deepseek-llm", "falcon", "gpt-4o", "tekken"] {
        let model = directory.path().join(name).with_extension("gguf");
        fs::write(&model, with_pre_tokenizer(name)).unwrap();
        let server = start_model(&model, engine_config(2), ServerConfig::default());
        for n in RUNS {
            let text = "a".repeat(n);
            let (status, answer) = server.post("/tokenize", &json!({"content": text, "add_special": false}));
            if n <= 100_000 {
                assert_eq!(status, 200, "{name}: {answer}");
                let (_, back) = server.post("/detokenize", &json!({"tokens": answer["tokens"]}));
                assert!(back["content"].as_str().is_some_and(|back| back.trim_start() == text), "{name}, {n}");
            } else {
                assert_eq!(status, 400, "{name}: {answer}");
                let message = answer["error"]["message"].as_str().unwrap_or_default();
                assert!(message.contains("break the run up"), "{name}: {message}");
            }
            let prompt = json!({"prompt": text, "max_tokens": 1, "n_predict": 1});
            let chat = json!({"messages": [{"role": "user", "content": text}], "max_tokens": 1});
            let embedding = json!({"input": text});
            let bodies: [(&str, &Value); 4] = [
                ("/completion", &prompt),
                ("/v1/completions", &prompt),
                ("/v1/chat/completions", &chat),
                ("/v1/embeddings", &embedding),
            ];
            for (path, body) in bodies {
                let (status, answer) = server.post(path, body);
                assert!(matches!(status, 200 | 400), "{name}, {path}, {n}: {status} {answer}");
            }
        }
        assert_eq!(server.get("/health").0, 200);
    }
}
