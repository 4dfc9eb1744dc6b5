//! The server as clients meet it: over TCP, on the demo model. No test depends on what the model says, on timing or on
//! the number of cores.

mod anthropic;
mod chat;
mod connections;
mod heavy;
mod hostile;
mod infill;
mod limits;
mod llama_server;
mod native;
mod ollama;
mod openai;
mod refusals;
mod rerank;
mod responses;
mod shutdown;
mod socket;
mod tokenizers;
mod tools;

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::mpsc,
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use llama_concurrent::{Engine, EngineConfig, Generation, Request, SamplingParams, SlotStats};
use llama_concurrent_server::{ServerConfig, run};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// For what must happen, but not at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server on a free port, which ends with the test.
struct Server {
    address: SocketAddr,
    engine: Engine,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// One compute thread: tests run beside each other, and ggml's threads spin while they wait.
fn engine_config(slots: usize) -> EngineConfig {
    // What a test holds, it holds, however long others wait.
    let park_after = Duration::from_secs(3600);
    EngineConfig::default().slots(slots).threads(1).pin(false).park_after(park_after)
}

fn start() -> Server {
    start_with(engine_config(2), ServerConfig::default())
}

fn start_with(engine: EngineConfig, config: ServerConfig) -> Server {
    start_model(&demo(), engine, config)
}

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo.gguf")
}

fn start_model(model: &Path, engine: EngineConfig, config: ServerConfig) -> Server {
    let engine = Engine::load(model, engine).expect("the model loads");
    let (stop, stopped) = oneshot::channel();
    let (sender, address) = mpsc::channel();
    let of_server = engine.clone();
    let thread = thread::spawn(move || {
        let listening = |address| sender.send(address).expect("the test waits");
        let shutdown = async { drop(stopped.await) };
        run("127.0.0.1:0", of_server, config, listening, shutdown).expect("the server runs");
    });
    let address = address.recv().expect("the server listens");
    Server { address, engine, stop: Some(stop), thread: Some(thread) }
}

impl Server {
    fn get(&self, path: &str) -> (u16, Value) {
        let (status, _, text) =
            self.exchange(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"));
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, _, text) = self.exchange(&self.head(path, &body.to_string()));
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// A request whose answer closes the connection.
    fn head(&self, path: &str, body: &str) -> String {
        format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// Status, headers in lower case and body of an answer.
    fn exchange(&self, request: &str) -> (u16, String, String) {
        let mut connection = self.connect();
        connection.write_all(request.as_bytes()).expect("the server reads");
        read_answer(connection)
    }

    fn connect(&self) -> TcpStream {
        let connection = TcpStream::connect(self.address).expect("the server accepts");
        connection.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        connection
    }

    /// The events of a stream, `[DONE]` as a string.
    fn stream(&self, path: &str, body: &Value) -> Vec<Value> {
        let (status, head, text) = self.exchange(&self.head(path, &body.to_string()));
        assert_eq!(status, 200, "{text}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        events(&text)
    }

    /// Begins to stream and gives the connection after the first event.
    fn begin(&self, path: &str, body: &Value) -> BufReader<TcpStream> {
        let mut connection = self.connect();
        connection.write_all(self.head(path, &body.to_string()).as_bytes()).expect("the server reads");
        let mut reader = BufReader::new(connection);
        let mut line = String::new();
        while !line.starts_with("data: ") {
            line.clear();
            assert!(reader.read_line(&mut line).expect("an answer") > 0, "the stream ended before its first event");
        }
        reader
    }

    /// A generation that decodes and stays, however fast the machine: it pauses since nobody reads it.
    fn hold_a_slot(&self) -> Generation {
        let params = SamplingParams::default().ignore_eos(true).max_tokens(900);
        let held = self.engine.submit(Request::new("Once upon a time").params(params)).expect("a free slot");
        let decodes = |slot: &SlotStats| slot.request == Some(held.id()) && slot.n_output_tokens > 0;
        self.until("it decodes", |_| self.engine.slots().iter().any(decodes));
        held
    }

    /// Waits until the engine has nothing to do.
    fn until_idle(&self) {
        self.until("nothing runs", |totals| totals.running == 0 && totals.waiting == 0);
    }

    fn until(&self, what: &str, holds: impl Fn(&llama_concurrent::WorkerTotals) -> bool) {
        let begin = Instant::now();
        while !holds(&self.engine.stats().totals) {
            assert!(begin.elapsed() < PATIENCE, "{what}: {:?}", self.engine.stats().totals);
            sleep(Duration::from_millis(2));
        }
    }

    /// Asks the server to stop, and waits for it.
    fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server ends in order");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Whatever a test left behind need not be waited for.
        self.engine.shutdown();
        drop(self.stop.take());
    }
}

fn read_answer(mut connection: TcpStream) -> (u16, String, String) {
    let mut bytes = Vec::new();
    if let Err(error) = connection.read_to_end(&mut bytes) {
        // A connection that is reset after its answer has answered; one that is left open has not.
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    let text = String::from_utf8(bytes).expect("the server writes UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let head = head.to_lowercase();
    let body = if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_owned() };
    (status, head, body)
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    whole
}

fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| Value::String(data.to_owned()))).collect()
}

/// A request that runs for long if nobody ends it.
fn long() -> Value {
    json!({"prompt": "Once upon a time", "n_predict": 900, "ignore_eos": true, "stream": true})
}
