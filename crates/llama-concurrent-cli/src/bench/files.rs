//! The requested output files.

use std::{fs, path::Path};

use serde_json::Value;

use crate::failure::Failure;

/// Checks before the measurements that the file can be written at the end.
pub fn expect_writable(file: &Path) -> Result<(), Failure> {
    let is_new = !file.exists();
    let opened = fs::OpenOptions::new().append(true).create(true).open(file);
    opened.map_err(|error| {
        Failure::BadInput(format!("cannot write {}: {error}; give a file in a folder that exists", file.display()))
    })?;
    if is_new {
        // It is written when there are results.
        let _ = fs::remove_file(file);
    }
    Ok(())
}

pub fn write_json(document: &Value, file: &Path) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(document).map_err(|error| Failure::Failed(error.to_string()))?;
    write(&(text + "\n"), file)
}

pub fn write(text: &str, file: &Path) -> Result<(), Failure> {
    fs::write(file, text).map_err(|error| Failure::Failed(format!("cannot write {}: {error}", file.display())))
}
