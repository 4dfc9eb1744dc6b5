//! Formats with a half-precision scale for 256 weights and small whole-number scales for 16 or 32 of them. Those stay
//! whole numbers, one byte each: exact, and nearly the size of the file.

use super::{BLOCK, Coding, Format, ROWS, planes};
use crate::isa::Isa;
use llama_cpp_sys_2 as sys;

/// Two bits, with a scale and a minimum for 16 weights.
pub(crate) struct Q2K;

/// Three bits, with a scale for 16 weights.
pub(crate) struct Q3K;

/// Four bits, with minimums.
pub(crate) struct Q4K;

/// Five bits, with minimums.
pub(crate) struct Q5K;

/// Six bits, with a scale for 16 weights.
pub(crate) struct Q6K;

/// Four bits that index a table.
pub(crate) struct Iq4Xs;

/// Scale and minimum number `j` of eight; ggml spreads their six bits over twelve bytes.
fn scale_and_min(packed: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        let high = |byte: u8| (byte >> 6) << 4;
        ((packed[j + 4] & 15) | high(packed[j - 4]), (packed[j + 4] >> 4) | high(packed[j]))
    }
}

/// Thirty-two weights of four bits: the low or the high halves of as many bytes, in turn.
#[inline(always)]
fn nibbles(qs: &[u8], block: usize) -> [u8; BLOCK] {
    let qs = &qs[block / 2 * 32..][..32];
    std::array::from_fn(|k| (qs[k] >> (4 * (block % 2))) & 15)
}

/// Scales and minimums for 32 weights, as Q4_K and Q5_K have them.
macro_rules! with_mins {
    () => {
        const BLOCKS: usize = 8;
        const HEADER: usize = 4 * ROWS;
        const SCALES: usize = 2 * ROWS;
        const GROUPS: usize = 1;
        const BIAS: i32 = 0;
        const MINS: bool = true;

        #[inline(always)]
        unsafe fn scale<I: Isa>(unit: *const u8, block: *const u8, row: usize, _group: usize) -> I::Float {
            I::mul(I::halves(unit.add(2 * row)), I::bytes(block.add(Self::CODING.bytes() + row)))
        }

        #[inline(always)]
        unsafe fn min<I: Isa>(unit: *const u8, block: *const u8, row: usize, _group: usize) -> I::Float {
            I::mul(I::halves(unit.add(2 * (ROWS + row))), I::bytes(block.add(Self::CODING.bytes() + ROWS + row)))
        }

        fn pack(rows: &[u8], row_bytes: usize, unit: &mut [u8]) {
            for row in 0..ROWS {
                let file = &rows[row * row_bytes..][..Self::FILE_BYTES];
                unit[2 * row..][..2].copy_from_slice(&file[..2]);
                unit[2 * (ROWS + row)..][..2].copy_from_slice(&file[2..4]);
                for (j, block) in unit[Self::HEADER..].chunks_exact_mut(Self::PACKED_BLOCK).enumerate() {
                    planes::put(Self::CODING, block, row, &Self::weights(&file[16..], j));
                    let (scale, min) = scale_and_min(&file[4..16], j);
                    block[Self::CODING.bytes() + row] = scale;
                    block[Self::CODING.bytes() + ROWS + row] = min;
                }
            }
        }
    };
}

/// Signed scales for 16 weights, as Q3_K and Q6_K have them; the scale of all comes last in the file.
macro_rules! signed_scales {
    () => {
        const BLOCKS: usize = 8;
        const HEADER: usize = 2 * ROWS;
        const SCALES: usize = 2 * ROWS;
        const GROUPS: usize = 2;
        const MINS: bool = false;

        #[inline(always)]
        unsafe fn scale<I: Isa>(unit: *const u8, block: *const u8, row: usize, group: usize) -> I::Float {
            let scales = block.add(Self::CODING.bytes() + group * ROWS + row);
            I::mul(I::halves(unit.add(2 * row)), I::signed_bytes(scales))
        }

        fn pack(rows: &[u8], row_bytes: usize, unit: &mut [u8]) {
            for row in 0..ROWS {
                let file = &rows[row * row_bytes..][..Self::FILE_BYTES];
                unit[2 * row..][..2].copy_from_slice(&file[Self::FILE_BYTES - 2..]);
                for (j, block) in unit[Self::HEADER..].chunks_exact_mut(Self::PACKED_BLOCK).enumerate() {
                    planes::put(Self::CODING, block, row, &Self::weights(file, j));
                    for group in 0..2 {
                        block[Self::CODING.bytes() + group * ROWS + row] = Self::scale_of(file, 2 * j + group);
                    }
                }
            }
        }
    };
}

