//! 512-bit vectors of sixteen rows, with and without VNNI.

use super::{EXP2, Isa, Sum};
use std::arch::x86_64::*;

/// AVX-512 with VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Vnni;

/// AVX-512 without VNNI, as in Skylake-X.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

macro_rules! vectors {
    ($($dot:item)*) => {
        type Int = __m512i;
        type Float = __m512;

        const LANES: usize = 16;

        #[inline(always)]
        unsafe fn load(p: *const u8) -> __m512i {
            _mm512_loadu_si512(p.cast())
        }
        #[inline(always)]
        unsafe fn splat8(v: u8) -> __m512i {
            _mm512_set1_epi8(v as i8)
        }
        #[inline(always)]
        unsafe fn splat32(v: i32) -> __m512i {
            _mm512_set1_epi32(v)
        }
        #[inline(always)]
        unsafe fn splat4(p: *const u8) -> __m512i {
            _mm512_set1_epi32(p.cast::<i32>().read_unaligned())
        }
        #[inline(always)]
        unsafe fn add32(a: __m512i, b: __m512i) -> __m512i {
            _mm512_add_epi32(a, b)
        }
        #[inline(always)]
        unsafe fn and(a: __m512i, b: __m512i) -> __m512i {
            _mm512_and_si512(a, b)
        }
        #[inline(always)]
        unsafe fn or(a: __m512i, b: __m512i) -> __m512i {
            _mm512_or_si512(a, b)
        }
        #[inline(always)]
        unsafe fn shift(a: __m512i, by: i32) -> __m512i {
            match by {
                0 => a,
                1.. => _mm512_sll_epi16(a, _mm_cvtsi32_si128(by)),
                _ => _mm512_srl_epi16(a, _mm_cvtsi32_si128(-by)),
            }
        }
        #[inline(always)]
        unsafe fn lookup(table: &[u8; 16], index: __m512i) -> __m512i {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, index)
        }
        #[inline(always)]
        unsafe fn dot_i16(sum: __m512i, q: __m512i, a: __m512i) -> __m512i {
            _mm512_add_epi32(sum, _mm512_madd_epi16(q, a))
        }
        #[inline(always)]
        unsafe fn pin_in_register(v: __m512i) -> __m512i {
            v
        }
        $($dot)*
        #[inline(always)]
        unsafe fn zero() -> __m512 {
            _mm512_setzero_ps()
        }
        #[inline(always)]
        unsafe fn splat(p: *const f32) -> __m512 {
            _mm512_set1_ps(p.read_unaligned())
        }
        #[inline(always)]
        unsafe fn floats(p: *const f32) -> __m512 {
            _mm512_loadu_ps(p)
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: __m512) {
            _mm512_storeu_ps(p, v);
        }
        #[inline(always)]
        unsafe fn halves(p: *const u8) -> __m512 {
            _mm512_cvtph_ps(_mm256_loadu_si256(p.cast()))
        }
        #[inline(always)]
        unsafe fn upper_halves(p: *const u8) -> __m512 {
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()))))
        }
        #[inline(always)]
        unsafe fn bytes(p: *const u8) -> __m512 {
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast())))
        }
        #[inline(always)]
        unsafe fn signed_bytes(p: *const u8) -> __m512 {
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast())))
        }
        #[inline(always)]
        unsafe fn to_float(v: __m512i) -> __m512 {
            _mm512_cvtepi32_ps(v)
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            _mm512_add_ps(a, b)
        }
        #[inline(always)]
        unsafe fn max(a: __m512, b: __m512) -> __m512 {
            _mm512_max_ps(a, b)
        }
        #[inline(always)]
        unsafe fn mul(a: __m512, b: __m512) -> __m512 {
            _mm512_mul_ps(a, b)
        }
        #[inline(always)]
        unsafe fn div(a: __m512, b: __m512) -> __m512 {
            _mm512_div_ps(a, b)
        }
        #[inline(always)]
        unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            _mm512_fmadd_ps(a, b, c)
        }
        #[inline(always)]
        unsafe fn exp2(x: __m512) -> __m512 {
            let lowest = _mm512_set1_ps(-125.0);
            // Adding 1.5 * 2^23 leaves the nearest whole number in the low bits.
            let magic = _mm512_set1_ps(12_582_912.0);
            let moved = _mm512_add_ps(_mm512_max_ps(x, lowest), magic);
            let fraction = _mm512_sub_ps(_mm512_max_ps(x, lowest), _mm512_sub_ps(moved, magic));
            let mut power = _mm512_set1_ps(EXP2[0]);
            for coefficient in &EXP2[1..] {
                power = _mm512_fmadd_ps(power, fraction, _mm512_set1_ps(*coefficient));
            }
            let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(moved));
            let power = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(power), exponent));
            _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, lowest), power)
        }
    };
}

impl Isa for Avx512Vnni {
    const COLUMNS: usize = 6;
    const VNNI: bool = true;

    vectors! {
        #[inline(always)]
        unsafe fn dot(sum: Sum<Self>, _step: usize, _fit: usize, _last: bool, q: __m512i, a: __m512i) -> Sum<Self> {
            Sum { wide: _mm512_dpbusd_epi32(sum.wide, q, a), ..sum }
        }
    }
}

impl Isa for Avx512 {
    const COLUMNS: usize = 6;
    const VNNI: bool = false;

    vectors! {
        #[inline(always)]
        unsafe fn dot(mut sum: Sum<Self>, step: usize, fit: usize, last: bool, q: __m512i, a: __m512i) -> Sum<Self> {
            let products = _mm512_maddubs_epi16(q, a);
            sum.narrow = if step.is_multiple_of(fit) { products } else { _mm512_add_epi16(sum.narrow, products) };
            if step % fit == fit - 1 || last {
                sum.wide = _mm512_add_epi32(sum.wide, _mm512_madd_epi16(sum.narrow, _mm512_set1_epi16(1)));
            }
            sum
        }
    }
}
