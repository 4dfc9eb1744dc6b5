//! A unit of work: some rows that share a head of keys and values, over one chunk of its cells or over all.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.

use super::{
    CELLS, CHUNK, NO_SCORE, TILES,
    block::{self, Stored},
    merge::Partial,
};
use crate::isa::Isa;

/// A head of keys or of values in the cache.
#[derive(Clone, Copy)]
pub(crate) struct Cache {
    pub(crate) stored: Stored,
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
            block::convert::<I>(self.stored, self.first.add(cell * self.stride), self.size, out.add(index * self.size));
        }
    }
}

/// What is computed, and where. A row is a query head of a token: row `token * heads + head`.
#[derive(Clone, Copy)]
pub(crate) struct Unit {
    /// The query of row 0, and bytes to that of the next head and of the next token.
    pub(crate) queries: *const u8,
    pub(crate) head_stride: usize,
    pub(crate) token_stride: usize,
    /// Query heads that share the keys.
    pub(crate) heads: usize,
    /// Multiplies scores; includes the factor from powers of e to powers of two.
    pub(crate) scale: f32,
    pub(crate) keys: Cache,
    pub(crate) values: Cache,
    /// The mask's row for token 0, and bytes to the next.
    pub(crate) mask: *const u8,
    pub(crate) mask_stride: usize,
    /// Rows `first_row .. first_row + rows`; at most [`TILES`] tiles.
    pub(crate) first_row: usize,
    pub(crate) rows: usize,
    /// Cells `first_cell .. end_cell`, a chunk's or all.
    pub(crate) first_cell: usize,
    pub(crate) end_cell: usize,
    /// This thread's memory, [`Unit::scratch`] floats.
    pub(crate) scratch: *mut f32,
    /// Where the partial results go, one row after the other.
    pub(crate) partials: *mut f32,
}

impl Unit {
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

    /// Computes the unit.
    ///
    /// # Safety
    /// As for [`Isa`], and the pointers are good for what the fields say.
    #[inline(always)]
    pub(crate) unsafe fn compute<I: Isa>(&self) {
        let work = Work::new::<I>(self);
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

/// The parts of the scratch memory. Those with a vector for each row of a tile hold tile after tile.
struct Work {
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

impl Work {
    #[inline(always)]
    unsafe fn new<I: Isa>(unit: &Unit) -> Self {
        let rows = TILES * I::LANES;
        let queries = unit.scratch;
        let results = queries.add(rows * unit.keys.size);
        let largest = results.add(rows * unit.values.size);
        let totals = largest.add(rows);
        let factors = totals.add(rows);
        let scores = factors.add(rows);
        let bias = scores.add(TILES * CELLS * I::LANES);
        let cells = bias.add(CELLS * I::LANES);
        Self { queries, results, largest, totals, factors, scores, bias, cells, tiles: unit.rows.div_ceil(I::LANES) }
    }

    /// Queries lie by value and then by row, so that a vector holds one value of each row.
    #[inline(always)]
    unsafe fn load_queries<I: Isa>(&self, unit: &Unit) {
        let size = unit.keys.size;
        for row in 0..self.tiles * I::LANES {
            let out = self.queries.add(row / I::LANES * size * I::LANES + row % I::LANES);
            let index = unit.first_row + row.min(unit.rows - 1);
            let query =
                unit.queries.add(index / unit.heads * unit.token_stride + index % unit.heads * unit.head_stride);
            for d in 0..size {
                *out.add(d * I::LANES) = query.cast::<f32>().add(d).read_unaligned() * unit.scale;
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
    unsafe fn add_block<I: Isa>(&self, unit: &Unit, first: usize, count: usize) -> bool {
        let mask = |token: usize| unit.mask.add(token * unit.mask_stride).cast::<u16>().add(first);
        // What each tile sees, and whether all of its rows see the same and get nothing added.
        let mut seen = [0u32; TILES];
        let mut plain = [true; TILES];
        for tile in 0..self.tiles {
            let tokens = unit.token(tile * I::LANES)..=unit.token((tile + 1) * I::LANES - 1);
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
        unit.keys.convert::<I>(cells, self.cells);
        for tile in 0..self.tiles {
            if seen[tile] != 0 {
                let bias = if plain[tile] && seen[tile] == all {
                    std::ptr::null()
                } else {
                    self.load_bias::<I>(unit, tile, cells)
                };
                self.weigh::<I>(unit, tile, found, bias);
            }
        }
        unit.values.convert::<I>(cells, self.cells);
        for (tile, seen) in seen.iter().enumerate().take(self.tiles) {
            if *seen != 0 {
                self.add_values::<I>(unit, tile, found);
            }
        }
        true
    }

    /// The mask's numbers for each row and cell, for powers of two.
    #[inline(always)]
    unsafe fn load_bias<I: Isa>(&self, unit: &Unit, tile: usize, cells: &[usize]) -> *const f32 {
        for lane in 0..I::LANES {
            let token = unit.token(tile * I::LANES + lane);
            let mask = unit.mask.add(token * unit.mask_stride).cast::<u16>();
            for (index, cell) in cells.iter().enumerate() {
                let value = half::f16::from_bits(mask.add(*cell).read_unaligned()).to_f32();
                *self.bias.add(index * I::LANES + lane) = value * std::f32::consts::LOG2_E;
            }
        }
        self.bias
    }

    #[inline(always)]
    unsafe fn weigh<I: Isa>(&self, unit: &Unit, tile: usize, count: usize, bias: *const f32) {
        let size = unit.keys.size;
        let queries = self.queries.add(tile * size * I::LANES);
        let scores = self.scores.add(tile * CELLS * I::LANES);
        // Eights of cells: beyond the count they are what was there before, and nobody looks at the scores.
        for cell in (0..count).step_by(8) {
            block::scores::<I>(queries, self.cells.add(cell * size), size, scores.add(cell * I::LANES));
        }
        let row = tile * I::LANES;
        let factor = block::weights::<I>(scores, bias, count, self.largest.add(row), self.totals.add(row));
        I::store(self.factors.add(row), factor);
    }

    #[inline(always)]
    unsafe fn add_values<I: Isa>(&self, unit: &Unit, tile: usize, count: usize) {
        let size = unit.values.size;
        let end = unit.rows.min((tile + 1) * I::LANES);
        let mut row = tile * I::LANES;
        while row < end {
            let weights = self.scores.add(tile * CELLS * I::LANES + row % I::LANES);
            let rows = if row + 4 <= end { 4 } else { 1 };
            let mut d = 0;
            while d < size {
                let (values, factors) = (self.cells.add(d), self.factors.add(row));
                let results = self.results.add(row * size + d);
                // Two vectors of four rows leave registers for the rest also where there are sixteen.
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
