//! Attention: softmax(Q K^T) V, for all heads and sequences of a batch.
//!
//! Query heads that share keys and values are computed together, one per lane, so that a cell of the cache is read and
//! converted once for all of them. Blocks of cells that the mask excludes for all of these heads are skipped without
//! being read. In a cache shared by sequences, most are.
//!
//! Cells are summed in chunks of fixed size, whose results are merged in order. Chunks may be computed by different threads
//! or sequentially with the same arithmetic, so a row's result depends neither on the number of threads nor on the rest
//! of the batch.

mod block;
mod merge;
mod plan;
mod work_item;

pub(crate) use plan::{compute, supports, work_size};
pub(crate) use work_item::WorkItem;

/// Cells whose keys are converted at a time: one cache line of the mask.
pub(crate) const CELLS: usize = 32;

/// Cells of a chunk.
pub(crate) const CHUNK: usize = 256;

/// Tiles of rows that share converted cells.
pub(crate) const TILES: usize = 4;

/// The initial value of the largest score. Finite, so that differences are not NaN.
pub(crate) const NO_SCORE: f32 = -1e30;
