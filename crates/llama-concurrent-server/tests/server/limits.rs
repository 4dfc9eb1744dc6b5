//! What happens when too much comes, and when clients go away.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use llama_concurrent_server::{Limits, ServerConfig};
use serde_json::json;

use super::{PATIENCE, engine_config, long, read_answer, start, start_with};

fn with_limits(limits: Limits) -> super::Server {
    start_with(engine_config(1), ServerConfig { limits, ..ServerConfig::default() })
}

#[test]
fn a_closed_connection_frees_its_slot() {
    let server = start();
    for path in ["/completion", "/v1/completions"] {
        let streams: Vec<_> = (0..2).map(|_| server.begin(path, &long())).collect();
        drop(streams);
        server.until_idle();
    }
    // One that waits for its whole answer, and one that never gets to it.
    let mut body = long();
    body["stream"] = false.into();
    // So many that nobody who looks can miss them.
    body["prompt"] = vec!["Once upon a time"; 8].into();
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let mut connection = server.connect();
            connection.write_all(server.head("/completion", &body.to_string()).as_bytes()).unwrap();
            connection
        })
        .collect();
    server.until("both slots are taken and others wait", |totals| totals.running == 2 && totals.waiting > 2);
    drop(waiting);
    server.until_idle();
    // Texts to embed, more than are embedded in a moment.
    let texts = json!({"input": vec!["A long walk in the hills. ".repeat(60); 60]}).to_string();
    let cancelled = || server.engine.stats().totals.requests.cancelled;
    let before = cancelled();
    let mut connection = server.connect();
    connection.write_all(server.head("/v1/embeddings", &texts).as_bytes()).unwrap();
    server.until("texts wait", |totals| totals.waiting > 2);
    drop(connection);
    server.until_idle();
    assert!(cancelled() > before + 2, "what nobody waits for is not computed");
    assert_eq!(server.post("/completion", &json!({"prompt": "A", "n_predict": 1})).0, 200);
}

#[test]
fn a_full_queue_is_a_429_that_says_when_to_come_back() {
    let engine = engine_config(1).max_queued_requests(1);
    let server = start_with(engine, ServerConfig::default());
    let running = server.hold_a_slot();
    let mut waiting = server.connect();
    waiting.write_all(server.head("/completion", &long().to_string()).as_bytes()).unwrap();
    server.until("one waits", |totals| totals.waiting == 1);
    let (status, head, text) = server.exchange(&server.head("/v1/completions", &json!({"prompt": "A"}).to_string()));
    assert_eq!(status, 429, "{text}");
    assert!(head.contains("retry-after: "), "{head}");
    drop((running, waiting));
    server.until_idle();
}

