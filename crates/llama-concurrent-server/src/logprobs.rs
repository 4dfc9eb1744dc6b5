//! Log probabilities in the three forms that clients read.

use llama_concurrent::{Engine, Token, TokenLogprobs};
use serde_json::{Map, Value, json};

/// A token of an answer, with what was asked about it.
pub(crate) type Scored = (Token, TokenLogprobs);

/// What stands for an impossible token, as JSON has no infinity; OpenAI's number.
const IMPOSSIBLE: f32 = -9999.0;

fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { IMPOSSIBLE }
}

/// A token as text and bytes: the text of a part of a character alone is no text.
fn token(engine: &Engine, token: Token, logprob: f32) -> Map<String, Value> {
    let bytes = engine.token_bytes(token, true);
    let mut entry = Map::new();
    entry.insert("id".into(), token.into());
    entry.insert("token".into(), String::from_utf8_lossy(&bytes).into());
    entry.insert("logprob".into(), finite(logprob).into());
    entry.insert("bytes".into(), bytes.into());
    entry
}

/// One entry of `logprobs.content` of a chat and of llama-server's `completion_probabilities`.
pub(crate) fn entry(engine: &Engine, (chosen, found): &Scored) -> Value {
    let mut entry = token(engine, *chosen, found.logprob);
    let top = found.top.iter().map(|other| Value::Object(token(engine, other.token, other.logprob)));
    entry.insert("top_logprobs".into(), top.collect());
    entry.into()
}

/// `logprobs` of a chat's choice.
pub(crate) fn of_chat(engine: &Engine, scored: &[Scored]) -> Value {
    let content: Vec<Value> = scored.iter().map(|one| entry(engine, one)).collect();
    json!({"content": content, "refusal": null})
}

/// `logprobs` of a text completion's choice; `offset` is where in the answer the first token begins, in characters.
pub(crate) fn of_text(engine: &Engine, scored: &[Scored], offset: &mut usize) -> Value {
    let (mut tokens, mut logprobs, mut top, mut offsets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (chosen, found) in scored {
        let text = String::from_utf8_lossy(&engine.token_bytes(*chosen, true)).into_owned();
        offsets.push(*offset);
        *offset += text.chars().count();
        tokens.push(text);
        logprobs.push(finite(found.logprob));
        let others = found.top.iter().map(|other| {
            let text = String::from_utf8_lossy(&engine.token_bytes(other.token, true)).into_owned();
            (text, Value::from(finite(other.logprob)))
        });
        top.push(Value::Object(others.collect()));
    }
    json!({"tokens": tokens, "token_logprobs": logprobs, "top_logprobs": top, "text_offset": offsets})
}
