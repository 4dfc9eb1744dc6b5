//! Formats with one half-precision scale for 32 weights.

use super::{BLOCK, Coding, Format, ROWS, planes};
use crate::isa::Isa;
use llama_cpp_sys_2 as sys;

/// Four bits, from -8 to 7.
pub(crate) struct Q4_0;

/// Eight bits.
pub(crate) struct Q8_0;

/// Four bits that index a table.
pub(crate) struct Iq4Nl;

macro_rules! one_scale {
    () => {
        const BLOCKS: usize = 1;
        const HEADER: usize = 0;
        const SCALES: usize = 2 * ROWS;
        const GROUPS: usize = 1;
        const MINS: bool = false;

        #[inline(always)]
        unsafe fn scale<I: Isa>(_unit: *const u8, block: *const u8, row: usize, _group: usize) -> I::Float {
            I::halves(block.add(Self::CODING.bytes() + 2 * row))
        }

        fn pack(rows: &[u8], row_bytes: usize, unit: &mut [u8]) {
            for row in 0..ROWS {
                let (scale, weights) = rows[row * row_bytes..][..Self::FILE_BYTES].split_at(2);
                planes::put(Self::CODING, unit, row, &Self::unsigned(weights));
                unit[Self::CODING.bytes() + 2 * row..][..2].copy_from_slice(scale);
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

impl Format for Iq4Nl {
    const NAME: &'static str = "IQ4_NL";
    const TYPE: sys::ggml_type = sys::GGML_TYPE_IQ4_NL;
    const FILE_BYTES: usize = 18;
    const CODING: Coding = Coding::Table;
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

impl Q4_0 {
    #[inline(always)]
    fn unsigned(weights: &[u8]) -> [u8; BLOCK] {
        planes::halves_of(weights)
    }
}

impl Iq4Nl {
    #[inline(always)]
    fn unsigned(weights: &[u8]) -> [u8; BLOCK] {
        planes::halves_of(weights)
    }
}

impl Q8_0 {
    #[inline(always)]
    fn unsigned(weights: &[u8]) -> [u8; BLOCK] {
        std::array::from_fn(|k| weights[k] ^ 0x80)
    }
}
