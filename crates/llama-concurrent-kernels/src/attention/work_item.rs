//! A work item: rows that share a head of keys and values, over one chunk of its cells or over all.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.

use super::{
    CELLS, CHUNK, NO_SCORE, TILES,
    block::{self, KvDtype},
    merge::Partial,
};
use crate::isa::Isa;

/// A head of keys or of values in the cache.
#[derive(Clone, Copy)]
pub(crate) struct Cache {
    pub(crate) dtype: KvDtype,
    pub(crate) first: *const u8,
    /// Bytes from one cell to the next.
    pub(crate) stride: usize,
    /// Values of a cell.
    pub(crate) size: usize,
}

impl Cache {
    #[inline(always)]
    unsafe fn convert<I: Isa>(&self, cells: &[usize], out: *mut f32) {
        for (index, cell) in cells.iter().enumerate() {
            block::convert::<I>(self.dtype, self.first.add(cell * self.stride), self.size, out.add(index * self.size));
        }
    }
}

/// The slopes of ALiBi, how much of the mask each query head adds to its scores: powers whose exponents fall evenly, as many as
/// the largest power of two up to the number of heads, and for the other heads those between them.
///
/// Not an `Option`: the compiler reads what is inside of one before it looks at whether it is there, which a memory checker reports.
#[derive(Clone, Copy)]
pub(crate) struct Slopes {
    /// The largest power of two up to the number of heads.
    whole: usize,
    /// How much exponents fall from head to head.
    step: f32,
}

impl Slopes {
    /// Without a bias, that is with one of 0, every head adds the mask as it is.
    pub(crate) fn new(heads: usize, largest_bias: f32) -> Self {
        let whole = 1 << heads.ilog2();
        Self { whole, step: largest_bias / whole as f32 }
    }

    fn of(self, head: usize) -> f32 {
        let exponent = if head < self.whole {
            self.step * (head + 1) as f32
        } else {
            self.step / 2.0 * (2 * (head - self.whole) + 1) as f32
        };
        if exponent == 0.0 { 1.0 } else { (-exponent).exp2() }
    }
}

/// The operands of a work item. A row is a query head of a token: row `token * heads + head`.
#[derive(Clone, Copy)]
pub(crate) struct WorkItem {
    /// The query of row 0, and bytes to that of the next head and of the next token.
    pub(crate) queries: *const u8,
    pub(crate) head_stride: usize,
    pub(crate) token_stride: usize,
    /// Query heads that share the keys.
    pub(crate) heads: usize,
    /// The number of head 0 among all query heads.
    pub(crate) first_head: usize,
    /// Multiplies scores; includes the factor from powers of e to powers of two.
    pub(crate) scale: f32,
    /// The soft cap of scores as a power of two, or 0; the scale then makes them arguments of the cap.
    pub(crate) soft_cap: f32,
    pub(crate) slopes: Slopes,
    pub(crate) keys: Cache,
    pub(crate) values: Cache,
    /// The mask's row for token 0, and bytes to the next.
    pub(crate) mask: *const u8,
    pub(crate) mask_stride: usize,
    /// Rows `first_row .. first_row + rows`; at most [`TILES`] tiles.
    pub(crate) first_row: usize,
    pub(crate) rows: usize,
    /// Cells `first_cell .. end_cell`: one chunk, or all.
    pub(crate) first_cell: usize,
    pub(crate) end_cell: usize,
    /// This thread's memory, [`WorkItem::scratch`] floats.
    pub(crate) scratch: *mut f32,
    /// The partial results, one row after the other.
    pub(crate) partials: *mut f32,
}

impl WorkItem {
    /// Floats of scratch memory for tiles of `lanes` rows.
    pub(crate) const fn scratch(lanes: usize, keys: usize, values: usize) -> usize {
        let rows = TILES * lanes;
        let cells = if keys > values { keys } else { values };
        // Queries, results, largest scores and totals, factors; scores and bias; converted cells.
        rows * (keys + values + 3) + (TILES + 1) * CELLS * lanes + CELLS * cells
    }

