//! One error type for the whole engine. Its kinds map one to one to C status codes and Python exceptions.

use std::{fmt, time::Duration};

use llama_concurrent_gguf::{GgufError, GgufErrorKind};

/// What a kind of error is in each interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interfaces {
    /// The name of the kind, in Rust and of its status in C.
    pub name: &'static str,
    /// What went wrong.
    pub doc: &'static str,
    /// Whether numbers come with it.
    pub has_numbers: bool,
    /// The number of its status in C.
    pub c_status: i32,
    /// The words for this status.
    pub c_name: &'static str,
    /// The name of its exception in Python.
    pub python: &'static str,
    /// The status of an answer over HTTP.
    pub http_status: u16,
    /// The exit code of the command: 2 where the fault lies in what was asked for, 1 where the attempt failed.
    pub exit_code: u8,
}

macro_rules! kinds {
    ($(
        $(#[doc = $doc:literal])+
        $kind:ident $({ $($(#[doc = $of_number:literal])+ $number:ident: $type:ty,)+ })?
            = $c_status:literal $c_name:literal, $python:literal, $http_status:literal, $exit_code:literal;
    )+) => {
        /// What went wrong, as a value that a program can match on.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $( $(#[doc = $doc])+ $kind $({ $($(#[doc = $of_number])+ $number: $type,)+ })?, )+
        }

        impl ErrorKind {
            /// What each kind is in each interface, in the order of the documentation.
            pub const ALL: &'static [Interfaces] = &[$(Interfaces {
                name: stringify!($kind),
                doc: concat!($($doc),+).trim_ascii(),
                has_numbers: !<[&str]>::is_empty(&[$($(stringify!($number)),+)?]),
                c_status: $c_status,
                c_name: $c_name,
                python: $python,
                http_status: $http_status,
                exit_code: $exit_code,
            },)+];

            /// What this kind is in each interface.
            pub fn interfaces(&self) -> Interfaces {
                let name = match self {
                    $(ErrorKind::$kind { .. } => stringify!($kind),)+
                };
                *Self::ALL.iter().find(|kind| kind.name == name).expect("each kind is in the list")
            }
        }
    };
}

// The number and the words of the status in C, the exception in Python, the status over HTTP, the exit code.
kinds! {
    /// A setting of the engine is out of range or contradicts another.
    InvalidConfig = 3 "invalid configuration", "InvalidConfig", 500, 2;
    /// The prompt, a message or a parameter of the request is out of range.
    InvalidRequest = 4 "invalid request", "InvalidRequest", 400, 2;
    /// Prompt and requested output do not fit into one slot.
    PromptTooLong {
        /// Tokens of the prompt, special tokens included.
        n_prompt: usize,
        /// Output tokens that were asked for.
        max_tokens: usize,
        /// Context length of one slot.
        n_ctx: usize,
    } = 5 "prompt too long", "PromptTooLong", 400, 2;
    /// The model file does not exist or cannot be opened.
    ModelNotFound = 6 "model not found", "ModelNotFound", 500, 2;
    /// The model file is damaged, cut short or not a GGUF file.
    ModelInvalid = 7 "invalid model file", "ModelInvalid", 500, 2;
    /// The model file is sound, but this build cannot run it.
    ModelUnsupported = 8 "unsupported model", "ModelUnsupported", 500, 2;
    /// Memory for weights, KV cache, buffers or threads could not be allocated.
    OutOfMemory = 9 "out of memory", "OutOfMemory", 500, 1;
    /// The queue is full.
    Overloaded {
        /// Estimate of when a place becomes free.
        retry_after: Duration,
    } = 10 "overloaded", "Overloaded", 429, 1;
    /// The model has no chat template.
    NoChatTemplate = 11 "no chat template", "NoChatTemplate", 400, 2;
    /// The chat template could not be compiled or rendered.
    ChatTemplate = 12 "chat template failed", "ChatTemplateError", 400, 2;
    /// The engine is draining or shut down and takes no new requests.
    ShuttingDown = 13 "shutting down", "ShuttingDown", 503, 1;
    /// llama.cpp refused or failed a computation.
    Decode = 14 "decode failed", "DecodeError", 500, 1;
    /// The progress callback stopped the load.
    LoadCancelled = 15 "load cancelled", "LoadCancelled", 500, 1;
    /// A bug in this library; load the engine again.
    Internal = 16 "internal error", "InternalError", 500, 1;
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
