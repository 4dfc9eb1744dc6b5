//! A packed matrix outside llama.cpp, for the check at installation and for tests, and the reference product in double
//! precision.

use crate::{
    IsaLevel, activations::reference_quantise_block, dispatch::Packing, format::BLOCK, pack, product::Product,
};
use llama_cpp_sys_2 as sys;
use std::ptr;

/// Weights in the layout of a file, and their values.
pub(crate) struct Weights {
    pub(crate) packing: &'static Packing,
    pub(crate) k: usize,
    pub(crate) rows: usize,
    pub(crate) file: Vec<u8>,
    /// The values, row by row, as ggml dequantises them.
    pub(crate) values: Vec<f32>,
}

impl Weights {
    /// Quantises `values`, rows of `k`, with ggml; if that would be a search, takes arbitrary weights instead. `k` is a multiple
    /// of the format's unit, and ggml takes whole rows.
    pub(crate) fn quantise(packing: &'static Packing, k: usize, values: &[f32]) -> Self {
        let rows = values.len() / k;
        assert!(k.is_multiple_of(packing.blocks * BLOCK) && values.len() == rows * k);
        let mut file = vec![0u8; rows * k / (packing.blocks * BLOCK) * packing.file_bytes];
        let mut read = vec![0f32; values.len()];
        // SAFETY: the file is as large as ggml makes it, and rows are whole blocks.
        unsafe {
            if packing.codebook {
                fill(&mut file, packing.file_bytes, values);
            } else {
                let out = file.as_mut_ptr().cast();
                sys::ggml_quantize_chunk(
                    packing.ggml_type,
                    values.as_ptr(),
                    out,
                    0,
                    rows as i64,
                    k as i64,
                    ptr::null(),
                );
            }
            let traits = sys::ggml_get_type_traits(packing.ggml_type);
            match (*traits).to_float {
                Some(to_float) => to_float(file.as_ptr().cast(), read.as_mut_ptr(), read.len() as i64),
                None => read.copy_from_slice(values), // single precision
            }
        }
        Self { packing, k, rows, file, values: read }
    }

    /// The product with columns of `x` by the kernels of a level, which is available; column by column.
    pub(crate) fn multiply(&self, level: IsaLevel, x: &[f32]) -> Vec<f32> {
        assert!(level.is_available());
        let columns = x.len() / self.k;
        let units = self.k / (self.packing.blocks * BLOCK);
        let mut packed = vec![0u8; pack::panels(self.rows) * units * self.packing.unit_bytes];
        pack::pack(self.packing, self.k, self.rows, &self.file, &mut packed);
        let blocks = self.k / BLOCK;
        let kernels = (self.packing.kernels)(level);
        let mut activations = vec![0u8; columns * blocks * kernels.column_bytes];
        let mut out = vec![f32::NAN; columns * self.rows];
        let product = Product {
            kernels,
            unit_bytes: self.packing.unit_bytes,
            blocks: self.packing.blocks,
            units,
            rows: self.rows,
            columns,
            weights: packed.as_ptr(),
            activations: activations.as_mut_ptr(),
            out: out.as_mut_ptr(),
            stride: self.rows,
            offsets: ptr::null(),
        };
        // SAFETY: the level is available and the buffers are as large as the product says. Computed in two parts each, as
        // threads would.
        unsafe {
            for (column, x) in x.chunks_exact(self.k).enumerate() {
                product.quantise(column, 0, blocks / 2, x.as_ptr());
                product.quantise(column, blocks / 2, blocks, x.as_ptr());
            }
            let panels = pack::panels(self.rows);
            product.compute(panels / 2, panels, ptr::null());
            product.compute(0, panels / 2, packed.as_ptr());
        }
        out
    }

    /// The values of columns as the kernels take them: quantised, unless weights are floats.
    pub(crate) fn quantised(&self, x: &[f32]) -> Vec<f32> {
        if self.packing.is_float {
            return x.to_vec();
        }
        let blocks = x.as_chunks::<BLOCK>().0.iter();
        blocks
            .flat_map(|block| {
                let (values, scale) = reference_quantise_block(block);
                values.map(|v| v as f32 * scale)
            })
            .collect()
    }

    /// The product in double precision.
    pub(crate) fn exactly(&self, x: &[f32]) -> Vec<f64> {
        let dot = |row: &[f32], x: &[f32]| row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
        let column = |x| self.values.chunks_exact(self.k).map(move |row| dot(row, x));
        x.chunks_exact(self.k).flat_map(column).collect()
    }
}

/// Fills units with bytes made from values, after a scale between 2^-7 and 2^-6.
fn fill(file: &mut [u8], unit_bytes: usize, values: &[f32]) {
    for (byte, value) in file.iter_mut().zip(values.iter().cycle()) {
        *byte = (value.to_bits() >> 7) as u8;
    }
    for unit in file.chunks_exact_mut(unit_bytes) {
        unit[1] = 0x20 | (unit[1] & 3);
    }
}

/// Root mean square of the differences, relative to that of the reference.
pub(crate) fn error(result: impl IntoIterator<Item = f64>, reference: &[f64]) -> f64 {
    let square = |v: f64| v * v;
    let wrong: f64 = result.into_iter().zip(reference).map(|(a, b)| square(a - b)).sum();
    (wrong / reference.iter().map(|v| square(*v)).sum::<f64>()).sqrt()
}

/// Pseudo-random numbers between -1 and 1, large ones rare.
pub(crate) fn noise(count: usize, mut seed: u64) -> Vec<f32> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next() * next() * next()).collect()
}
