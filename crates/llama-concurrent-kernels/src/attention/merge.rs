//! Partial results of chunks, and how they are merged.

use super::NO_SCORE;

/// A partial result of a row: the largest score, the sum of weights relative to it, and the sum of weighted values.
pub(crate) struct Partial<'a> {
    pub(crate) head: &'a mut [f32; 2],
    pub(crate) values: &'a mut [f32],
}

impl<'a> Partial<'a> {
    /// Floats of a partial result with `size` values.
    pub(crate) const fn floats(size: usize) -> usize {
        2 + size
    }

    /// The partial result at `p`.
    ///
    /// # Safety
    /// `floats(size)` floats at `p` are exclusively borrowed for `'a`.
    pub(crate) unsafe fn at(p: *mut f32, size: usize) -> Self {
        // SAFETY: this function's condition.
        unsafe { Self { head: &mut *p.cast(), values: std::slice::from_raw_parts_mut(p.add(2), size) } }
    }

    /// Resets it to the result of no cells.
    pub(crate) fn clear(&mut self) {
        *self.head = [NO_SCORE, 0.0];
        self.values.fill(0.0);
    }

    /// Merges the result of a later chunk. The arithmetic is the same whether it is inlined into functions with or without
    /// vector instructions: nothing is fused.
    #[inline(always)]
    pub(crate) fn merge(&mut self, largest: f32, total: f32, values: &[f32]) {
        // Not "equal to zero": a NaN must get through.
        if total.to_bits() == 0 {
            return;
        }
        let most = if largest > self.head[0] { largest } else { self.head[0] };
        let (old, new) = ((self.head[0] - most).exp2(), (largest - most).exp2());
        *self.head = [most, self.head[1] * old + total * new];
        for (value, later) in self.values.iter_mut().zip(values) {
            *value = *value * old + later * new;
        }
    }

    /// Adds a score that takes its part of the weights and has no value.
    pub(crate) fn add_sink(&mut self, score: f32) {
        let most = if score > self.head[0] { score } else { self.head[0] };
        let old = (self.head[0] - most).exp2();
        *self.head = [most, self.head[1] * old + (score - most).exp2()];
        self.values.iter_mut().for_each(|value| *value *= old);
    }

    /// Writes the result, which is zero if the mask excludes all cells.
    ///
    /// # Safety
    /// `out` has room for all values.
    pub(crate) unsafe fn finish(&self, out: *mut f32) {
        let inverse = if self.head[1].to_bits() == 0 { 0.0 } else { 1.0 / self.head[1] };
        for (d, value) in self.values.iter().enumerate() {
            // SAFETY: this function's condition.
            unsafe { out.add(d).write(value * inverse) };
        }
    }
}
