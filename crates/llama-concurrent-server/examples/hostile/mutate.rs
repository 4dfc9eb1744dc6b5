//! Requests that were good, changed at random.

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// Whether a request is whole, so that an answer must come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Framing {
    Whole,
    Broken { half_close: bool },
}

pub(crate) struct Mutator {
    rng: Rng,
    corpus: Vec<(&'static str, Value)>,
}

const GETS: [&str; 17] = [
    "/health",
    "/v1/health",
    "/metrics",
    "/openapi.json",
    "/v1/models",
    "/models",
    "/v1/models/default",
    "/v1/responses/resp_0",
    "/v1/responses/a%00b?stream=true",
    "/props",
    "/slots",
    "/slots?fail_on_no_slot=1",
    "/",
    "/ws",
    "/api/tags",
    "/api/ps",
    "/api/version",
];

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), corpus: corpus() }
    }

    /// The next request.
    pub(crate) fn request(&mut self) -> (Vec<u8>, Framing) {
        match self.rng.u32(..100) {
            0..55 => {
                let (path, body) = self.mutated_json();
                (self.post(path, body.to_string().as_bytes()), Framing::Whole)
            }
            55..70 => {
                let (path, body) = self.mutated_json();
                let mut bytes = body.to_string().into_bytes();
                self.mutate_bytes(&mut bytes);
                (self.post(path, &bytes), Framing::Whole)
            }
            70..76 => {
                let path = GETS[self.rng.usize(..GETS.len())];
                (format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes(), Framing::Whole)
            }
            76..84 => (self.broken_head(), Framing::Broken { half_close: self.rng.bool() }),
            84..92 => (self.chunked(), Framing::Broken { half_close: self.rng.bool() }),
            _ => (self.socket(), Framing::Broken { half_close: self.rng.bool() }),
        }
    }

    fn post(&mut self, path: &str, body: &[u8]) -> Vec<u8> {
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    }

    fn mutated_json(&mut self) -> (&'static str, Value) {
        // Constraints are compiled one after the other, and slow to compile: fewer of them.
        let last = if self.rng.u32(..50) == 0 { self.corpus.len() } else { self.corpus.len() - CONSTRAINTS };
        let (path, mut body) = self.corpus[self.rng.usize(..last)].clone();
        for _ in 0..self.rng.u32(..4) {
            let odd = self.odd(0);
            self.mutate(&mut body, odd);
        }
        (path, body)
    }

    /// Puts `odd` somewhere, takes something away, or doubles it.
    fn mutate(&mut self, value: &mut Value, odd: Value) {
        let deeper = self.rng.u32(..3) > 0;
        match value {
            Value::Object(map) if deeper && !map.is_empty() => {
                let index = self.rng.usize(..map.len());
                let key = map.keys().nth(index).cloned().unwrap_or_default();
                match self.rng.u32(..6) {
                    0 => drop(map.remove(&key)),
                    1 => {
                        let moved = map.remove(&key).unwrap_or_default();
                        let name = self.name();
                        map.insert(name, moved);
                    }
                    2 => {
                        let name = self.name();
                        map.insert(name, odd);
                    }
                    3 => drop(map.insert(key, odd)),
                    _ => {
                        if let Some(inner) = map.get_mut(&key) {
                            self.mutate(inner, odd);
                        }
                    }
                }
            }
            Value::Array(list) if deeper && !list.is_empty() => {
                let index = self.rng.usize(..list.len());
                match self.rng.u32(..5) {
                    0 => drop(list.remove(index)),
                    1 => list.insert(index, odd),
                    2 => {
                        let copy = list[index].clone();
                        list.extend(std::iter::repeat_n(copy, self.rng.usize(..8)));
                    }
                    _ => self.mutate(&mut list[index], odd),
                }
            }
            Value::String(text) if deeper => match self.rng.u32(..3) {
                0 => *text = text.repeat(self.rng.usize(..40)),
                1 => text.push_str(ODD_TEXTS[self.rng.usize(..ODD_TEXTS.len())]),
                _ => {
                    let keep: usize = text.chars().map(char::len_utf8).take(self.rng.usize(..8)).sum();
                    text.truncate(keep);
                }
            },
            other => *other = odd,
        }
    }

    fn name(&mut self) -> String {
        let (_, body) = &self.corpus[self.rng.usize(..self.corpus.len())];
        let names: Vec<&String> = body.as_object().into_iter().flat_map(Map::keys).collect();
        match self.rng.u32(..8) {
            0 => ODD_TEXTS[self.rng.usize(..ODD_TEXTS.len())].to_owned(),
            _ => names[self.rng.usize(..names.len())].clone(),
        }
    }

    fn odd(&mut self, depth: usize) -> Value {
        let numbers = [
            json!(0),
            json!(-1),
            json!(1),
            json!(2),
            json!(0.5),
            json!(-0.0),
            json!(1e300),
            json!(-1e-300),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(i32::MAX),
            json!(u32::MAX),
            json!(1_000_000),
            json!(4096),
            json!(299),
            json!(1e39),
        ];
        match self.rng.u32(..12) {
            0 => Value::Null,
            1 => self.rng.bool().into(),
            2..6 => numbers[self.rng.usize(..numbers.len())].clone(),
            6..9 => ODD_TEXTS[self.rng.usize(..ODD_TEXTS.len())].into(),
            9 if depth < 4 => (0..self.rng.usize(..6)).map(|_| self.odd(depth + 1)).collect(),
            10 if depth < 4 => {
                let entries = (0..self.rng.usize(..4)).map(|_| (self.name(), self.odd(depth + 1)));
                Value::Object(entries.collect())
            }
            11 => (0..self.rng.usize(..200)).map(|_| json!(self.rng.u32(..400))).collect(),
            _ => "x".repeat(self.rng.usize(..5000)).into(),
        }
    }

    fn mutate_bytes(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.rng.u32(..4) {
            if bytes.is_empty() {
                bytes.push(self.rng.u8(..));
                continue;
            }
            let at = self.rng.usize(..bytes.len());
            match self.rng.u32(..6) {
                0 => bytes[at] ^= 1 << self.rng.u32(..8),
                1 => bytes[at] = self.rng.u8(..),
                2 => bytes.truncate(at),
                3 => drop(bytes.remove(at)),
                4 => bytes.insert(at, b"\0\"\\{}[],:e-.9\xff\r\n"[self.rng.usize(..16)]),
                _ => {
                    let until = (at + self.rng.usize(..64)).min(bytes.len());
                    let part = bytes[at..until].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
    }

    fn broken_head(&mut self) -> Vec<u8> {
        let (path, body) = self.mutated_json();
        let body = body.to_string();
        let length = match self.rng.u32(..5) {
            0 => body.len() + self.rng.usize(..100),
            1 => body.len().saturating_sub(self.rng.usize(..100)),
            2 => self.rng.usize(..),
            _ => body.len(),
        };
        let method = ["POST", "GET", "PUT", "OPTIONS", "HEAD", "DELETE", "post", "CONNECT", "TRACE", "PRI", ""]
            [self.rng.usize(..11)];
        let host = ["localhost", "evil.example", "", "[::1]:1", "a b", "localhost\r\nhost: x"][self.rng.usize(..6)];
        let extra = [
            "",
            "expect: 100-continue\r\n",
            "transfer-encoding: gzip\r\n",
            "transfer-encoding: chunked\r\n",
            "content-length: 3\r\n",
            "content-length: -1\r\n",
            "upgrade: h2c\r\nconnection: upgrade\r\n",
            "origin: null\r\n",
            "x: \u{7f}\r\n",
            "authorization: Bearer \r\n",
            "traceparent: 00-\r\n",
            "connection: close\r\n",
        ][self.rng.usize(..12)];
        let version = ["1.1", "1.0", "2.0", "0.9", "1.1 "][self.rng.usize(..5)];
        let mut head =
            format!("{method} {path} HTTP/{version}\r\nhost: {host}\r\n{extra}content-length: {length}\r\n\r\n")
                .into_bytes();
        if self.rng.bool() {
            self.mutate_bytes(&mut head);
        }
        head.extend_from_slice(body.as_bytes());
        if self.rng.u32(..4) == 0 {
            // Another one right behind it.
            let copy = head.clone();
            head.extend(copy);
        }
        head
    }

    fn chunked(&mut self) -> Vec<u8> {
        let (path, body) = self.mutated_json();
        let body = body.to_string();
        let mut request =
            format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n").into_bytes();
        let mut chunks = Vec::new();
        for part in body.as_bytes().chunks(self.rng.usize(1..400)) {
            chunks.extend(format!("{:x}\r\n", part.len()).bytes());
            chunks.extend(part);
            chunks.extend(b"\r\n");
        }
        chunks.extend(b"0\r\n\r\n");
        if self.rng.bool() {
            self.mutate_bytes(&mut chunks);
        }
        request.extend(chunks);
        request
    }

    /// An upgrade, and frames right behind it.
    fn socket(&mut self) -> Vec<u8> {
        let mut bytes = b"GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                          sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            .to_vec();
        for _ in 0..self.rng.u32(1..5) {
            let (_, mut message) = self.mutated_json();
            if let Some(message) = message.as_object_mut() {
                let kinds = ["generate", "generate", "cancel", "ping", "dance"];
                message.insert("type".into(), kinds[self.rng.usize(..5)].into());
                message.insert("id".into(), ["a", "b", ""][self.rng.usize(..3)].into());
            }
            let message = message.to_string();
            let opcode = if self.rng.u32(..4) == 0 { self.rng.u8(..16) } else { 1 };
            let last = if self.rng.u32(..8) == 0 { 0 } else { 0x80 };
            let mut frame = vec![last | opcode];
            match message.len() {
                n @ 0..126 => frame.push(0x80 | n as u8),
                n @ 126..65_536 => {
                    frame.push(0x80 | 126);
                    frame.extend((n as u16).to_be_bytes());
                }
                n => {
                    frame.push(0x80 | 127);
                    frame.extend((n as u64).to_be_bytes());
                }
            }
            // A mask of zeros leaves the text as it is.
            frame.extend([0; 4]);
            frame.extend(message.bytes());
            if self.rng.u32(..3) == 0 {
                self.mutate_bytes(&mut frame);
            }
            bytes.extend(frame);
        }
        bytes
    }
}

const ODD_TEXTS: [&str; 18] = [
    "",
    "a",
    "\0",
    "\u{1f98a}",
    "\u{feff}",
    "e\u{301}",
    "<|im_end|>",
    "<s></s>",
    "{{ x }}",
    "{% for %}",
    "-1",
    "1e999",
    "\r\n\r\n",
    "../..",
    "%00",
    "\"",
    "\\u0000",
    "Once upon a time there was a fox",
];

/// The last so many of the corpus have a constraint.
const CONSTRAINTS: usize = 4;

fn corpus() -> Vec<(&'static str, Value)> {
    let messages = json!([{"role": "system", "content": "Be kind"}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}]);
    let calls = json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "thinking": "a", "tool_calls": [
        {"function": {"name": "f", "arguments": {"a": 1}}}]}, {"role": "tool", "tool_name": "f", "content": "b"}]);
    vec![
        (
            "/api/chat",
            json!({"messages": calls, "options": {"num_predict": 2, "temperature": 0.5, "stop": ["x"]}, "think": false,
            "tools": [{"type": "function", "function": {"name": "f"}}], "keep_alive": "5m"}),
        ),
        (
            "/api/generate",
            json!({"prompt": "A", "system": "B", "options": {"num_predict": 2, "seed": 1}, "logprobs": true,
            "top_logprobs": 2, "stream": false}),
        ),
        ("/api/generate", json!({"prompt": "A", "raw": true, "context": [1], "options": {"num_predict": 2}})),
        ("/api/embed", json!({"input": ["A", "B"], "truncate": true, "dimensions": 4})),
        ("/api/embeddings", json!({"prompt": "A"})),
        (
            "/infill",
            json!({"input_prefix": "A", "input_suffix": "B", "prompt": "C", "n_predict": 2,
            "input_extra": [{"filename": "a", "text": "b"}]}),
        ),
        ("/v1/completions", json!({"prompt": "A", "suffix": "B", "max_tokens": 2})),
        ("/v1/completions", json!({"prompt": ["A", [5]], "echo": true, "max_tokens": 2, "n": 2, "stream": true})),
        (
            "/completion",
            json!({"prompt": "A", "n_predict": 2, "stream": true, "return_progress": true, "timings_per_token": true}),
        ),
        ("/api/show", json!({"model": "a", "verbose": true})),
        (
            "/completion",
            json!({"prompt": "A fox", "n_predict": 2, "temperature": 0.5, "top_k": 4, "top_p": 0.9, "stop": ["x", "yz"]}),
        ),
        (
            "/completion",
            json!({"prompt": ["A", [1, 2, "b"], {"prompt_string": "c"}], "n_predict": 1, "n_probs": 3, "stream": true}),
        ),
        (
            "/completions",
            json!({"prompt": [5, 6, 7], "n_predict": 2, "seed": 3, "repeat_penalty": 1.1, "repeat_last_n": 64,
            "presence_penalty": 0.1, "frequency_penalty": 0.1, "response_fields": ["content", "timings/prompt_n"]}),
        ),
        (
            "/completion",
            json!({"prompt": "A", "n_predict": 2, "logit_bias": [[5, 1.5], ["fox", -2], [7, false]], "n": 2,
            "mirostat": 2, "mirostat_tau": 4.0, "min_p": 0.1, "typical_p": 0.9, "ignore_eos": true, "return_tokens": true}),
        ),
        (
            "/v1/completions",
            json!({"prompt": "The sea", "max_tokens": 2, "logprobs": 2, "stream": true,
            "stream_options": {"include_usage": true}, "user": "me", "priority": "batch", "cache_prompt": false}),
        ),
        (
            "/v1/completions",
            json!({"prompt": ["a", "b"], "max_tokens": 1, "n": 2, "logit_bias": {"5": 1, "fox": 2}, "echo": false}),
        ),
        (
            "/v1/chat/completions",
            json!({"messages": messages, "max_tokens": 2, "temperature": 0, "logprobs": true, "top_logprobs": 2}),
        ),
        (
            "/chat/completions",
            json!({"messages": messages, "max_completion_tokens": 2, "stream": true, "tools": [], "tool_choice": "none",
            "chat_template_kwargs": {"enable_thinking": false}, "xtc_probability": 0.5, "dynatemp_range": 0.2}),
        ),
        (
            "/v1/messages",
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "So", "signature": ""},
                    {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "is_error": true,
                    "content": [{"type": "text", "text": "7"}]}]}],
            "system": [{"type": "text", "text": "Be kind"}], "max_tokens": 2, "stop_sequences": ["x"], "stream": true,
            "thinking": {"type": "enabled", "budget_tokens": 9}, "output_config": {"effort": "low"}}),
        ),
        (
            "/v1/messages/count_tokens",
            json!({"messages": [{"role": "user", "content": "Hi"}], "tools": [{"name": "f", "description": "d",
                "input_schema": {"type": "object"}}], "tool_choice": {"type": "auto", "disable_parallel_tool_use": true}}),
        ),
        (
            "/v1/responses",
            json!({"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
                {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "So"}]},
                {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "a", "output": "7"}],
            "instructions": "Be kind", "max_output_tokens": 2, "stream": true, "store": true, "metadata": {"a": "b"},
            "reasoning": {"effort": "low", "summary": "auto"}, "text": {"format": {"type": "text"}}, "truncation": "auto",
            "include": ["message.output_text.logprobs"], "top_logprobs": 2}),
        ),
        (
            "/responses/input_tokens",
            json!({"input": "Hi", "previous_response_id": null, "tools": [{"type": "function", "name": "f",
                "parameters": {"type": "object"}}], "tool_choice": "auto"}),
        ),
        ("/v1/embeddings", json!({"input": ["a fox", [1, 2]], "encoding_format": "base64", "model": "default"})),
        ("/embedding", json!({"content": "a fox"})),
        (
            "/tokenize",
            json!({"content": "A small fox", "add_special": true, "parse_special": true, "with_pieces": true}),
        ),
        ("/detokenize", json!({"tokens": [1, 2, 3, 299]})),
        (
            "/apply-template",
            json!({"messages": messages, "tools": [{"type": "function"}], "add_generation_prompt": true}),
        ),
        (
            "/completion",
            json!({"prompt": "A", "n_predict": 4, "grammar": "root ::= \"a\" [0-9]{1,3} tail?\ntail ::= \"x\" tail | \"y\""}),
        ),
        ("/completion", json!({"prompt": "A", "n_predict": 4, "regex": "[a-z]{2,5}(x|y)*"})),
        (
            "/completion",
            json!({"prompt": "A", "n_predict": 4, "json_schema": {"type": "object", "required": ["a"],
            "properties": {"a": {"type": "integer", "minimum": 0}, "b": {"type": "array", "items": {"enum": ["x", 1, null]}}}}}),
        ),
        (
            "/v1/chat/completions",
            json!({"messages": messages, "max_tokens": 3, "response_format": {"type": "json_schema",
            "json_schema": {"name": "n", "strict": true, "schema": {"anyOf": [{"type": "string", "maxLength": 3}, {"$ref": "#"}]}}}}),
        ),
    ]
}
