//! Which attention operations the kernels support, and how their work is divided.

#![allow(unsafe_op_in_unsafe_fn)] // Whole functions here are unsafe for one reason, which each states.

use super::{
    CHUNK, TILES, WorkItem,
    block::KvDtype,
    merge::Partial,
    work_item::{Cache, Slopes},
};
use crate::{
    IsaLevel, computes_heads_of,
    dispatch::AttentionFn,
    ggml::{Op, ThreadTeam},
};
use llama_cpp_sys_2 as sys;
use std::f32::consts::LOG2_E;

/// If there are fewer items than this per thread, cells are divided among threads as well.
const ITEMS_PER_THREAD: usize = 4;

/// A supported operation and its layout.
#[derive(Clone, Copy)]
pub(crate) struct AttentionPlan<'a> {
    op: Op<'a>,
    sources: [&'a sys::ggml_tensor; 4],
    sinks: Option<&'a sys::ggml_tensor>,
    dtype: [KvDtype; 2],
    /// Values of a key and of a value.
    sizes: [usize; 2],
    tokens: usize,
    /// Heads of keys, and query heads that share one.
    heads: usize,
    shared: usize,
    streams: usize,
    cells: usize,
    lanes: usize,
    compute: AttentionFn,
}

fn dtype(tensor: &sys::ggml_tensor) -> Option<KvDtype> {
    let size = tensor.ne[0] as usize;
    let (dtype, has_blocks) = match tensor.type_ {
        sys::GGML_TYPE_F32 => (KvDtype::F32, false),
        sys::GGML_TYPE_F16 => (KvDtype::F16, false),
        sys::GGML_TYPE_Q8_0 => (KvDtype::Q8_0, true),
        sys::GGML_TYPE_Q4_0 => (KvDtype::Q4_0, true),
        _ => return None,
    };
    computes_heads_of(size, has_blocks).then_some(dtype)
}

/// The plan of an operation, if it is supported.
pub(crate) fn supports<'a>(op: Op<'a>, level: IsaLevel) -> Option<AttentionPlan<'a>> {
    let [Some(q), Some(k), Some(v), Some(mask)] = [op.source(0), op.source(1), op.source(2), op.source(3)] else {
        return None;
    };
    let size = |tensor: &sys::ggml_tensor| tensor.ne.map(|n| n as usize);
    let (qn, kn, vn, mn) = (size(q), size(k), size(v), size(mask));
    // SAFETY: a live tensor.
    let contiguous = unsafe { sys::ggml_is_contiguous(op.out) };
    let plain = op.out.op == sys::GGML_OP_FLASH_ATTN_EXT
        && q.type_ == sys::GGML_TYPE_F32
        && q.nb[0] == size_of::<f32>()
        && mask.type_ == sys::GGML_TYPE_F16
        && mask.nb[0] == 2
        && contiguous;
    let sinks = op.source(4);
    let has_sinks = sinks.is_none_or(|sinks| sinks.type_ == sys::GGML_TYPE_F32 && sinks.ne[0] as usize == qn[2]);
    let fitting = qn[0] == kn[0]
        && kn[1..] == vn[1..]
        && kn[2] > 0
        && qn[2] % kn[2] == 0
        && qn[3] == kn[3]
        && mn[0] >= kn[1]
        && mn[1] >= qn[1]
        && mn[2] == 1
        && (mn[3] == 1 || mn[3] == qn[3])
        && qn.iter().all(|n| *n > 0)
        && kn[1] > 0
        && has_sinks;
    if !plain || !fitting {
        return None;
    }
    let (tokens, shared, streams) = (qn[1], qn[2] / kn[2], qn[3]);
    let (narrow, wide) = level.attention();
    // A tile should contain rows of one sequence. A stream may contain several sequences with one token each.
    let alike = shared.is_multiple_of(16) || streams > 1 || tokens > 64;
    let (lanes, compute) = match wide {
        Some(wide) if alike && tokens * shared >= 16 && kn[0] % 16 == 0 && vn[0] % 16 == 0 => (16, wide),
        _ => (8, narrow),
    };
    Some(AttentionPlan {
        op,
        sources: [q, k, v, mask],
        sinks,
        dtype: [dtype(k)?, dtype(v)?],
        sizes: [kn[0], vn[0]],
        tokens,
        heads: kn[2],
        shared,
        streams,
        cells: kn[1],
        lanes,
        compute,
    })
}

/// Scale, ALiBi's largest bias, and the soft cap of scores.
fn parameters(op: Op) -> [f32; 3] {
    [0, 1, 2].map(|index| f32::from_bits(op.out.op_params[index].cast_unsigned()))
}

/// Bytes of work memory.
pub(crate) fn work_size(plan: &AttentionPlan, threads: usize) -> usize {
    let floats = threads * plan.thread_floats() + plan.shared_floats(threads);
    floats * size_of::<f32>() + ALIGNMENT
}

const ALIGNMENT: usize = 64;

