//! Handles: what C programs hold instead of pointers to our objects.
//!
//! A handle has the type of a pointer and is a number that is never reused. A stale or invalid handle is therefore
//! detected, and an object can be freed while another thread uses it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    status::llama_infer_status as Status,
    types::{Failure, Result},
};

/// The live objects of one kind.
pub struct Handles<T> {
    kind: &'static str,
    live: RwLock<BTreeMap<usize, Arc<T>>>,
}

/// EngineState by all kinds, so that a handle of the wrong kind is detected, too.
static NEXT: AtomicUsize = AtomicUsize::new(0x1000);
/// Aligned like a pointer, for tools that inspect the low bits.
const STEP: usize = 16;

impl<T> Handles<T> {
    pub const fn new(kind: &'static str) -> Self {
        Self { kind, live: RwLock::new(BTreeMap::new()) }
    }

    /// Inserts an object, which `make` creates from its handle.
    pub fn insert(&self, make: impl FnOnce(usize) -> T) -> usize {
        let handle = NEXT.fetch_add(STEP, Ordering::Relaxed);
        let object = Arc::new(make(handle));
        self.live.write().unwrap_or_else(PoisonError::into_inner).insert(handle, object);
        handle
    }

    pub fn get<C>(&self, handle: *const C) -> Result<Arc<T>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.get(&handle.addr()).cloned().ok_or_else(|| self.unknown(handle))
    }

    /// Removes an object and invalidates its handle.
    pub fn remove<C>(&self, handle: *const C) -> Result<Arc<T>> {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        live.remove(&handle.addr()).ok_or_else(|| self.unknown(handle))
    }

    /// All live objects.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn unknown<C>(&self, handle: *const C) -> Failure {
        let kind = self.kind;
        if handle.is_null() {
            return Failure::argument(format!("{kind} is NULL"));
        }
        Failure::new(Status::InvalidHandle, format!("{kind} {handle:p} does not exist; it was freed or never made"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_good_until_it_is_removed_and_never_again() {
        let handles = Handles::new("thing");
        let first = handles.insert(|handle| handle) as *const u8;
        assert_eq!(*handles.get(first).unwrap(), first.addr());
        handles.remove(first).unwrap();
        let second = handles.insert(|_| 2) as *const u8;
        assert_ne!(first, second);
        assert_eq!(handles.get(first).unwrap_err().status, Status::InvalidHandle);
        assert_eq!(handles.remove(first).unwrap_err().status, Status::InvalidHandle);
        assert_eq!(handles.get(std::ptr::null::<u8>()).unwrap_err().status, Status::InvalidArgument);
    }
}
