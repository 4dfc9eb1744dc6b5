//! Formats with a scale for 32 weights, of which some also have a minimum.

use super::{BLOCK, Coding, Format, ROWS, planes};
use crate::isa::Isa;
use llama_cpp_sys_2 as sys;

/// Four bits, from -8 to 7.
pub(crate) struct Q4_0;

/// Four bits, with minimums.
pub(crate) struct Q4_1;

/// Five bits, from -16 to 15.
pub(crate) struct Q5_0;

/// Five bits, with minimums.
pub(crate) struct Q5_1;

/// Eight bits.
pub(crate) struct Q8_0;

/// Four bits that index a table.
pub(crate) struct Iq4Nl;

/// Four-bit floats, with a power of two for scale.
pub(crate) struct Mxfp4;

/// Twice the values of four-bit floats, plus 12.
const FP4_VALUES: [u8; 16] = [12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0];

/// Writes the two bytes of a row in a list of sixteen.
#[inline(always)]
fn put_half(list: &mut [u8], row: usize, half: [u8; 2]) {
    list[2 * row..][..2].copy_from_slice(&half);
}

/// One block in a unit, and scales of two bytes behind the weights, which a method of [`Isa`] reads.
macro_rules! blocks_of_32 {
    ($read:ident) => {
        const BLOCKS: usize = 1;
        const HEADER: usize = 0;
        const GROUPS: usize = 1;

        #[inline(always)]
        unsafe fn scale<I: Isa>(_unit: *const u8, block: *const u8, row: usize, _group: usize) -> I::Float {
            I::$read(block.add(Self::CODING.bytes() + 2 * row))
        }
    };
}

/// One scale in half precision, which comes first in the file.
macro_rules! one_scale {
    () => {
        const SCALES: usize = 2 * ROWS;
        const MINS: bool = false;
        blocks_of_32!(halves);

        fn pack(rows: &[u8], row_bytes: usize, unit: &mut [u8]) {
            for row in 0..ROWS {
                let file = &rows[row * row_bytes..][..Self::FILE_BYTES];
                planes::put(Self::CODING, unit, row, &Self::unsigned(&file[2..]));
                put_half(&mut unit[Self::CODING.bytes()..], row, [file[0], file[1]]);
            }
        }
    };
}

/// A scale in half precision and the smallest value of the block: a minimum with the other sign.
macro_rules! scale_and_least {
    () => {
        const SCALES: usize = 4 * ROWS;
        const BIAS: i32 = 0;
        const MINS: bool = true;
        blocks_of_32!(halves);

        #[inline(always)]
        unsafe fn min<I: Isa>(_unit: *const u8, block: *const u8, row: usize, _group: usize) -> I::Float {
            I::halves(block.add(Self::CODING.bytes() + 2 * (ROWS + row)))
        }

        fn pack(rows: &[u8], row_bytes: usize, unit: &mut [u8]) {
            for row in 0..ROWS {
                let file = &rows[row * row_bytes..][..Self::FILE_BYTES];
                planes::put(Self::CODING, unit, row, &Self::unsigned(&file[4..]));
                let scales = &mut unit[Self::CODING.bytes()..];
                put_half(scales, row, [file[0], file[1]]);
                put_half(scales, ROWS + row, [file[2], file[3] ^ 0x80]);
            }
        }
    };
}

impl Format for Q4_0 {
    const NAME: &'static str = "Q4_0";
    const TYPE: sys::ggml_type = sys::GGML_TYPE_Q4_0;
    const FILE_BYTES: usize = 18;
    const CODING: Coding = Coding::Nibbles;
    const BIAS: i32 = 8;
    const FIT: usize = 8;
    one_scale!();
}

impl Format for Q4_1 {
    const NAME: &'static str = "Q4_1";
    const TYPE: sys::ggml_type = sys::GGML_TYPE_Q4_1;
    const FILE_BYTES: usize = 20;
    const CODING: Coding = Coding::Nibbles;
    const FIT: usize = 8;
    scale_and_least!();
}

