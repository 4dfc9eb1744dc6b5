//! 256-bit vectors of eight rows; a panel of sixteen takes two.

use super::{EXP2, Isa, Sum};
use std::arch::{asm, x86_64::*};

/// AVX2 with FMA and F16C.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

/// AVX2 and AVX-VNNI.
#[derive(Clone, Copy)]
pub(crate) struct AvxVnni;

/// The same instruction in AVX-512's encoding.
#[derive(Clone, Copy)]
pub(crate) struct AvxVnniEvex;

/// As [`Isa::pin_in_register`].
#[inline]
#[target_feature(enable = "avx2")]
fn pin_in_register(mut v: __m256i) -> __m256i {
    // SAFETY: it does nothing.
    unsafe { asm!("/* {} */", inout(ymm_reg) v, options(nomem, nostack, preserves_flags)) };
    v
}

macro_rules! vectors {
    ($($dot:item)*) => {
        type Int = __m256i;
        type Float = __m256;

        const LANES: usize = 8;

        #[inline(always)]
        unsafe fn load(p: *const u8) -> __m256i {
            _mm256_loadu_si256(p.cast())
        }
        #[inline(always)]
        unsafe fn splat8(v: u8) -> __m256i {
            _mm256_set1_epi8(v as i8)
        }
        #[inline(always)]
        unsafe fn splat32(v: i32) -> __m256i {
            _mm256_set1_epi32(v)
        }
        #[inline(always)]
        unsafe fn splat4(p: *const u8) -> __m256i {
            _mm256_set1_epi32(p.cast::<i32>().read_unaligned())
        }
        #[inline(always)]
        unsafe fn add32(a: __m256i, b: __m256i) -> __m256i {
            _mm256_add_epi32(a, b)
        }
        #[inline(always)]
        unsafe fn and(a: __m256i, b: __m256i) -> __m256i {
            _mm256_and_si256(a, b)
        }
        #[inline(always)]
        unsafe fn or(a: __m256i, b: __m256i) -> __m256i {
            _mm256_or_si256(a, b)
        }
        #[inline(always)]
        unsafe fn shift(a: __m256i, by: i32) -> __m256i {
            match by {
                0 => a,
                1.. => _mm256_sll_epi16(a, _mm_cvtsi32_si128(by)),
                _ => _mm256_srl_epi16(a, _mm_cvtsi32_si128(-by)),
            }
        }
        #[inline(always)]
        unsafe fn lookup(table: &[u8; 16], index: __m256i) -> __m256i {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            _mm256_shuffle_epi8(table, index)
        }
        #[inline(always)]
        unsafe fn dot_i16(sum: __m256i, q: __m256i, a: __m256i) -> __m256i {
            _mm256_add_epi32(sum, _mm256_madd_epi16(q, a))
        }
        #[inline(always)]
        unsafe fn pin_in_register(v: __m256i) -> __m256i {
            pin_in_register(v)
        }
        $($dot)*
        #[inline(always)]
        unsafe fn zero() -> __m256 {
            _mm256_setzero_ps()
        }
        #[inline(always)]
        unsafe fn splat(p: *const f32) -> __m256 {
            _mm256_set1_ps(p.read_unaligned())
        }
        #[inline(always)]
        unsafe fn floats(p: *const f32) -> __m256 {
            _mm256_loadu_ps(p)
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: __m256) {
            _mm256_storeu_ps(p, v);
        }
        #[inline(always)]
        unsafe fn halves(p: *const u8) -> __m256 {
            _mm256_cvtph_ps(_mm_loadu_si128(p.cast()))
        }
        #[inline(always)]
        unsafe fn upper_halves(p: *const u8) -> __m256 {
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()))))
        }
        #[inline(always)]
        unsafe fn bytes(p: *const u8) -> __m256 {
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast())))
        }
        #[inline(always)]
        unsafe fn signed_bytes(p: *const u8) -> __m256 {
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast())))
        }
        #[inline(always)]
        unsafe fn to_float(v: __m256i) -> __m256 {
            _mm256_cvtepi32_ps(v)
        }
        #[inline(always)]
        unsafe fn add(a: __m256, b: __m256) -> __m256 {
            _mm256_add_ps(a, b)
        }
        #[inline(always)]
        unsafe fn max(a: __m256, b: __m256) -> __m256 {
            _mm256_max_ps(a, b)
        }
        #[inline(always)]
        unsafe fn mul(a: __m256, b: __m256) -> __m256 {
            _mm256_mul_ps(a, b)
        }
        #[inline(always)]
        unsafe fn div(a: __m256, b: __m256) -> __m256 {
            _mm256_div_ps(a, b)
        }
        #[inline(always)]
        unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
            _mm256_fmadd_ps(a, b, c)
        }
        #[inline(always)]
        unsafe fn exp2(x: __m256) -> __m256 {
            let lowest = _mm256_set1_ps(-125.0);
            // Adding 1.5 * 2^23 leaves the nearest whole number in the low bits.
            let magic = _mm256_set1_ps(12_582_912.0);
            let moved = _mm256_add_ps(_mm256_max_ps(x, lowest), magic);
            let fraction = _mm256_sub_ps(_mm256_max_ps(x, lowest), _mm256_sub_ps(moved, magic));
            let mut power = _mm256_set1_ps(EXP2[0]);
            for coefficient in &EXP2[1..] {
                power = _mm256_fmadd_ps(power, fraction, _mm256_set1_ps(*coefficient));
            }
            let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(moved));
            let power = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(power), exponent));
            _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(x, lowest), power)
        }
    };
}

impl Isa for Avx2 {
    const COLUMNS: usize = 6;
    const VNNI: bool = false;

    vectors! {
        #[inline(always)]
        unsafe fn dot(mut sum: Sum<Self>, step: usize, fit: usize, last: bool, q: __m256i, a: __m256i) -> Sum<Self> {
            let products = _mm256_maddubs_epi16(q, a);
            sum.narrow = if step.is_multiple_of(fit) { products } else { _mm256_add_epi16(sum.narrow, products) };
            if step % fit == fit - 1 || last {
                sum.wide = _mm256_add_epi32(sum.wide, _mm256_madd_epi16(sum.narrow, _mm256_set1_epi16(1)));
            }
            sum
        }
    }
}

impl Isa for AvxVnni {
    const COLUMNS: usize = 6;
    const VNNI: bool = true;

    vectors! {
        #[inline(always)]
        unsafe fn dot(sum: Sum<Self>, _step: usize, _fit: usize, _last: bool, q: __m256i, a: __m256i) -> Sum<Self> {
            Sum { wide: _mm256_dpbusd_avx_epi32(sum.wide, q, a), ..sum }
        }
    }
}

impl Isa for AvxVnniEvex {
    const COLUMNS: usize = 6;
    const VNNI: bool = true;

    vectors! {
        #[inline(always)]
        unsafe fn dot(sum: Sum<Self>, _step: usize, _fit: usize, _last: bool, q: __m256i, a: __m256i) -> Sum<Self> {
            Sum { wide: _mm256_dpbusd_epi32(sum.wide, q, a), ..sum }
        }
    }
}
