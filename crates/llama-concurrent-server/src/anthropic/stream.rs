//! Streamed answers of the Messages API: one block after the other, each with a beginning and an end.

use llama_concurrent::ReplyEvent;
use serde_json::{Value, json};

use super::{
    answer::{stop, usage},
    errors,
};
use crate::{
    answer,
    chat::reply::{Ended, ReplyFormat},
    error::ApiError,
    params::RequestOptions,
    sse,
};

pub(super) struct Events {
    id: String,
    model: String,
    n_prompt: usize,
    sequences: Vec<String>,
    silent: bool,
    /// The block that is being written.
    open: Option<Kind>,
    /// Blocks that were written.
    index: usize,
    /// A call was complete.
    has_call: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Thinking,
    Text,
    ToolUse,
}

impl Events {
    pub(super) fn new(model: String, n_prompt: usize, options: &RequestOptions) -> Self {
        let (sequences, silent) = (options.params.stop.clone(), options.silent);
        Self { id: answer::typed_id("msg"), model, n_prompt, sequences, silent, open: None, index: 0, has_call: false }
    }

    fn begin(&mut self, kind: Kind, block: &Value, out: &mut Vec<u8>) {
        self.finish(out);
        self.open = Some(kind);
        let start = json!({"type": "content_block_start", "index": self.index, "content_block": block});
        sse::event(out, "content_block_start", &start);
    }

    fn delta(&self, delta: &Value, out: &mut Vec<u8>) {
        let delta = json!({"type": "content_block_delta", "index": self.index, "delta": delta});
        sse::event(out, "content_block_delta", &delta);
    }

    /// Ends the block that is being written.
    fn finish(&mut self, out: &mut Vec<u8>) {
        let Some(kind) = self.open.take() else { return };
        if kind == Kind::Thinking {
            self.delta(&json!({"type": "signature_delta", "signature": ""}), out);
        }
        sse::event(out, "content_block_stop", &json!({"type": "content_block_stop", "index": self.index}));
        self.index += 1;
    }
}

/// The event that breaks a silence.
const PING: &[u8] = b"event: ping\ndata: {\"type\":\"ping\"}\n\n";

impl ReplyFormat for Events {
    const KEEP_ALIVE: &'static [u8] = PING;

    fn open(&mut self, _: usize, out: &mut Vec<u8>) {
        // What the cache has is known at the end, where the counts come again.
        let message = json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": {
                "input_tokens": self.n_prompt,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": 0,
            },
        });
        sse::event(out, "message_start", &json!({"type": "message_start", "message": message}));
        out.extend_from_slice(PING);
    }

    fn piece(&mut self, _: usize, piece: ReplyEvent, out: &mut Vec<u8>) {
        match piece {
            ReplyEvent::Reasoning(text) => {
                if self.open != Some(Kind::Thinking) {
                    self.begin(Kind::Thinking, &json!({"type": "thinking", "thinking": "", "signature": ""}), out);
                }
                self.delta(&json!({"type": "thinking_delta", "thinking": text}), out);
            }
            ReplyEvent::Content(text) => {
                if self.open != Some(Kind::Text) {
                    self.begin(Kind::Text, &json!({"type": "text", "text": ""}), out);
                }
                self.delta(&json!({"type": "text_delta", "text": text}), out);
            }
            ReplyEvent::CallStart { id, name, .. } => {
                let block = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
                self.begin(Kind::ToolUse, &block, out);
            }
            ReplyEvent::Arguments { json, .. } => {
                self.delta(&json!({"type": "input_json_delta", "partial_json": json}), out);
            }
            ReplyEvent::CallEnd { complete, .. } => {
                self.has_call |= complete;
                self.finish(out);
            }
            _ => {}
        }
    }

    fn end(&mut self, _: usize, ended: Ended<'_>, out: &mut Vec<u8>) {
        self.finish(out);
        let (reason, sequence) = stop(ended.finish, &self.sequences, self.has_call);
        let delta = json!({
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": sequence},
            "usage": usage(&ended.finish.timings, self.silent),
        });
        sse::event(out, "message_delta", &delta);
        sse::event(out, "message_stop", &json!({"type": "message_stop"}));
    }

    fn fail(&mut self, _: usize, error: &ApiError, out: &mut Vec<u8>) {
        sse::event(out, "error", &errors::json(error, None));
    }
}