/// Thirty-two weights of two bits: pair `block % 4` of the bits of as many bytes.
#[inline(always)]
fn pairs(qs: &[u8], block: usize) -> [u8; BLOCK] {
    let qs = &qs[block / 4 * 32..][..32];
    std::array::from_fn(|k| (qs[k] >> (2 * (block % 4))) & 3)
}

impl Format for Q2K {
    const NAME: &'static str = "Q2_K";
    const TYPE: sys::ggml_type = sys::GGML_TYPE_Q2_K;
    const FILE_BYTES: usize = 84;
    const BLOCKS: usize = 8;
    const HEADER: usize = 4 * ROWS;
    const CODING: Coding = Coding::TwoBits;
    const SCALES: usize = 4 * ROWS;
    const GROUPS: usize = 2;
    const BIAS: i32 = 0;
    const MINS: bool = true;
    const FIT: usize = 8;

    #[inline(always)]
    unsafe fn scale<I: Isa>(unit: *const u8, block: *const u8, row: usize, group: usize) -> I::Float {
        I::mul(I::halves(unit.add(2 * row)), I::bytes(block.add(Self::CODING.bytes() + group * ROWS + row)))
    }

    #[inline(always)]
    unsafe fn min<I: Isa>(unit: *const u8, block: *const u8, row: usize, group: usize) -> I::Float {
        let mins = block.add(Self::CODING.bytes() + (2 + group) * ROWS + row);
        I::mul(I::halves(unit.add(2 * (ROWS + row))), I::bytes(mins))
    }

    fn pack(rows: &[u8], row_bytes: usize, unit: &mut [u8]) {
        for row in 0..ROWS {
            let file = &rows[row * row_bytes..][..Self::FILE_BYTES];
            let (scales, weights) = file[..80].split_at(16);
            unit[2 * row..][..2].copy_from_slice(&file[80..82]);
            unit[2 * (ROWS + row)..][..2].copy_from_slice(&file[82..]);
            for (j, block) in unit[Self::HEADER..].chunks_exact_mut(Self::PACKED_BLOCK).enumerate() {
                planes::put(Self::CODING, block, row, &pairs(weights, j));
                for group in 0..2 {
                    block[Self::CODING.bytes() + group * ROWS + row] = scales[2 * j + group] & 15;
                    block[Self::CODING.bytes() + (2 + group) * ROWS + row] = scales[2 * j + group] >> 4;
                }
            }
        }
    }
}

impl Format for Q3K {
    const NAME: &'static str = "Q3_K";
    const TYPE: sys::ggml_type = sys::GGML_TYPE_Q3_K;
    const FILE_BYTES: usize = 110;
    const CODING: Coding = Coding::ThreeBits;
    const BIAS: i32 = 4;
    const FIT: usize = 8;
    signed_scales!();
}

impl Q3K {
    /// The scale of 16 weights: six bits, less 32. The low four of scales 0 to 7 and 8 to 15 share bytes, the high two follow.
    #[inline(always)]
    fn scale_of(file: &[u8], i: usize) -> u8 {
        let scales = &file[96..108];
        let low = (scales[i % 8] >> (4 * (i / 8))) & 15;
        (low | (((scales[8 + i % 4] >> (2 * (i / 4))) & 3) << 4)).wrapping_sub(32)
    }

    #[inline(always)]
    fn weights(file: &[u8], block: usize) -> [u8; BLOCK] {
        let (high, low) = (&file[..32], pairs(&file[32..96], block));
        std::array::from_fn(|k| low[k] | (((high[k] >> block) & 1) << 2))
    }
}

