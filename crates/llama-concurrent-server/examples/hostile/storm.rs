//! Clients that send what the mutator makes, and one that asks for `/health` all along.

use std::{
    collections::BTreeMap,
    fmt,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::mutate::{Framing, Mutator};

const CLIENTS: usize = 8;
/// A request without an answer by then hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is no whole request may be waited for until its time is over; nobody waits here.
const GLANCE: Duration = Duration::from_millis(2);

#[derive(Default)]
pub(crate) struct Report {
    pub(crate) requests: usize,
    pub(crate) statuses: BTreeMap<u16, usize>,
    /// Beginnings of requests that got no answer in time.
    pub(crate) hangs: Vec<String>,
    /// Of some requests that were answered with a fault of the server.
    pub(crate) faults: Vec<String>,
    /// Connections that could not be made.
    pub(crate) unreachable: usize,
    pub(crate) health: usize,
    pub(crate) health_worst: Duration,
}

impl Report {
    pub(crate) fn add(&mut self, other: Report) {
        self.requests += other.requests;
        for (status, n) in other.statuses {
            *self.statuses.entry(status).or_default() += n;
        }
        self.hangs.extend(other.hangs);
        self.faults.extend(other.faults);
        self.faults.truncate(20);
        self.unreachable += other.unreachable;
        self.health += other.health;
        self.health_worst = self.health_worst.max(other.health_worst);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} requests, {} without an answer", self.requests, self.hangs.len())?;
        writeln!(f, "answers by status, 0 is a connection closed without one: {:?}", self.statuses)?;
        writeln!(f, "{} times /health, the worst took {} ms", self.health, self.health_worst.as_millis())?;
        for (what, list) in [("no answer", &self.hangs), ("a fault", &self.faults)] {
            list.iter().try_for_each(|request| writeln!(f, "{what}: {request:?}"))?;
        }
        write!(f, "{} times the server could not be reached", self.unreachable)
    }
}

/// Sends `count` requests, the same for the same seed.
pub(crate) fn storm(address: SocketAddr, count: usize, seed: u64) -> Report {
    let ended = AtomicBool::new(false);
    let mut whole = Report::default();
    thread::scope(|scope| {
        let probe = scope.spawn(|| probe(address, &ended));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let seed = seed.wrapping_mul(1000).wrapping_add(client as u64);
                scope.spawn(move || send(address, count / CLIENTS, Mutator::new(seed)))
            })
            .collect();
        clients.into_iter().for_each(|client| whole.add(client.join().expect("a client")));
        ended.store(true, Ordering::Relaxed);
        whole.add(probe.join().expect("the probe"));
    });
    whole
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    let connection = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    connection.set_read_timeout(Some(PATIENCE)).ok()?;
    connection.set_write_timeout(Some(PATIENCE)).ok()?;
    connection.set_nodelay(true).ok()?;
    Some(connection)
}

/// Asks for `/health` until the storm is over.
fn probe(address: SocketAddr, ended: &AtomicBool) -> Report {
    let mut report = Report::default();
    while !ended.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let request = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let answer = connect(address).and_then(|mut connection| {
            connection.write_all(request).ok()?;
            read_answer(&mut connection)
        });
        match answer {
            Some((200, _)) => report.health += 1,
            _ => report.hangs.push(format!("/health: {:?}", answer.map(|(status, _)| status))),
        }
        report.health_worst = report.health_worst.max(begin.elapsed());
        thread::sleep(Duration::from_millis(20));
    }
    report
}

fn send(address: SocketAddr, count: usize, mut mutator: Mutator) -> Report {
    let mut report = Report::default();
    let mut kept = None;
    while report.requests < count {
        report.requests += 1;
        let (request, framing) = mutator.request();
        let Some(mut connection) = kept.take().or_else(|| connect(address)) else {
            report.unreachable += 1;
            return report;
        };
        let begin = || String::from_utf8_lossy(&request[..request.len().min(2000)]).into_owned();
        // The server may close while this is sent.
        let sent = connection.write_all(&request);
        match framing {
            Framing::Whole => match read_answer(&mut connection) {
                Some((status, keeps)) => {
                    *report.statuses.entry(status).or_default() += 1;
                    if status >= 500 && ![501, 503].contains(&status) {
                        report.faults.push(format!("{status}: {}", begin()));
                    }
                    kept = (keeps && sent.is_ok()).then_some(connection);
                }
                None => report.hangs.push(begin()),
            },
            // It may wait for more, for as long as it wants; something to read is taken as an answer.
            Framing::Broken { half_close } => {
                if half_close {
                    let _ = connection.shutdown(Shutdown::Write);
                }
                let _ = connection.set_read_timeout(Some(GLANCE));
                let mut part = [0; 1024];
                let n = connection.read(&mut part).unwrap_or(0);
                let text = String::from_utf8_lossy(&part[..n]);
                let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
                *report.statuses.entry(status).or_default() += 1;
                if status >= 500 && ![501, 503].contains(&status) {
                    report.faults.push(format!("{status}: {}", begin()));
                }
            }
        }
    }
    report
}

/// Status of an answer that was read to its end, 0 for a connection that was closed without one, and whether the connection goes
/// on. `None` if it does not come in time.
fn read_answer(connection: &mut TcpStream) -> Option<(u16, bool)> {
    let mut bytes = Vec::new();
    let mut part = [0; 16 << 10];
    loop {
        match connection.read(&mut part) {
            Ok(0) => return Some((status(&bytes), false)),
            Ok(n) => bytes.extend_from_slice(&part[..n]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
            Err(_) => return Some((status(&bytes), false)),
        }
        let Some(head) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
        let body = &bytes[head + 4..];
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
        let whole = match length {
            Some(length) => body.len() >= length,
            None => text.contains("transfer-encoding: chunked") && body.ends_with(b"0\r\n\r\n"),
        };
        if whole {
            return Some((status(&bytes), !text.contains("connection: close")));
        }
    }
}

fn status(bytes: &[u8]) -> u16 {
    String::from_utf8_lossy(&bytes[..bytes.len().min(20)])
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}
