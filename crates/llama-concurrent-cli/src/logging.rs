//! Messages of the engine and of llama.cpp, on stderr.

use std::{
    io::{self, IsTerminal, Write, stderr},
    sync::OnceLock,
};

use clap::ValueEnum;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt::writer::BoxMakeWriter};

use crate::failure::Failure;

// Words of explanation at the values would make clap spread the whole help over three times as many lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// The engine's warnings about its configuration are left out: they are printed once, as warnings of ours.
const QUIET: &str = "warn,llama_concurrent::engine=error";
/// Messages that may wait for whoever reads stderr; more are lost, and counted.
const WAITING: usize = 8192;

/// Where a server's messages go: a thread of its own writes them, so that a pipe that nobody reads stops no request.
static WRITER: OnceLock<NonBlocking> = OnceLock::new();
static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// What was said is written, if somebody reads it, before this is dropped.
pub struct Log(Option<WorkerGuard>);

impl Log {
    /// Writes what is left.
    pub fn end(self) {
        drop(self.0);
    }
}

/// `level` is what `--log` says. A server `never_waits` for whoever reads its messages.
pub fn start(level: Option<&str>, format: LogFormat, never_waits: bool) -> Result<Log, Failure> {
    let from_environment = std::env::var("LLAMA_CONCURRENT_LOG").ok().filter(|level| !level.trim().is_empty());
    let level = level.map(str::to_owned).or(from_environment);
    let filter = match level.as_deref() {
        None => EnvFilter::new(QUIET),
        Some(level) => parse(level).ok_or_else(|| {
            Failure::BadInput(format!("cannot log at '{level}'; use off, error, warn, info, debug or trace"))
        })?,
    };
    let (writer, log) = if never_waits {
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING).thread_name("log");
        let (writer, guard) = builder.finish(Stderr { format, told: 0 });
        let _ = LOST.set(writer.error_counter());
        let _ = WRITER.set(writer.clone());
        // Also what a panic has to say.
        std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
        (BoxMakeWriter::new(writer), Log(Some(guard)))
    } else {
        (BoxMakeWriter::new(stderr), Log(None))
    };
    let messages = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(format == LogFormat::Text && stderr().is_terminal())
        .log_internal_errors(false);
    match format {
        LogFormat::Text => messages.init(),
        LogFormat::Json => messages.json().init(),
    }
    Ok(log)
}

/// One line on stderr, in its order among the messages. Where it cannot be written, it is left out.
pub fn say(line: &str) {
    let line = format!("{line}\n");
    let _ = match WRITER.get() {
        Some(writer) => writer.clone().write_all(line.as_bytes()),
        None => stderr().write_all(line.as_bytes()),
    };
}

/// What the writing thread writes to. It says when messages were lost before one.
struct Stderr {
    format: LogFormat,
    told: usize,
}

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let lost = LOST.get().map_or(0, ErrorCounter::dropped_lines);
        if lost > self.told {
            let n = lost - self.told;
            self.told = lost;
            let message = format!("{n} messages were lost, as nobody read them in time");
            let _ = match self.format {
                LogFormat::Text => writeln!(stderr(), "warning: {message}"),
                LogFormat::Json => {
                    writeln!(stderr(), "{}", serde_json::json!({"fields": {"message": message}, "level": "WARN"}))
                }
            };
        }
        // A full disk or a closed pipe loses messages and stops nothing.
        let _ = stderr().write_all(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A level, or a filter such as `llama.cpp=trace`. A filter may also be a bare word, which would be a module's name,
/// and here is a slip of the pen.
fn parse(level: &str) -> Option<EnvFilter> {
    let is_filter = level.contains(['=', ',', '[']) || level.parse::<LevelFilter>().is_ok();
    is_filter.then(|| EnvFilter::try_new(level).ok())?
}
