//! Which model a file of packed weights was made of.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    path::Path,
    time::{Duration, SystemTime},
};

use xxhash_rust::xxh3::Xxh3;

/// A change that comes so soon after another may get the same time from the file system.
const SETTLED: Duration = Duration::from_secs(2);

/// What says which model a file was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Model {
    /// A hash of everything in the model but its weights. A file of another is not used at all.
    pub identity: u128,
    /// Equal at two times only if nobody has written to the model between them; `None` if that cannot be told. If it is
    /// the one that the file was made with, the model is not read.
    pub stamp: Option<u128>,
}

impl Model {
    /// Of a model in these files, of which each begins with a header of so many bytes.
    ///
    /// The stamp is made of what the file system says: number, length, and times of the files. A program can set the
    /// time of the last change to the contents, but not that of the last change to anything, which a change to the
    /// contents sets as well.
    ///
    /// # Errors
    /// The files cannot be read.
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

/// Whether the file's times can tell that nobody writes to it.
#[cfg(unix)]
fn add_stamp(facts: &Metadata, stamp: &mut Xxh3) -> bool {
    use std::os::unix::fs::MetadataExt;

    // Not the device: numbers of those change when a disk is mounted again.
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
