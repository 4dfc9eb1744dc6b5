//! One block of cells and one tile of rows, a row in each lane.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.
#![allow(clippy::needless_range_loop)] // Arrays stand for registers: each index is one, known once unrolled.

use super::CELLS;
use crate::isa::Isa;

/// The element type of keys or values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum KvDtype {
    F32,
    F16,
    /// Blocks of 32 signed bytes after a half-precision scale.
    Q8_0,
    /// Blocks of 32 nibbles after a half-precision scale, with 8 for zero: the low ones of sixteen bytes, then the high ones.
    Q4_0,
}

/// Converts one cell.
///
/// # Safety
/// As for [`Isa`]; the cell holds `size` values, a multiple of the lanes (of 32 where there are blocks), and `out` has room for them.
#[inline(always)]
pub(super) unsafe fn convert<I: Isa>(dtype: KvDtype, cell: *const u8, size: usize, out: *mut f32) {
    match dtype {
        KvDtype::F32 => {
            for i in (0..size).step_by(I::LANES) {
                I::store(out.add(i), I::floats(cell.cast::<f32>().add(i)));
            }
        }
        KvDtype::F16 => {
            for i in (0..size).step_by(I::LANES) {
                I::store(out.add(i), I::halves(cell.add(2 * i)));
            }
        }
        KvDtype::Q8_0 => {
            for block in 0..size / 32 {
                let bytes = cell.add(block * 34);
                let scale = half::f16::from_bits(bytes.cast::<u16>().read_unaligned()).to_f32();
                scaled_bytes::<I>(bytes.add(2), scale, out.add(block * 32));
            }
        }
        KvDtype::Q4_0 => {
            for block in 0..size / 32 {
                let bytes = cell.add(block * 18);
                let scale = half::f16::from_bits(bytes.cast::<u16>().read_unaligned()).to_f32();
                let nibbles = bytes.add(2).cast::<[u8; 16]>().read();
                let mut values = [0; 32];
                for (i, byte) in nibbles.into_iter().enumerate() {
                    values[i] = (byte & 15).wrapping_sub(8);
                    values[16 + i] = (byte >> 4).wrapping_sub(8);
                }
                scaled_bytes::<I>(values.as_ptr(), scale, out.add(block * 32));
            }
        }
    }
}

/// Thirty-two signed bytes times a scale.
#[inline(always)]
unsafe fn scaled_bytes<I: Isa>(bytes: *const u8, scale: f32, out: *mut f32) {
    for i in (0..32).step_by(I::LANES) {
        I::store(out.add(i), I::mul(I::signed_bytes(bytes.add(i)), I::splat(&scale)));
    }
}

/// The soft cap of scores: `cap` times the hyperbolic tangent of half of `z`, which is given as a power of two.
#[inline(always)]
unsafe fn soft_capped<I: Isa>(z: I::Float, cap: f32) -> I::Float {
    let minus_one = I::splat(&-1.0);
    let minus = I::mul(z, minus_one);
    // One of the two powers is 1, and the other one at most that. A NaN is the second operand, which wins; both powers are then 0.
    let p = I::exp2(I::mul(I::max(I::zero(), minus), minus_one));
    let q = I::exp2(I::mul(I::max(I::zero(), z), minus_one));
    I::mul(I::div(I::fma(q, minus_one, p), I::add(p, q)), I::splat(&cap))
}

/// The scores of eight cells: dot products of their keys with each row's query.
///
/// # Safety
/// As for [`Isa`]; `queries` holds `size` vectors, `keys` eight times `size` floats, and `scores` takes eight vectors.
#[inline(always)]
pub(super) unsafe fn scores<I: Isa>(queries: *const f32, keys: *const f32, size: usize, scores: *mut f32) {
    let mut sums = [I::zero(); 8];
    for d in 0..size {
        let query = I::floats(queries.add(d * I::LANES));
        for (cell, sum) in sums.iter_mut().enumerate() {
            *sum = I::fma(query, I::splat(keys.add(cell * size + d)), *sum);
        }
    }
    for (cell, sum) in sums.into_iter().enumerate() {
        I::store(scores.add(cell * I::LANES), sum);
    }
}

