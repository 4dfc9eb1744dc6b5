//! The end: what runs may finish, what takes too long is cancelled with an error, and everything is freed.

use std::{
    io::{Read, Write},
    time::Duration,
};

use llama_concurrent_server::{Limits, ServerConfig};
use serde_json::json;

use super::{engine_config, events, long, start, start_with};

#[test]
fn running_requests_are_answered_to_their_end() {
    let mut server = start();
    let mut body = long();
    body["n_predict"] = 200.into();
    let mut stream = server.begin("/completion", &body);
    let idle = server.connect();
    server.stop();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    let last = events(&rest).pop().expect("events");
    assert_eq!((&last["stop"], &last["tokens_predicted"]), (&json!(true), &json!(200)));
    assert!(std::net::TcpStream::connect(server.address).is_err(), "nobody listens");
    drop(idle);
}

#[test]
fn requests_that_take_too_long_end_with_an_error() {
    let limits = Limits { drain: Duration::ZERO, ..Limits::default() };
    let mut server = start_with(engine_config(1), ServerConfig { limits, ..ServerConfig::default() });
    let mut chat = json!({"messages": [{"role": "user", "content": "Hi"}], "ignore_eos": true, "stream": true});
    chat["max_tokens"] = 900.into();
    // One after the other in the one slot, so that they outlast whoever looks.
    chat["n"] = 8.into();
    let mut stream = server.begin("/v1/chat/completions", &chat);
    server.until("it runs", |totals| totals.running == 1);
    server.stop();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    let events = events(&rest);
    let error =
        events.iter().find(|event| event.get("error").is_some()).unwrap_or_else(|| panic!("no error in {rest}"));
    assert_eq!(error["error"]["code"], 503);
    assert_eq!(events.last(), Some(&json!("[DONE]")));
}

#[test]
fn large_requests_that_are_being_read_do_not_hold_up_the_end() {
    let mut server = start();
    let body = format!("{{\"prompt\":[{}0]}}", "0,".repeat(3_000_000));
    let reading: Vec<_> = (0..8)
        .map(|_| {
            let mut connection = server.connect();
            connection.write_all(server.head("/completion", &body).as_bytes()).unwrap();
            connection
        })
        .collect();
    server.stop();
    drop(reading);
}
