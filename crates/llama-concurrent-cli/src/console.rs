//! Text and JSON go to stdout; diagnostics and progress bars to stderr. A closed stdout ends the program, a closed stderr
//! does not.

use std::{
    borrow::Cow,
    io::{IsTerminal, Write, stderr, stdout},
    process::ExitCode,
};

use crossterm::style::Stylize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::{failure::Failure, logging};

/// One line, such as `error: ...`.
pub fn diagnostic(level: &str, message: &str) {
    logging::say(&format!("{level}: {message}"));
}

/// Prints a failure on stderr, and returns the exit code.
pub fn report(failure: Failure) -> ExitCode {
    let (message, code) = match failure {
        Failure::BadInput(message) => (message, 2),
        Failure::Failed(message) => (message, 1),
        Failure::Reported(code) => return code.into(),
        Failure::Interrupted => return 130.into(),
        Failure::OutputClosed => return 0.into(),
    };
    diagnostic("error", &message);
    code.into()
}

/// A progress bar that is drawn only on a terminal. `template` is indicatif's.
pub fn progress_bar(length: u64, template: &str) -> ProgressBar {
    let target = if stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(length), target).with_style(style.progress_chars("━╸─"))
}

/// Prints output of a model as it arrives. Control characters are removed for a terminal: they could rewrite the screen.
pub fn print_growing(text: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    if out.is_terminal() {
        out.write_all(harmless(text).as_bytes())?;
    } else {
        out.write_all(text.as_bytes())?;
    }
    out.flush()?;
    Ok(())
}

/// As [`print_growing`], for a terminal, in a darker colour.
pub fn print_dimmed(text: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    write!(out, "{}", harmless(text).dim())?;
    out.flush()?;
    Ok(())
}

fn harmless(text: &str) -> Cow<'_, str> {
    if text.contains(is_control) { text.replace(is_control, "\u{FFFD}").into() } else { text.into() }
}

fn is_control(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
}

/// Prints anything as one line of JSON.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string(value).map_err(|error| Failure::Failed(format!("cannot write JSON: {error}")))?;
    writeln!(stdout(), "{json}")?;
    Ok(())
}
