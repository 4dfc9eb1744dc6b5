//! Hashes of weights, over parts that several threads can hash in parallel.

use std::sync::{Mutex, PoisonError};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::parallel;

/// Bytes of a part. Part of the file format: another size gives other hashes.
const PART: usize = 1 << 20;

/// A hash of these bytes, the same in all versions; computed by several threads if there are many.
pub fn of(bytes: &[u8]) -> u64 {
    let parts = Mutex::new(vec![0u64; bytes.len().div_ceil(PART)]);
    parallel::for_each(bytes.chunks(PART).enumerate(), bytes.len(), |(index, part)| {
        let hash = xxh3_64(part);
        parts.lock().unwrap_or_else(PoisonError::into_inner)[index] = hash;
    });
    let parts = parts.into_inner().unwrap_or_else(PoisonError::into_inner);
    let all: Vec<u8> = parts.iter().flat_map(|hash| hash.to_le_bytes()).collect();
    xxh3_64_with_seed(&all, bytes.len() as u64)
}
