//! Matrix products: packed weights times the columns of a batch.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.

use crate::{
    dispatch::{Kernels, Packing},
    format::BLOCK,
    ggml::{Op, ThreadTeam},
    pack,
    product::Product,
};
use llama_cpp_sys_2 as sys;

/// Bytes of weights of a chunk that stays in a core's second-level cache for all tiles of a batch.
const CHUNK_BYTES: usize = 192 << 10;

/// Chunks per thread, so that a delayed thread does not delay all.
const CHUNKS_PER_THREAD: usize = 8;

const ALIGNMENT: usize = 64;

/// Whether the product is supported, given that its weights may be packed.
pub(crate) fn supports(op: Op) -> bool {
    let (Some(weights), Some(x)) = (op.source(0), op.source(1)) else { return false };
    op.out.op == sys::GGML_OP_MUL_MAT && weights.ne[2..] == [1, 1] && takes_columns(op, x, weights)
}

/// Whether columns and results have the types and layouts that the kernels support.
pub(crate) fn takes_columns(op: Op, x: &sys::ggml_tensor, weights: &sys::ggml_tensor) -> bool {
    // SAFETY: a live tensor.
    let contiguous = unsafe { sys::ggml_is_contiguous(op.out) };
    x.type_ == sys::GGML_TYPE_F32
        && x.nb[0] == size_of::<f32>()
        && x.ne[0] == weights.ne[0]
        && op.out.type_ == sys::GGML_TYPE_F32
        && contiguous
}

/// Panels per chunk of a product with `panels` panels.
pub(crate) fn chunk(product: &Product, panels: usize, team: ThreadTeam) -> usize {
    let fit = CHUNK_BYTES / product.panel_bytes();
    // An even number if panels are computed in pairs.
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
/// `supports` holds, the weights are packed, `work` has `work_size` bytes, and all threads of the pool make this call.
pub(crate) unsafe fn compute(packing: &Packing, kernels: Kernels, op: Op, work: *mut u8, team: ThreadTeam) {
    let (Some(weights), Some(x)) = (op.source(0), op.source(1)) else { return };
    let [k, rows, ..] = weights.ne.map(|n| n as usize);
    let ne = x.ne.map(|n| n as usize);
    let blocks = k / BLOCK;
    let product = Product {
        kernels,
        unit_bytes: packing.unit_bytes,
        blocks: packing.blocks,
        units: blocks / packing.blocks,
        rows,
        columns: ne[1] * ne[2] * ne[3],
        weights: weights.data.cast(),
        activations: work.wrapping_add(work.align_offset(ALIGNMENT) % ALIGNMENT),
        out: op.out.data.cast(),
        stride: rows,
        offsets: std::ptr::null(),
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
    team.begin_chunks();
    let panels = pack::panels(rows);
    let chunk = chunk(&product, panels, team);
    team.each_chunk(1, panels.div_ceil(chunk), |index, next| {
        let next = next.map_or(std::ptr::null(), |next| product.weights.add(next * chunk * product.panel_bytes()));
        product.compute(index * chunk, panels.min((index + 1) * chunk), next);
    });
}
