//! Reading and writing the weights of a block: nibbles, planes of further bits, bytes.

use super::{BLOCK, Coding, ROWS};
use crate::isa::Isa;

/// The values that IQ4_NL and IQ4_XS index, plus 128.
const KVALUES: [u8; 16] = {
    let values: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
    let mut unsigned = [0; 16];
    let mut i = 0;
    while i < 16 {
        unsigned[i] = (values[i] as u8) ^ 0x80;
        i += 1;
    }
    unsigned
};

/// Vector `i` of a block: four weights of each row from `row` on.
///
/// # Safety
/// As for [`Isa`]; `block` points to a whole block.
#[inline(always)]
pub(crate) unsafe fn quants<I: Isa>(coding: Coding, block: *const u8, row: usize, i: usize) -> I::Int {
    let at = |vector: usize| I::load(block.add(vector * 64 + row * 4));
    if coding == Coding::Bytes {
        return at(i);
    }
    let nibbles = if i < 4 { at(i) } else { I::shr::<4>(at(i - 4)) };
    let low = I::and(nibbles, I::splat8(15));
    match coding {
        Coding::Nibbles | Coding::Bytes => low,
        Coding::Table => I::lookup(&KVALUES, low),
        Coding::FiveBits => {
            let plane = at(4);
            let moved = match i {
                0 => I::shl::<4>(plane),
                1 => I::shl::<3>(plane),
                2 => I::shl::<2>(plane),
                3 => I::shl::<1>(plane),
                4 => plane,
                5 => I::shr::<1>(plane),
                6 => I::shr::<2>(plane),
                _ => I::shr::<3>(plane),
            };
            I::or(low, I::and(moved, I::splat8(0x10)))
        }
        Coding::SixBits => {
            let plane = at(4 + i / 4);
            let moved = match i % 4 {
                0 => I::shl::<4>(plane),
                1 => I::shl::<2>(plane),
                2 => plane,
                _ => I::shr::<2>(plane),
            };
            I::or(low, I::and(moved, I::splat8(0x30)))
        }
    }
}

/// Writes the weights of one row into a block, as [`quants`] reads them.
#[inline(always)]
pub(super) fn put(coding: Coding, block: &mut [u8], row: usize, weights: &[u8; BLOCK]) {
    debug_assert!(row < ROWS && block.len() >= coding.bytes());
    let vector = |i: usize| i * 64 + row * 4;
    if coding == Coding::Bytes {
        for (i, four) in weights.as_chunks::<4>().0.iter().enumerate() {
            block[vector(i)..][..4].copy_from_slice(four);
        }
        return;
    }
    for i in 0..4 {
        for j in 0..4 {
            block[vector(i) + j] = (weights[i * 4 + j] & 15) | (weights[16 + i * 4 + j] << 4);
        }
    }
    match coding {
        Coding::FiveBits => {
            for j in 0..4 {
                let bits = (0..8).map(|i| (weights[i * 4 + j] >> 4) << i);
                block[vector(4) + j] = bits.fold(0, |byte, bit| byte | bit);
            }
        }
        Coding::SixBits => {
            for (half, plane) in [4, 5].into_iter().enumerate() {
                for j in 0..4 {
                    let bits = (0..4).map(|i| (weights[half * 16 + i * 4 + j] >> 4) << (2 * i));
                    block[vector(plane) + j] = bits.fold(0, |byte, bit| byte | bit);
                }
            }
        }
        Coding::Nibbles | Coding::Table | Coding::Bytes => {}
    }
}

/// The nibbles of sixteen bytes: first all low ones, then all high ones.
#[inline(always)]
pub(super) fn halves_of(bytes: &[u8]) -> [u8; BLOCK] {
    let mut weights = [0; BLOCK];
    for (i, byte) in bytes.iter().take(16).enumerate() {
        weights[i] = byte & 15;
        weights[16 + i] = byte >> 4;
    }
    weights
}
