//! Weights that are floats. Activations are not quantised for them, so that nothing is lost: routers of experts are such
//! matrices.

use super::{BLOCK, Coding, Format, ROWS};
use crate::isa::Isa;
use llama_cpp_sys_2 as sys;

/// Single precision.
pub(crate) struct F32;

/// Half precision.
pub(crate) struct F16;

/// The upper half of single precision.
pub(crate) struct Bf16;

macro_rules! floats {
    ($format:ident, $name:literal, $type:ident, $coding:ident) => {
        impl Format for $format {
            const NAME: &'static str = $name;
            const TYPE: sys::ggml_type = sys::$type;
            const FILE_BYTES: usize = Self::CODING.bytes() / ROWS;
            const BLOCKS: usize = 1;
            const HEADER: usize = 0;
            const CODING: Coding = Coding::$coding;
            const SCALES: usize = 0;
            const GROUPS: usize = 1;
            const BIAS: i32 = 0;
            const MINS: bool = false;
            const FIT: usize = 0;

            #[inline(always)]
            unsafe fn scale<I: Isa>(_unit: *const u8, _block: *const u8, _row: usize, _group: usize) -> I::Float {
                I::zero()
            }

            fn pack(rows: &[u8], row_bytes: usize, unit: &mut [u8]) {
                const SIZE: usize = $format::FILE_BYTES / BLOCK;
                for row in 0..ROWS {
                    let file = rows[row * row_bytes..][..Self::FILE_BYTES].as_chunks::<SIZE>().0;
                    for (k, weight) in file.iter().enumerate() {
                        unit[(k * ROWS + row) * SIZE..][..SIZE].copy_from_slice(weight);
                    }
                }
            }
        }
    };
}

floats!(F32, "F32", GGML_TYPE_F32, Floats);
floats!(F16, "F16", GGML_TYPE_F16, Halves);
floats!(Bf16, "BF16", GGML_TYPE_BF16, UpperHalves);