/// Turns the scores of `count` cells, which get a soft cap unless it is 0, into softmax weights relative to the largest score so far. Returns the factor for
/// earlier weights.
///
/// # Safety
/// As for [`Isa`]; `scores` holds `count` vectors, `largest` and `total` one each, and `bias`, unless null, `count`.
#[inline(always)]
pub(super) unsafe fn weights<I: Isa>(
    scores: *mut f32,
    soft_cap: f32,
    bias: *const f32,
    count: usize,
    largest: *mut f32,
    total: *mut f32,
) -> I::Float {
    let before = I::floats(largest);
    let mut most = before;
    for cell in 0..count {
        let at = scores.add(cell * I::LANES);
        let mut score = I::floats(at);
        if soft_cap > 0.0 {
            score = soft_capped::<I>(score, soft_cap);
        }
        if !bias.is_null() {
            score = I::add(score, I::floats(bias.add(cell * I::LANES)));
        }
        if soft_cap > 0.0 || !bias.is_null() {
            I::store(at, score);
        }
        most = I::max(most, score);
    }
    let minus = I::mul(most, I::splat(&-1.0));
    let factor = I::exp2(I::add(before, minus));
    let mut sum = I::mul(I::floats(total), factor);
    for cell in 0..count {
        let at = scores.add(cell * I::LANES);
        let weight = I::exp2(I::add(I::floats(at), minus));
        I::store(at, weight);
        sum = I::add(sum, weight);
    }
    I::store(largest, most);
    I::store(total, sum);
    factor
}

/// Adds weighted values of `count` cells to the results of `ROWS` rows, in `VECTORS` vectors, after multiplying these
/// by each row's factor.
///
/// # Safety
/// As for [`Isa`]; `weights` holds a row's weight every `LANES` floats, `values` a cell's every `size`, and `results`
/// a row's every `size`.
#[inline(always)]
pub(super) unsafe fn accumulate<I: Isa, const ROWS: usize, const VECTORS: usize>(
    weights: *const f32,
    values: *const f32,
    factors: *const f32,
    results: *mut f32,
    size: usize,
    count: usize,
) {
    let mut sums = [[I::zero(); VECTORS]; ROWS];
    for row in 0..ROWS {
        for vector in 0..VECTORS {
            let old = I::floats(results.add(row * size + vector * I::LANES));
            sums[row][vector] = I::mul(old, I::splat(factors.add(row)));
        }
    }
    for cell in 0..count {
        let value: [I::Float; VECTORS] =
            std::array::from_fn(|vector| I::floats(values.add(cell * size + vector * I::LANES)));
        for row in 0..ROWS {
            let weight = I::splat(weights.add(cell * I::LANES + row));
            for vector in 0..VECTORS {
                sums[row][vector] = I::fma(weight, value[vector], sums[row][vector]);
            }
        }
    }
    for row in 0..ROWS {
        for vector in 0..VECTORS {
            I::store(results.add(row * size + vector * I::LANES), sums[row][vector]);
        }
    }
}

/// The cells of a block that a mask row allows, and whether it adds a nonzero bias to any of them.
///
/// # Safety
/// The mask holds `count` half-precision numbers, at most [`CELLS`].
#[inline(always)]
pub(super) unsafe fn visible(mask: *const u16, count: usize) -> (u32, bool) {
    const OUT: u16 = 0xfc00; // minus infinity
    if count == CELLS {
        let mask = mask.cast::<[u16; CELLS]>().read_unaligned();
        if mask.iter().fold(0, |bits, m| bits | (m ^ OUT)) == 0 {
            return (0, false);
        }
        if mask.iter().fold(0, |bits, m| bits | m) == 0 {
            return (u32::MAX, false);
        }
    }
    let (mut seen, mut added) = (0, false);
    for cell in 0..count {
        let value = mask.add(cell).read_unaligned();
        seen |= u32::from(value != OUT) << cell;
        added |= value != OUT && value & 0x7fff != 0;
    }
    (seen, added)
}