#[test]
fn keys_open_and_nothing_else_does() {
    let config = ServerConfig { api_keys: vec!["key-1".into(), "key-2".into()], ..ServerConfig::default() };
    let server = start_with(engine_config(1), config);
    let get = |path: &str, header: &str| {
        server.exchange(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{header}connection: close\r\n\r\n"))
    };
    assert_eq!(get("/props", "authorization: Bearer key-2\r\n").0, 200);
    assert_eq!(get("/props", "x-api-key: key-1\r\n").0, 200);
    for header in ["", "authorization: Bearer key\r\n", "authorization: Bearer key-11\r\n", "x-api-key: \r\n"] {
        let (status, head, _) = get("/props", header);
        assert_eq!(status, 401, "{header}");
        assert!(head.contains("www-authenticate: bearer"));
    }
    for path in ["/metrics", "/slots", "/nothing"] {
        assert_eq!(get(path, "").0, 401, "{path}");
    }
    for path in ["/health", "/v1/models", "/", "/page/main.js"] {
        assert_eq!(get(path, "").0, 200, "{path}");
    }
}

#[test]
fn rates_and_places_of_a_client_are_bounded() {
    let server = with_limits(Limits { requests_per_minute: 2.try_into().ok(), ..Limits::default() });
    let tokenize = || server.post("/tokenize", &json!({"content": "A"})).0;
    assert_eq!([tokenize(), tokenize(), tokenize()], [200, 200, 429]);
    assert_eq!(server.get("/health").0, 200, "looking is free");

    let server = with_limits(Limits { max_per_client: Some(2), ..Limits::default() });
    let (status, error) = server.post("/v1/completions", &json!({"prompt": "A", "n": 3, "max_tokens": 1}));
    assert_eq!(status, 429, "{error}");
    let (status, _) = server.post("/v1/completions", &json!({"prompt": "A", "n": 2, "max_tokens": 1}));
    assert_eq!(status, 200, "places of the refused one are free");
}

#[test]
fn sizes_are_bounded() {
    let limits = Limits { max_body_bytes: 2000, max_prompt_tokens: Some(20), max_generations: 3, ..Limits::default() };
    let server = with_limits(limits);
    assert_eq!(server.post("/completion", &json!({"prompt": "A".repeat(3000)})).0, 413);
    let (status, error) = server.post("/completion", &json!({"prompt": vec![5; 21]}));
    assert_eq!((status, &error["error"]["param"]), (400, &json!("prompt")));
    assert_eq!(server.post("/completion", &json!({"prompt": ["A", "B"], "n": 2})).0, 400, "four generations");
    assert_eq!(server.post("/completion", &json!({"prompt": "A", "n": 4})).0, 400);
}

#[test]
fn deadlines_end_requests_with_an_error() {
    let soon = Some(Duration::from_millis(1));
    let server = with_limits(Limits { timeout: soon, ..Limits::default() });
    let body = json!({"prompt": "A", "n_predict": 900, "ignore_eos": true});
    let (status, error) = server.post("/completion", &body);
    assert!([503, 504].contains(&status), "{error}");
    let events = server.stream("/completion", &long());
    assert!(events.last().unwrap()["error"]["code"].is_u64(), "{events:?}");

    let server = with_limits(Limits { queue_timeout: soon, ..Limits::default() });
    let running = server.hold_a_slot();
    let (status, head, text) = server.exchange(&server.head("/completion", &body.to_string()));
    assert_eq!(status, 503, "{text}");
    assert!(head.contains("retry-after: "));
    drop(running);
}

#[test]
fn connections_are_bounded_and_told_so() {
    let limits = Limits { max_connections: 2, ..Limits::default() };
    let server = start_with(engine_config(2), ServerConfig { limits, ..ServerConfig::default() });
    let kept: Vec<_> = (0..2).map(|_| server.begin("/completion", &long())).collect();
    let (status, head, _) = server.exchange("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(status, 503);
    assert!(head.contains("retry-after: 1"));
    drop(kept);
    let mut last = 0;
    for _ in 0..1000 {
        last = server.get("/health").0;
        if last == 200 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(last, 200, "their places are free again");
}

#[test]
fn an_idle_connection_makes_room_for_a_new_one() {
    let server = with_limits(Limits { max_connections: 2, ..Limits::default() });
    let request = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let ask = |connection: &mut TcpStream| {
        connection.write_all(request).unwrap();
        let mut answer = [0; 512];
        let n = connection.read(&mut answer).unwrap();
        assert!(answer[..n].starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer[..n]));
    };
    let mut connections: Vec<_> = (0..2).map(|_| server.connect()).collect();
    connections.iter_mut().for_each(ask);
    // The first is used again, so the second one has been idle for longer.
    ask(&mut connections[0]);
    ask(&mut server.connect());
    assert_eq!(connections[1].read(&mut [0]).unwrap(), 0, "closed in order");
    // Connections that never ask for anything do not keep others out.
    let silent: Vec<_> = (0..20).map(|_| server.connect()).collect();
    ask(&mut server.connect());
    drop(silent);
}

#[test]
fn whoever_sends_too_slowly_is_cut_off() {
    let short = Duration::from_millis(200);
    // No other limit ends anything here, and this test gives up before the defaults would.
    let patience = Limits::default().header_timeout * 2 / 3;
    let never = Duration::from_secs(3600);
    let limits = Limits { body_timeout: never, write_timeout: never, stall_timeout: never, ..Limits::default() };
    let server = with_limits(Limits { header_timeout: short, ..limits.clone() });
    let all_that_comes = |sent: &str| {
        let mut connection = server.connect();
        connection.set_read_timeout(Some(patience)).unwrap();
        connection.write_all(sent.as_bytes()).unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).expect("the server closes it");
        text
    };
    for sent in ["", "GET /health HT"] {
        assert_eq!(all_that_comes(sent), "", "{sent:?}");
    }
    // An idle connection, after its answer. Where this machine is so busy that the request comes too late, there is no answer.
    let begin = Instant::now();
    let mut text = String::new();
    while text.is_empty() {
        assert!(begin.elapsed() < PATIENCE, "no request comes in time");
        text = all_that_comes("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n");
    }
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");

    // Half of a body: told so.
    let server = with_limits(Limits { header_timeout: never, body_timeout: short, ..limits });
    let mut connection = server.connect();
    connection.set_read_timeout(Some(patience)).unwrap();
    connection.write_all(b"POST /completion HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{\"pro").unwrap();
    let (status, _, text) = read_answer(connection);
    assert_eq!(status, 408, "{text}");
}

#[test]
fn whoever_never_reads_is_cut_off() {
    let server = with_limits(Limits { write_timeout: Duration::from_millis(200), ..Limits::default() });
    // More than the buffers of a connection hold: events of one answer are some hundred bytes each.
    let body = json!({"prompt": vec!["A"; 64], "n_predict": 900, "ignore_eos": true, "stream": true, "n_probs": 50});
    let mut connection = server.connect();
    connection.write_all(server.head("/completion", &body.to_string()).as_bytes()).unwrap();
    server.until("it runs", |totals| totals.running > 0);
    server.until_idle();
    drop(connection);
}
