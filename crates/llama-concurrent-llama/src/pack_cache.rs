//! The file that caches the packed weights of a model between loads.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use llama_concurrent_gguf::Header;
use llama_concurrent_kernels::cache::{Model, Outcome, hash_of};
use llama_concurrent_types::{PackCache, Result};

/// The file of packed weights of a model, and the state of the model's files before the load.
pub struct PackedFile {
    pub(super) path: PathBuf,
    pub(super) model: Model,
}

impl PackedFile {
    /// For the model with this header, in one file or several.
    ///
    /// # Errors
    /// If a part of the model cannot be read.
    pub fn of(location: &PackCache, header: &Header) -> Result<Self> {
        let others = header.other_parts().iter().map(|path| Header::read(path)).collect::<Result<Vec<_>, _>>()?;
        let parts = std::iter::once(header).chain(&others).map(|part| (part.path(), part.data_offset()));
        let model = Model::of_files(parts).map_err(|error| cannot_read(header.path(), &error))?;
        Ok(Self { path: path_of(location, header.path()), model })
    }
}

fn cannot_read(path: &Path, error: &io::Error) -> llama_concurrent_types::Error {
    let message = format!("{} cannot be read: {error}", path.display());
    llama_concurrent_types::Error::new(llama_concurrent_types::ErrorKind::ModelInvalid, message)
}

/// `MODEL.gguf.packed` beside the model. In a folder for many models, the name has a part that distinguishes models of the
/// same name.
fn path_of(location: &PackCache, model: &Path) -> PathBuf {
    let mut name = model.file_name().map_or_else(|| OsString::from("model"), OsString::from);
    match location {
        PackCache::BesideModel => {
            name.push(".packed");
            model.with_file_name(name)
        }
        PackCache::Folder(folder) => {
            let whole = fs::canonicalize(model).unwrap_or_else(|_| model.to_owned());
            name.push(format!("-{:016x}.packed", hash_of(whole.as_os_str().as_encoded_bytes())));
            folder.join(name)
        }
    }
}

/// The name of the outcome in the statistics.
pub(super) fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Mapped => "mapped",
        Outcome::Written | Outcome::Repaired => "written",
        _ => "off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_that_are_called_alike_have_files_of_their_own() {
        let beside = path_of(&PackCache::BesideModel, Path::new("/models/a/m.gguf"));
        assert_eq!(beside, Path::new("/models/a/m.gguf.packed"));
        let folder = PackCache::Folder("/packs".into());
        let [one, same, other] = ["/models/a/m.gguf", "/models/a/m.gguf", "/models/b/m.gguf"]
            .map(|model| path_of(&folder, Path::new(model)));
        assert_eq!(one, same);
        assert_ne!(one, other);
        assert_eq!(one.parent(), Some(Path::new("/packs")));
    }
}
