//! The kernel: one or two panels of sixteen rows by some columns, over the whole inner dimension.
//!
//! The sums of a column are computed in the same order whatever the number of columns, so a column's result does not
//! depend on its neighbours.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.
#![allow(clippy::needless_range_loop)] // Arrays stand for registers: each index is one, known once unrolled.

use crate::{
    format::{BLOCK, Format, ROWS, floats, quants},
    isa::{Isa, Sum},
    unroll::unroll,
};
use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};

/// How far ahead of use weights are fetched into the first cache; the hardware's own prefetcher stops at each page.
const AHEAD: usize = 2048;

/// The operands of a tile.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// The first panel: `units` packed units of the format. A second one follows it.
    pub(crate) panel: *const u8,
    /// Units of a row.
    pub(crate) units: usize,
    /// Data to prefetch into the second-level cache, and the number of cache lines per block of weights.
    pub(crate) next: *const u8,
    pub(crate) next_lines: usize,
    /// The tile's activations ([`crate::activations`]).
    pub(crate) activations: *const u8,
    /// The results of the first column, sixteen per panel.
    pub(crate) out: *mut f32,
    /// Floats from one column of results to the next, if `offsets` is null.
    pub(crate) stride: usize,
    /// Floats from `out` to each column of results, or null.
    pub(crate) offsets: *const usize,
}

/// Whether weights and activations are multiplied as 16-bit integers: for 8-bit weights without VNNI, because the pairwise
/// sums of AVX2's byte products would overflow 16 bits.
pub(crate) const fn uses_i16<I: Isa, F: Format>() -> bool {
    !I::VNNI && F::FIT == 0 && !F::CODING.is_float()
}

/// Bytes of the values of a column's block.
pub(crate) const fn value_bytes<I: Isa, F: Format>() -> usize {
    match F::CODING.is_float() {
        true => size_of::<f32>() * BLOCK,
        false if uses_i16::<I, F>() => 2 * BLOCK,
        false => BLOCK,
    }
}

/// Bytes of one column of activations in a block: values and, if they are quantised, scale and one correction per group.
pub(crate) const fn column_bytes<I: Isa, F: Format>() -> usize {
    value_bytes::<I, F>() + if F::CODING.is_float() { 0 } else { 4 + 4 * F::GROUPS }
}

/// Computes a tile of `N` columns and `PANELS` panels.
///
/// # Safety
/// As for [`Isa`], and the tile's pointers are good for what its fields say.
#[inline(always)]
pub(crate) unsafe fn compute<I: Isa, F: Format, const N: usize, const PANELS: usize>(tile: Tile) {
    const { assert!(PANELS == 1 || I::LANES == ROWS) };
    if PANELS * ROWS == I::LANES {
        pass::<I, F, N, 1>(tile);
    } else {
        pass::<I, F, N, 2>(tile);
    }
}

/// Computes as many rows as `VECTORS` vectors have lanes: of one panel, or where a vector has all of its rows, of one
/// panel each.
#[inline(always)]
unsafe fn pass<I: Isa, F: Format, const N: usize, const VECTORS: usize>(tile: Tile) {
    let mut results = [[I::zero(); N]; VECTORS];
    let mut unit = tile.panel;
    let mut activations = tile.activations;
    // Offsets of a vector's weights and scales from those of the first vector.
    let (panel, row) = match I::LANES {
        ROWS => (tile.units * F::PACKED_UNIT, 0),
        _ => (0, I::LANES),
    };
    let mut next = tile.next;
    for _ in 0..tile.units {
        let mut block = unit.add(F::HEADER);
        for _ in 0..F::BLOCKS {
            // Past the end of the weights this has no effect: prefetches do not fault.
            for vector in 0..VECTORS {
                let mut line = 0;
                while line < F::PACKED_BLOCK && (panel > 0 || vector == 0) {
                    _mm_prefetch::<_MM_HINT_T0>(block.wrapping_add(vector * panel + AHEAD + line).cast());
                    line += 64;
                }
            }
            for line in 0..tile.next_lines {
                _mm_prefetch::<_MM_HINT_T1>(next.wrapping_add(line * 64).cast());
            }
            next = next.wrapping_add(tile.next_lines * 64);
            if F::CODING.is_float() {
                add_floats::<I, F, N, VECTORS>(&mut results, panel, row, block, activations);
            } else {
                add_block::<I, F, N, VECTORS>(&mut results, panel, row, unit, block, activations);
            }
            block = block.add(F::PACKED_BLOCK);
            activations = activations.add(N * column_bytes::<I, F>());
        }
        unit = unit.add(F::PACKED_UNIT);
    }
    for (vector, results) in results.iter().enumerate() {
        for (n, result) in results.iter().enumerate() {
            let column = if tile.offsets.is_null() { n * tile.stride } else { *tile.offsets.add(n) };
            I::store(tile.out.add(column + vector * I::LANES), *result);
        }
    }
}

