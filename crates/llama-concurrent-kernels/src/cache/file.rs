//! The file: a short header, a table of the weights, then the image of the weights that is mapped.
//!
//! A file is renamed to its final name when it is complete and on the disk, and is not modified afterwards, except for the
//! stamp. Existing mappings therefore stay valid, and several processes may write at once: the last one's file remains.

use std::{
    collections::HashMap,
    fmt,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::OnceLock,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{hash, memory::Memory, model::Model, weight::Weight};

const MAGIC: [u8; 8] = *b"LLMCPACK";
/// Incremented when the layout of the file or the hashes change. Changes of the packing are detected by [`layout`].
const VERSION: u32 = 1;
/// Magic, version, length of the table, its hash, the stamp.
const BEGINNING: usize = 40;
const STAMP_AT: u64 = 24;
/// The alignment of the image: at least the page size of every system.
const ALIGNMENT: u64 = 1 << 16;
/// More than a process needs between creating a file and locking it.
const LEFT_AFTER: Duration = Duration::from_secs(60);
/// Larger than the table of a model with 100,000 weights.
const LARGEST_TABLE: u32 = 64 << 20;
/// Bytes between two calls of a progress callback.
const WRITTEN_AT_ONCE: usize = 16 << 20;

#[derive(Serialize, Deserialize)]
struct Table {
    /// The hash of the model, as two numbers.
    identity: [u64; 2],
    layout: u64,
    /// Bytes of all weights and the gaps between them.
    image: u64,
    weights: Vec<Entry>,
}

/// A packed weight.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: u32,
    pub(super) dims: [i64; 4],
    /// Its offset in the image and its size, in bytes.
    pub(super) offset: u64,
    pub(super) size: u64,
    /// Hashes of the weight in the model, and packed.
    pub(super) source: u64,
    pub(super) packed: u64,
}

/// An open file that, according to its table, belongs to the model.
pub(super) struct Found {
    file: File,
    image_at: u64,
    image: u64,
    pub(super) stamp: Option<u128>,
    weights: HashMap<String, Entry>,
}

impl Found {
    /// Maps the image, if it has exactly this size.
    pub(super) fn map(&self, size: usize) -> Option<Memory> {
        (self.image == size as u64).then(|| Memory::of_file(&self.file, self.image_at, size).ok()).flatten()
    }

    /// The entry of a weight at this offset.
    pub(super) fn entry(&self, weight: &Weight, offset: usize) -> Option<&Entry> {
        self.weights.get(&weight.name).filter(|entry| {
            (entry.kind, entry.dims) == (weight.kind, weight.dims)
                && (entry.offset, entry.size) == (offset as u64, weight.size as u64)
        })
    }
}

/// Why a file is not used.
#[derive(Debug)]
pub(super) struct Fault {
    words: String,
    /// Whether it may be overwritten because it is one of ours.
    pub(super) replaceable: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

fn fault(words: impl Into<String>) -> Fault {
    Fault { words: words.into(), replaceable: true }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        fault(format!("it cannot be read: {error}"))
    }
}

/// Opens the file at `path`, if there is one, and checks everything but the weights themselves.
pub(super) fn open(path: &Path, model: &Model) -> Result<Option<Found>, Fault> {
    // Opening a named pipe would wait for a writer.
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
        Ok(found) if !found.is_file() => return Err(Fault { replaceable: false, ..fault("that is no file") }),
        Ok(_) => {}
    }
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut beginning = [0; BEGINNING];
    let short = || fault(format!("it was cut short, to {len} bytes"));
    if len < BEGINNING as u64 {
        return Err(short());
    }
    file.read_exact(&mut beginning)?;
    if beginning[..8] != MAGIC {
        return Err(Fault { replaceable: false, ..fault("it does not hold packed weights") });
    }
    let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| beginning[at + i]));
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    if word(8) != VERSION {
        return Err(fault(format!("it is of version {}, and this program writes version {VERSION}", word(8))));
    }
    let table_len = word(12);
    if table_len > LARGEST_TABLE {
        return Err(fault("its table is damaged"));
    }
    let image_at = image_at(table_len.into());
    if len < image_at {
        return Err(short());
    }
    let mut table = vec![0; table_len as usize];
    file.read_exact(&mut table)?;
    if xxh3_64(&table) != long(16) {
        return Err(fault("its table is damaged"));
    }
    let table: Table = serde_json::from_slice(&table).map_err(|_| fault("its table is damaged"))?;
    if table.identity != halves(model.identity) {
        return Err(fault("it is of another model, or of another version of it"));
    }
    if table.layout != layout() {
        return Err(fault("it was packed by another version of the kernels"));
    }
    if image_at.checked_add(table.image) != Some(len) {
        return Err(short());
    }
    let stamp = u128::from(long(24)) | u128::from(long(32)) << 64;
    let weights = table.weights.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
    Ok(Some(Found { file, image_at, image: table.image, stamp: (stamp != 0).then_some(stamp), weights }))
}