#[cfg(test)]
mod tests {
    use llama_concurrent::{Finish, FinishReason, Timings};

    use super::*;
    use crate::chat::parts::tests::pieces;

    fn events() -> Events {
        let (id, model) = ("msg_1".into(), "m".into());
        let sequences = vec!["x".into()];
        Events { id, model, n_prompt: 7, sequences, silent: false, open: None, index: 0, has_call: false }
    }

    /// Names and bodies.
    fn written(out: &[u8]) -> Vec<(String, Value)> {
        let text = String::from_utf8(out.to_vec()).unwrap();
        let each = text.split_terminator("\n\n").map(|event| {
            let (name, data) = event.split_once('\n').unwrap();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            let name = name.strip_prefix("event: ").unwrap().to_owned();
            assert_eq!(data["type"], name.as_str());
            (name, data)
        });
        each.collect()
    }

    #[test]
    fn each_block_has_a_beginning_its_pieces_and_an_end() {
        let (mut events, mut out) = (events(), Vec::new());
        events.open(1, &mut out);
        pieces().into_iter().for_each(|piece| events.piece(0, piece, &mut out));
        events.piece(0, ReplyEvent::Content("Done.".into()), &mut out);
        let finish = Finish::new(FinishReason::Stop, Timings::default());
        events.end(0, Ended { finish: &finish, has_calls: true }, &mut out);
        let written = written(&out);
        assert_eq!(written[0].1["message"]["usage"]["input_tokens"], 7);
        assert_eq!(written[1].0, "ping");
        let mut blocks: Vec<(Value, String, bool)> = Vec::new();
        for (name, data) in &written[2..written.len() - 2] {
            let index = data["index"].as_u64().unwrap() as usize;
            match name.as_str() {
                "content_block_start" => {
                    assert!(index == blocks.len() && blocks.iter().all(|(_, _, ended)| *ended), "{data}");
                    blocks.push((data["content_block"].clone(), String::new(), false));
                }
                "content_block_delta" => {
                    let delta = &data["delta"];
                    let kind = delta["type"].as_str().unwrap();
                    let field = match kind {
                        "thinking_delta" => "thinking",
                        "text_delta" => "text",
                        "signature_delta" => "signature",
                        "input_json_delta" => "partial_json",
                        _ => panic!("{kind}"),
                    };
                    assert!(!blocks[index].2);
                    blocks[index].1 += delta[field].as_str().unwrap();
                }
                _ => blocks[index].2 = true,
            }
        }
        let kinds: Vec<_> =
            blocks.iter().map(|(block, text, _)| (block["type"].as_str().unwrap(), text.as_str())).collect();
        let expected = [
            ("thinking", "Let me see."),
            ("text", "I look."),
            ("tool_use", "{\"city\": \"Oslo\"}"),
            ("tool_use", "{\"zo"),
            ("text", "Done."),
        ];
        assert_eq!(kinds, expected);
        assert_eq!((&blocks[2].0["id"], &blocks[2].0["name"]), (&json!("abc123xyz"), &json!("weather")));
        let end = &written[written.len() - 2].1;
        assert_eq!(end["delta"], json!({"stop_reason": "tool_use", "stop_sequence": null}));
        assert_eq!(written.last().unwrap().0, "message_stop");
    }

    #[test]
    fn an_error_is_an_event_of_its_own() {
        let mut out = Vec::new();
        events().fail(0, &ApiError::timeout("too slow"), &mut out);
        let written = written(&out);
        assert_eq!(written[0].1["error"], json!({"type": "timeout_error", "message": "too slow"}));
    }
}
