//! `serve` as a process: its signals, and what is wrong with the world around it.

use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::command;

/// For what must happen, but not at once.
const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts one, prepared by `prepare`, and waits until it answers.
    fn start(args: &[&str], prepare: impl Fn(Command) -> Command) -> Self {
        // Free a moment ago; whoever takes it in between makes the process end, and another one is tried.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let port_text = port.to_string();
            let all = [&["serve", "--threads", "1", "--slots", "2", "--port", &port_text], args].concat();
            let mut child = prepare(command(&all)).stdin(Stdio::null()).spawn().expect("the program starts");
            let begin = Instant::now();
            while begin.elapsed() < PATIENCE && child.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { child, port };
                }
                sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("the server does not start");
    }

    fn connect(&self) -> TcpStream {
        let connection = TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens");
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection
    }

    fn health(&self) -> String {
        let mut connection = self.connect();
        connection.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).expect("/health is answered");
        text
    }

    /// Asks `n` times over one connection, some requests behind each other.
    fn ask(&self, n: usize) {
        let mut connection = self.connect();
        let request = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let mut left = n;
        while left > 0 {
            let some = left.min(100);
            connection.write_all(&request.repeat(some)).unwrap();
            let mut answers = Vec::new();
            while answers.windows(4).filter(|end| end == b"\r\n\r\n").count() < some || !answers.ends_with(b"}") {
                let mut part = [0; 64 << 10];
                let read = connection.read(&mut part).expect("/health is answered");
                assert!(read > 0, "the connection stays");
                answers.extend_from_slice(&part[..read]);
            }
            left -= some;
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// The exit code, once it has ended.
    fn code(&mut self) -> Option<i32> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begin.elapsed() < PATIENCE, "the process does not end");
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn quiet(mut command: Command) -> Command {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn a_signal_ends_it_in_order_and_a_second_one_at_once() {
    let mut server = Server::start(&[], quiet);
    assert!(server.health().starts_with("HTTP/1.1 200"));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(0));

    let mut server = Server::start(&["--drain-timeout", "3600"], quiet);
    // It reads nothing, so it never ends by itself.
    let mut stream = server.connect();
    let body = r#"{"prompt":["A","B","C","D","E","F","G","H"],"n_predict":900,"ignore_eos":true,"stream":true,"n_probs":100,"n":8}"#;
    let head = "POST /completion HTTP/1.1\r\nhost: localhost\r\ncontent-length:";
    stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
    server.signal(Signal::SIGINT);
    // Once nobody listens, the first one has been heard.
    let begin = Instant::now();
    while TcpStream::connect(("127.0.0.1", server.port)).is_ok() {
        assert!(begin.elapsed() < PATIENCE, "it listens on");
        sleep(Duration::from_millis(10));
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(130));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_under_its_messages_stops_nothing() {
    for args in [&["--log", "trace"][..], &["--log", "trace", "--log-format", "json"]] {
        let mut server = Server::start(args, |mut command| {
            let full = || File::options().write(true).open("/dev/full").unwrap();
            command.stdout(full()).stderr(full());
            command
        });
        assert!(server.health().starts_with("HTTP/1.1 200"));
        server.signal(Signal::SIGTERM);
        assert_eq!(server.code(), Some(0));
    }
}

#[test]
fn messages_that_nobody_reads_stop_nothing() {
    let mut server = Server::start(&["--log", "info"], |mut command| {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    });
    // Some 200 bytes of a message each, and a pipe holds 64 KiB.
    server.ask(2000);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(0), "it does not wait for a reader at its end either");
}

#[test]
fn messages_that_are_lost_are_counted() {
    for (format, told) in [("text", "warning: "), ("json", "{\"fields\":")] {
        let mut server = Server::start(&["--log", "info", "--log-format", format], |mut command| {
            command.stdout(Stdio::null()).stderr(Stdio::piped());
            command
        });
        // More than may wait.
        server.ask(12_000);
        let mut messages = server.child.stderr.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            messages.read_to_string(&mut text).map(|_| text)
        });
        server.ask(1);
        server.signal(Signal::SIGTERM);
        assert_eq!(server.code(), Some(0));
        let text = reader.join().unwrap().unwrap();
        let lost = text.lines().find(|line| line.contains("messages were lost"));
        assert!(lost.is_some_and(|line| line.starts_with(told)), "{lost:?} of {} bytes", text.len());
    }
}

#[test]
fn idle_connections_leave_room_within_the_limit_of_open_files() {
    for limit in [64, 256] {
        let server = Server::start(&[], |whole| {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\"")]);
            command.arg(whole.get_program()).args(whole.get_args());
            for (name, value) in whole.get_envs() {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            quiet(command)
        });
        let idle: Vec<_> = (0..limit + 10).map(|_| server.connect()).collect();
        for _ in 0..3 {
            let answer = server.health();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        drop(idle);
    }
}
