//! Input of messages: a line editor on a terminal, plain lines otherwise.

use std::io::{BufRead, BufReader, IsTerminal, stdin};

use rustyline::{DefaultEditor, error::ReadlineError};

use crate::{failure::Failure, prompt_lines::Lines};

pub enum Input {
    Editor(Box<DefaultEditor>),
    Lines(Lines<Box<dyn BufRead>>),
}

impl Input {
    pub fn open() -> Result<Self, Failure> {
        if !stdin().is_terminal() {
            return Ok(Input::Lines(Lines::new("stdin", Box::new(BufReader::new(stdin())))));
        }
        let editor =
            DefaultEditor::new().map_err(|error| Failure::Failed(format!("cannot use the terminal: {error}")))?;
        Ok(Input::Editor(Box::new(editor)))
    }

    pub fn is_interactive(&self) -> bool {
        matches!(self, Input::Editor(_))
    }

    /// The next message; `None` at the end of the input, and at Ctrl-C or Ctrl-D.
    pub fn read(&mut self) -> Result<Option<String>, Failure> {
        match self {
            Input::Lines(lines) => lines.next().map(|line| line.map(|(_, line)| line)).transpose(),
            Input::Editor(editor) => match editor.readline("> ") {
                Ok(line) => {
                    // A line missing from the editor's history is not an error.
                    let _ = editor.add_history_entry(&line);
                    Ok(Some(line))
                }
                Err(ReadlineError::Interrupted | ReadlineError::Eof) => Ok(None),
                Err(error) => Err(Failure::Failed(format!("cannot read from the terminal: {error}"))),
            },
        }
    }
}
