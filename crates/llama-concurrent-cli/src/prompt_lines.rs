//! Reads prompts from the lines of a file or of stdin, with line numbers for error messages.

use std::{
    fs::File,
    io::{BufRead, BufReader, stdin},
    path::Path,
};

use crate::failure::Failure;

/// Reads `path` line by line, or stdin if it is `-`.
pub fn read(path: &Path) -> Result<Lines<Box<dyn BufRead>>, Failure> {
    if path.as_os_str() == "-" {
        return Ok(Lines::new("stdin", Box::new(BufReader::new(stdin()))));
    }
    let name = path.display().to_string();
    match File::open(path) {
        Ok(_) if path.is_dir() => {
            Err(Failure::BadInput(format!("{name}: this is a directory; give a file of prompts")))
        }
        Ok(file) => Ok(Lines::new(&name, Box::new(BufReader::new(file)))),
        Err(error) => Err(Failure::BadInput(format!("{name}: cannot open it: {error}"))),
    }
}

/// Iterates over `(number, line)`, from 1, without line ends.
pub struct Lines<R> {
    source: String,
    reader: R,
    number: usize,
}

impl<R: BufRead> Lines<R> {
    pub fn new(source: &str, reader: R) -> Self {
        Self { source: source.to_owned(), reader, number: 0 }
    }

    /// The source: a file's name, or `stdin`.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// An error in a line of this source.
    pub fn error(&self, number: usize, what: impl std::fmt::Display) -> Failure {
        Failure::BadInput(format!("{}, line {number}: {what}", self.source))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<(usize, String), Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(_) => self.number += 1,
            Err(error) => return Some(Err(Failure::BadInput(format!("{}: cannot read it: {error}", self.source)))),
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = if self.number == 1 { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) } else { line };
        Some(check(line).map(|line| (self.number, line)).map_err(|what| self.error(self.number, what)))
    }
}

fn check(line: &[u8]) -> Result<String, String> {
    if let Some(at) = line.iter().position(|&byte| byte == 0) {
        return Err(format!("byte {} is NUL; prompts are text (is this a binary or a UTF-16 file?)", at + 1));
    }
    String::from_utf8(line.to_vec()).map_err(|error| {
        format!("byte {} is not valid UTF-8; convert the text to UTF-8", error.utf8_error().valid_up_to() + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Result<Vec<(usize, String)>, String> {
        let text = |failure| match failure {
            Failure::BadInput(message) => message,
            other => panic!("{other:?}"),
        };
        Lines::new("p.txt", bytes).collect::<Result<_, _>>().map_err(text)
    }

    #[test]
    fn line_ends_and_byte_order_marks_are_no_text() {
        let expected = vec![(1, "a".to_owned()), (2, String::new()), (3, "b".to_owned())];
        assert_eq!(lines(b"\xEF\xBB\xBFa\r\n\nb").unwrap(), expected);
        assert_eq!(lines(b"").unwrap(), []);
    }

    #[test]
    fn what_is_no_text_is_named_by_line() {
        assert!(lines(b"a\nb\0c\n").unwrap_err().starts_with("p.txt, line 2: byte 2 is NUL"));
        assert!(lines(b"a\n\nx\xFF\n").unwrap_err().starts_with("p.txt, line 3: byte 2 is not valid UTF-8"));
    }
}
