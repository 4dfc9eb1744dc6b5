//! Why the program ends without having done what was asked, and with which exit code.

use std::io;

use llama_concurrent::{Error, ErrorKind};
use llama_concurrent_gguf::GgufError;

#[derive(Debug)]
pub enum Failure {
    /// What was asked for cannot be done, as with a wrong flag: exit code 2.
    BadInput(String),
    /// It could be done and went wrong: exit code 1.
    Failed(String),
    /// As the two above, where the reasons were printed already.
    Told(u8),
    /// Ctrl-C: 130, as shells expect.
    Interrupted,
    /// Nobody reads the output any more (`| head`): a quiet end, and no failure.
    OutputClosed,
}

/// Whether an error lies in what was asked for, as opposed to: in the attempt.
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

/// Of writing to stdout; what is read names its file in its own message.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Failed(format!("cannot write the output: {error}")),
        }
    }
}
