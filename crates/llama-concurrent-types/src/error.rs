//! One error type for the whole engine. Its kinds map one to one to C status codes and Python exceptions.

use std::{fmt, time::Duration};

use llama_concurrent_gguf::{GgufError, GgufErrorKind};

/// What went wrong, as a value that a program can match on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A field of [`EngineConfig`](crate::EngineConfig) is out of range or contradicts another.
    InvalidConfig,
    /// A field of a [`Request`](crate::Request) is out of range.
    InvalidRequest,
    /// Prompt and requested output do not fit into one slot; counts are in tokens.
    PromptTooLong {
        /// Tokens of the prompt, special tokens included.
        n_prompt: usize,
        /// Output tokens that were asked for.
        max_tokens: usize,
        /// Context length of one slot.
        n_ctx: usize,
    },
    /// The model file does not exist or cannot be opened.
    ModelNotFound,
    /// The model file is damaged, cut short or not a GGUF file.
    ModelInvalid,
    /// The model file is sound but this build cannot run it.
    ModelUnsupported,
    /// Weights, KV cache or compute buffers could not be allocated.
    OutOfMemory,
    /// The queue is full.
    Overloaded {
        /// Estimate of when a place becomes free.
        retry_after: Duration,
    },
    /// The model has no chat template.
    NoChatTemplate,
    /// The chat template could not be compiled or rendered.
    ChatTemplate,
    /// The engine is draining or shut down and takes no new requests.
    ShuttingDown,
    /// llama.cpp refused or failed a decode.
    Decode,
    /// Loading was stopped by the progress callback.
    LoadCancelled,
    /// A defect of this library; the engine is unusable afterwards.
    Internal,
}

/// What a kind of error is in each interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interfaces {
    /// The number of its status in C.
    pub c_status: i32,
    /// The name of its exception in Python.
    pub python: &'static str,
    /// The status of an answer over HTTP.
    pub http_status: u16,
    /// The exit code of the command: 2 where the fault lies in what was asked for, 1 where the attempt failed.
    pub exit_code: u8,
}

impl ErrorKind {
    /// The one list of what each kind is where.
    pub fn interfaces(&self) -> Interfaces {
        let row = |c_status, python, http_status, exit_code| Interfaces { c_status, python, http_status, exit_code };
        match self {
            ErrorKind::InvalidConfig => row(3, "InvalidConfig", 500, 2),
            ErrorKind::InvalidRequest => row(4, "InvalidRequest", 400, 2),
            ErrorKind::PromptTooLong { .. } => row(5, "PromptTooLong", 400, 2),
            ErrorKind::ModelNotFound => row(6, "ModelNotFound", 500, 2),
            ErrorKind::ModelInvalid => row(7, "ModelInvalid", 500, 2),
            ErrorKind::ModelUnsupported => row(8, "ModelUnsupported", 500, 2),
            ErrorKind::OutOfMemory => row(9, "OutOfMemory", 500, 1),
            ErrorKind::Overloaded { .. } => row(10, "Overloaded", 429, 1),
            ErrorKind::NoChatTemplate => row(11, "NoChatTemplate", 400, 2),
            ErrorKind::ChatTemplate => row(12, "ChatTemplateError", 400, 2),
            ErrorKind::ShuttingDown => row(13, "ShuttingDown", 503, 1),
            ErrorKind::Decode => row(14, "DecodeError", 500, 1),
            ErrorKind::LoadCancelled => row(15, "LoadCancelled", 500, 1),
            ErrorKind::Internal => row(16, "InternalError", 500, 1),
        }
    }
}

/// An error with its kind and a sentence that says what was asked, which limit applied and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of a kind, with a message for a person: what was asked, which limit applied, what to change.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The kind, for programs.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The estimate of when to try again, where the cause is a full queue.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.kind {
            ErrorKind::Overloaded { retry_after } => Some(retry_after),
            _ => None,
        }
    }
}

impl From<GgufError> for Error {
    fn from(error: GgufError) -> Self {
        let kind = match error.kind() {
            GgufErrorKind::NotFound | GgufErrorKind::Io => ErrorKind::ModelNotFound,
            GgufErrorKind::Unsupported => ErrorKind::ModelUnsupported,
            _ => ErrorKind::ModelInvalid,
        };
        Self::new(kind, error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
