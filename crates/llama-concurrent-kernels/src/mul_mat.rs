//! Matrix products: packed weights times the columns of a batch.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.

use crate::{
    dispatch::{Kernels, Packing},
    format::{BLOCK, ROWS},
    ggml::{Op, Team},
    product::Product,
};
use llama_cpp_sys_2 as sys;

/// Weights of a chunk that stays in a core's second cache while the tiles of a batch pass by.
const CHUNK_BYTES: usize = 192 << 10;

/// Chunks for each thread, so that one which is held up does not hold up all.
const CHUNKS_PER_THREAD: usize = 8;

const ALIGNMENT: usize = 64;

/// Whether the product is computed here, given that its weights may be packed.
pub(crate) fn supports(op: Op) -> bool {
    let (Some(weights), Some(x)) = (op.source(0), op.source(1)) else { return false };
    op.out.op == sys::GGML_OP_MUL_MAT && weights.ne[2..] == [1, 1] && takes_columns(op, x, weights)
}

/// Whether columns and results are of the kinds that the kernels read and write.
pub(crate) fn takes_columns(op: Op, x: &sys::ggml_tensor, weights: &sys::ggml_tensor) -> bool {
    // SAFETY: a tensor that lives.
    let contiguous = unsafe { sys::ggml_is_contiguous(op.out) };
    x.type_ == sys::GGML_TYPE_F32
        && x.nb[0] == size_of::<f32>()
        && x.ne[0] == weights.ne[0]
        && op.out.type_ == sys::GGML_TYPE_F32
        && contiguous
}

/// Panels of a chunk, of a product with so many in all.
pub(crate) fn chunk(product: &Product, panels: usize, team: Team) -> usize {
    let fit = CHUNK_BYTES / product.panel_bytes();
    // An even number, where panels are computed two by two.
    let most = fit.min(panels / (team.threads * CHUNKS_PER_THREAD));
    most.next_multiple_of(product.kernels.panels).max(1)
}

/// Bytes for all quantised columns.
pub(crate) fn work_size(kernels: &Kernels, op: Op) -> usize {
    let x = op.source(1).map_or([0; 4], |x| x.ne).map(|n| n as usize);
    x[0] / BLOCK * kernels.column_bytes * x[1] * x[2] * x[3] + ALIGNMENT
}

/// Computes one thread's share.
///
/// # Safety
/// `supports` holds, the weights are packed, `work` has `work_size` bytes, and all threads of the pool come here.
pub(crate) unsafe fn compute(packing: &Packing, kernels: Kernels, op: Op, work: *mut u8, team: Team) {
    let (Some(weights), Some(x)) = (op.source(0), op.source(1)) else { return };
    let [k, rows, ..] = weights.ne.map(|n| n as usize);
    let ne = x.ne.map(|n| n as usize);
    let blocks = k / BLOCK;
    let product = Product {
        kernels,
        unit_bytes: packing.unit_bytes,
        blocks: packing.blocks,
        units: blocks / packing.blocks,
        columns: ne[1] * ne[2] * ne[3],
        weights: weights.data.cast(),
        activations: work.wrapping_add(work.align_offset(ALIGNMENT) % ALIGNMENT),
        out: op.out.data.cast(),
        stride: rows,
        places: std::ptr::null(),
    };
    let column = |c: usize| {
        let (i1, i2, i3) = (c % ne[1], c / ne[1] % ne[2], c / ne[1] / ne[2]);
        x.data.cast::<u8>().add(i1 * x.nb[1] + i2 * x.nb[2] + i3 * x.nb[3]).cast::<f32>()
    };
    team.divide(0, product.columns * blocks, false, |share| {
        let mut next = share.start;
        while next < share.end {
            let (c, first) = (next / blocks, next % blocks);
            let end = blocks.min(first + share.end - next);
            product.quantise(c, first, end, column(c));
            next += end - first;
        }
    });
    team.meet();
    let panels = rows / ROWS;
    let chunk = chunk(&product, panels, team);
    team.each_chunk(1, panels.div_ceil(chunk), |index, next| {
        let next = next.map_or(std::ptr::null(), |next| product.weights.add(next * chunk * product.panel_bytes()));
        product.compute(index * chunk, panels.min((index + 1) * chunk), next);
    });
}
