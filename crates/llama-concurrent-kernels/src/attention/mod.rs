//! Attention: softmax(Q K^T) V, for all heads and sequences of a batch.
//!
//! Query heads that share keys and values are computed side by side, one in each lane, so that a cell of the cache is
//! read and converted once for all of them. Blocks of cells that the mask rules out for all of these are skipped
//! unread: in a cache that sequences share, those are most.
//!
//! Cells are summed up in chunks of fixed size, whose results are then merged in order. Chunks may be computed by
//! different threads or by one after the other; either way the arithmetic is the same, so a row's result depends
//! neither on the number of threads nor on what else is in the batch.

mod block;
mod merge;
mod plan;
mod unit;

pub(crate) use plan::{compute, supports, work_size};
pub(crate) use unit::Unit;

/// Cells whose keys are converted at a time: one cache line of the mask.
pub(crate) const CELLS: usize = 32;

/// Cells of a chunk.
pub(crate) const CHUNK: usize = 256;

/// Tiles of rows that share converted cells.
pub(crate) const TILES: usize = 4;

/// Stands in for the largest score where there is none yet. Finite, so that differences are numbers.
pub(crate) const NO_SCORE: f32 = -1e30;
