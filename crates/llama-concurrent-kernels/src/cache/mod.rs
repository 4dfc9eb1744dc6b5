//! Packed weights kept in a file, so that the next load of the same model maps them instead of packing again.
//!
//! A [`PackCache`] exists on a thread while llama.cpp loads one model on it. Weights whose packed form is in the file are
//! not packed again, and their pages are shared with every process that maps the file. Weights that are missing or damaged
//! are packed as usual, and [`PackCache::finish`] writes a new file.
//!
//! A changed model is never served from an old file. Each packed weight is stored with a hash of its source, and these are
//! compared, which reads the model. The model is not read only if a [`Model::stamp`] shows that it has not been written to
//! since.

#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // There are no kernels, and so no weights to keep.

mod file;
mod hash;
mod memory;
mod model;
mod session;
mod weight;

use std::{
    io,
    marker::PhantomData,
    path::{Path, PathBuf},
};

pub use hash::of as hash_of;
#[cfg(target_arch = "x86_64")]
pub(crate) use memory::Memory;
pub use model::Model;
use session::{Session, with_active};
#[cfg(target_arch = "x86_64")]
pub(crate) use session::{allocate, leaves_model_unread, load_or_pack};
#[cfg(target_arch = "x86_64")]
pub(crate) use weight::Weight;

/// The outcome of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// All packed weights were in the file.
    Mapped,
    /// Some were missing; the file was written.
    Written,
    /// Some were damaged and packed from the model; the file was rewritten.
    Repaired,
    /// No weight was packed: there are no kernels, or none for this model.
    Nothing,
    /// The caller stopped the writing; no file was written.
    Stopped,
}

/// The file of packed weights of the model that this thread loads.
#[derive(Debug)]
pub struct PackCache {
    path: PathBuf,
    model: Model,
    warning: Option<String>,
    replaceable: bool,
    /// The session belongs to the thread.
    _of_this_thread: PhantomData<*const ()>,
}

impl PackCache {
    /// Opens the file, if there is one, for the model that this thread loads next. A file that cannot be used is
    /// described by [`PackCache::warning`], and replaced at the end.
    pub fn begin(path: &Path, model: Model) -> Self {
        let (found, fault) = match file::open(path, &model) {
            Ok(found) => (found, None),
            Err(fault) => (None, Some(fault)),
        };
        with_active(|active| *active = Some(Session::new(found, model.stamp)));
        Self {
            path: path.to_owned(),
            model,
            replaceable: fault.as_ref().is_none_or(|fault| fault.replaceable),
            warning: fault.map(|fault| format!("the packed weights in {} are not used: {fault}", path.display())),
            _of_this_thread: PhantomData,
        }
    }

    /// Why the file, if there is one, is not used.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Whether a file for this model was found that seems intact.
    pub fn is_found(&self) -> bool {
        with_active(|active| active.as_ref().is_some_and(Session::has_found))
    }

    /// Writes the file after the model was loaded, if weights had to be packed. `progress` gets the fraction that has been
    /// written, and stops the writing by returning false.
    ///
    /// # Errors
    /// A message, such as that the folder is not writable or the disk is full. The loaded model is not affected.
    pub fn finish(self, progress: &mut dyn FnMut(f32) -> bool) -> Result<Outcome, String> {
        let Some(session) = with_active(Option::take) else { return Ok(Outcome::Nothing) };
        if session.is_empty() {
            return Ok(Outcome::Nothing);
        }
        if session.is_complete() {
            if self.model.stamp.is_some() && !session.is_trusted() {
                // Every weight was compared. If the file is not writable, the next load compares again.
                let _ = file::restamp(&self.path, self.model);
            }
            return Ok(Outcome::Mapped);
        }
        if !self.replaceable {
            return Err(format!("{} is left as it is; remove it, or name another folder", self.path.display()));
        }
        let damaged = session.damaged() > 0;
        let Some((entries, memory)) = session.into_image() else { return Ok(Outcome::Nothing) };
        match file::write(&self.path, self.model, entries, &memory, progress) {
            Ok(true) if damaged => Ok(Outcome::Repaired),
            Ok(true) => Ok(Outcome::Written),
            Ok(false) => Ok(Outcome::Stopped),
            Err(error) => Err(self.describe(&error)),
        }
    }

    fn describe(&self, error: &io::Error) -> String {
        let advice = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                "free some space, or name a folder elsewhere"
            }
            _ => "name a folder that exists and can be written to",
        };
        format!("cannot keep the packed weights in {}: {error}; {advice}", self.path.display())
    }
}

impl Drop for PackCache {
    fn drop(&mut self) {
        with_active(|active| *active = None);
    }
}
