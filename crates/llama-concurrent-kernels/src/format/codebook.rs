//! Formats whose weights are points of a lattice, looked up in ggml's tables: of three to eight sizes and a sign each.
//!
//! The points are packed as three or four bits that index the values they can have, which a kernel unpacks as fast as
//! other formats. That is up to half as much memory again as the file has.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.

use super::{BLOCK, Coding, Format, ROWS, planes};
use crate::isa::Isa;
use llama_cpp_sys_2 as sys;

/// Two bits and a sixteenth, with a scale for 32 weights.
pub(crate) struct Iq2Xxs;

/// Two bits and a third, with a scale for 16 weights.
pub(crate) struct Iq2Xs;

/// Two bits and a half, with a scale for 16 weights.
pub(crate) struct Iq2S;

/// Three bits and a sixteenth, with a scale for 32 weights.
pub(crate) struct Iq3Xxs;

/// Three bits and a half, with a scale for 32 weights.
pub(crate) struct Iq3S;

/// What the weights of a format can be, ascending.
const OF_TWO_BITS: [i8; 6] = [-43, -25, -8, 8, 25, 43];
const OF_THREE_BITS: [i8; 16] = [-62, -52, -44, -36, -28, -20, -12, -4, 4, 12, 20, 28, 36, 44, 52, 62];
const ODD_NUMBERS: [i8; 16] = [-15, -13, -11, -9, -7, -5, -3, -1, 1, 3, 5, 7, 9, 11, 13, 15];

/// A table of these values with the bias that makes them unsigned.
const fn unsigned<const N: usize>(values: [i8; N]) -> [u8; 16] {
    let mut table = [0; 16];
    let mut i = 0;
    while i < N {
        table[i] = (values[i] - values[0]) as u8;
        i += 1;
    }
    table
}

/// The place of each value from -64 to 63, or of a neighbour: weights are exact but for rounding.
const fn places<const N: usize>(values: [i8; N]) -> [u8; 128] {
    let mut places = [0; 128];
    let mut weight = 0;
    while weight < 128 {
        let mut i = 0;
        while i + 1 < N && (values[i] as i32) < weight as i32 - 64 {
            i += 1;
        }
        places[weight] = i as u8;
        weight += 1;
    }
    places
}

/// The 256 weights of a row of a unit, as ggml reads them.
fn read(ggml_type: sys::ggml_type, file: &[u8]) -> [f32; 8 * BLOCK] {
    let mut weights = [0.0; 8 * BLOCK];
    // SAFETY: the file has a whole block of the type, which is 256 weights.
    unsafe {
        if let Some(to_float) = (*sys::ggml_get_type_traits(ggml_type)).to_float {
            to_float(file.as_ptr().cast(), weights.as_mut_ptr(), weights.len() as i64);
        }
    }
    weights
}

/// A format with the values that its weights can have, what a scale of one is worth, and the scale of `32 / groups` weights:
/// an odd number.
macro_rules! codebook {
    ($format:ident, $name:literal, $type:ident, $bytes:literal, $coding:ident($values:expr), $groups:literal, $fit:literal,
     $step:literal, |$file:ident, $i:ident| $scale:expr) => {
        impl Format for $format {
            const NAME: &'static str = $name;
            const TYPE: sys::ggml_type = sys::$type;
            const FILE_BYTES: usize = $bytes;
            const BLOCKS: usize = 8;
            const HEADER: usize = 2 * ROWS;
            const CODING: Coding = Coding::$coding(&const { unsigned($values) });
            const SCALES: usize = $groups * ROWS;
            const GROUPS: usize = $groups;
            const BIAS: i32 = -($values[0] as i32);
            const MINS: bool = false;
            const FIT: usize = $fit;
            const CODEBOOK: bool = true;

            #[inline(always)]
            unsafe fn scale<I: Isa>(unit: *const u8, block: *const u8, row: usize, group: usize) -> I::Float {
                let scales = I::bytes(block.add(Self::CODING.bytes() + group * ROWS + row));
                I::mul(I::mul(I::halves(unit.add(2 * row)), I::splat(&$step)), scales)
            }

            fn pack(rows: &[u8], row_bytes: usize, unit: &mut [u8]) {
                const { assert!(2 * $values[$values.len() - 1] as i32 * 2 * 127 * $fit < 32768) };
                const PLACES: [u8; 128] = places($values);
                for row in 0..ROWS {
                    let $file = &rows[row * row_bytes..][..Self::FILE_BYTES];
                    unit[2 * row..][..2].copy_from_slice(&$file[..2]);
                    let all = half_precision(&$file[..2]) * $step;
                    let weights = read(Self::TYPE, $file);
                    for (j, block) in unit[Self::HEADER..].chunks_exact_mut(Self::PACKED_BLOCK).enumerate() {
                        let scales: [u8; $groups] = std::array::from_fn(|group| {
                            let $i = j * $groups + group;
                            $scale
                        });
                        let ones = scales.map(|scale| 1.0 / (all * f32::from(scale)));
                        let places = std::array::from_fn(|k| {
                            let weight = weights[j * BLOCK + k] * ones[k * $groups / BLOCK];
                            PLACES[(weight.round() as i32 + 64).clamp(0, 127) as usize]
                        });
                        planes::put(Self::CODING, block, row, &places);
                        for (group, scale) in scales.into_iter().enumerate() {
                            block[Self::CODING.bytes() + group * ROWS + row] = scale;
                        }
                    }
                }
            }
        }
    };
}

fn half_precision(bytes: &[u8]) -> f32 {
    half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// Half of byte `i / 2`: the low one, then the high one.
const fn nibble(bytes: &[u8], i: usize) -> u8 {
    (bytes[i / 2] >> (4 * (i % 2))) & 15
}

codebook!(Iq2Xxs, "IQ2_XXS", GGML_TYPE_IQ2_XXS, 66, SmallTable(OF_TWO_BITS), 1, 1, 0.125f32, |file, i| {
    2 * (file[2 + 8 * i + 7] >> 4) + 1
});
codebook!(Iq2Xs, "IQ2_XS", GGML_TYPE_IQ2_XS, 74, SmallTable(OF_TWO_BITS), 2, 1, 0.125f32, |file, i| {
    2 * nibble(&file[66..], i) + 1
});
codebook!(Iq2S, "IQ2_S", GGML_TYPE_IQ2_S, 82, SmallTable(OF_TWO_BITS), 2, 1, 0.125f32, |file, i| {
    2 * nibble(&file[74..], i) + 1
});
codebook!(Iq3Xxs, "IQ3_XXS", GGML_TYPE_IQ3_XXS, 98, Table(OF_THREE_BITS), 1, 1, 0.25f32, |file, i| {
    2 * (file[66 + 4 * i + 3] >> 4) + 1
});
codebook!(Iq3S, "IQ3_S", GGML_TYPE_IQ3_S, 110, Table(ODD_NUMBERS), 1, 4, 1.0f32, |file, i| {
    2 * nibble(&file[106..], i) + 1
});
