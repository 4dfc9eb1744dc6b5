//! Reading and writing the weights of a block: nibbles, planes of further bits, bytes.

use super::{BLOCK, Coding, ROWS};
use crate::isa::Isa;

/// Vector `i` of a block: four weights of each row from `row` on.
///
/// # Safety
/// As for [`Isa`]; `block` points to a whole block.
#[inline(always)]
pub(crate) unsafe fn quants<I: Isa>(coding: Coding, block: *const u8, row: usize, i: usize) -> I::Int {
    let at = |vector: usize| I::load(block.add(vector * 64 + row * 4));
    match coding {
        Coding::Bytes => at(i),
        Coding::TwoBits => I::and(two_bits::<I>(at(i / 4), i % 4, 0), I::splat8(3)),
        Coding::ThreeBits => three_bits::<I>(at(i / 4), at(2), i),
        Coding::SmallTable(table) => I::lookup(table, three_bits::<I>(at(i / 4), at(2), i)),
        Coding::Nibbles => nibbles::<I>(at(i % 4), i),
        Coding::Table(table) => I::lookup(table, nibbles::<I>(at(i % 4), i)),
        Coding::FiveBits => I::or(nibbles::<I>(at(i % 4), i), I::and(one_bit::<I>(at(4), i, 4), I::splat8(0x10))),
        Coding::SixBits => {
            I::or(nibbles::<I>(at(i % 4), i), I::and(two_bits::<I>(at(4 + i / 4), i % 4, 4), I::splat8(0x30)))
        }
        Coding::Halves | Coding::UpperHalves | Coding::Floats => unreachable!(),
    }
}

/// Weight `k` of each row from `row` on, of a block of floats.
///
/// # Safety
/// As for [`Isa`]; `block` points to a whole block.
#[inline(always)]
pub(crate) unsafe fn floats<I: Isa>(coding: Coding, block: *const u8, row: usize, k: usize) -> I::Float {
    let at = k * ROWS + row;
    match coding {
        Coding::Halves => I::halves(block.add(2 * at)),
        Coding::UpperHalves => I::upper_halves(block.add(2 * at)),
        _ => I::floats(block.add(4 * at).cast()),
    }
}

/// Two bits and a third.
#[inline(always)]
unsafe fn three_bits<I: Isa>(pairs: I::Int, thirds: I::Int, i: usize) -> I::Int {
    let low = I::and(two_bits::<I>(pairs, i % 4, 0), I::splat8(3));
    I::or(low, I::and(one_bit::<I>(thirds, i, 2), I::splat8(4)))
}

/// The low halves of bytes for vectors 0 to 3, the high ones for 4 to 7.
#[inline(always)]
unsafe fn nibbles<I: Isa>(bytes: I::Int, i: usize) -> I::Int {
    I::and(if i < 4 { bytes } else { I::shift(bytes, -4) }, I::splat8(15))
}

/// Moves pair `i` of the bits of each byte to bit `to`; a mask follows.
#[inline(always)]
unsafe fn two_bits<I: Isa>(plane: I::Int, i: usize, to: i32) -> I::Int {
    I::shift(plane, to - 2 * i as i32)
}

/// Moves bit `i` of each byte to bit `to`; a mask follows.
#[inline(always)]
unsafe fn one_bit<I: Isa>(plane: I::Int, i: usize, to: i32) -> I::Int {
    I::shift(plane, to - i as i32)
}

/// Writes the weights of one row into a block, as [`quants`] reads them.
#[inline(always)]
pub(super) fn put(coding: Coding, block: &mut [u8], row: usize, weights: &[u8; BLOCK]) {
    debug_assert!(row < ROWS && block.len() >= coding.bytes());
    match coding {
        Coding::TwoBits | Coding::ThreeBits | Coding::SmallTable(_) => {
            gather::<2>(block, row, 0, weights, 0);
            gather::<2>(block, row, 1, &weights[16..], 0);
            if coding != Coding::TwoBits {
                gather::<1>(block, row, 2, weights, 2);
            }
        }
        Coding::Nibbles | Coding::Table(_) | Coding::FiveBits | Coding::SixBits => {
            for i in 0..4 {
                for j in 0..4 {
                    block[i * 64 + row * 4 + j] = (weights[i * 4 + j] & 15) | (weights[16 + i * 4 + j] << 4);
                }
            }
            if coding == Coding::FiveBits {
                gather::<1>(block, row, 4, weights, 4);
            } else if coding == Coding::SixBits {
                gather::<2>(block, row, 4, weights, 4);
                gather::<2>(block, row, 5, &weights[16..], 4);
            }
        }
        Coding::Bytes => {
            for (i, four) in weights.as_chunks::<4>().0.iter().enumerate() {
                block[i * 64 + row * 4..][..4].copy_from_slice(four);
            }
        }
        Coding::Halves | Coding::UpperHalves | Coding::Floats => unreachable!(),
    }
}

/// Gathers `BITS` bits of each of the first weights, from bit `from` on, in the row's four bytes of a vector.
#[inline(always)]
fn gather<const BITS: usize>(block: &mut [u8], row: usize, vector: usize, weights: &[u8], from: usize) {
    for j in 0..4 {
        let parts = (0..8 / BITS).map(|i| ((weights[i * 4 + j] >> from) & ((1 << BITS) - 1)) << (BITS * i));
        block[vector * 64 + row * 4 + j] = parts.fold(0, |byte, part| byte | part);
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
