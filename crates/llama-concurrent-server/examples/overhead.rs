//! What the server costs beside the engine used directly: the same engine, the same 16 streams, in alternation.
//!
//!     cargo run --release -p llama-concurrent-server --example overhead -- model.gguf [tokens] [rounds]

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use llama_concurrent::{Engine, EngineConfig, Event, Request, SamplingParams, quantile};
use llama_concurrent_server::{ServerConfig, run};
use tokio::sync::oneshot;

const STREAMS: usize = 16;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let model = args.next().unwrap_or_else(|| "models/demo.gguf".into());
    let tokens: u32 = args.next().map_or(Ok(128), |text| text.parse())?;
    let rounds: usize = args.next().map_or(Ok(5), |text| text.parse())?;
    let engine = Engine::load(model, EngineConfig { slots: Some(STREAMS), ..EngineConfig::default() })?;

    let (stop, stopped) = oneshot::channel::<()>();
    let (sender, address) = mpsc::channel();
    let of_server = engine.clone();
    let server = thread::spawn(move || {
        let listening = move |address| {
            let _ = sender.send(address);
        };
        run("127.0.0.1:0", of_server, ServerConfig::default(), listening, async { drop(stopped.await) })
    });
    let address = address.recv()?;

    println!("| | tok/s | between tokens p50 | p99 |\n|---|---|---|---|");
    let (mut ratios, mut waits) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let a = all(|index| straight(&engine, tokens, index))?;
        let b = all(|index| over_http(address, tokens, index))?;
        // The first round warms up both.
        if round > 0 {
            println!("| engine | {a}\n| server | {b}");
            ratios.push(b.rate / a.rate);
            waits.push((b.p50.as_secs_f64() - a.p50.as_secs_f64()) * 1e3);
        }
    }
    println!(
        "medians of {rounds} pairs: server / engine {:.3} in tokens per second, {:+.3} ms between tokens",
        median(ratios),
        median(waits)
    );
    drop(stop);
    server.join().map_err(|_| "the server panicked")??;
    Ok(())
}

struct Figures {
    rate: f64,
    p50: Duration,
    p99: Duration,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(f, "{:.0} | {:.3} ms | {:.3} ms |", self.rate, ms(self.p50), ms(self.p99))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs all streams at once; each gives the times of its tokens.
fn all(stream: impl Fn(usize) -> Result<Vec<Instant>, Failure> + Sync) -> Result<Figures, Failure> {
    let begin = Instant::now();
    let times: Result<Vec<_>, _> = thread::scope(|scope| {
        let threads: Vec<_> = (0..STREAMS)
            .map(|index| {
                scope.spawn({
                    let stream = &stream;
                    move || stream(index)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a stream panicked")?).collect()
    });
    let elapsed = begin.elapsed();
    let times = times?;
    let gaps: Vec<Duration> = times.iter().flat_map(|times| times.windows(2).map(|pair| pair[1] - pair[0])).collect();
    let n: usize = times.iter().map(Vec::len).sum();
    let at = |q| quantile(&gaps, q).unwrap_or_default();
    Ok(Figures { rate: n as f64 / elapsed.as_secs_f64(), p50: at(0.5), p99: at(0.99) })
}

fn prompt(index: usize) -> String {
    format!("Once upon a time there was fox number {index}")
}

fn straight(engine: &Engine, tokens: u32, index: usize) -> Result<Vec<Instant>, Failure> {
    let params = SamplingParams { max_tokens: Some(tokens), ignore_eos: true, ..SamplingParams::default() };
    let mut times = Vec::new();
    for event in engine.submit(Request::new(prompt(index)).with_params(params))? {
        if let Event::Delta(delta) = event
            && !delta.text.is_empty()
        {
            times.push(Instant::now());
        }
    }
    Ok(times)
}

fn over_http(address: SocketAddr, tokens: u32, index: usize) -> Result<Vec<Instant>, Failure> {
    let body = serde_json::json!({"prompt": prompt(index), "n_predict": tokens, "ignore_eos": true, "temperature": 0,
        "stream": true})
    .to_string();
    let mut connection = TcpStream::connect(address)?;
    write!(
        connection,
        "POST /completion HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut times = Vec::new();
    let mut reader = BufReader::new(connection);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if line.starts_with(b"data: ") && line.windows(12).any(|part| part == b"\"stop\":false") {
            times.push(Instant::now());
        }
        line.clear();
    }
    Ok(times)
}