impl AttentionPlan<'_> {
    fn group_rows(&self) -> usize {
        TILES * self.lanes
    }

    fn rows(&self) -> usize {
        self.tokens * self.shared
    }

    fn groups(&self) -> usize {
        self.rows().div_ceil(self.group_rows())
    }

    fn partial_floats(&self) -> usize {
        Partial::floats(self.sizes[1])
    }

    /// One thread's memory: scratch, then partial results.
    fn thread_floats(&self) -> usize {
        WorkItem::scratch(self.lanes, self.sizes[0], self.sizes[1]) + self.group_rows() * self.partial_floats()
    }

    /// Number of parts that the cells are divided into for different threads: the number of chunks, or 1.
    fn parts(&self, threads: usize) -> usize {
        let items = self.streams * self.heads * self.groups();
        if items < ITEMS_PER_THREAD * threads { self.cells.div_ceil(CHUNK) } else { 1 }
    }

    /// Partial results of all rows and parts, if there is more than one part.
    fn shared_floats(&self, threads: usize) -> usize {
        match self.parts(threads) {
            1 => 0,
            parts => self.streams * self.heads * self.rows() * parts * self.partial_floats(),
        }
    }

    /// The address of a row's result.
    unsafe fn out(&self, stream: usize, head: usize, row: usize) -> *mut f32 {
        let (token, all) = (row / self.shared, self.heads * self.shared);
        let index = (stream * self.tokens + token) * all + head * self.shared + row % self.shared;
        self.op.out.data.cast::<f32>().add(index * self.sizes[1])
    }

    /// Writes a row's result.
    unsafe fn finish(&self, mut partial: Partial, stream: usize, head: usize, row: usize) {
        if let Some(sinks) = self.sinks {
            let sink = *sinks.data.cast::<f32>().add(head * self.shared + row % self.shared);
            partial.add_sink(sink * LOG2_E);
        }
        partial.finish(self.out(stream, head, row));
    }

    unsafe fn cache(&self, index: usize, stream: usize, head: usize) -> Cache {
        let tensor = self.sources[1 + index];
        Cache {
            dtype: self.dtype[index],
            first: tensor.data.cast::<u8>().add(head * tensor.nb[2] + stream * tensor.nb[3]),
            stride: tensor.nb[1],
            size: self.sizes[index],
        }
    }
}

/// Computes one thread's share.
///
/// # Safety
/// `work` has `work_size` bytes, and all threads of the pool make this call with the same plan.
pub(crate) unsafe fn compute(plan: &AttentionPlan, work: *mut u8, team: ThreadTeam) {
    let work = work.wrapping_add(work.align_offset(ALIGNMENT) % ALIGNMENT).cast::<f32>();
    let scratch = work.add(team.thread * plan.thread_floats());
    let own_partials = scratch.add(WorkItem::scratch(plan.lanes, plan.sizes[0], plan.sizes[1]));
    let shared_partials = work.add(team.threads * plan.thread_floats());
    let parts = plan.parts(team.threads);
    let (groups, rows, floats) = (plan.groups(), plan.rows(), plan.partial_floats());
    let [q, .., mask] = plan.sources;
    let [scale, largest_bias, soft_cap] = parameters(plan.op);
    let slopes = Slopes::new(plan.heads * plan.shared, largest_bias.max(0.0));
    team.begin_chunks();
    team.chunks(1, plan.streams * plan.heads * groups * parts, parts == 1, |index| {
        let (part, index) = (index % parts, index / parts);
        let (group, index) = (index % groups, index / groups);
        let (head, stream) = (index % plan.heads, index / plan.heads);
        let first_row = group * plan.group_rows();
        let count = plan.group_rows().min(rows - first_row);
        let slot = (((stream * plan.heads + head) * parts + part) * rows + first_row) * floats;
        let item = WorkItem {
            queries: q.data.cast::<u8>().add(head * plan.shared * q.nb[2] + stream * q.nb[3]),
            head_stride: q.nb[2],
            token_stride: q.nb[1],
            heads: plan.shared,
            first_head: head * plan.shared,
            scale: if soft_cap > 0.0 { 2.0 * LOG2_E * scale / soft_cap } else { LOG2_E * scale },
            soft_cap: LOG2_E * soft_cap,
            slopes,
            keys: plan.cache(0, stream, head),
            values: plan.cache(1, stream, head),
            mask: mask.data.cast::<u8>().add(stream % mask.ne[3] as usize * mask.nb[3]),
            mask_stride: mask.nb[1],
            first_row,
            rows: count,
            first_cell: part * CHUNK,
            end_cell: if parts == 1 { plan.cells } else { plan.cells.min((part + 1) * CHUNK) },
            scratch,
            partials: if parts == 1 { own_partials } else { shared_partials.add(slot) },
        };
        (plan.compute)(&item);
        if parts == 1 {
            for row in 0..count {
                let partial = Partial::at(own_partials.add(row * floats), plan.sizes[1]);
                plan.finish(partial, stream, head, first_row + row);
            }
        }
    });
    if parts > 1 {
        team.barrier();
        team.divide(2, plan.streams * plan.heads * rows, true, |share| {
            for index in share {
                let (row, index) = (index % rows, index / rows);
                let (head, stream) = (index % plan.heads, index / plan.heads);
                let at = |part: usize| {
                    let slot = (((stream * plan.heads + head) * parts + part) * rows + row) * floats;
                    Partial::at(shared_partials.add(slot), plan.sizes[1])
                };
                let mut first = at(0);
                for part in 1..parts {
                    let later = at(part);
                    first.merge(later.head[0], later.head[1], later.values);
                }
                plan.finish(first, stream, head, row);
            }
        });
    }
}
