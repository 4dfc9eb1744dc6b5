//! Messages of the engine and of llama.cpp, on stderr.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::{failure::Failure, serve::LogFormat};

/// The engine's warnings about its configuration are left out: they are printed once, as warnings of ours.
const QUIET: &str = "warn,llama_concurrent::engine=error";

/// `level` is what `--log` says.
pub fn start(level: Option<&str>, format: LogFormat) -> Result<(), Failure> {
    let from_environment = std::env::var("LLAMA_CONCURRENT_LOG").ok().filter(|level| !level.trim().is_empty());
    let level = level.map(str::to_owned).or(from_environment);
    let filter = match level.as_deref() {
        None => EnvFilter::new(QUIET),
        Some(level) => parse(level).ok_or_else(|| {
            Failure::BadInput(format!("cannot log at '{level}'; use off, error, warn, info, debug or trace"))
        })?,
    };
    let messages = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(format == LogFormat::Text && stderr().is_terminal())
        .log_internal_errors(false);
    match format {
        LogFormat::Text => messages.init(),
        LogFormat::Json => messages.json().init(),
    }
    Ok(())
}

/// A level, or a filter such as `llama.cpp=trace`. A filter may also be a bare word, which would be a module's name,
/// and here is a slip of the pen.
fn parse(level: &str) -> Option<EnvFilter> {
    let is_filter = level.contains(['=', ',', '[']) || level.parse::<LevelFilter>().is_ok();
    is_filter.then(|| EnvFilter::try_new(level).ok())?
}