    fn token(&self, row: usize) -> usize {
        (self.first_row + row.min(self.rows - 1)) / self.heads
    }

    /// Computes the item.
    ///
    /// # Safety
    /// As for [`Isa`], and the pointers are valid for what the fields say.
    #[inline(always)]
    pub(crate) unsafe fn compute<I: Isa>(&self) {
        let work = Scratch::new::<I>(self);
        work.load_queries::<I>(self);
        let size = self.values.size;
        for row in 0..self.rows {
            Partial::at(self.partials.add(row * Partial::floats(size)), size).clear();
        }
        let mut chunk = self.first_cell;
        while chunk < self.end_cell {
            let end = self.end_cell.min(chunk + CHUNK);
            work.clear::<I>(size);
            let mut seen = false;
            for first in (chunk..end).step_by(CELLS) {
                seen |= work.add_block::<I>(self, first, CELLS.min(end - first));
            }
            if seen {
                for row in 0..self.rows {
                    let values = std::slice::from_raw_parts(work.results.add(row * size), size);
                    Partial::at(self.partials.add(row * Partial::floats(size)), size).merge(
                        *work.largest.add(row),
                        *work.totals.add(row),
                        values,
                    );
                }
            }
            chunk = end;
        }
    }
}

/// The arrays in the scratch memory. Those with one vector per row of a tile are stored tile by tile.
struct Scratch {
    queries: *mut f32,
    results: *mut f32,
    largest: *mut f32,
    totals: *mut f32,
    factors: *mut f32,
    scores: *mut f32,
    bias: *mut f32,
    cells: *mut f32,
    tiles: usize,
}

impl Scratch {
    #[inline(always)]
    unsafe fn new<I: Isa>(item: &WorkItem) -> Self {
        let rows = TILES * I::LANES;
        let queries = item.scratch;
        let results = queries.add(rows * item.keys.size);
        let largest = results.add(rows * item.values.size);
        let totals = largest.add(rows);
        let factors = totals.add(rows);
        let scores = factors.add(rows);
        let bias = scores.add(TILES * CELLS * I::LANES);
        let cells = bias.add(CELLS * I::LANES);
        Self { queries, results, largest, totals, factors, scores, bias, cells, tiles: item.rows.div_ceil(I::LANES) }
    }

    /// Stores queries transposed, so that a vector holds one value of each row.
    #[inline(always)]
    unsafe fn load_queries<I: Isa>(&self, item: &WorkItem) {
        let size = item.keys.size;
        for row in 0..self.tiles * I::LANES {
            let out = self.queries.add(row / I::LANES * size * I::LANES + row % I::LANES);
            let index = item.first_row + row.min(item.rows - 1);
            let query =
                item.queries.add(index / item.heads * item.token_stride + index % item.heads * item.head_stride);
            for d in 0..size {
                *out.add(d * I::LANES) = query.cast::<f32>().add(d).read_unaligned() * item.scale;
            }
        }
    }

    #[inline(always)]
    unsafe fn clear<I: Isa>(&self, size: usize) {
        for row in 0..self.tiles * I::LANES {
            *self.largest.add(row) = NO_SCORE;
            *self.totals.add(row) = 0.0;
        }
        self.results.write_bytes(0, self.tiles * I::LANES * size);
    }