/// Writes a file of these weights under a temporary name and renames it to `path` when all is on the disk. Returns false if
/// it was stopped.
pub(super) fn write(
    path: &Path,
    model: Model,
    weights: Vec<Entry>,
    memory: &Memory,
    progress: &mut dyn FnMut(f32) -> bool,
) -> io::Result<bool> {
    // SAFETY: the model is loaded, so its weights are no longer written.
    let image = unsafe { memory.bytes() };
    let table = Table { identity: halves(model.identity), layout: layout(), image: image.len() as u64, weights };
    let table = serde_json::to_vec(&table)?;
    let table_len = u32::try_from(table.len()).ok().filter(|len| *len <= LARGEST_TABLE);
    let table_len = table_len.ok_or_else(|| io::Error::other("the model has too many weights"))?;
    let mut beginning = Vec::with_capacity(BEGINNING);
    beginning.extend(MAGIC);
    beginning.extend(VERSION.to_le_bytes());
    beginning.extend(table_len.to_le_bytes());
    beginning.extend(xxh3_64(&table).to_le_bytes());
    beginning.extend(model.stamp.unwrap_or(0).to_le_bytes());

    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (prefix, suffix) = (format!(".{name}."), ".part");
    remove_leftovers(folder, &prefix, suffix);
    let mut named = tempfile::Builder::new();
    #[cfg(unix)]
    {
        // Like any new file, so that other users of the machine may map it, too.
        use std::os::unix::fs::PermissionsExt;
        named.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut unfinished = named.prefix(&prefix).suffix(suffix).tempfile_in(folder)?;
    // So that it is not taken for a left-over. On a file system without locks, left-overs stay.
    let _ = unfinished.as_file().lock();
    let file = unfinished.as_file_mut();
    file.write_all(&beginning)?;
    file.write_all(&table)?;
    file.seek(SeekFrom::Start(image_at(table_len.into())))?;
    for (index, part) in image.chunks(WRITTEN_AT_ONCE).enumerate() {
        if !progress((index * WRITTEN_AT_ONCE) as f32 / image.len() as f32) {
            return Ok(false);
        }
        file.write_all(part)?;
    }
    file.sync_all()?;
    unfinished.persist(path).map_err(|error| error.error)?;
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(progress(1.0))
}

/// Removes temporary files of processes that were killed while writing: files that are neither locked nor so new that they
/// may be about to be locked.
fn remove_leftovers(folder: &Path, prefix: &str, suffix: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name.starts_with(prefix) && name.ends_with(suffix));
        let is_old = || entry.metadata()?.modified()?.elapsed().map_err(io::Error::other);
        let is_old = ours && is_old().is_ok_and(|age| age > LEFT_AFTER);
        if is_old && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Records that the file matches the model in its current state.
pub(super) fn restamp(path: &Path, model: Model) -> io::Result<()> {
    let mut file = File::options().read(true).write(true).open(path)?;
    let mut beginning = [0; BEGINNING];
    file.read_exact(&mut beginning)?;
    file.seek(SeekFrom::Start(STAMP_AT))?;
    file.write_all(&model.stamp.unwrap_or(0).to_le_bytes())
}

fn image_at(table_len: u64) -> u64 {
    (BEGINNING as u64 + table_len).next_multiple_of(ALIGNMENT)
}

fn halves(number: u128) -> [u64; 2] {
    [number as u64, (number >> 64) as u64]
}

/// A hash of some packed rows in each format, which changes when the packing of any format changes.
#[cfg(target_arch = "x86_64")]
fn layout() -> u64 {
    use crate::{dispatch::PACKINGS, format::ROWS};

    static LAYOUT: OnceLock<u64> = OnceLock::new();
    *LAYOUT.get_or_init(|| {
        let mut all = Vec::new();
        for packing in &PACKINGS {
            let units = 2;
            let row_bytes = units * packing.file_bytes;
            let file: Vec<u8> = (0..2 * ROWS * row_bytes).map(|i| (i * 7 + i / 251) as u8).collect();
            let mut packed = vec![0; 2 * units * packing.unit_bytes];
            crate::pack::pack(packing, units * packing.blocks * crate::format::BLOCK, 2 * ROWS, &file, &mut packed);
            all.extend(packing.ggml_type.to_le_bytes());
            all.extend(packed);
        }
        hash::of(&all)
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn layout() -> u64 {
    let _ = (OnceLock::<u64>::new(), hash::of(&[]));
    0
}
