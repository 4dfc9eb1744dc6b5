//! Outcomes as text: plain for one prompt, each under its prompt for several.

use std::io::{IsTerminal, Write, stdout};

use crossterm::style::Stylize;

use super::job::Answer;
use crate::{console::print_growing, failure::Failure};

/// Characters of a prompt in the line above its text.
const SHOWN: usize = 70;

/// The text of one request, printed as it arrives, or at the end.
pub struct Output<'a> {
    index: usize,
    total: usize,
    prompt: &'a str,
    /// Bytes of the text on the screen; `None` before the line above it.
    printed: Option<usize>,
    ends_line: bool,
}

impl<'a> Output<'a> {
    pub fn new(index: usize, total: usize, prompt: &'a str) -> Self {
        Self { index, total, prompt, printed: None, ends_line: false }
    }

    pub fn grow(&mut self, delta: &str) -> Result<(), Failure> {
        if delta.is_empty() {
            return Ok(());
        }
        let before = self.start()?;
        print_growing(delta)?;
        self.printed = Some(before + delta.len());
        self.ends_line = delta.ends_with('\n');
        Ok(())
    }

    /// Prints what is missing.
    pub fn finish(&mut self, answer: &Answer) -> Result<(), Failure> {
        let printed = self.start()?;
        self.grow(answer.text.get(printed..).unwrap_or_default())?;
        if !self.ends_line {
            writeln!(stdout())?;
        }
        Ok(())
    }

    /// Prints the line above the text unless it was printed. Returns how much of the text was printed.
    fn start(&mut self) -> Result<usize, Failure> {
        if let Some(printed) = self.printed {
            return Ok(printed);
        }
        if self.total > 1 {
            let blank = if self.index > 0 { "\n" } else { "" };
            let title = format!("── {}/{} ── {}", self.index + 1, self.total, shorten(self.prompt));
            match stdout().is_terminal() {
                true => writeln!(stdout(), "{blank}{}", title.bold())?,
                false => writeln!(stdout(), "{blank}{title}")?,
            }
        }
        self.printed = Some(0);
        Ok(0)
    }
}

/// The beginning of a text, on one line.
fn shorten(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
