//! Packing the weights of a file into panels.

use crate::{
    dispatch::Packing,
    format::{BLOCK, ROWS},
    parallel,
};

/// Packs rows of `k` weights, panel by panel, on several threads if there are many.
pub(crate) fn pack(packing: &Packing, k: usize, file: &[u8], packed: &mut [u8]) {
    let units = k / (BLOCK * packing.blocks);
    let row_bytes = units * packing.file_bytes;
    let (panel_in, panel_out) = (ROWS * row_bytes, units * packing.unit_bytes);
    let panels = packed.len() / panel_out;
    let share = panels.div_ceil(parallel::threads(packed.len()));
    let shares = file.chunks(share * panel_in).zip(packed.chunks_mut(share * panel_out));
    let bytes = panels * panel_out;
    parallel::for_each(shares, bytes, |(file, packed)| {
        for (rows, panel) in file.chunks_exact(panel_in).zip(packed.chunks_exact_mut(panel_out)) {
            for (index, unit) in panel.chunks_exact_mut(packing.unit_bytes).enumerate() {
                (packing.pack)(&rows[index * packing.file_bytes..], row_bytes, unit);
            }
        }
    });
}
