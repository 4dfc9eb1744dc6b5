//! What can be wrong with a model file, told to the person who named it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The cause of a [`GgufError`], for callers that map it to a status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GgufErrorKind {
    /// There is no file at that path.
    NotFound,
    /// The operating system refused to open, read or write the file.
    Io,
    /// The file exists and is something else than GGUF.
    NotGguf,
    /// The file ends before the data that its header promises.
    Truncated,
    /// A sound file that this build does not run: another version, architecture, tensor type or kind of content.
    Unsupported,
    /// The contents contradict themselves: the file is damaged or was written wrongly.
    Invalid,
}

/// Why a file cannot be used, with its path. The text of [`Display`](fmt::Display) is meant for a person.
#[derive(Debug)]
pub struct GgufError {
    kind: GgufErrorKind,
    path: PathBuf,
    message: String,
    source: Option<io::Error>,
}

impl GgufError {
    /// The cause.
    pub fn kind(&self) -> GgufErrorKind {
        self.kind
    }

    /// The file concerned; for a split model, the part concerned.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text without the path.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What is wrong with the file at `path`, in words that follow it.
    pub fn new(kind: GgufErrorKind, path: &Path, message: impl Into<String>) -> Self {
        GgufError { kind, path: path.to_owned(), message: message.into(), source: None }
    }

    /// An error of the operating system, met while doing `action` (`"read"`, `"write 3 GiB to"`).
    pub fn io(path: &Path, action: &str, error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => GgufErrorKind::NotFound,
            _ => GgufErrorKind::Io,
        };
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "; check the spelling and the working directory",
            io::ErrorKind::PermissionDenied => "; check the permissions of the file and of its directory",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "; free some space or choose another directory"
            }
            _ => "",
        };
        GgufError {
            kind,
            path: path.to_owned(),
            message: format!("cannot {action} it: {error}{advice}"),
            source: Some(error),
        }
    }
}

impl fmt::Display for GgufError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.message)
    }
}

impl std::error::Error for GgufError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| e as &(dyn std::error::Error + 'static))
    }
}

/// A [`GgufError`] before anybody has said which file it concerns.
#[derive(Debug)]
pub(super) struct Problem {
    kind: GgufErrorKind,
    message: String,
    source: Option<io::Error>,
}

impl Problem {
    fn new(kind: GgufErrorKind, message: impl Into<String>) -> Self {
        Problem { kind, message: message.into(), source: None }
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(GgufErrorKind::NotFound, message)
    }

    pub fn not_gguf(message: impl Into<String>) -> Self {
        Self::new(GgufErrorKind::NotGguf, message)
    }

    pub fn truncated(message: impl Into<String>) -> Self {
        Self::new(GgufErrorKind::Truncated, message)
    }

    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(GgufErrorKind::Unsupported, message)
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(GgufErrorKind::Invalid, message)
    }

    pub fn read(error: io::Error) -> Self {
        Problem { kind: GgufErrorKind::Io, message: format!("cannot read it: {error}"), source: Some(error) }
    }

    pub fn at(self, path: &Path) -> GgufError {
        GgufError { kind: self.kind, path: path.to_owned(), message: self.message, source: self.source }
    }
}
