//! A product of a weight matrix with activations: the loop over panels and tiles.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.

use crate::{
    activations::{self, ColumnBlocks},
    dispatch::{Kernels, TileFn, WIDEST},
    format::ROWS,
    tile::Tile,
};
use std::ptr;

/// A product of packed weights with quantised activations.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    pub(crate) kernels: Kernels,
    /// Bytes of a packed unit, and blocks of one: of the format.
    pub(crate) unit_bytes: usize,
    pub(crate) blocks: usize,
    /// Units of a row.
    pub(crate) units: usize,
    /// Rows of the matrix.
    pub(crate) rows: usize,
    /// Columns.
    pub(crate) columns: usize,
    pub(crate) weights: *const u8,
    pub(crate) activations: *mut u8,
    /// Results, column by column, and floats from one to the next.
    pub(crate) out: *mut f32,
    pub(crate) stride: usize,
    /// Floats from `out` to each column of results if these are not evenly spaced; otherwise null.
    pub(crate) offsets: *const usize,
}

impl Product {
    /// Bytes of a packed panel.
    pub(crate) fn panel_bytes(&self) -> usize {
        self.units * self.unit_bytes
    }

    /// Quantises blocks `first .. end` of a column, whose values are at `x`.
    ///
    /// # Safety
    /// The level of the kernels is available, `x` holds a whole column, and `activations` has room for all columns.
    pub(crate) unsafe fn quantise(&self, column: usize, first: usize, end: usize, x: *const f32) {
        let span = ColumnBlocks {
            column,
            columns: self.columns,
            widest: self.kernels.widest,
            first_block: first,
            end_block: end,
            all_blocks: self.units * self.blocks,
        };
        (self.kernels.quantise)(span, x, self.activations);
    }

    /// Computes panels `first .. end` for all columns. The panels should fit into the cache, because all tiles read them.
    /// Unless `next` is null, as many panels from there on are prefetched, spread evenly over the tiles: a first tile that
    /// waits for memory and later ones that leave it idle would take longer.
    ///
    /// # Safety
    /// The level of the kernels is available, all columns were quantised, the weights have `end` panels, and each
    /// column of `out` has a float for each row.
    pub(crate) unsafe fn compute(&self, first: usize, end: usize, next: *const u8) {
        let column_bytes = self.units * self.blocks * self.kernels.column_bytes;
        let tiles = self.columns.div_ceil(self.kernels.widest);
        // With few columns memory is the limit, and sequential reads are fastest.
        let at_once = if self.columns <= 2 { 1 } else { self.kernels.panels };
        for index in 0..tiles {
            let (begin, width) = activations::tile(self.columns, self.kernels.widest, index);
            let mut panel = first;
            while panel < end {
                let rows_left = self.rows - panel * ROWS;
                let panels = at_once.min(end - panel).min(rows_left / ROWS).max(1);
                let compute = self.kernels.tiles[(panels - 1) % 2][(width - 1) % WIDEST];
                let bytes = panels * self.panel_bytes();
                let next_bytes = if next.is_null() { 0 } else { bytes.div_ceil(tiles) };
                let tile = Tile {
                    panel: self.weights.add(panel * self.panel_bytes()),
                    units: self.units,
                    next: next.wrapping_add((panel - first) * self.panel_bytes() + bytes * index / tiles),
                    next_lines: next_bytes.div_ceil(64 * self.units * self.blocks),
                    activations: self.activations.add(begin * column_bytes),
                    out: self.out.add(begin * self.stride + panel * ROWS),
                    stride: self.stride,
                    offsets: if self.offsets.is_null() { self.offsets } else { self.offsets.add(begin) },
                };
                if rows_left >= ROWS {
                    compute(tile);
                } else {
                    compute_part(compute, tile, width, rows_left);
                }
                panel += panels;
            }
        }
    }
}

/// Computes a tile of one panel, of which only the first rows exist.
///
/// # Safety
/// As for the tile.
unsafe fn compute_part(compute: TileFn, tile: Tile, width: usize, rows: usize) {
    let mut whole = [0.0f32; WIDEST * ROWS];
    compute(Tile { out: whole.as_mut_ptr(), stride: ROWS, offsets: ptr::null(), ..tile });
    for (column, values) in whole.chunks_exact(ROWS).take(width).enumerate() {
        let offset = if tile.offsets.is_null() { column * tile.stride } else { *tile.offsets.add(column) };
        ptr::copy_nonoverlapping(values.as_ptr(), tile.out.add(offset), rows);
    }
}
