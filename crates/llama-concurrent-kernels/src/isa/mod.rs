//! The instruction sets that there are kernels for, behind one small trait.
//!
//! A kernel is written once, generic over [`Isa`], and inlined into an entry function that enables the instructions
//! ([`crate::dispatch`]). Calling a method elsewhere is undefined: that is the safety condition of every method.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.

mod avx2;
mod avx512;

pub(crate) use avx2::{Avx2, AvxVnni, AvxVnniEvex};
pub(crate) use avx512::{Avx512, Avx512Vnni};

/// Vectors of one instruction set.
///
/// # Safety
/// The CPU has the instructions of the type, and pointers are valid for a whole vector (`LANES` times the size of what is
/// read; 64 or 32 bytes for `load`).
pub(crate) trait Isa: Copy + 'static {
    /// Integers: bytes, or 32-bit lanes.
    type Int: Copy;
    /// 32-bit floats.
    type Float: Copy;

    /// 32-bit lanes of a vector, 16 or 8: the weight rows computed at once.
    const LANES: usize;
    /// Columns of a tile of two row vectors, limited by the number of registers.
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
    /// Shifts 16-bit lanes to the left, or if `by` is negative to the right; bits cross from byte to byte, so a mask follows.
    unsafe fn shift(a: Self::Int, by: i32) -> Self::Int;
    /// Replaces each byte below 16 by that entry of the table.
    unsafe fn lookup(table: &[u8; 16], index: Self::Int) -> Self::Int;

    /// Adds, in each 32-bit lane, the products of four weights `q` with four activations `a`.
    ///
    /// `fit` is the number of such products whose pairwise sums fit into 16 bits ([`crate::format::Format::FIT`]), and `last`
    /// ends a sum. Only instruction sets without VNNI use them, and for those `fit` is not 0.
    unsafe fn dot(sum: Sum<Self>, step: usize, fit: usize, last: bool, q: Self::Int, a: Self::Int) -> Sum<Self>;
    /// Adds, in each 32-bit lane, the products of two 16-bit weights `q` with two 16-bit activations `a`.
    unsafe fn dot_i16(sum: Self::Int, q: Self::Int, a: Self::Int) -> Self::Int;

    /// Returns the same vector and forces the compiler to keep it in a register here. With sixteen registers it would
    /// otherwise compute one column after the other and spill all unpacked weights.
    unsafe fn pin_in_register(v: Self::Int) -> Self::Int;

    unsafe fn zero() -> Self::Float;
    unsafe fn splat(p: *const f32) -> Self::Float;
    unsafe fn floats(p: *const f32) -> Self::Float;
    unsafe fn store(p: *mut f32, v: Self::Float);
    /// Half-precision numbers.
    unsafe fn halves(p: *const u8) -> Self::Float;
    /// Numbers in the upper half of single precision (bfloat16).
    unsafe fn upper_halves(p: *const u8) -> Self::Float;
    /// Unsigned bytes, as floats.
    unsafe fn bytes(p: *const u8) -> Self::Float;
    /// Signed bytes, as floats.
    unsafe fn signed_bytes(p: *const u8) -> Self::Float;
    unsafe fn to_float(v: Self::Int) -> Self::Float;
    unsafe fn add(a: Self::Float, b: Self::Float) -> Self::Float;
    unsafe fn max(a: Self::Float, b: Self::Float) -> Self::Float;
    unsafe fn mul(a: Self::Float, b: Self::Float) -> Self::Float;
    unsafe fn div(a: Self::Float, b: Self::Float) -> Self::Float;
    /// a * b + c, rounded once.
    unsafe fn fma(a: Self::Float, b: Self::Float, c: Self::Float) -> Self::Float;
    /// Two to the power of `x`, for -125 <= x <= 0; smaller values and minus infinity give 0.
    unsafe fn exp2(x: Self::Float) -> Self::Float;
}

/// An accumulator of products.
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

/// The coefficients of the Taylor polynomial of 2^x on -0.5 to 0.5, highest first. Its error of 2e-9 is below single
/// precision.
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
