//! Pages of a model file that were read to be repacked, and that nobody reads any more.
//!
//! llama.cpp keeps a file mapped from its first used tensor to its last, and what was repacked lies in between: the process
//! would hold most weights twice, 1159 instead of 610 MiB with a 1.1B model.

use std::{
    fs,
    ops::Range,
    ptr::{self, NonNull},
};

use nix::sys::mman::{MmapAdvise, madvise};

/// Takes the pages of the file that is mapped at an address out of this process. They stay in the system's cache, from
/// where those that are needed after all come back when they are touched.
///
/// # Safety
/// What is mapped there stays so during the call.
pub(super) unsafe fn release(address: usize) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let range = maps.lines().filter_map(mapped_file).find(|range| range.contains(&address));
    if let Some(range) = range
        && let Some(start) = NonNull::new(ptr::with_exposed_provenance_mut(range.start))
    {
        // SAFETY: a file that can only be read: what is dropped can be read again.
        let _ = unsafe { madvise(start, range.len(), MmapAdvise::MADV_DONTNEED) };
    }
}

/// The addresses of a line of /proc/self/maps, if a file is mapped there that cannot be written to.
fn mapped_file(line: &str) -> Option<Range<usize>> {
    let mut fields = line.split_whitespace();
    let (range, permissions, _offset, _device, inode) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    if permissions.contains('w') || inode == "0" {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_are_read() {
        let line = "7f2a00000000-7f2a00200000 r--s 00001000 fe:00 123456       /models/a b.gguf";
        assert_eq!(mapped_file(line), Some(0x7f2a_0000_0000..0x7f2a_0020_0000));
        assert_eq!(mapped_file(&line.replace("r--s", "rw-p")), None);
        assert_eq!(mapped_file("7f2a00000000-7f2a00200000 r--p 00000000 00:00 0"), None);
        assert_eq!(mapped_file("7f2a00000000-7f2a00200000 r--s"), None);
    }
}
