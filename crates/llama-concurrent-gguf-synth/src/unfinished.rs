//! A file that appears under its name only when it is complete.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use llama_concurrent_gguf::{GgufError, GgufErrorKind, size};

/// The file while it grows, under a name beside its own. Dropped before [`finish`](Unfinished::finish), it is removed.
pub(super) struct Unfinished {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    written: u64,
    total: u64,
}

impl Unfinished {
    /// Begins a file of `total` bytes that shall become `target`.
    pub fn create(target: &Path, total: u64) -> Result<Self, GgufError> {
        let name = match target.file_name() {
            Some(name) if !target.is_dir() => name.to_string_lossy(),
            _ => {
                let message = "this is a directory; give the name of the file to write";
                return Err(GgufError::new(GgufErrorKind::Invalid, target, message));
            }
        };
        // Those left behind by a killed process may have its number.
        let candidates = (0..100).map(|n| target.with_file_name(format!(".{name}.{}-{n}.part", std::process::id())));
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for temporary in candidates {
            match File::create_new(&temporary) {
                Ok(file) => return Ok(Unfinished { file, temporary, target: target.to_owned(), written: 0, total }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(error) => {
                    last = error;
                    break;
                }
            }
        }
        Err(GgufError::io(target, &format!("write {} to", size(total as f64)), last))
    }

    /// Bytes so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    pub fn append(&mut self, bytes: &[u8]) -> Result<(), GgufError> {
        self.file.write_all(bytes).map_err(|error| self.failure(error))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Gives the file its name.
    pub fn finish(self) -> Result<(), GgufError> {
        debug_assert_eq!(self.written, self.total);
        fs::rename(&self.temporary, &self.target).map_err(|error| self.failure(error))
    }

    fn failure(&self, error: io::Error) -> GgufError {
        let action = format!("write more than {} of {} to", size(self.written as f64), size(self.total as f64));
        GgufError::io(&self.target, &action, error)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _ = fs::remove_file(&self.temporary);
    }
}
