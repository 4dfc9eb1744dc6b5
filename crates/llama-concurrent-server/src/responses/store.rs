//! Responses that are kept, so that a request can go on from one: in memory, and only as many as fit.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::clients::Client;

/// What each response costs besides its texts, roughly.
const OVERHEAD: usize = 512;

/// The key that a response was asked for with. Others do not find it; without keys its id is the secret.
pub(super) type Owner = Option<usize>;

pub(super) fn owner(client: Client) -> Owner {
    match client {
        Client::Key(index) => Some(index),
        Client::Address(_) => None,
    }
}

/// A response, as texts of JSON.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Kept {
    pub(super) object: String,
    /// All turns up to its end.
    pub(super) conversation: String,
    /// The items of its output and their ids.
    pub(super) items: Vec<(String, String)>,
}

impl Kept {
    fn bytes(&self) -> usize {
        let items: usize = self.items.iter().map(|(id, item)| 2 * id.len() + item.len()).sum();
        self.object.len() + self.conversation.len() + items + OVERHEAD
    }
}

pub(crate) struct Store {
    most: usize,
    most_bytes: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    all: HashMap<String, Entry>,
    /// Ids by age.
    order: BTreeMap<u64, String>,
    /// Responses and places in them, by the ids of items.
    items: HashMap<String, (String, usize)>,
    next: u64,
    bytes: usize,
}

struct Entry {
    age: u64,
    owner: Owner,
    kept: Arc<Kept>,
}

impl Store {
    /// One that keeps at most so many responses, and at most so many bytes.
    pub(crate) fn new(most: usize, most_bytes: usize) -> Self {
        Self { most, most_bytes, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it keeps, for those who do not find something.
    pub(super) fn rules(&self) -> String {
        format!(
            "This server keeps the last {} responses in its memory, {} MiB of them at most, and none with 'store': false; \
             send the whole conversation as 'input'.",
            self.most,
            self.most_bytes >> 20
        )
    }

    /// Keeps a response, and forgets the oldest ones for it; one that could never fit is not kept.
    pub(super) fn keep(&self, id: &str, owner: Owner, kept: Kept) {
        if self.most == 0 || kept.bytes() > self.most_bytes {
            return;
        }
        let mut inner = self.lock();
        let age = inner.next;
        inner.next += 1;
        inner.bytes += kept.bytes();
        inner.order.insert(age, id.to_owned());
        for (place, (item, _)) in kept.items.iter().enumerate() {
            inner.items.insert(item.clone(), (id.to_owned(), place));
        }
        inner.all.insert(id.to_owned(), Entry { age, owner, kept: Arc::new(kept) });
        while inner.all.len() > self.most || inner.bytes > self.most_bytes {
            let Some((_, oldest)) = inner.order.first_key_value() else { break };
            let oldest = oldest.clone();
            inner.forget(&oldest);
        }
    }

    pub(super) fn get(&self, id: &str, owner: Owner) -> Option<Arc<Kept>> {
        self.lock().find(id, owner).map(|entry| entry.kept.clone())
    }

    /// An item of a response, as JSON.
    pub(super) fn item(&self, id: &str, owner: Owner) -> Option<String> {
        self.with_item(id, owner, str::to_owned)
    }

    pub(super) fn item_bytes(&self, id: &str, owner: Owner) -> Option<usize> {
        self.with_item(id, owner, str::len)
    }

    fn with_item<T>(&self, id: &str, owner: Owner, read: impl FnOnce(&str) -> T) -> Option<T> {
        let inner = self.lock();
        let (response, place) = inner.items.get(id)?;
        let entry = inner.find(response, owner)?;
        entry.kept.items.get(*place).map(|(_, item)| read(item))
    }

    /// Whether it was there.
    pub(super) fn remove(&self, id: &str, owner: Owner) -> bool {
        let mut inner = self.lock();
        let found = inner.find(id, owner).is_some();
        if found {
            inner.forget(id);
        }
        found
    }
}

impl Inner {
    fn find(&self, id: &str, owner: Owner) -> Option<&Entry> {
        self.all.get(id).filter(|entry| entry.owner == owner)
    }

    fn forget(&mut self, id: &str) {
        let Some(entry) = self.all.remove(id) else { return };
        self.order.remove(&entry.age);
        self.bytes -= entry.kept.bytes();
        for (item, _) in &entry.kept.items {
            self.items.remove(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &str, size: usize) -> Kept {
        let items = vec![(format!("msg_{name}"), format!("item of {name}"))];
        Kept { object: name.to_owned(), conversation: "x".repeat(size), items }
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let store = Store::new(2, 1 << 20);
        for name in ["a", "b", "c"] {
            store.keep(name, None, kept(name, 10));
        }
        let has = |id: &str| store.get(id, None).is_some();
        assert_eq!(["a", "b", "c"].map(has), [false, true, true]);
        assert_eq!((store.item("msg_a", None), store.item("msg_c", None)), (None, Some("item of c".into())));
        assert_eq!(store.item_bytes("msg_c", None), Some(9));
        store.keep("d", None, kept("d", (1 << 20) - 1000));
        assert_eq!(["b", "c", "d"].map(has), [false, false, true], "a large one takes the place of others");
        store.keep("e", None, kept("e", 2 << 20));
        assert!(!has("e") && has("d"), "one that could never fit drives out none");
        assert!(store.remove("d", None));
        let inner = store.lock();
        assert!(inner.bytes == 0 && inner.order.is_empty() && inner.items.is_empty(), "nothing is left of them");
    }

    #[test]
    fn a_response_belongs_to_its_key() {
        let store = Store::new(9, 1 << 20);
        store.keep("a", Some(1), kept("a", 1));
        for other in [None, Some(0)] {
            assert!(store.get("a", other).is_none() && store.item("msg_a", other).is_none());
            assert!(!store.remove("a", other));
        }
        assert!(store.get("a", Some(1)).is_some());
        assert!(store.remove("a", Some(1)) && !store.remove("a", Some(1)));
        assert_eq!(store.lock().bytes, 0);
    }

    #[test]
    fn none_are_kept_where_none_may_be() {
        let store = Store::new(0, 1 << 20);
        store.keep("a", None, kept("a", 1));
        assert!(store.get("a", None).is_none());
    }
}
