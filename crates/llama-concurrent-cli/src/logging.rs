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

/// The engine's warnings about its configuration are omitted: they are printed once, as warnings of this program.
const QUIET: &str = "warn,llama_concurrent::engine=error";
/// Maximum pending messages; further ones are dropped and counted.
const WAITING: usize = 8192;

/// The log of a server is written on its own thread, so that a pipe that is not read blocks no request.
static WRITER: OnceLock<NonBlocking> = OnceLock::new();
static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// Dropping it flushes pending messages, unless stderr is blocked.
pub struct Log(Option<WorkerGuard>);

impl Log {
    /// Flushes pending messages.
    pub fn end(self) {
        drop(self.0);
    }
}

/// `level` is the value of `--log`. With `never_waits`, as for a server, writing never blocks.
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
        let (writer, guard) = builder.finish(Stderr { format, lost_reported: 0 });
        let _ = LOST.set(writer.error_counter());
        let _ = WRITER.set(writer.clone());
        // Includes the messages of panics.
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

/// Prints a line on stderr, in order with the messages. Errors are ignored.
pub fn say(line: &str) {
    let line = format!("{line}\n");
    let _ = match WRITER.get() {
        Some(writer) => writer.clone().write_all(line.as_bytes()),
        None => stderr().write_all(line.as_bytes()),
    };
}

/// The output of the writing thread. It reports lost messages before the next one.
struct Stderr {
    format: LogFormat,
    lost_reported: usize,
}

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let lost = LOST.get().map_or(0, ErrorCounter::dropped_lines);
        if lost > self.lost_reported {
            let n = lost - self.lost_reported;
            self.lost_reported = lost;
            let message = format!("{n} messages were lost because stderr was not read in time");
            let _ = match self.format {
                LogFormat::Text => writeln!(stderr(), "warning: {message}"),
                LogFormat::Json => {
                    writeln!(stderr(), "{}", serde_json::json!({"fields": {"message": message}, "level": "WARN"}))
                }
            };
        }
        // On a full disk or a closed pipe, messages are lost without an error.
        let _ = stderr().write_all(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A level, or a filter such as `llama.cpp=trace`. A bare word that is not a level would be a filter for a module of that
/// name; here it is treated as a mistake.
fn parse(level: &str) -> Option<EnvFilter> {
    let is_filter = level.contains(['=', ',', '[']) || level.parse::<LevelFilter>().is_ok();
    is_filter.then(|| EnvFilter::try_new(level).ok())?
}
