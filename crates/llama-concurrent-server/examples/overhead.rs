//! What the server costs beside the engine used directly: the same engine, the same 16 streams, in alternation.
//!
//!     cargo run --release -p llama-concurrent-server --example overhead -- model.gguf [tokens] [rounds]
//!
//! The clients are threads of this process, so they take their share of the processor too: on Linux the table says how much
//! of it they and the server's threads used for each token.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use llama_concurrent::{Engine, EngineConfig, Event, Request, SamplingParams};
use llama_concurrent_server::{ServerConfig, run};
use llama_concurrent_types::quantile;
use tokio::sync::oneshot;

const STREAMS: usize = 16;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let model = args.next().unwrap_or_else(|| "models/demo.gguf".into());
    let tokens: u32 = args.next().map_or(Ok(128), |text| text.parse())?;
    let rounds: usize = args.next().map_or(Ok(5), |text| text.parse())?;
    let engine = Engine::load(model, EngineConfig::default().slots(STREAMS))?;

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

    println!("| | tok/s | tok/s once all stream | between tokens p50 | p99 | us of readers | us of server |");
    println!("|---|---|---|---|---|---|---|");
    let (mut whole, mut steady, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    let (by_engine, by_server) = (|index| straight(&engine, tokens, index), |index| over_http(address, tokens, index));
    for round in 0..=rounds {
        // In turn who goes first; the first round warms up both.
        let (a, b) = if round % 2 == 0 {
            let a = all(by_engine)?;
            (a, all(by_server)?)
        } else {
            let b = all(by_server)?;
            (all(by_engine)?, b)
        };
        if round > 0 {
            println!("| engine | {a}\n| server | {b}");
            whole.push(b.rate / a.rate);
            steady.push(b.steady / a.steady);
            waits.push((b.p50.as_secs_f64() - a.p50.as_secs_f64()) * 1e3);
        }
    }
    println!(
        "medians of {rounds} pairs: server / engine {:.3} in tokens per second, {:.3} once all stream, {:+.3} ms between tokens",
        median(whole),
        median(steady),
        median(waits)
    );
    drop(stop);
    server.join().map_err(|_| "the server panicked")??;
    Ok(())
}

struct Figures {
    /// Tokens per second from before the first request until after the last answer.
    rate: f64,
    /// Tokens per second between the moment when every stream has begun and the moment when the first one ends.
    steady: f64,
    p50: Duration,
    p99: Duration,
    /// Processor time for each token.
    readers: Option<Duration>,
    server: Option<Duration>,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let us = |time: Option<Duration>| time.map_or("-".into(), |time| format!("{:.1}", time.as_secs_f64() * 1e6));
        write!(f, "{:.0} | {:.0} | {:.3} ms | {:.3} ms", self.rate, self.steady, ms(self.p50), ms(self.p99))?;
        write!(f, " | {} | {} |", us(self.readers), us(self.server))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs all streams at once; each gives the times of its tokens.
fn all(stream: impl Fn(usize) -> Result<Vec<Instant>, Failure> + Sync) -> Result<Figures, Failure> {
    let (begin, server) = (Instant::now(), server_time());
    let read = |index| {
        let times = stream(index)?;
        Ok((times, processor_time("/proc/thread-self")))
    };
    let done: Result<Vec<_>, Failure> = thread::scope(|scope| {
        let threads: Vec<_> = (0..STREAMS).map(|index| scope.spawn(move || read(index))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a stream panicked")?).collect()
    });
    let elapsed = begin.elapsed();
    let (times, readers): (Vec<_>, Vec<_>) = done?.into_iter().unzip();
    let gaps: Vec<Duration> = times.iter().flat_map(|times| times.windows(2).map(|pair| pair[1] - pair[0])).collect();
    let n: usize = times.iter().map(Vec::len).sum();
    let at = |q| quantile(&gaps, q).unwrap_or_default();
    let from = times.iter().filter_map(|times| times.first()).max().copied().unwrap_or(begin);
    let to = times.iter().filter_map(|times| times.last()).min().copied().unwrap_or(begin);
    let within = times.iter().flatten().filter(|&&time| from < time && time <= to).count();
    let each = |time: Duration| time.div_f64(n.max(1) as f64);
    Ok(Figures {
        rate: n as f64 / elapsed.as_secs_f64(),
        steady: within as f64 / to.saturating_duration_since(from).as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
        readers: readers.into_iter().sum::<Option<Duration>>().map(each),
        server: server_time().zip(server).map(|(after, before)| each(after.saturating_sub(before))),
    })
}

/// What the server's threads have used of the processor so far.
fn server_time() -> Option<Duration> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?.flatten().map(|entry| entry.path());
    let is_server = |path: &PathBuf| {
        std::fs::read_to_string(path.join("comm"))
            .is_ok_and(|name| name.trim_end() == llama_concurrent_server::THREAD_NAME)
    };
    threads.filter(is_server).map(processor_time).sum()
}

fn processor_time(thread: impl AsRef<Path>) -> Option<Duration> {
    let text = std::fs::read_to_string(thread.as_ref().join("schedstat")).ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

fn prompt(index: usize) -> String {
    format!("Once upon a time there was fox number {index}")
}

fn straight(engine: &Engine, tokens: u32, index: usize) -> Result<Vec<Instant>, Failure> {
    let params = SamplingParams::default().max_tokens(tokens).ignore_eos(true);
    let mut times = Vec::new();
    for event in engine.submit(Request::new(prompt(index)).params(params))? {
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
        "POST /completion HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
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
