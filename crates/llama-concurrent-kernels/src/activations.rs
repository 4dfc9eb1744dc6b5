//! Activations in eight bits: a scale for each 32 values, as ggml's q8_0 has it, but in single precision.
//!
//! Columns are grouped into tiles. A tile holds, for each block of 32 values in turn: the values of all its columns,
//! then their scales, then a correction for each column (and for each half of the block where the format has two
//! scales): what the weights' bias adds, or for formats with minimums the scaled sum that minimums multiply.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.

use crate::format::{BLOCK, Format};

/// The columns `begin .. begin + width` of tile `index`, of `columns` in tiles of at most `widest`.
pub(crate) fn tile(columns: usize, widest: usize, index: usize) -> (usize, usize) {
    let tiles = columns.div_ceil(widest);
    let begin = columns * index / tiles;
    (begin, columns * (index + 1) / tiles - begin)
}

/// The tile that a column is in.
fn tile_of(columns: usize, widest: usize, column: usize) -> usize {
    let tiles = columns.div_ceil(widest);
    ((column + 1) * tiles - 1) / columns
}

/// Quantises blocks `blocks` of one column.
///
/// # Safety
/// `x` points to the column's values, and `out` to `columns * all_blocks * F::COLUMN` bytes.
#[inline(always)]
pub(crate) unsafe fn quantise<F: Format>(place: Place, x: *const f32, out: *mut u8) {
    let (begin, width) = tile(place.columns, place.widest, tile_of(place.columns, place.widest, place.column));
    let n = place.column - begin;
    let tile = out.add(begin * place.all_blocks * F::COLUMN);
    for index in place.first_block..place.end_block {
        let x = &*x.add(index * BLOCK).cast::<[f32; BLOCK]>();
        let block = tile.add(index * width * F::COLUMN);
        let scales = block.add(width * BLOCK).cast::<f32>();
        let corrections = scales.add(width);
        let (values, scale) = eight_bits(x);
        block.add(n * BLOCK).cast::<[i8; BLOCK]>().write_unaligned(values.map(|v| v as i8));
        scales.add(n).write_unaligned(scale);
        let group = BLOCK / F::GROUPS;
        for g in 0..F::GROUPS {
            let sum: i32 = values[g * group..][..group].iter().sum();
            let correction = corrections.add(g * width + n);
            if F::MINS {
                correction.write_unaligned(-scale * sum as f32);
            } else {
                correction.cast::<i32>().write_unaligned(-F::BIAS * sum);
            }
        }
    }
}

/// Which part of which column is quantised.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) column: usize,
    /// All columns.
    pub(crate) columns: usize,
    /// The widest tile.
    pub(crate) widest: usize,
    pub(crate) first_block: usize,
    pub(crate) end_block: usize,
    /// Blocks of the whole column.
    pub(crate) all_blocks: usize,
}

/// The nearest of 255 multiples of the scale, and the scale.
#[inline(always)]
pub(crate) fn eight_bits(x: &[f32; BLOCK]) -> ([i32; BLOCK], f32) {
    // As whole numbers, floats without sign order as they do by value, and their maximum becomes vector code.
    let largest = x.iter().fold(0, |most: u32, v| most.max(v.to_bits() & 0x7fff_ffff));
    let largest = f32::from_bits(largest);
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    // Adding 1.5 * 2^23 rounds to the nearest whole number, ties to even, and leaves it in the low bits. A NaN becomes
    // some number here; the scale, NaN too, keeps it.
    const MAGIC: f32 = 12_582_912.0;
    (x.map(|v| (v * inverse + MAGIC).to_bits().wrapping_sub(MAGIC.to_bits()).cast_signed()), largest / 127.0)
}
