//! One load of one model: which weights were in the file, and which were packed.

use std::{cell::RefCell, sync::Arc};

use super::{
    file::{Entry, Found},
    hash,
    memory::Memory,
    weight::Weight,
};

thread_local! {
    static ACTIVE: RefCell<Option<Session>> = const { RefCell::new(None) };
}

/// The session of this thread.
pub(super) fn with_active<R>(act: impl FnOnce(&mut Option<Session>) -> R) -> R {
    ACTIVE.with_borrow_mut(act)
}

pub(super) struct Session {
    found: Option<Found>,
    /// Whether the model has not been written to since the file was made.
    trusted: bool,
    /// The memory that llama.cpp allocated for the model; mapped from the file if there is one.
    memory: Option<Arc<Memory>>,
    entries: Vec<Entry>,
    /// Weights that had to be packed.
    packed: usize,
    /// Weights in the file whose hash does not match.
    damaged: usize,
}

impl Session {
    pub(super) fn new(found: Option<Found>, stamp: Option<u128>) -> Self {
        let trusted = found.as_ref().is_some_and(|found| stamp.is_some() && found.stamp == stamp);
        Self { found, trusted, memory: None, entries: Vec::new(), packed: 0, damaged: 0 }
    }

    pub(super) fn has_found(&self) -> bool {
        self.found.is_some()
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Whether the model had no weight to pack.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether every weight was in the file.
    pub(super) fn is_complete(&self) -> bool {
        self.packed == 0
    }

    pub(super) fn damaged(&self) -> usize {
        self.damaged
    }

    pub(super) fn into_image(self) -> Option<(Vec<Entry>, Arc<Memory>)> {
        Some((self.entries, self.memory?))
    }

    pub(super) fn allocate(&mut self, size: usize) -> Option<Arc<Memory>> {
        // llama.cpp allocates all weights of a buffer type at once. If it did not, the rest would not be cached.
        if self.memory.is_some() {
            return Memory::anonymous(size).ok().map(Arc::new);
        }
        let mapped = self.found.as_ref().and_then(|found| found.map(size));
        if mapped.is_none() {
            self.found = None;
        }
        self.memory = mapped.or_else(|| Memory::anonymous(size).ok()).map(Arc::new);
        self.memory.clone()
    }

    fn load_or_pack(&mut self, weight: &Weight, file: &[u8], packed: &mut [u8], pack: impl FnOnce(&[u8], &mut [u8])) {
        let Some(offset) = self.memory.as_ref().and_then(|memory| memory.offset_of(weight)) else {
            return pack(file, packed);
        };
        let kept = self.found.as_ref().and_then(|found| found.entry(weight, offset)).cloned();
        if let Some(entry) = kept {
            let unchanged = self.trusted || hash::of(file) == entry.source;
            let whole = unchanged && hash::of(packed) == entry.packed;
            if whole {
                self.entries.push(entry);
                return;
            }
            self.damaged += usize::from(unchanged);
        }
        // Hashed before it is packed: if the model is written to during the load, the next load sees another hash.
        let source = hash::of(file);
        pack(file, packed);
        self.packed += 1;
        self.entries.push(Entry {
            name: weight.name.clone(),
            kind: weight.kind,
            dims: weight.dims,
            offset: offset as u64,
            size: weight.size as u64,
            source,
            packed: hash::of(packed),
        });
    }
}

/// Memory for the weights of the model that this thread loads: that of its file, if there is one of just this size.
pub(crate) fn allocate(size: usize) -> Option<Arc<Memory>> {
    with_active(|active| match active {
        Some(session) => session.allocate(size),
        None => Memory::anonymous(size).ok().map(Arc::new),
    })
}

/// Packs a weight, unless the file has it.
pub(crate) fn load_or_pack(
    weight: impl FnOnce() -> Weight,
    file: &[u8],
    packed: &mut [u8],
    pack: impl FnOnce(&[u8], &mut [u8]),
) {
    with_active(|active| match active {
        Some(session) => session.load_or_pack(&weight(), file, packed, pack),
        None => pack(file, packed),
    });
}

/// Whether the model that this thread loads need not be read, since all its packed weights are in the file.
pub(crate) fn leaves_model_unread() -> bool {
    // The thread-local may be gone while a thread ends.
    let asked = ACTIVE.try_with(|active| active.borrow().as_ref().is_some_and(|session| session.trusted));
    asked.unwrap_or(false)
}
