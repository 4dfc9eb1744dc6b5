//! Packing the weights of a file into panels.

use crate::{
    dispatch::Packing,
    format::{BLOCK, ROWS},
    parallel,
};

/// Panels of a matrix with so many rows; the last one may have less than sixteen.
pub(crate) fn panels(rows: usize) -> usize {
    rows.div_ceil(ROWS)
}

/// Packs matrices of `rows` rows of `k` weights, panel by panel, on several threads if there are many. What is missing in a
/// last panel is filled with zeros.
pub(crate) fn pack(packing: &Packing, k: usize, rows: usize, file: &[u8], packed: &mut [u8]) {
    let units = k / (BLOCK * packing.blocks);
    let row_bytes = units * packing.file_bytes;
    let panel_bytes = units * packing.unit_bytes;
    let share = (packed.len() / panel_bytes).div_ceil(parallel::threads(packed.len()));
    let bytes = packed.len();
    parallel::for_each(packed.chunks_mut(share * panel_bytes).enumerate(), bytes, |(index, packed)| {
        for (panel, packed) in (index * share..).zip(packed.chunks_exact_mut(panel_bytes)) {
            let (matrix, first) = (panel / panels(rows), panel % panels(rows) * ROWS);
            let file = &file[(matrix * rows + first) * row_bytes..][..ROWS.min(rows - first) * row_bytes];
            if file.len() == ROWS * row_bytes {
                pack_panel(packing, file, row_bytes, packed);
            } else {
                let mut filled = vec![0; ROWS * row_bytes];
                filled[..file.len()].copy_from_slice(file);
                pack_panel(packing, &filled, row_bytes, packed);
            }
        }
    });
}

fn pack_panel(packing: &Packing, rows: &[u8], row_bytes: usize, panel: &mut [u8]) {
    for (index, unit) in panel.chunks_exact_mut(packing.unit_bytes).enumerate() {
        (packing.pack)(&rows[index * packing.file_bytes..], row_bytes, unit);
    }
}
