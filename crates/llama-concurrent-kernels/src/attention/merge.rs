//! Results of chunks, and how two become one.

use super::NO_SCORE;

/// Part of a row's result: the largest score, the sum of weights relative to it, and the sum of weighted values.
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
    /// `floats(size)` floats at `p` are nobody else's for `'a`.
    pub(crate) unsafe fn at(p: *mut f32, size: usize) -> Self {
        // SAFETY: this function's condition.
        unsafe { Self { head: &mut *p.cast(), values: std::slice::from_raw_parts_mut(p.add(2), size) } }
    }

    /// Makes it the result of no cell at all.
    pub(crate) fn clear(&mut self) {
        *self.head = [NO_SCORE, 0.0];
        self.values.fill(0.0);
    }

    /// Adds a later chunk's. Inlined into functions with vector instructions and into such without, it is the same
    /// arithmetic: nothing is fused.
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

    /// Writes the result: nothing but zeros if the mask ruled all cells out.
    ///
    /// # Safety
    /// There is room for all values at `out`.
    pub(crate) unsafe fn finish(&self, out: *mut f32) {
        let inverse = if self.head[1].to_bits() == 0 { 0.0 } else { 1.0 / self.head[1] };
        for (d, value) in self.values.iter().enumerate() {
            // SAFETY: this function's condition.
            unsafe { out.add(d).write(value * inverse) };
        }
    }
}
