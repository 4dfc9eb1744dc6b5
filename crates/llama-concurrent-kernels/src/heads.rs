//! Which heads the attention kernels compute.

/// The largest supported head, that of multi-head latent attention; the scratch memory of one this size still fits into the
/// second-level cache.
const LARGEST: usize = 576;

/// Whether the kernels compute attention with keys, or values, of so many elements; `has_blocks`: in a cache whose elements lie
/// in blocks of 32, such as q8_0.
pub fn computes_heads_of(size: usize, has_blocks: bool) -> bool {
    (1..=LARGEST).contains(&size) && size.is_multiple_of(if has_blocks { 32 } else { 8 })
}
