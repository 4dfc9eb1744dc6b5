//! Activations quantised to 8 bits, with a single-precision scale per 32 values (ggml's q8_0 has a half-precision one).
//!
//! Columns are grouped into tiles. For each block of 32 values, a tile holds the values of all its columns, then their
//! scales, then a correction per column (and per half block if the format has two scales). Values are bytes, or 16-bit
//! integers with the even elements before the odd ones. The correction undoes the weights' bias or, for formats with
//! minimums, is the scaled sum that minimums multiply. For weights that are floats they are copied as they are.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.

use crate::{
    format::{BLOCK, Format},
    isa::Isa,
    tile::{column_bytes, uses_i16, value_bytes},
};
use std::arch::x86_64::*;

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
/// `x` points to the column's values, and `out` to `columns * all_blocks * column_bytes` bytes.
#[inline(always)]
pub(crate) unsafe fn quantise<I: Isa, F: Format>(span: ColumnBlocks, x: *const f32, out: *mut u8) {
    let (begin, width) = tile(span.columns, span.widest, tile_of(span.columns, span.widest, span.column));
    let n = span.column - begin;
    let tile = out.add(begin * span.all_blocks * column_bytes::<I, F>());
    for index in span.first_block..span.end_block {
        let block = tile.add(index * width * column_bytes::<I, F>());
        if F::CODING.is_float() {
            x.add(index * BLOCK).copy_to_nonoverlapping(block.cast::<f32>().add(n * BLOCK), BLOCK);
            continue;
        }
        let scales = block.add(width * value_bytes::<I, F>()).cast::<f32>();
        let corrections = scales.add(width);
        let (values, scale, halves) = quantise_block(x.add(index * BLOCK));
        let out = block.add(n * value_bytes::<I, F>()).cast::<__m256i>();
        if uses_i16::<I, F>() {
            // In the order in which the 16-bit weights are extracted from their bytes.
            _mm256_storeu_si256(out, _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(values)));
            _mm256_storeu_si256(out.add(1), _mm256_srai_epi16::<8>(values));
        } else {
            _mm256_storeu_si256(out, values);
        }
        scales.add(n).write_unaligned(scale);
        for g in 0..F::GROUPS {
            let sum = if F::GROUPS == 1 { halves[0] + halves[1] } else { halves[g] };
            let correction = corrections.add(g * width + n);
            if F::MINS {
                correction.write_unaligned(-scale * sum as f32);
            } else {
                correction.cast::<i32>().write_unaligned(-F::BIAS * sum);
            }
        }
    }
}

/// The blocks of a column to quantise.
#[derive(Clone, Copy)]
pub(crate) struct ColumnBlocks {
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

/// Quantises a block to bytes. Returns the bytes, the scale, and the sum of the bytes in each half. Every level has these
/// instructions; wider ones would gain nothing in a block of this size.
///
/// # Safety
/// AVX2 is available, and `x` holds a block.
#[inline(always)]
unsafe fn quantise_block(x: *const f32) -> (__m256i, f32, [i32; 2]) {
    let (x0, x1) = (_mm256_loadu_ps(x), _mm256_loadu_ps(x.add(8)));
    let (x2, x3) = (_mm256_loadu_ps(x.add(16)), _mm256_loadu_ps(x.add(24)));
    // The bits of non-negative floats compare like integers, with NaN above all.
    let most =
        _mm256_max_epu32(_mm256_max_epu32(abs_bits(x0), abs_bits(x1)), _mm256_max_epu32(abs_bits(x2), abs_bits(x3)));
    let most = _mm_max_epu32(_mm256_castsi256_si128(most), _mm256_extracti128_si256::<1>(most));
    let most = _mm_max_epu32(most, _mm_shuffle_epi32::<0b01_00_11_10>(most));
    let most = _mm_max_epu32(most, _mm_shuffle_epi32::<0b10_11_00_01>(most));
    let largest = f32::from_bits(_mm_cvtsi128_si32(most).cast_unsigned());
    let inverse = _mm256_set1_ps(if largest > 0.0 { 127.0 / largest } else { 0.0 });
    let low = _mm256_packs_epi32(nearest(x0, inverse), nearest(x1, inverse));
    let high = _mm256_packs_epi32(nearest(x2, inverse), nearest(x3, inverse));
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let values = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
    let pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), values);
    let sums = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    let sums = _mm256_hadd_epi32(sums, sums);
    let sums = _mm256_hadd_epi32(sums, sums);
    let (first, second) = (_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    (values, largest / 127.0, [_mm_cvtsi128_si32(first), _mm_cvtsi128_si32(second)])
}

/// The bits of floats without their signs.
#[inline(always)]
unsafe fn abs_bits(x: __m256) -> __m256i {
    _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fff_ffff))
}

/// Rounds to the nearest integers, ties to even. A NaN becomes some integer; the scale is NaN then, which preserves it.
#[inline(always)]
unsafe fn nearest(x: __m256, inverse: __m256) -> __m256i {
    _mm256_cvtps_epi32(_mm256_mul_ps(x, inverse))
}

/// The scalar reference, for the check at installation and for tests.
pub(crate) fn reference_quantise_block(x: &[f32; BLOCK]) -> ([i32; BLOCK], f32) {
    let largest = x.iter().fold(0, |most: u32, v| most.max(v.to_bits() & 0x7fff_ffff));
    let largest = f32::from_bits(largest);
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    (x.map(|v| (v * inverse).round_ties_even() as i32), largest / 127.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IsaLevel, matrix::noise};

    #[test]
    fn blocks_are_quantised_as_plain_arithmetic_does() {
        assert!(IsaLevel::Avx2.is_available());
        let mut blocks = noise(64 * BLOCK, 9);
        blocks.extend([0.0; BLOCK]);
        blocks.extend((0..BLOCK).map(|i| i as f32 - 15.5)); // halfway between multiples
        blocks.extend([-1.0e-30; BLOCK]);
        for x in blocks.as_chunks::<BLOCK>().0 {
            let (values, scale) = reference_quantise_block(x);
            let mut stored = [0u8; BLOCK];
            // SAFETY: AVX2 is there.
            let (found, halves) = unsafe {
                let (values, scale, halves) = quantise_block(x.as_ptr());
                _mm256_storeu_si256(stored.as_mut_ptr().cast(), values);
                (scale, halves)
            };
            assert_eq!(stored.map(|v| i32::from(v.cast_signed())), values);
            assert_eq!(found.to_bits(), scale.to_bits());
            assert_eq!(halves, [values[..16].iter().sum::<i32>(), values[16..].iter().sum::<i32>()]);
        }
    }
}
