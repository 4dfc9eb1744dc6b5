//! How weights are packed, and the properties of each format that a kernel uses.
//!
//! A *panel* is sixteen rows of a weight matrix, divided along the inner dimension into *blocks* of 32 weights per row. In
//! a block, vector `i` of eight holds weights `4 i .. 4 i + 4` of row 0, then of row 1, and so on: the four bytes of one
//! lane of a dot product. Weights are stored unsigned, with [`Format::BIAS`] added. Formats that have scales
//! for 256 weights begin with a header and eight blocks make one *unit*; for the others a unit is one block.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.

mod codebook;
mod floats;
mod planes;
mod simple;
mod super_blocks;

use crate::isa::Isa;
pub(crate) use codebook::{Iq2S, Iq2Xs, Iq2Xxs, Iq3S, Iq3Xxs};
pub(crate) use floats::{Bf16, F16, F32};
use llama_cpp_sys_2 as sys;
pub(crate) use planes::{floats, quants};
pub(crate) use simple::{Iq4Nl, Mxfp4, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
pub(crate) use super_blocks::{Iq4Xs, Q2K, Q3K, Q4K, Q5K, Q6K};

/// Rows of a panel.
pub(crate) const ROWS: usize = 16;

/// Weights of a row in a block.
pub(crate) const BLOCK: usize = 32;

/// The values that IQ4_NL and IQ4_XS index, plus 128.
const IQ4_VALUES: [u8; 16] = {
    let values: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
    let mut unsigned = [0; 16];
    let mut i = 0;
    while i < 16 {
        unsigned[i] = (values[i] as u8) ^ 0x80;
        i += 1;
    }
    unsigned
};

/// A weight format, as a kernel sees it.
pub(crate) trait Format: 'static {
    /// Its name in files.
    const NAME: &'static str;
    /// ggml's type number.
    const TYPE: sys::ggml_type;
    /// Bytes of one row of a unit in the file.
    const FILE_BYTES: usize;
    /// Blocks of a unit.
    const BLOCKS: usize;
    /// Bytes before the blocks of a unit.
    const HEADER: usize;
    /// The layout of the weights, which come first in a block.
    const CODING: Coding;
    /// Bytes of a block after its weights: scales.
    const SCALES: usize;
    /// Scales of 32 weights, 1 or 2.
    const GROUPS: usize;
    /// The bias added to make weights unsigned.
    const BIAS: i32;
    /// Whether a second scale, the minimum, is subtracted from all weights of a group.
    const MINS: bool;
    /// How many vectors of weights fit into a 16-bit sum: 2 * largest weight * 127 * FIT < 32768; 0 for 8-bit weights, of
    /// which not even one fits.
    const FIT: usize;

    /// Whether ggml would search a codebook to quantise weights. In a file of such a format any bytes are weights, after a scale
    /// in half precision for each unit.
    const CODEBOOK: bool = false;

    /// Bytes of a packed block.
    const PACKED_BLOCK: usize = Self::CODING.bytes() + Self::SCALES;
    /// Bytes of a packed unit of sixteen rows.
    const PACKED_UNIT: usize = Self::HEADER + Self::BLOCKS * Self::PACKED_BLOCK;

    /// The scales of group `group` of the rows from `row` on, as many as a vector has lanes.
    ///
    /// # Safety
    /// As for [`Isa`]; `unit` points to a whole unit and `block` into it.
    unsafe fn scale<I: Isa>(unit: *const u8, block: *const u8, row: usize, group: usize) -> I::Float;

    /// The minimums, likewise, where there are any.
    ///
    /// # Safety
    /// As for `scale`.
    unsafe fn min<I: Isa>(_unit: *const u8, _block: *const u8, _row: usize, _group: usize) -> I::Float {
        I::zero()
    }

    /// Packs one unit of sixteen rows, which are `row_bytes` apart in `rows`.
    fn pack(rows: &[u8], row_bytes: usize, unit: &mut [u8]);
}

/// How weights of a block are stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Two bits of four vectors each in 64 bytes, twice.
    TwoBits,
    /// The same, and one more bit of all eight vectors in 64 bytes.
    ThreeBits,
    /// Four bits: vectors 0 to 3 in the low halves of 256 bytes, 4 to 7 in the high ones.
    Nibbles,
    /// Three bits that index a table.
    SmallTable(&'static [u8; 16]),
    /// Four bits that index a table.
    Table(&'static [u8; 16]),
    /// Nibbles, and one more bit of all eight vectors in 64 bytes.
    FiveBits,
    /// Nibbles, and two more bits of four vectors each in 64 bytes, twice.
    SixBits,
    /// Bytes.
    Bytes,
    /// Floats in half precision, a weight of each row after the other.
    Halves,
    /// The upper halves of floats, likewise.
    UpperHalves,
    /// Floats, likewise.
    Floats,
}

impl Coding {
    /// Bytes of 16 x 32 weights.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::TwoBits => 128,
            Self::ThreeBits | Self::SmallTable(_) => 128 + 64,
            Self::Nibbles | Self::Table(_) => 256,
            Self::FiveBits => 256 + 64,
            Self::SixBits => 256 + 128,
            Self::Bytes => ROWS * BLOCK,
            Self::Halves | Self::UpperHalves => 2 * ROWS * BLOCK,
            Self::Floats => 4 * ROWS * BLOCK,
        }
    }

    /// Whether weights are multiplied as floats, with activations that are not quantised.
    pub(crate) const fn is_float(self) -> bool {
        matches!(self, Self::Halves | Self::UpperHalves | Self::Floats)
    }
}