/// Adds one block's part to the results. An activation is read once for all vectors: reading one for each product
/// would be the limit of the kernel.
#[inline(always)]
unsafe fn add_block<I: Isa, F: Format, const N: usize, const VECTORS: usize>(
    results: &mut [[I::Float; N]; VECTORS],
    panel: usize,
    row: usize,
    unit: *const u8,
    block: *const u8,
    activations: *const u8,
) {
    let scales = activations.add(N * value_bytes::<I, F>()).cast::<f32>();
    let corrections = scales.add(N);
    let mut sums = [[start::<I, F>(); N]; VECTORS];
    let mut earlier = [[I::zero(); N]; VECTORS];
    for g in 0..N {
        let sum = begin::<I, F>(corrections.add(g));
        for v in 0..VECTORS {
            sums[v][g] = sum;
        }
    }
    unroll!(i in 8 {
        if F::GROUPS == 2 && i == 4 {
            for v in 0..VECTORS {
                let scale = F::scale::<I>(unit.add(v * panel), block.add(v * panel), v * row, 0);
                for g in 0..N {
                    earlier[v][g] = I::mul(end::<I, F>(sums[v][g], corrections.add(g)), scale);
                }
            }
            for g in 0..N {
                let sum = begin::<I, F>(corrections.add(N + g));
                for v in 0..VECTORS {
                    sums[v][g] = sum;
                }
            }
        }
        let mut q = [I::splat32(0); VECTORS];
        for v in 0..VECTORS {
            q[v] = quants::<I>(F::CODING, block.add(v * panel), v * row, i);
        }
        if uses_i16::<I, F>() {
            // The even bytes, then the odd ones, in the order in which activations are stored.
            let even = q.map(|q| I::and(q, I::splat32(0x00ff_00ff)));
            let odd = q.map(|q| I::shift(q, -8));
            for (part, q) in [even, odd].into_iter().enumerate() {
                for g in 0..N {
                    let a = I::splat4(activations.add(g * 2 * BLOCK + part * BLOCK + 4 * i));
                    for v in 0..VECTORS {
                        sums[v][g].wide = I::pin_in_register(I::dot_i16(sums[v][g].wide, q[v], a));
                    }
                }
            }
        } else {
            let steps = 8 / F::GROUPS;
            for g in 0..N {
                let a = I::splat4(activations.add(g * BLOCK + 4 * i));
                for v in 0..VECTORS {
                    let sum = I::dot(sums[v][g], i % steps, F::FIT, i % steps == steps - 1, q[v], a);
                    // Pin the sum that has changed: the wide one if the narrow one has just been added to it.
                    let added = I::VNNI || (i + 1).is_multiple_of(steps.min(F::FIT));
                    sums[v][g] = if added {
                        Sum { wide: I::pin_in_register(sum.wide), ..sum }
                    } else {
                        Sum { narrow: I::pin_in_register(sum.narrow), ..sum }
                    };
                }
            }
        }
    });
    for v in 0..VECTORS {
        let scale = F::scale::<I>(unit.add(v * panel), block.add(v * panel), v * row, F::GROUPS - 1);
        let mut mins = [I::zero(); 2];
        if F::MINS {
            for group in 0..F::GROUPS {
                mins[group] = F::min::<I>(unit.add(v * panel), block.add(v * panel), v * row, group);
            }
        }
        for g in 0..N {
            let sum = end::<I, F>(sums[v][g], corrections.add((F::GROUPS - 1) * N + g));
            let product = match F::GROUPS {
                2 => I::fma(sum, scale, earlier[v][g]),
                _ => I::mul(sum, scale),
            };
            results[v][g] = I::fma(product, I::splat(scales.add(g)), results[v][g]);
            for group in 0..if F::MINS { F::GROUPS } else { 0 } {
                results[v][g] = I::fma(mins[group], I::splat(corrections.add(group * N + g)), results[v][g]);
            }
        }
    }
}

/// The same for weights that are floats.
#[inline(always)]
unsafe fn add_floats<I: Isa, F: Format, const N: usize, const VECTORS: usize>(
    results: &mut [[I::Float; N]; VECTORS],
    panel: usize,
    row: usize,
    block: *const u8,
    activations: *const u8,
) {
    for k in 0..BLOCK {
        let mut weights = [I::zero(); VECTORS];
        for v in 0..VECTORS {
            weights[v] = floats::<I>(F::CODING, block.add(v * panel), v * row, k);
        }
        for g in 0..N {
            let a = I::splat(activations.cast::<f32>().add(g * BLOCK + k));
            for v in 0..VECTORS {
                results[v][g] = I::fma(weights[v], a, results[v][g]);
            }
        }
    }
}

#[inline(always)]
unsafe fn start<I: Isa, F: Format>() -> Sum<I> {
    Sum { wide: I::splat32(0), narrow: I::splat32(0) }
}

/// Starts a sum at the correction for the bias of the weights, if that costs nothing.
#[inline(always)]
unsafe fn begin<I: Isa, F: Format>(correction: *const f32) -> Sum<I> {
    let mut sum = start::<I, F>();
    if F::BIAS != 0 && (I::VNNI || uses_i16::<I, F>()) {
        sum.wide = I::splat4(correction.cast());
    }
    sum
}

/// Converts a complete sum to float.
#[inline(always)]
unsafe fn end<I: Isa, F: Format>(sum: Sum<I>, correction: *const f32) -> I::Float {
    let mut wide = sum.wide;
    if F::BIAS != 0 && !I::VNNI && !uses_i16::<I, F>() {
        wide = I::add32(wide, I::splat4(correction.cast()));
    }
    I::to_float(wide)
}
