//! The WebSocket.

use std::net::TcpStream;

use llama_concurrent_server::ServerConfig;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket, client::IntoClientRequest, http::HeaderValue};

use super::{Server, engine_config, start, start_with};

pub(super) type Socket = WebSocket<TcpStream>;

pub(super) fn open(server: &Server, protocol: Option<&str>) -> Result<Socket, Box<dyn std::error::Error>> {
    let mut request = format!("ws://{}/ws", server.address).into_client_request()?;
    if let Some(protocol) = protocol {
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_str(protocol)?);
    }
    let (socket, _) = tungstenite::client(request, server.connect()).map_err(|error| error.to_string())?;
    Ok(socket)
}

fn send(socket: &mut Socket, message: &Value) {
    socket.send(Message::Text(message.to_string().into())).expect("the server reads");
}

/// The next message of a type, others left out.
pub(super) fn next(socket: &mut Socket, kind: &str) -> Value {
    loop {
        if let Message::Text(text) = socket.read().expect("a message") {
            let message: Value = serde_json::from_str(&text).expect("JSON");
            if message["type"] == kind {
                return message;
            }
        }
    }
}

fn generate(id: &str, n: usize) -> Value {
    json!({"type": "generate", "id": id, "prompt": "Once upon a time", "n_predict": n, "ignore_eos": true, "seed": 1})
}

#[test]
fn generations_share_a_socket_by_their_ids() {
    let server = start();
    let mut socket = open(&server, Some("llama-concurrent")).unwrap();
    let ids = ["a", "b", "c"];
    ids.iter().for_each(|id| send(&mut socket, &generate(id, 10)));
    let mut texts = [const { String::new() }; 3];
    let mut ended = 0;
    while ended < 3 {
        let Message::Text(text) = socket.read().unwrap() else { continue };
        let message: Value = serde_json::from_str(&text).unwrap();
        let index = ids.iter().position(|id| message["id"] == *id).expect("an id of ours");
        match message["type"].as_str().unwrap() {
            "delta" => texts[index].push_str(message["text"].as_str().unwrap()),
            "finished" => {
                assert_eq!(
                    (&message["finish_reason"], &message["usage"]["completion_tokens"]),
                    (&json!("length"), &json!(10))
                );
                ended += 1;
            }
            "started" | "state" => {}
            other => panic!("{other}"),
        }
    }
    assert!(!texts[0].is_empty() && texts.iter().all(|text| *text == texts[0]), "equal seeds: {texts:?}");
    send(&mut socket, &json!({"type": "ping", "id": 5}));
    assert_eq!(next(&mut socket, "pong")["id"], 5);
}

#[test]
fn one_is_cancelled_and_the_others_go_on() {
    // A context that is far longer than the model's, so that the long ones outlast whoever is to end them.
    let engine = engine_config(2).n_ctx(8192);
    let server = start_with(engine, ServerConfig::default());
    let mut socket = open(&server, None).unwrap();
    send(&mut socket, &generate("long", 8000));
    assert_eq!(next(&mut socket, "delta")["id"], "long");
    send(&mut socket, &generate("short", 5));
    send(&mut socket, &json!({"type": "cancel", "id": "long"}));
    send(&mut socket, &json!({"type": "cancel", "id": "unknown"}));
    let mut ends = [next(&mut socket, "finished"), next(&mut socket, "finished")];
    ends.sort_by_key(|end| end["id"].as_str().unwrap().to_owned());
    assert_eq!((&ends[0]["finish_reason"], &ends[1]["finish_reason"]), (&json!("cancelled"), &json!("length")));
    send(&mut socket, &generate("last", 8000));
    next(&mut socket, "delta");
    drop(socket);
    server.until_idle();
}

#[test]
fn bad_messages_are_told_and_the_socket_lives() {
    let server = start();
    let mut socket = open(&server, None).unwrap();
    let bad = [
        (json!({"type": "dance"}), json!("type")),
        (json!({"id": "a"}), json!("type")),
        (json!({"type": "generate", "prompt": "A"}), json!("id")),
        (json!({"type": "generate", "id": "a"}), json!("prompt")),
        (json!({"type": "generate", "id": "a", "prompt": ["A", "B"]}), json!("prompt")),
        (json!({"type": "generate", "id": "a", "prompt": "A", "n": 2}), json!("n")),
        (json!({"type": "generate", "id": "a", "prompt": "A", "temperature": "hot"}), json!("temperature")),
        (json!([1]), Value::Null),
    ];
    for (message, param) in bad {
        send(&mut socket, &message);
        assert_eq!(next(&mut socket, "error")["error"]["param"], param, "{message}");
    }
    socket.send(Message::Binary(vec![1].into())).unwrap();
    next(&mut socket, "error");
    socket.send(Message::Text("{".into())).unwrap();
    next(&mut socket, "error");
    send(&mut socket, &generate("a", 1));
    next(&mut socket, "finished");
}

#[test]
fn a_key_can_come_as_a_subprotocol() {
    let config = ServerConfig { api_keys: vec!["secret".into()], ..ServerConfig::default() };
    let server = start_with(engine_config(1), config);
    assert!(open(&server, Some("llama-concurrent, api-key.secret")).is_ok());
    assert!(open(&server, Some("llama-concurrent, api-key.wrong")).is_err());
    assert!(open(&server, None).is_err());
}

#[test]
fn a_stopping_server_closes_its_sockets_in_order() {
    let mut server = start();
    let mut socket = open(&server, None).unwrap();
    send(&mut socket, &generate("a", 100));
    next(&mut socket, "delta");
    server.stop();
    assert_eq!(next(&mut socket, "finished")["usage"]["completion_tokens"], 100);
    let closed =
        std::iter::repeat_with(|| socket.read()).find(|message| matches!(message, Ok(Message::Close(_)) | Err(_)));
    assert!(matches!(closed, Some(Ok(Message::Close(Some(_))))), "{closed:?}");
}