    /// Adds a block of cells to all tiles; false if the mask rules it out for all rows.
    #[inline(always)]
    unsafe fn add_block<I: Isa>(&self, item: &WorkItem, first: usize, count: usize) -> bool {
        let mask = |token: usize| item.mask.add(token * item.mask_stride).cast::<u16>().add(first);
        // The cells that each tile attends to, and whether all its rows attend to the same cells without a bias.
        let mut seen = [0u32; TILES];
        let mut plain = [true; TILES];
        for tile in 0..self.tiles {
            let tokens = item.token(tile * I::LANES)..=item.token((tile + 1) * I::LANES - 1);
            let mut same = u32::MAX;
            for token in tokens {
                let (visible, added) = block::visible(mask(token), count);
                seen[tile] |= visible;
                same &= visible;
                plain[tile] &= !added;
            }
            plain[tile] &= same == seen[tile];
        }
        let all = seen.iter().fold(0, |all, seen| all | seen);
        if all == 0 {
            return false;
        }
        let mut cells = [0usize; CELLS];
        let mut found = 0;
        for cell in 0..count {
            cells[found] = first + cell;
            found += (all >> cell & 1) as usize;
        }
        let cells = &cells[..found];
        item.keys.convert::<I>(cells, self.cells);
        for tile in 0..self.tiles {
            if seen[tile] != 0 {
                let bias = if plain[tile] && seen[tile] == all {
                    std::ptr::null()
                } else {
                    self.load_bias::<I>(item, tile, cells)
                };
                self.softmax_weights::<I>(item, tile, found, bias);
            }
        }
        item.values.convert::<I>(cells, self.cells);
        for (tile, seen) in seen.iter().enumerate().take(self.tiles) {
            if *seen != 0 {
                self.add_values::<I>(item, tile, found);
            }
        }
        true
    }

    /// The mask's biases for each row and cell, scaled for powers of two.
    #[inline(always)]
    unsafe fn load_bias<I: Isa>(&self, item: &WorkItem, tile: usize, cells: &[usize]) -> *const f32 {
        for lane in 0..I::LANES {
            let token = item.token(tile * I::LANES + lane);
            let mask = item.mask.add(token * item.mask_stride).cast::<u16>();
            let row = item.first_row + (tile * I::LANES + lane).min(item.rows - 1);
            let slope = item.slopes.of(item.first_head + row % item.heads);
            for (index, cell) in cells.iter().enumerate() {
                let value = half::f16::from_bits(mask.add(*cell).read_unaligned()).to_f32();
                *self.bias.add(index * I::LANES + lane) = value * slope * std::f32::consts::LOG2_E;
            }
        }
        self.bias
    }

    #[inline(always)]
    unsafe fn softmax_weights<I: Isa>(&self, item: &WorkItem, tile: usize, count: usize, bias: *const f32) {
        let size = item.keys.size;
        let queries = self.queries.add(tile * size * I::LANES);
        let scores = self.scores.add(tile * CELLS * I::LANES);
        // In groups of eight cells: scores beyond the count come from stale data and are not used.
        for cell in (0..count).step_by(8) {
            block::scores::<I>(queries, self.cells.add(cell * size), size, scores.add(cell * I::LANES));
        }
        let row = tile * I::LANES;
        let factor =
            block::weights::<I>(scores, item.soft_cap, bias, count, self.largest.add(row), self.totals.add(row));
        I::store(self.factors.add(row), factor);
    }

    #[inline(always)]
    unsafe fn add_values<I: Isa>(&self, item: &WorkItem, tile: usize, count: usize) {
        let size = item.values.size;
        let end = item.rows.min((tile + 1) * I::LANES);
        let mut row = tile * I::LANES;
        while row < end {
            let weights = self.scores.add(tile * CELLS * I::LANES + row % I::LANES);
            let rows = if row + 4 <= end { 4 } else { 1 };
            let mut d = 0;
            while d < size {
                let (values, factors) = (self.cells.add(d), self.factors.add(row));
                let results = self.results.add(row * size + d);
                // Two vectors of four rows leave enough registers even with sixteen.
                let wide = d + 2 * I::LANES <= size;
                match (rows, wide) {
                    (4, true) => block::accumulate::<I, 4, 2>(weights, values, factors, results, size, count),
                    (4, false) => block::accumulate::<I, 4, 1>(weights, values, factors, results, size, count),
                    (_, true) => block::accumulate::<I, 1, 2>(weights, values, factors, results, size, count),
                    _ => block::accumulate::<I, 1, 1>(weights, values, factors, results, size, count),
                }
                d += if wide { 2 * I::LANES } else { I::LANES };
            }
            row += rows;
        }
    }
}
