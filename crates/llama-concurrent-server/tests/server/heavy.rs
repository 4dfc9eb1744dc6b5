//! Requests that take long to read or to answer keep nobody else waiting.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

use llama_concurrent_server::ServerConfig;
use serde_json::{Value, json};
use tungstenite::Message;

use super::{Server, engine_config, read_answer, socket, start, start_with};

/// More than may come in between by chance: a server that does one thing at a time answers none, or the one that came first.
const ANSWERED: usize = 5;

/// Whether anything has come. Nothing is taken.
fn is_answered(connection: &TcpStream) -> bool {
    connection.set_nonblocking(true).unwrap();
    let peeked = connection.peek(&mut [0]);
    connection.set_nonblocking(false).unwrap();
    !peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Asks for `/health` over one connection until the other one is answered; how many were answered before.
fn answers_before(server: &Server, heavy: &TcpStream) -> usize {
    let mut other = server.connect();
    let mut n = 0;
    loop {
        other.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let mut part = [0; 512];
            let read = other.read(&mut part).unwrap();
            assert!(read > 0, "/health is answered");
            answer.extend_from_slice(&part[..read]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        if is_answered(heavy) {
            return n;
        }
        n += 1;
    }
}

fn list(n: usize, item: &str) -> String {
    let mut list = "[".to_owned();
    (0..n).for_each(|_| {
        list.push_str(item);
        list.push(',');
    });
    list.pop();
    list + "]"
}

#[test]
fn large_bodies_keep_nobody_waiting() {
    let server = start();
    let kwargs: String = (0..300_000).map(|n| format!("\"k{n}\":[{n}],")).collect();
    let biases: String = (0..1000).map(|n| format!("\"text {n}\":1,")).collect();
    let pad = "x".repeat(300_000);
    let cases = [
        ("/completion", format!("{{\"prompt\":{}}}", list(4_000_000, "0")), 400),
        ("/completion", format!("{{\"prompt\":{}}}", list(2_500_000, "[]")), 400),
        ("/v1/chat/completions", format!("{{\"messages\":{}}}", list(400_000, "{\"role\":\"user\"}")), 400),
        (
            "/v1/chat/completions",
            format!(
                "{{\"max_tokens\":1,\"messages\":[{{\"role\":\"user\",\"content\":\"Hi\"}}],\"chat_template_kwargs\":{{{}}}}}",
                kwargs.trim_end_matches(',')
            ),
            200,
        ),
        (
            "/completion",
            format!(
                "{{\"prompt\":\"A\",\"n_predict\":1,\"user\":\"{pad}\",\"logit_bias\":{{{}}}}}",
                biases.trim_end_matches(',')
            ),
            200,
        ),
        ("/detokenize", format!("{{\"tokens\":{}}}", list(1_000_000, "300")), 200),
        ("/v1/embeddings", format!("{{\"input\":{}}}", list(2_000_000, "[1]")), 400),
    ];
    for (path, body, status) in cases {
        let mut heavy = server.connect();
        heavy.write_all(server.head(path, &body).as_bytes()).unwrap();
        let n = answers_before(&server, &heavy);
        let (answered, _, text) = read_answer(heavy);
        let begin = &body[..body.len().min(60)];
        assert_eq!(answered, status, "{path} {begin}: {}", &text[..text.len().min(300)]);
        assert!(n >= ANSWERED, "{path} {begin}: {n} others were answered meanwhile");
    }
}

#[test]
fn many_texts_with_a_bias_are_refused() {
    let server = start();
    let with = |n: usize| {
        let biases: serde_json::Map<String, Value> = (0..n).map(|n| (format!("text {n}"), json!(1))).collect();
        server.post("/completion", &json!({"prompt": "A", "n_predict": 1, "logit_bias": biases}))
    };
    let (status, error) = with(1001);
    assert_eq!((status, &error["error"]["param"]), (400, &json!("logit_bias")), "{error}");
    assert_eq!(with(1000).0, 200);
}

#[test]
fn large_answers_keep_nobody_waiting() {
    let server = start();
    // Some 900,000 log probabilities: more bytes than any body may have.
    let body = json!({"prompt": "A", "n_predict": 900, "ignore_eos": true, "n_probs": 1000});
    let mut heavy = server.connect();
    heavy.write_all(server.head("/completion", &body.to_string()).as_bytes()).unwrap();
    assert!(answers_before(&server, &heavy) >= ANSWERED);
    let (status, _, text) = read_answer(heavy);
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_str(&text).unwrap();
    let last = &answer["completion_probabilities"][899];
    assert!(last["top_logprobs"].as_array().is_some_and(|top| top.len() > 100), "{last}");
}

#[test]
fn an_answer_that_would_fill_the_memory_is_refused() {
    let server = start();
    let body = json!({"prompt": vec!["A"; 3], "n_predict": 900, "ignore_eos": true, "n_probs": 1000});
    let (status, error) = server.post("/completion", &body);
    assert_eq!(status, 400, "{error}");
    assert!(error["error"]["message"].as_str().is_some_and(|message| message.contains("stream")), "{error}");
    server.until_idle();
}

#[test]
fn large_messages_of_a_socket_keep_nobody_waiting() {
    let server = start();
    let mut socket = socket::open(&server, None).unwrap();
    let message = format!("{{\"type\":\"generate\",\"id\":\"a\",\"prompt\":{}}}", list(4_000_000, "0"));
    socket.send(Message::Text(message.into())).unwrap();
    assert!(answers_before(&server, socket.get_ref()) >= ANSWERED);
    assert_eq!(socket::next(&mut socket, "error")["error"]["code"], 400);
}

#[test]
fn work_that_nobody_waits_for_takes_no_place() {
    let server = start_with(engine_config(1), ServerConfig::default());
    let request = server.head("/completion", &format!("{{\"prompt\":{}}}", list(1_000_000, "0")));
    // More than the places of a lane.
    for _ in 0..4 {
        let begin = || {
            let mut connection = server.connect();
            connection.write_all(request.as_bytes()).unwrap();
            connection
        };
        drop((0..25).map(|_| begin()).collect::<Vec<_>>());
    }
    assert_eq!(server.exchange(&request).0, 400, "its prompt is too long, and no lane is full");
}
