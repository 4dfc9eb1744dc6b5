//! The identity of the model that a file of packed weights was made from.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    path::Path,
    time::{Duration, SystemTime},
};

use xxhash_rust::xxh3::Xxh3;

/// Two changes within this time may get the same timestamp from the file system.
const SETTLED: Duration = Duration::from_secs(2);

/// Identifies the model that a file was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Model {
    /// A hash of everything in the model but its weights. A file with another hash is not used.
    pub identity: u128,
    /// Equal at two times only if the model was not written to in between; `None` if that cannot be determined. If it equals
    /// the file's, the model is not read.
    pub stamp: Option<u128>,
}

impl Model {
    /// The identity of a model in these files, given the length of each file's header.
    ///
    /// The stamp consists of file-system metadata: inode, length and times of the files. A program can set a file's mtime,
    /// but not its ctime, which changes with the contents as well.
    ///
    /// # Errors
    /// If the files cannot be read.
    pub fn of_files<'a>(files: impl IntoIterator<Item = (&'a Path, u64)>) -> io::Result<Self> {
        let (mut identity, mut stamp) = (Xxh3::new(), Xxh3::new());
        let mut settled = true;
        for (path, header) in files {
            let file = File::open(path)?;
            let facts = file.metadata()?;
            settled &= add_stamp(&facts, &mut stamp);
            let mut bytes = Vec::new();
            file.take(header).read_to_end(&mut bytes)?;
            identity.update(&facts.len().to_le_bytes());
            identity.update(&header.to_le_bytes());
            identity.update(&bytes);
        }
        Ok(Self { identity: identity.digest128(), stamp: settled.then(|| stamp.digest128()) })
    }
}

/// Whether the file's times are old enough to detect later writes.
#[cfg(unix)]
fn add_stamp(facts: &Metadata, stamp: &mut Xxh3) -> bool {
    use std::os::unix::fs::MetadataExt;

    // Not the device: its number changes when a disk is remounted.
    for number in [facts.ino() as i64, facts.size() as i64, facts.mtime(), facts.mtime_nsec()] {
        stamp.update(&number.to_le_bytes());
    }
    let (seconds, nanoseconds) = (facts.ctime(), facts.ctime_nsec());
    stamp.update(&seconds.to_le_bytes());
    stamp.update(&nanoseconds.to_le_bytes());
    let changed = Duration::new(seconds.max(0) as u64, nanoseconds.clamp(0, 999_999_999) as u32);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    changed + SETTLED < now
}

#[cfg(not(unix))]
fn add_stamp(_: &Metadata, _: &mut Xxh3) -> bool {
    let _ = (SETTLED, SystemTime::now());
    false
}