impl Format for Q4K {
    const NAME: &'static str = "Q4_K";
    const TYPE: sys::ggml_type = sys::GGML_TYPE_Q4_K;
    const FILE_BYTES: usize = 144;
    const CODING: Coding = Coding::Nibbles;
    const FIT: usize = 8;
    with_mins!();
}

impl Q4K {
    #[inline(always)]
    fn weights(qs: &[u8], block: usize) -> [u8; BLOCK] {
        nibbles(qs, block)
    }
}

impl Format for Q5K {
    const NAME: &'static str = "Q5_K";
    const TYPE: sys::ggml_type = sys::GGML_TYPE_Q5_K;
    const FILE_BYTES: usize = 176;
    const CODING: Coding = Coding::FiveBits;
    const FIT: usize = 4;
    with_mins!();
}

impl Q5K {
    #[inline(always)]
    fn weights(bits: &[u8], block: usize) -> [u8; BLOCK] {
        let (high, low) = bits.split_at(32);
        let low = nibbles(low, block);
        std::array::from_fn(|k| low[k] | (((high[k] >> block) & 1) << 4))
    }
}

impl Format for Q6K {
    const NAME: &'static str = "Q6_K";
    const TYPE: sys::ggml_type = sys::GGML_TYPE_Q6_K;
    const FILE_BYTES: usize = 210;
    const CODING: Coding = Coding::SixBits;
    const BIAS: i32 = 32;
    const FIT: usize = 2;
    signed_scales!();
}

impl Q6K {
    #[inline(always)]
    fn scale_of(file: &[u8], i: usize) -> u8 {
        file[192 + i]
    }

    #[inline(always)]
    fn weights(file: &[u8], block: usize) -> [u8; BLOCK] {
        // Four blocks share 32 bytes of high bits; blocks 0 and 2, and 1 and 3, share bytes of low ones.
        let (part, quarter) = (block / 4, block % 4);
        let low = &file[part * 64 + quarter % 2 * 32..][..32];
        let high = &file[128 + part * 32..][..32];
        std::array::from_fn(|k| ((low[k] >> (quarter / 2 * 4)) & 15) | (((high[k] >> (2 * quarter)) & 3) << 4))
    }
}

impl Format for Iq4Xs {
    const NAME: &'static str = "IQ4_XS";
    const TYPE: sys::ggml_type = sys::GGML_TYPE_IQ4_XS;
    const FILE_BYTES: usize = 136;
    const BLOCKS: usize = 8;
    const HEADER: usize = 2 * ROWS;
    const CODING: Coding = Coding::Table(&super::IQ4_VALUES);
    const SCALES: usize = ROWS;
    const GROUPS: usize = 1;
    const BIAS: i32 = 128;
    const MINS: bool = false;
    const FIT: usize = 0;

    #[inline(always)]
    unsafe fn scale<I: Isa>(unit: *const u8, block: *const u8, row: usize, _group: usize) -> I::Float {
        I::mul(I::halves(unit.add(2 * row)), I::signed_bytes(block.add(Self::CODING.bytes() + row)))
    }

    fn pack(rows: &[u8], row_bytes: usize, unit: &mut [u8]) {
        for row in 0..ROWS {
            let file = &rows[row * row_bytes..][..Self::FILE_BYTES];
            let high = u16::from_le_bytes([file[2], file[3]]);
            unit[2 * row..][..2].copy_from_slice(&file[..2]);
            for (j, block) in unit[Self::HEADER..].chunks_exact_mut(Self::PACKED_BLOCK).enumerate() {
                planes::put(Self::CODING, block, row, &planes::halves_of(&file[8 + 16 * j..]));
                let low = (file[4 + j / 2] >> (4 * (j % 2))) & 15;
                let scale = low | ((((high >> (2 * j)) & 3) as u8) << 4);
                block[Self::CODING.bytes() + row] = scale.wrapping_sub(32);
            }
        }
    }
}
