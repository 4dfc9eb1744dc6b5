//! Releases the pages of a model file that were read to be repacked and are not needed any more.
//!
//! llama.cpp keeps a file mapped from its first used tensor to its last, including repacked tensors in between. The
//! process would hold most weights twice: 1159 instead of 610 MiB with a 1.1B model.

use std::{
    fs,
    ops::Range,
    ptr::{self, NonNull},
};

use nix::sys::mman::{MmapAdvise, madvise};

/// A multiple of every page size.
const PAGE: usize = 1 << 16;

/// Drops the pages of mapped model files from this process, except those of tensors that are read from the mapping. The
/// pages stay in the page cache, and are mapped again if they are accessed.
///
/// # Safety
/// The tensors lie in mapped files, which stay mapped during the call.
pub(super) unsafe fn release_all_but(mut tensors: Vec<Range<usize>>) {
    tensors.sort_unstable_by_key(|tensor| tensor.start);
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for file in maps.lines().filter_map(mapped_file) {
        let kept: Vec<_> = tensors.iter().filter(|tensor| file.contains(&tensor.start)).cloned().collect();
        // A model part without such tensors is unmapped by llama.cpp; other mappings are not ours.
        if kept.is_empty() {
            continue;
        }
        // If read-ahead was turned off, that was because of the gaps.
        // SAFETY: advice that changes no contents.
        unsafe { advise(file.clone(), MmapAdvise::MADV_NORMAL) };
        for gap in gaps(&file, &kept) {
            // SAFETY: a read-only file mapping: dropped pages can be read again.
            unsafe { advise(gap, MmapAdvise::MADV_DONTNEED) };
        }
        for tensor in kept {
            let pages = tensor.start / PAGE * PAGE..tensor.end.next_multiple_of(PAGE);
            let pages = pages.start.max(file.start)..pages.end.min(file.end);
            // SAFETY: as above.
            unsafe { advise(pages, MmapAdvise::MADV_WILLNEED) };
        }
    }
}

/// # Safety
/// The range is mapped, and the advice loses nothing there.
unsafe fn advise(range: Range<usize>, advice: MmapAdvise) {
    if let Some(start) = NonNull::new(ptr::with_exposed_provenance_mut(range.start)) {
        // SAFETY: the caller's promise.
        let _ = unsafe { madvise(start, range.len(), advice) };
    }
}

/// The whole pages of a file that contain none of these tensors, which are sorted.
fn gaps(file: &Range<usize>, tensors: &[Range<usize>]) -> Vec<Range<usize>> {
    let starts = std::iter::once(file.start).chain(tensors.iter().map(|tensor| tensor.end));
    let ends = tensors.iter().map(|tensor| tensor.start).chain([file.end]);
    let whole = |(start, end): (usize, usize)| {
        // A mapping begins and ends at a page boundary.
        let start = if start == file.start { start } else { start.next_multiple_of(PAGE) };
        let end = if end == file.end { end } else { end / PAGE * PAGE };
        start..end
    };
    starts.zip(ends).map(whole).filter(|gap| gap.start < gap.end).collect()
}

/// The address range of a line of /proc/self/maps, if it is a read-only file mapping.
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

    #[test]
    fn pages_that_a_tensor_shares_are_kept() {
        let file = 0x1000..0x90_1000;
        let tensors = [0x1000..0x2_0001, 0x2_0100..0x2_0200, 0x50_0000..0x50_0001];
        assert_eq!(gaps(&file, &tensors), [0x3_0000..0x50_0000, 0x51_0000..0x90_1000]);
        let around = |tensor| gaps(&file, std::slice::from_ref(&tensor));
        assert!(around(0x1000..0x90_1000).is_empty());
        assert_eq!(around(0x2_0000..0x2_0001), [0x1000..0x2_0000, 0x3_0000..0x90_1000]);
    }
}
