//! An answer on the terminal: thoughts and calls dimmed. Where stdout is none, they go to stderr, and the content alone to
//! stdout.

use std::io::{IsTerminal, Write, stderr, stdout};

use llama_concurrent::ReplyEvent;

use crate::{console, failure::Failure};

/// What was printed last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    Content,
    Thought,
    Call,
}

pub struct Printer {
    last: Last,
    on_terminal: bool,
}

impl Printer {
    pub fn new() -> Self {
        Self { last: Last::Nothing, on_terminal: stdout().is_terminal() }
    }

    pub fn print(&mut self, piece: &ReplyEvent) -> Result<(), Failure> {
        match piece {
            ReplyEvent::Content(text) => {
                self.turn(Last::Content)?;
                console::print_growing(text)
            }
            ReplyEvent::Reasoning(text) => {
                self.turn(Last::Thought)?;
                self.aside(text)
            }
            ReplyEvent::CallStart { name, .. } => {
                self.turn(Last::Call)?;
                self.aside(&format!("{name} "))
            }
            ReplyEvent::Arguments { json, .. } => self.aside(json),
            _ => Ok(()),
        }
    }

    /// The result of a call, on a line of its own.
    pub fn result(&self, text: &str) -> Result<(), Failure> {
        self.aside(&format!("{text}\n"))
    }

    pub fn end(&self) -> Result<(), Failure> {
        self.new_line(self.last)
    }

    /// Begins a new line where something else was printed before; each call has its own.
    fn turn(&mut self, next: Last) -> Result<(), Failure> {
        if self.last != Last::Nothing && (self.last != next || next == Last::Call) {
            self.new_line(self.last)?;
        }
        self.last = next;
        Ok(())
    }

    fn new_line(&self, after: Last) -> Result<(), Failure> {
        match after {
            Last::Thought | Last::Call if !self.on_terminal => self.aside("\n"),
            _ => Ok(writeln!(stdout())?),
        }
    }

    fn aside(&self, text: &str) -> Result<(), Failure> {
        if self.on_terminal {
            return console::print_dimmed(text);
        }
        // A stderr that nobody reads is no reason to end.
        let _ = stderr().write_all(text.as_bytes());
        Ok(())
    }
}
