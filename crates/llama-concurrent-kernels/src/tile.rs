//! The kernel: one panel of sixteen rows by up to fourteen columns, over the whole inner dimension.
//!
//! All sums of a column are taken in the same order whatever the number of columns, so a column's result does not
//! depend on what it is computed with.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.
#![allow(clippy::needless_range_loop)] // Arrays stand for registers: each index is one, known once unrolled.

use crate::{
    format::{BLOCK, Coding, Format, ROWS, quants},
    isa::{Isa, Sum},
    unroll::unroll,
};
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// How far ahead of use weights are fetched; the hardware's own prefetcher stops at each page.
const AHEAD: usize = 2048;

/// What a tile computes with.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// The panel: `units` packed units of the format.
    pub(crate) panel: *const u8,
    /// Units of a row.
    pub(crate) units: usize,
    /// The tile's activations ([`crate::activations`]).
    pub(crate) activations: *const u8,
    /// Where the first column's sixteen results go.
    pub(crate) out: *mut f32,
    /// Floats from one column of results to the next, unless they have places.
    pub(crate) stride: usize,
    /// Floats from `out` to each column of results, or null.
    pub(crate) places: *const usize,
}

/// Computes a tile of `N` columns.
///
/// # Safety
/// As for [`Isa`], and the tile's pointers are good for what its fields say.
#[inline(always)]
pub(crate) unsafe fn compute<I: Isa, F: Format, const N: usize>(tile: Tile) {
    if I::LANES == ROWS {
        pass::<I, F, N, 1>(tile, 0);
    } else if N <= 2 {
        pass::<I, F, N, 2>(tile, 0);
    } else {
        // The accumulators of sixteen rows would not fit the registers; a second pass finds the panel in the cache.
        pass::<I, F, N, 1>(tile, 0);
        pass::<I, F, N, 1>(tile, I::LANES);
    }
}

/// Computes as many rows as `VECTORS` vectors have lanes, from `row` on.
#[inline(always)]
unsafe fn pass<I: Isa, F: Format, const N: usize, const VECTORS: usize>(tile: Tile, row: usize) {
    let mut results = [[I::zero(); N]; VECTORS];
    let mut unit = tile.panel;
    let mut activations = tile.activations;
    for _ in 0..tile.units {
        let mut block = unit.add(F::HEADER);
        for _ in 0..F::BLOCKS {
            let mut line = 0;
            while line < F::PACKED_BLOCK && row == 0 {
                // Past the end of the weights this fetches nothing, and it faults nowhere.
                _mm_prefetch::<_MM_HINT_T0>(block.wrapping_add(AHEAD + line).cast());
                line += 64;
            }
            for (vector, results) in results.iter_mut().enumerate() {
                add_block::<I, F, N>(results, row + vector * I::LANES, unit, block, activations);
            }
            block = block.add(F::PACKED_BLOCK);
            activations = activations.add(N * F::COLUMN);
        }
        unit = unit.add(F::PACKED_UNIT);
    }
    for (vector, results) in results.iter().enumerate() {
        for (n, result) in results.iter().enumerate() {
            let column = if tile.places.is_null() { n * tile.stride } else { *tile.places.add(n) };
            I::store(tile.out.add(column + row + vector * I::LANES), *result);
        }
    }
}

/// Adds one block's part to the results of as many rows as a vector has lanes.
#[inline(always)]
unsafe fn add_block<I: Isa, F: Format, const N: usize>(
    results: &mut [I::Float; N],
    row: usize,
    unit: *const u8,
    block: *const u8,
    activations: *const u8,
) {
    let first_scale = F::scale::<I>(unit, block, row, 0);
    let second_scale = if F::GROUPS == 2 { F::scale::<I>(unit, block, row, 1) } else { I::zero() };
    let min = if F::MINS { F::min::<I>(unit, block, row) } else { I::zero() };
    let scales = activations.add(N * BLOCK).cast::<f32>();
    let corrections = scales.add(N);
    unroll!(chain in 4 {
        let first = chain * I::CHAINS;
        if first < N {
            let columns = if N - first < I::CHAINS { N - first } else { I::CHAINS };
            let mut sums = [start::<I, F>(); 8];
            let mut earlier = [I::zero(); 8];
            for g in 0..columns {
                sums[g] = begin::<I, F>(corrections.add(first + g));
            }
            unroll!(i in 8 {
                if F::GROUPS == 2 && i == 4 {
                    for g in 0..columns {
                        earlier[g] = I::mul(I::to_float(sums[g].wide), first_scale);
                        sums[g] = begin::<I, F>(corrections.add(N + first + g));
                    }
                }
                let q = quants::<I>(F::CODING, block, row, i);
                let steps = 8 / F::GROUPS;
                for g in 0..columns {
                    let a = activations.add((first + g) * BLOCK + 4 * i).cast();
                    sums[g] = I::dot(sums[g], i % steps, F::FIT, i % steps == steps - 1, q, a);
                }
            });
            for g in 0..columns {
                let n = first + g;
                let sum = I::to_float(sums[g].wide);
                let product = match F::GROUPS {
                    2 => I::fma(sum, second_scale, earlier[g]),
                    _ => I::mul(sum, first_scale),
                };
                results[n] = I::fma(product, I::splat(scales.add(n)), results[n]);
                if F::MINS {
                    results[n] = I::fma(min, I::splat(corrections.add(n)), results[n]);
                }
            }
        }
    });
}

#[inline(always)]
unsafe fn start<I: Isa, F: Format>() -> Sum<I> {
    Sum { wide: I::splat32(0), narrow: I::splat32(0) }
}

/// A sum that starts at what the bias of the weights will have added too much.
#[inline(always)]
unsafe fn begin<I: Isa, F: Format>(correction: *const f32) -> Sum<I> {
    let mut sum = start::<I, F>();
    // Where eight-bit weights are multiplied signed, there is no bias.
    let signed = !I::VNNI && matches!(F::CODING, Coding::Bytes | Coding::Table);
    if F::BIAS != 0 && !signed {
        sum.wide = I::splat32(correction.cast::<i32>().read_unaligned());
    }
    sum
}
