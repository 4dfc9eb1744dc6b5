//! Connections whose clients send no more, send too much, or take nothing.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use llama_concurrent_server::{Limits, ServerConfig};
use serde_json::{Value, json};

use super::{Server, engine_config, events, long, read_answer, start, start_with};

/// Sends a request and ends its side of the connection, as `nc -N` does.
fn half_closed(server: &Server, request: &str) -> TcpStream {
    let mut connection = server.connect();
    connection.write_all(request.as_bytes()).unwrap();
    connection.shutdown(Shutdown::Write).unwrap();
    connection
}

/// An answer with what came before it left out, as every client of HTTP/1.1 does.
fn final_answer(mut connection: TcpStream) -> (u16, String) {
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    while let Some(rest) = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n") {
        text = rest.to_owned();
    }
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or_else(|| panic!("no answer: {text:?}")), text)
}

#[test]
fn a_client_that_sends_no_more_gets_its_answer() {
    let server = start();
    for request in [
        "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
        server.head("/completion", &json!({"prompt": "A", "n_predict": 300, "ignore_eos": true}).to_string()),
    ] {
        let (status, text) = final_answer(half_closed(&server, &request));
        assert_eq!(status, 200, "{text}");
        assert!(text.ends_with('}'), "whole: {text}");
    }
    // Some that wait for a slot meanwhile.
    let mut body = long();
    body["n_predict"] = 100.into();
    body["prompt"] = vec!["Once upon a time"; 6].into();
    let (status, text) = final_answer(half_closed(&server, &server.head("/completion", &body.to_string())));
    assert_eq!(status, 200);
    assert_eq!(events(&text).iter().filter(|event| event["stop"] == true).count(), 6, "{text}");
    server.until_idle();
}

#[test]
fn a_client_that_sends_no_more_and_leaves_frees_its_slot() {
    let server = start();
    let mut body = long();
    // So many that nobody who looks can miss them.
    body["prompt"] = vec!["Once upon a time"; 60].into();
    for stream in [true, false] {
        body["stream"] = stream.into();
        let connection = half_closed(&server, &server.head("/completion", &body.to_string()));
        server.until("it runs", |totals| totals.running > 0);
        drop(connection);
        server.until_idle();
    }
}

#[test]
fn a_body_that_ends_early_is_told_at_once() {
    let server = start();
    let request = "POST /completion HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{\"prompt\"";
    let (status, text) = final_answer(half_closed(&server, request));
    assert_eq!(status, 400, "{text}");
}

#[test]
fn a_body_that_is_announced_too_large_is_not_waited_for() {
    let server = start();
    let mut connection = server.connect();
    connection
        .write_all(b"POST /completion HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n\r\n")
        .unwrap();
    let mut line = String::new();
    BufReader::new(&connection).read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 413"), "{line}");
}

#[test]
fn whoever_sends_too_much_can_read_why_it_is_refused() {
    let limits = Limits { max_body_bytes: 2000, ..Limits::default() };
    let server = start_with(engine_config(1), ServerConfig { limits, ..ServerConfig::default() });
    let body = "x".repeat(200_000);
    let chunked = "POST /completion HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    for request in [server.head("/completion", &body), format!("{chunked}{:x}\r\n{body}\r\n0\r\n\r\n", body.len())] {
        let mut connection = server.connect();
        connection.write_all(request.as_bytes()).unwrap();
        assert_eq!(read_answer(connection).0, 413);
    }
}

#[test]
fn chunks_that_are_none_are_a_bad_request() {
    let server = start();
    let head =
        "POST /completion HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    for chunk in ["zz\r\n{}\r\n0\r\n\r\n", "2\r\n{}xx0\r\n\r\n", "-1\r\n{}\r\n", "ffffffffffffffffff\r\n{}"] {
        let (status, _, text) = server.exchange(&format!("{head}{chunk}"));
        assert_eq!(status, 400, "{chunk:?}: {text}");
    }
    let whole = "2\r\n{}\r\n0\r\n\r\n";
    let (status, _, text) = server.exchange(&format!("{head}{whole}"));
    assert!(status == 400 && text.contains("'prompt' is required"), "{text}");
}

#[test]
fn a_client_that_reads_nothing_makes_way_for_those_that_wait() {
    // Paused generations keep their slots: for ever, if nobody else waits for one.
    let (write_timeout, stall_timeout) = (Duration::from_secs(3600), Duration::from_millis(200));
    let limits = Limits { write_timeout, stall_timeout, ..Limits::default() };
    let engine = engine_config(2).stream_buffer(4);
    let server = start_with(engine, ServerConfig { limits, ..ServerConfig::default() });
    // More than the buffers of a connection hold: events of one answer are some hundred bytes each.
    let body = json!({"prompt": vec!["A"; 64], "n_predict": 900, "ignore_eos": true, "stream": true, "n_probs": 50});
    let mut unread = server.connect();
    unread.write_all(server.head("/completion", &body.to_string()).as_bytes()).unwrap();
    server.until("it runs", |totals| totals.running > 0);
    let (status, answer) = server.post("/completion", &json!({"prompt": "A", "n_predict": 2, "ignore_eos": true}));
    assert_eq!((status, &answer["tokens_predicted"]), (200, &json!(2)), "{answer}");
    drop(unread);
}

#[test]
fn what_the_slots_do_is_told_only_if_it_may_be() {
    let config = ServerConfig { slots: false, seed: Some(42), ..ServerConfig::default() };
    let server = start_with(engine_config(1), config);
    let (status, error) = server.get("/slots");
    assert_eq!((status, &error["error"]["type"]), (501, &json!("not_supported_error")));
    assert_eq!(server.get("/props").1["default_generation_settings"]["params"]["seed"], 42);
    let (_, head, _) = server.exchange("GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert!(head.contains("process-start-time-unix: "), "{head}");
    let body = json!({"prompt": "A", "n_predict": 1, "logit_bias": [[5, -1.5], [6, false]]});
    let settings = &server.post("/completion", &body).1["generation_settings"];
    assert_eq!(settings["logit_bias"], json!([{"token": 5, "bias": -1.5}, {"token": 6, "bias": Value::Null}]));
}
