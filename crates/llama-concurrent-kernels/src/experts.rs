//! Matrix products with experts: each column is multiplied by the matrices of the experts that it is routed to.
//!
//! Columns are grouped by expert, so that an expert's weights are read once for all its columns.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.

use crate::{
    dispatch::{Kernels, Packing},
    format::BLOCK,
    ggml::{Op, ThreadTeam},
    mul_mat, pack,
    product::Product,
};
use llama_cpp_sys_2 as sys;

const ALIGNMENT: usize = 64;

/// Whether the product is supported, given that its weights may be packed.
pub(crate) fn supports(op: Op) -> bool {
    let (Some(weights), Some(x), Some(ids)) = (op.source(0), op.source(1), op.source(2)) else { return false };
    op.out.op == sys::GGML_OP_MUL_MAT_ID
        && weights.ne[3] == 1
        && mul_mat::takes_columns(op, x, weights)
        && x.ne[3] == 1
        && x.ne[1] > 0
        && ids.type_ == sys::GGML_TYPE_I32
        && ids.nb[0] == size_of::<i32>()
        && ids.ne[1] == x.ne[2]
        && ids.ne[2..] == [1, 1]
        && op.out.ne[1] == ids.ne[0]
        && op.out.ne[2] == ids.ne[1]
}

/// The number of columns, each counted once per expert that it is routed to, and the number of experts.
fn counts(op: Op) -> (usize, usize) {
    let size = |index: usize| op.source(index).map_or([0; 4], |t| t.ne).map(|n| n as usize);
    (size(2)[0] * size(2)[1], size(0)[2])
}

/// Bytes for each thread's lists and for all quantised columns.
pub(crate) fn work_size(kernels: &Kernels, op: Op, threads: usize) -> usize {
    let (columns, experts) = counts(op);
    let blocks = op.source(0).map_or(0, |weights| weights.ne[0] as usize) / BLOCK;
    threads * list_words(columns, experts) * size_of::<usize>() + columns * blocks * kernels.column_bytes + ALIGNMENT
}

/// `usize` elements of one thread's lists: columns by expert, offsets of their results, and the start of each expert.
fn list_words(columns: usize, experts: usize) -> usize {
    2 * columns + experts + 1
}

/// Columns by expert.
struct Lists {
    /// The offset of each column's results, in floats.
    offsets: *const usize,
    /// The original index of the column, `slot + slots * token`.
    sources: *const usize,
    /// The first column of each expert, and the end of the last.
    starts: *const usize,
}

impl Lists {
    /// A counting sort. Each thread does it itself, which is faster than waiting for one.
    ///
    /// # Safety
    /// `words` has `list_words` words, and the operation is a supported one.
    unsafe fn new(op: Op, ids: &sys::ggml_tensor, words: *mut usize) -> Self {
        let (columns, experts) = counts(op);
        let (slots, rows) = (ids.ne[0] as usize, op.out.ne[0] as usize);
        let words = std::slice::from_raw_parts_mut(words, list_words(columns, experts));
        let (offsets, rest) = words.split_at_mut(columns);
        let (sources, starts) = rest.split_at_mut(columns);
        let expert = |column: usize| {
            let at = ids.data.cast::<u8>().add(column % slots * ids.nb[0] + column / slots * ids.nb[1]);
            // An invalid expert id would be a fault of the graph; it must not cause a write out of bounds.
            (at.cast::<i32>().read_unaligned().max(0) as usize).min(experts - 1)
        };
        starts.fill(0);
        for column in 0..columns {
            starts[expert(column)] += 1;
        }
        let mut end = 0;
        for start in starts.iter_mut() {
            end += *start;
            *start = end;
        }
        for column in (0..columns).rev() {
            let start = &mut starts[expert(column)];
            *start -= 1;
            offsets[*start] = column * rows;
            sources[*start] = column;
        }
        Self { offsets: offsets.as_ptr(), sources: sources.as_ptr(), starts: starts.as_ptr() }
    }

    /// The columns of an expert: the first and how many.
    unsafe fn of(&self, expert: usize) -> (usize, usize) {
        let (start, end) = (*self.starts.add(expert), *self.starts.add(expert + 1));
        (start, end - start)
    }
}

/// Computes one thread's share.
///
/// # Safety
/// `supports` holds, the weights are packed, `work` has `work_size` bytes, and all threads of the pool make this call.
pub(crate) unsafe fn compute(packing: &Packing, kernels: Kernels, op: Op, work: *mut u8, team: ThreadTeam) {
    let (Some(weights), Some(x), Some(ids)) = (op.source(0), op.source(1), op.source(2)) else { return };
    let (columns, experts) = counts(op);
    let [k, rows, ..] = weights.ne.map(|n| n as usize);
    let (blocks, slots) = (k / BLOCK, ids.ne[0] as usize);
    let words = list_words(columns, experts);
    let work = work.wrapping_add(work.align_offset(ALIGNMENT) % ALIGNMENT);
    let activations = work.add(team.threads * words * size_of::<usize>());
    let lists = Lists::new(op, ids, work.cast::<usize>().add(team.thread * words));
    let expert_bytes = pack::panels(rows) * (blocks / packing.blocks) * packing.unit_bytes;
    let product = |expert: usize| {
        let (first, columns) = lists.of(expert);
        Product {
            kernels,
            unit_bytes: packing.unit_bytes,
            blocks: packing.blocks,
            units: blocks / packing.blocks,
            rows,
            columns,
            weights: weights.data.cast::<u8>().add(expert * expert_bytes),
            activations: activations.add(first * blocks * kernels.column_bytes),
            out: op.out.data.cast(),
            stride: 0,
            offsets: lists.offsets.add(first),
        }
    };
    team.divide(0, columns, false, |share| {
        for expert in 0..experts {
            let (first, count) = lists.of(expert);
            for column in first.max(share.start)..(first + count).min(share.end) {
                let source = *lists.sources.add(column);
                let (slot, token) = (source % slots, source / slots);
                let at = x.data.cast::<u8>().add(slot % x.ne[1] as usize * x.nb[1] + token * x.nb[2]);
                product(expert).quantise(column - first, 0, blocks, at.cast());
            }
        }
    });
    team.begin_chunks();
    let panels = pack::panels(rows);
    let chunk = mul_mat::chunk(&product(0), panels * experts.min(columns), team).min(panels);
    let chunks = panels.div_ceil(chunk);
    let (mut expert, mut passed) = (0, 0);
    team.chunks(1, experts.min(columns) * chunks, true, |index| {
        // Chunks are numbered over the experts that have columns; a thread's numbers only rise.
        let wanted = index / chunks;
        while expert < experts && (lists.of(expert).1 == 0 || passed < wanted) {
            passed += usize::from(lists.of(expert).1 > 0);
            expert += 1;
        }
        if expert == experts {
            return;
        }
        let first = index % chunks * chunk;
        product(expert).compute(first, panels.min(first + chunk), std::ptr::null());
    });
}
