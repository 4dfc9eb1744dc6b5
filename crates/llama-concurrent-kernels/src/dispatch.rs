//! Entry functions, which enable the instructions of a level, for each format and kernel.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.

use crate::{
    IsaLevel, WeightFormat,
    activations::{self, ColumnBlocks},
    attention::WorkItem,
    format::{
        BLOCK, Bf16, F16, F32, Format, Iq2S, Iq2Xs, Iq2Xxs, Iq3S, Iq3Xxs, Iq4Nl, Iq4Xs, Mxfp4, Q2K, Q3K, Q4_0, Q4_1,
        Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0,
    },
    isa::{Avx2, Avx512, Avx512Vnni, AvxVnni, AvxVnniEvex, Isa},
    tile::{self, Tile},
};
use llama_cpp_sys_2 as sys;

pub(crate) type TileFn = unsafe fn(Tile);
pub(crate) type QuantiseFn = unsafe fn(ColumnBlocks, *const f32, *mut u8);

/// The most columns that a tile of any level has.
pub(crate) const WIDEST: usize = 6;

/// The kernels of one format for one level.
#[derive(Clone, Copy)]
pub(crate) struct Kernels {
    /// Kernels for 1 to `widest` columns, with one panel and, if a vector has all rows of a panel, with two.
    pub(crate) tiles: [[TileFn; WIDEST]; 2],
    /// Panels of a tile: 1 or 2.
    pub(crate) panels: usize,
    pub(crate) quantise: QuantiseFn,
    /// Columns of the widest tile.
    pub(crate) widest: usize,
    /// Bytes of a column of activations in a block.
    pub(crate) column_bytes: usize,
}

/// A format as a value instead of a type.
pub(crate) struct Packing {
    pub(crate) name: &'static str,
    pub(crate) ggml_type: sys::ggml_type,
    /// Bytes of a row of a unit in the file.
    pub(crate) file_bytes: usize,
    /// Blocks of a unit.
    pub(crate) blocks: usize,
    /// Whether weights are floats, for which activations are not quantised.
    pub(crate) is_float: bool,
    /// [`Format::CODEBOOK`].
    pub(crate) codebook: bool,
    /// Bytes of a packed unit.
    pub(crate) unit_bytes: usize,
    /// Packs one unit of sixteen rows ([`Format::pack`]).
    pub(crate) pack: fn(&[u8], usize, &mut [u8]),
    pub(crate) kernels: fn(IsaLevel) -> Kernels,
}

impl Packing {
    pub(crate) fn weight_format(&self) -> WeightFormat {
        WeightFormat {
            name: self.name,
            ggml_type: self.ggml_type,
            block_len: self.blocks * BLOCK,
            is_float: self.is_float,
            has_codebook: self.codebook,
        }
    }
}

/// All formats; a tensor stores the index of its format in this list.
pub(crate) const PACKINGS: [Packing; 21] = [
    packing::<Q4_0>(),
    packing::<Q4_1>(),
    packing::<Q5_0>(),
    packing::<Q5_1>(),
    packing::<Q8_0>(),
    packing::<Q2K>(),
    packing::<Q3K>(),
    packing::<Q4K>(),
    packing::<Q5K>(),
    packing::<Q6K>(),
    packing::<Iq4Nl>(),
    packing::<Iq4Xs>(),
    packing::<Mxfp4>(),
    packing::<Iq2Xxs>(),
    packing::<Iq2Xs>(),
    packing::<Iq2S>(),
    packing::<Iq3Xxs>(),
    packing::<Iq3S>(),
    packing::<F16>(),
    packing::<Bf16>(),
    packing::<F32>(),
];

const fn packing<F: Format>() -> Packing {
    Packing {
        name: F::NAME,
        ggml_type: F::TYPE,
        file_bytes: F::FILE_BYTES,
        blocks: F::BLOCKS,
        is_float: F::CODING.is_float(),
        codebook: F::CODEBOOK,
        unit_bytes: F::PACKED_UNIT,
        pack: F::pack,
        kernels: kernels::<F>,
    }
}

