//! Failures of the program, and their exit codes.

use std::io;

use llama_concurrent::{Error, ErrorKind};
use llama_concurrent_gguf::GgufError;

#[derive(Debug)]
pub enum Failure {
    /// Invalid input, such as a wrong flag: exit code 2.
    BadInput(String),
    /// A failure with valid input: exit code 1.
    Failed(String),
    /// One of the above, with the reasons already printed.
    Reported(u8),
    /// Ctrl-C: 130, as shells expect.
    Interrupted,
    /// The output was closed (`| head`): ends silently, without failure.
    OutputClosed,
}

/// Whether an error is caused by the input, not by the execution.
pub fn is_bad_input(kind: &ErrorKind) -> bool {
    kind.interfaces().exit_code == 2
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if is_bad_input(error.kind()) {
            Failure::BadInput(error.to_string())
        } else {
            Failure::Failed(error.to_string())
        }
    }
}

impl From<GgufError> for Failure {
    fn from(error: GgufError) -> Self {
        Failure::from(Error::from(error))
    }
}

/// For writing to stdout; errors of reading name their file in their own message.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Failed(format!("cannot write the output: {error}")),
        }
    }
}
