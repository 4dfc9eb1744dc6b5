//! Activations in eight bits: a scale for each 32 values, as ggml's q8_0 has it, but in single precision.
//!
//! Columns are grouped into tiles. A tile holds, for each block of 32 values in turn: the values of all its columns (as
//! bytes, or as 16-bit numbers where they are multiplied so: first those at even places, then the others), then their scales, then a correction for each column (and for each half of the block where the format has two
//! scales): what the weights' bias adds, or for formats with minimums the scaled sum that minimums multiply.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.

use crate::{
    format::{BLOCK, Format},
    isa::Isa,
    tile::{column_bytes, in_words, value_bytes},
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
pub(crate) unsafe fn quantise<I: Isa, F: Format>(place: Place, x: *const f32, out: *mut u8) {
    let (begin, width) = tile(place.columns, place.widest, tile_of(place.columns, place.widest, place.column));
    let n = place.column - begin;
    let tile = out.add(begin * place.all_blocks * column_bytes::<I, F>());
    for index in place.first_block..place.end_block {
        let block = tile.add(index * width * column_bytes::<I, F>());
        let scales = block.add(width * value_bytes::<I, F>()).cast::<f32>();
        let corrections = scales.add(width);
        let (values, scale, halves) = eight_bits(x.add(index * BLOCK));
        let out = block.add(n * value_bytes::<I, F>()).cast::<__m256i>();
        if in_words::<I, F>() {
            // As the words of weights are taken out of their bytes.
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

/// The nearest of 255 multiples of a scale for each value of a block, as bytes; the scale; and the sum of the multiples
/// in each half. Every level has these instructions; wider ones would gain nothing in a block of this size.
///
/// # Safety
/// AVX2 is there, and `x` holds a block.
#[inline(always)]
unsafe fn eight_bits(x: *const f32) -> (__m256i, f32, [i32; 2]) {
    let (x0, x1) = (_mm256_loadu_ps(x), _mm256_loadu_ps(x.add(8)));
    let (x2, x3) = (_mm256_loadu_ps(x.add(16)), _mm256_loadu_ps(x.add(24)));
    // As whole numbers, floats without sign order as they do by value, with NaN above all.
    let most = _mm256_max_epu32(_mm256_max_epu32(size(x0), size(x1)), _mm256_max_epu32(size(x2), size(x3)));
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
unsafe fn size(x: __m256) -> __m256i {
    _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fff_ffff))
}

/// To the nearest whole numbers, ties to even. A NaN becomes some number; the scale, NaN too, keeps it.
#[inline(always)]
unsafe fn nearest(x: __m256, inverse: __m256) -> __m256i {
    _mm256_cvtps_epi32(_mm256_mul_ps(x, inverse))
}

/// The same in plain arithmetic, for the check at installation and for tests.
pub(crate) fn plain_eight_bits(x: &[f32; BLOCK]) -> ([i32; BLOCK], f32) {
    let largest = x.iter().fold(0, |most: u32, v| most.max(v.to_bits() & 0x7fff_ffff));
    let largest = f32::from_bits(largest);
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    (x.map(|v| (v * inverse).round_ties_even() as i32), largest / 127.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Level, matrix::noise};

    #[test]
    fn blocks_are_quantised_as_plain_arithmetic_does() {
        assert!(Level::Avx2.is_available());
        let mut blocks = noise(64 * BLOCK, 9);
        blocks.extend([0.0; BLOCK]);
        blocks.extend((0..BLOCK).map(|i| i as f32 - 15.5)); // halfway between multiples
        blocks.extend([-1.0e-30; BLOCK]);
        for x in blocks.as_chunks::<BLOCK>().0 {
            let (values, scale) = plain_eight_bits(x);
            let mut stored = [0u8; BLOCK];
            // SAFETY: AVX2 is there.
            let (found, halves) = unsafe {
                let (values, scale, halves) = eight_bits(x.as_ptr());
                _mm256_storeu_si256(stored.as_mut_ptr().cast(), values);
                (scale, halves)
            };
            assert_eq!(stored.map(|v| i32::from(v.cast_signed())), values);
            assert_eq!(found.to_bits(), scale.to_bits());
            assert_eq!(halves, [values[..16].iter().sum::<i32>(), values[16..].iter().sum::<i32>()]);
        }
    }
}