fn kernels<F: Format>(level: IsaLevel) -> Kernels {
    match level {
        IsaLevel::Avx512Vnni => avx512vnni::kernels::<F>(),
        IsaLevel::Avx512 => avx512::kernels::<F>(),
        IsaLevel::AvxVnni => avxvnni::kernels::<F>(),
        IsaLevel::Avx2 => avx2::kernels::<F>(),
        IsaLevel::AvxVnniEvex => avxvnni_evex::kernels::<F>(),
    }
}

/// Computes an attention work item.
pub(crate) type AttentionFn = unsafe fn(&WorkItem);

impl IsaLevel {
    /// Attention kernels with eight rows per vector, and with sixteen if there are such vectors.
    pub(crate) fn attention(self) -> (AttentionFn, Option<AttentionFn>) {
        match self {
            Self::Avx512Vnni => (avxvnni_evex::attend, Some(avx512vnni::attend)),
            Self::Avx512 => (avx512_narrow::attend, Some(avx512::attend)),
            Self::AvxVnni => (avxvnni::attend, None),
            Self::Avx2 => (avx2::attend, None),
            Self::AvxVnniEvex => (avxvnni_evex::attend, None),
        }
    }
}

/// Eight lanes on a machine with AVX-512, which has more registers and broadcasts from memory.
mod avx512_narrow {
    use super::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")]
    pub(super) unsafe fn attend(item: &WorkItem) {
        // SAFETY: this function has the instructions, and passes its condition on.
        unsafe { item.compute::<Avx2>() }
    }
}

/// Columns of a tile, limited by the number of registers.
const fn widest<I: Isa, F: Format>() -> usize {
    match F::GROUPS {
        2 => I::COLUMNS * 2 / 3,
        _ => I::COLUMNS,
    }
}

/// The entry functions of one level. The lists of columns are limited by its registers.
macro_rules! entries {
    ($module:ident, $isa:ty, $features:literal, [$($n:literal)*]) => {
        mod $module {
            use super::*;

            #[target_feature(enable = $features)]
            unsafe fn compute<F: Format, const N: usize, const PANELS: usize>(tile: Tile) {
                // SAFETY: this function has the instructions, and passes its condition on.
                unsafe { tile::compute::<$isa, F, N, PANELS>(tile) }
            }

            #[target_feature(enable = $features)]
            unsafe fn quantise<F: Format>(span: ColumnBlocks, x: *const f32, out: *mut u8) {
                // SAFETY: this function passes its condition on.
                unsafe { activations::quantise::<$isa, F>(span, x, out) }
            }

            #[target_feature(enable = $features)]
            pub(super) unsafe fn attend(item: &WorkItem) {
                // SAFETY: this function has the instructions, and passes its condition on.
                unsafe { item.compute::<$isa>() }
            }

            pub(super) fn kernels<F: Format>() -> Kernels {
                let mut tiles: [[TileFn; WIDEST]; 2] = [[compute::<F, 1, 1>; WIDEST]; 2];
                $(
                    tiles[0][$n - 1] = compute::<F, $n, 1>;
                    tiles[1][$n - 1] = compute::<F, $n, { <$isa as Isa>::LANES / 8 }>;
                )*
                let panels = <$isa as Isa>::LANES / 8;
                let column_bytes = tile::column_bytes::<$isa, F>();
                Kernels { tiles, panels, quantise: quantise::<F>, widest: widest::<$isa, F>(), column_bytes }
            }
        }
    };
}

entries!(avx512vnni, Avx512Vnni, "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c", [1 2 3 4 5 6]);
entries!(avx512, Avx512, "avx512f,avx512bw,avx512vl,avx512dq,fma,f16c", [1 2 3 4 5 6]);
entries!(avxvnni, AvxVnni, "avx2,avxvnni,fma,f16c", [1 2 3 4 5 6]);
entries!(avx2, Avx2, "avx2,fma,f16c", [1 2 3 4 5 6]);
entries!(avxvnni_evex, AvxVnniEvex, "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma,f16c", [1 2 3 4 5 6]);
