//! The instruction sets that there are kernels for, behind one small trait.
//!
//! A kernel is written once, generic over [`Isa`], and inlined into an entry function that enables the instructions
//! ([`crate::gemm`]). Nothing here may be called elsewhere: that is the safety condition of every method.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.

mod avx2;
mod avx512;

pub(crate) use avx2::{Avx2, AvxVnni, AvxVnniEvex};
pub(crate) use avx512::{Avx512, Avx512Vnni};

/// Vectors of one instruction set.
///
/// # Safety
/// Every method needs the instructions of the type to be there, and pointers that are good for a whole vector
/// (`LANES` times the size of what is read; 64 or 32 bytes for `load`).
pub(crate) trait Isa: Copy + 'static {
    /// Whole numbers: bytes, or 32-bit lanes.
    type Int: Copy;
    /// 32-bit floats.
    type Float: Copy;

    /// 32-bit lanes of a vector: rows of the weights that are computed side by side, 16 or 8.
    const LANES: usize;
    /// Columns of a tile of two vectors of rows, as many as there are registers for.
    const COLUMNS: usize;
    /// Whether `dot` multiplies unsigned bytes of any size by signed ones without loss.
    const VNNI: bool;

    unsafe fn load(p: *const u8) -> Self::Int;
    unsafe fn splat8(v: u8) -> Self::Int;
    unsafe fn splat32(v: i32) -> Self::Int;
    /// The four bytes at `p` in every lane.
    unsafe fn splat4(p: *const u8) -> Self::Int;
    /// Adds 32-bit lanes.
    unsafe fn add32(a: Self::Int, b: Self::Int) -> Self::Int;
    unsafe fn and(a: Self::Int, b: Self::Int) -> Self::Int;
    unsafe fn or(a: Self::Int, b: Self::Int) -> Self::Int;
    /// Shifts 16-bit lanes; bits cross from byte to byte, so a mask follows.
    unsafe fn shl<const BITS: u32>(a: Self::Int) -> Self::Int;
    unsafe fn shr<const BITS: u32>(a: Self::Int) -> Self::Int;
    /// Replaces each byte below 16 by that entry of the table.
    unsafe fn lookup(table: &[u8; 16], index: Self::Int) -> Self::Int;

    /// Adds, in each 32-bit lane, the products of four weights `q` with four activations `a`.
    ///
    /// `fit` says how many such products of neighbouring pairs fit into 16 bits ([`crate::format::Format::FIT`]) and
    /// `last` ends a sum. Only instruction sets without VNNI look at either, and for them `fit` is not 0.
    unsafe fn dot(sum: Sum<Self>, step: usize, fit: usize, last: bool, q: Self::Int, a: Self::Int) -> Sum<Self>;
    /// Adds, in each 32-bit lane, the products of two 16-bit weights `q` with two 16-bit activations `a`.
    unsafe fn dot_words(sum: Self::Int, q: Self::Int, a: Self::Int) -> Self::Int;

    /// The same vector, which the compiler has to have in a register here. With sixteen registers it would otherwise
    /// compute one column to its end before the others, and keep all unpacked weights in memory meanwhile.
    unsafe fn hold(v: Self::Int) -> Self::Int;

    unsafe fn zero() -> Self::Float;
    unsafe fn splat(p: *const f32) -> Self::Float;
    unsafe fn floats(p: *const f32) -> Self::Float;
    unsafe fn store(p: *mut f32, v: Self::Float);
    /// Half-precision numbers.
    unsafe fn halves(p: *const u8) -> Self::Float;
    /// Unsigned bytes, as floats.
    unsafe fn bytes(p: *const u8) -> Self::Float;
    /// Signed bytes, as floats.
    unsafe fn signed_bytes(p: *const u8) -> Self::Float;
    unsafe fn to_float(v: Self::Int) -> Self::Float;
    unsafe fn add(a: Self::Float, b: Self::Float) -> Self::Float;
    unsafe fn max(a: Self::Float, b: Self::Float) -> Self::Float;
    unsafe fn mul(a: Self::Float, b: Self::Float) -> Self::Float;
    /// a * b + c, rounded once.
    unsafe fn fma(a: Self::Float, b: Self::Float, c: Self::Float) -> Self::Float;
    /// Two to the power of numbers that are at most 0, up to 125 below; less, and minus infinity, gives 0.
    unsafe fn exp2(x: Self::Float) -> Self::Float;
}

/// A sum of products under way.
pub(crate) struct Sum<I: Isa> {
    /// In 32-bit lanes.
    pub(crate) wide: I::Int,
    /// In 16-bit lanes, until they are full; unused with VNNI.
    pub(crate) narrow: I::Int,
}

impl<I: Isa> Clone for Sum<I> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<I: Isa> Copy for Sum<I> {}

/// Coefficients of a polynomial for two to the power of -0.5 to 0.5, the highest first: the Taylor series, whose error
/// of 2e-9 is below that of single precision.
pub(crate) const EXP2: [f32; 8] = {
    let ln2 = std::f64::consts::LN_2;
    let mut coefficients = [1.0f32; 8];
    let (mut i, mut term) = (1, 1.0f64);
    while i < 8 {
        term *= ln2 / i as f64;
        coefficients[7 - i] = term as f32;
        i += 1;
    }
    coefficients
};