impl Format for Q5_0 {
    const NAME: &'static str = "Q5_0";
    const TYPE: sys::ggml_type = sys::GGML_TYPE_Q5_0;
    const FILE_BYTES: usize = 22;
    const CODING: Coding = Coding::FiveBits;
    const BIAS: i32 = 16;
    const FIT: usize = 4;
    one_scale!();
}

impl Format for Q5_1 {
    const NAME: &'static str = "Q5_1";
    const TYPE: sys::ggml_type = sys::GGML_TYPE_Q5_1;
    const FILE_BYTES: usize = 24;
    const CODING: Coding = Coding::FiveBits;
    const FIT: usize = 4;
    scale_and_least!();
}

impl Format for Iq4Nl {
    const NAME: &'static str = "IQ4_NL";
    const TYPE: sys::ggml_type = sys::GGML_TYPE_IQ4_NL;
    const FILE_BYTES: usize = 18;
    const CODING: Coding = Coding::Table(&super::IQ4_VALUES);
    const BIAS: i32 = 128;
    const FIT: usize = 0;
    one_scale!();
}

impl Format for Q8_0 {
    const NAME: &'static str = "Q8_0";
    const TYPE: sys::ggml_type = sys::GGML_TYPE_Q8_0;
    const FILE_BYTES: usize = 34;
    const CODING: Coding = Coding::Bytes;
    const BIAS: i32 = 128;
    const FIT: usize = 0;
    one_scale!();
}

impl Format for Mxfp4 {
    const NAME: &'static str = "MXFP4";
    const TYPE: sys::ggml_type = sys::GGML_TYPE_MXFP4;
    const FILE_BYTES: usize = 17;
    const CODING: Coding = Coding::Table(&FP4_VALUES);
    const SCALES: usize = 2 * ROWS;
    const BIAS: i32 = 12;
    const MINS: bool = false;
    const FIT: usize = 4;
    blocks_of_32!(upper_halves);

    fn pack(rows: &[u8], row_bytes: usize, unit: &mut [u8]) {
        for row in 0..ROWS {
            let file = &rows[row * row_bytes..][..Self::FILE_BYTES];
            planes::put(Self::CODING, unit, row, &planes::halves_of(&file[1..]));
            // Half of the scale, 2^(exponent - 127), because the table has twice the values. The smallest are subnormal.
            let half: u16 = match file[0] {
                exponent @ 0..2 => 0x20 << exponent,
                exponent => u16::from(exponent - 1) << 7,
            };
            put_half(&mut unit[Self::CODING.bytes()..], row, half.to_le_bytes());
        }
    }
}

/// The weights of four bits.
macro_rules! nibbles {
    ($($format:ty)*) => {$(
        impl $format {
            #[inline(always)]
            fn unsigned(weights: &[u8]) -> [u8; BLOCK] {
                planes::halves_of(weights)
            }
        }
    )*};
}

nibbles! { Q4_0 Q4_1 Iq4Nl }

/// The weights of five bits: the fifth ones come first.
macro_rules! five_bits {
    ($($format:ty)*) => {$(
        impl $format {
            #[inline(always)]
            fn unsigned(weights: &[u8]) -> [u8; BLOCK] {
                let fifths = u32::from_le_bytes([weights[0], weights[1], weights[2], weights[3]]);
                let low = planes::halves_of(&weights[4..]);
                std::array::from_fn(|k| low[k] | ((((fifths >> k) & 1) as u8) << 4))
            }
        }
    )*};
}

five_bits! { Q5_0 Q5_1 }

impl Q8_0 {
    #[inline(always)]
    fn unsigned(weights: &[u8]) -> [u8; BLOCK] {
        std::array::from_fn(|k| weights[k] ^ 0x80)
    }
}
