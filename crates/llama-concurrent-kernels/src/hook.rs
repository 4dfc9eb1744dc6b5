//! The functions that the C++ side calls: which weights to pack and how, and which operations to compute.
//!
//! Every function here may be called on any thread. None panics: sizes were checked when the operation was accepted, and
//! unsupported operations are left to ggml.

use crate::{
    attention,
    cache::{self, Memory, Weight},
    dispatch::{Kernels, PACKINGS, Packing},
    experts,
    format::BLOCK,
    ggml, helpers, mul_mat, pack, state,
};
use llama_cpp_sys_2 as sys;
use std::{
    ffi::CStr,
    os::raw::c_void,
    ptr, slice,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Denotes attention in place of a format index; must equal that of shim.cpp.
const ATTENTION: i32 = 32;
const _: () = assert!(PACKINGS.len() <= ATTENTION as usize);

/// The functions that shim.cpp calls. A table, because functions found by name would be exported by every library that
/// links this crate.
#[repr(C)]
pub(crate) struct Functions {
    format: extern "C" fn(*const sys::ggml_tensor) -> i32,
    accepts_weights: extern "C" fn(i32) -> bool,
    packed_size: extern "C" fn(i32, *const sys::ggml_tensor) -> usize,
    pack: extern "C" fn(i32, *mut sys::ggml_tensor, *const c_void),
    supports: extern "C" fn(i32, *const sys::ggml_tensor) -> bool,
    work_size: extern "C" fn(i32, i32, *const sys::ggml_tensor, *mut usize) -> bool,
    compute: extern "C" fn(i32, i32, i32, *mut c_void, usize, *mut sys::ggml_threadpool, *mut sys::ggml_tensor) -> bool,
    attention: extern "C" fn(*const sys::ggml_tensor) -> bool,
    allocate: extern "C" fn(usize) -> *const Memory,
    address: extern "C" fn(*const Memory) -> *mut c_void,
    free: extern "C" fn(*const Memory),
    leaves_model_unread: extern "C" fn() -> bool,
}

pub(crate) static FUNCTIONS: Functions = Functions {
    format: lck_format,
    accepts_weights: lck_accepts_weights,
    packed_size: lck_packed_size,
    pack: lck_pack,
    supports: lck_supports,
    work_size: lck_work_size,
    compute: lck_compute,
    attention: lck_attention,
    allocate: lck_allocate,
    address: lck_address,
    free: lck_free,
    leaves_model_unread: lck_leaves_model_unread,
};

fn packing(format: i32) -> Option<&'static Packing> {
    PACKINGS.get(usize::try_from(format).ok()?)
}

fn kernels(format: i32) -> Option<&'static Kernels> {
    state::kernels().get(usize::try_from(format).ok()?)
}

fn supports(op: ggml::Op) -> bool {
    mul_mat::supports(op) || experts::supports(op)
}

fn product_work_size(kernels: &Kernels, op: ggml::Op, threads: usize) -> usize {
    match op.out.op {
        sys::GGML_OP_MUL_MAT => mul_mat::work_size(kernels, op),
        _ => experts::work_size(kernels, op, threads),
    }
}

/// The format that a weight is packed in, or -1 if it is left to ggml.
extern "C" fn lck_format(weight: *const sys::ggml_tensor) -> i32 {
    // SAFETY: ggml passes live tensors.
    let weight = unsafe { &*weight };
    let Some(format) = PACKINGS.iter().position(|packing| packing.ggml_type == weight.type_) else { return -1 };
    let packing = &PACKINGS[format];
    let [k, rows, experts, rest] = weight.ne;
    let whole = k > 0
        && rows > 0
        && k % (BLOCK * packing.blocks) as i64 == 0
        && experts > 0
        && rest == 1
        && weight.view_src.is_null();
    if whole { format as i32 } else { -1 }
}

/// Whether weights of this format, of models loaded from now on, are packed.
extern "C" fn lck_accepts_weights(format: i32) -> bool {
    packing(format).is_some_and(state::accepts)
}

/// Bytes of a weight once packed.
extern "C" fn lck_packed_size(format: i32, weight: *const sys::ggml_tensor) -> usize {
    // SAFETY: as above.
    let weight = unsafe { &*weight };
    let Some(packing) = packing(format) else { return 0 };
    let [k, rows, experts, _] = weight.ne.map(|n| n as usize);
    k / (BLOCK * packing.blocks) * packing.unit_bytes * pack::panels(rows) * experts
}

/// Packs a whole weight from the file's layout.
extern "C" fn lck_pack(format: i32, weight: *mut sys::ggml_tensor, data: *const c_void) {
    let Some(packing) = packing(format) else { return };
    let size = lck_packed_size(format, weight);
    // SAFETY: ggml allocated lck_packed_size bytes, and passes ggml_nbytes of data.
    let (weight, file, packed) = unsafe {
        let weight = &*weight;
        let file = slice::from_raw_parts(data.cast::<u8>(), sys::ggml_nbytes(weight));
        (weight, file, slice::from_raw_parts_mut(weight.data.cast::<u8>(), size))
    };
    let facts = || Weight {
        // SAFETY: ggml ends names with a zero.
        name: unsafe { CStr::from_ptr(weight.name.as_ptr()) }.to_string_lossy().into_owned(),
        kind: weight.type_,
        dims: weight.ne,
        address: weight.data.addr(),
        size,
    };
    let [k, rows, ..] = weight.ne.map(|n| n as usize);
    cache::load_or_pack(facts, file, packed, |file, packed| pack::pack(packing, k, rows, file, packed));
}

/// Allocates memory for weights; null if that fails.
extern "C" fn lck_allocate(size: usize) -> *const Memory {
    cache::allocate(size).map_or(ptr::null(), Arc::into_raw)
}

/// The address of the memory.
extern "C" fn lck_address(memory: *const Memory) -> *mut c_void {
    // SAFETY: of lck_allocate, and not freed.
    unsafe { &*memory }.base().cast()
}

extern "C" fn lck_free(memory: *const Memory) {
    // SAFETY: of lck_allocate, and freed once.
    drop(unsafe { Arc::from_raw(memory) });
}

/// Whether read-ahead should be off for the model that this thread loads.
extern "C" fn lck_leaves_model_unread() -> bool {
    cache::leaves_model_unread()
}

/// Whether an operation with weights of this format is supported.
extern "C" fn lck_supports(format: i32, op: *const sys::ggml_tensor) -> bool {
    // SAFETY: ggml passes operations whose sources are live.
    unsafe { packing(format).is_some() && kernels(format).is_some() && supports(ggml::Op::new(&*op)) }
}

/// Bytes of work memory that an operation needs; false if it is not supported.
extern "C" fn lck_work_size(format: i32, threads: i32, op: *const sys::ggml_tensor, size: *mut usize) -> bool {
    // SAFETY: as above; the caller passes a place for the result.
    let (op, size) = unsafe { (ggml::Op::new(&*op), &mut *size) };
    let threads = if threads == 1 { helpers::threads().unwrap_or(1) } else { threads as usize };
    if format == ATTENTION {
        let plan = state::level().and_then(|level| attention::supports(op, level));
        *size = plan.map_or(0, |plan| attention::work_size(&plan, threads));
        return plan.is_some();
    }
    match kernels(format) {
        Some(kernels) if supports(op) => {
            *size = product_work_size(kernels, op, threads);
            true
        }
        _ => false,
    }
}

/// Computes one thread's share of an operation. False, on all threads alike, if it is not supported.
extern "C" fn lck_compute(
    format: i32,
    thread: i32,
    threads: i32,
    work: *mut c_void,
    work_size: usize,
    pool: *mut sys::ggml_threadpool,
    op: *mut sys::ggml_tensor,
) -> bool {
    // SAFETY: the sources of the operation are live and are not written during the call.
    let op = unsafe { ggml::Op::new(&*op) };
    let alone = ggml::ThreadTeam { thread: thread as usize, threads: threads as usize, pool, worker: None };
    match helpers::threads().filter(|_| threads == 1) {
        None => compute(format, op, work, work_size, alone),
        Some(threads) => {
            let done = AtomicBool::new(true);
            let (op, work) = (Shared(op), Shared(work));
            // SAFETY: pieces go to one thread each.
            unsafe {
                helpers::run(&|worker: helpers::Worker| {
                    let team = ggml::ThreadTeam { thread: worker.thread, threads, pool, worker: Some(worker) };
                    if !compute(format, op.get(), work.get(), work_size, team) {
                        done.store(false, Ordering::Relaxed);
                    }
                });
            }
            done.into_inner()
        }
    }
}

/// Data shared with helper threads.
#[derive(Clone, Copy)]
struct Shared<T>(T);
// SAFETY: pieces of the operation go to one thread each, and its owner waits for all of them.
unsafe impl<T> Sync for Shared<T> {}
impl<T: Copy> Shared<T> {
    fn get(&self) -> T {
        self.0
    }
}

fn compute(format: i32, op: ggml::Op, work: *mut c_void, work_size: usize, team: ggml::ThreadTeam) -> bool {
    // The sources were written before ggml's last barrier; the results are read after its next one.
    let _order = ggml::Ordered::begin();
    if format == ATTENTION {
        let Some(plan) = state::level().and_then(|level| attention::supports(op, level)) else { return false };
        if work_size < attention::work_size(&plan, team.threads) {
            return false;
        }
        // SAFETY: there is enough memory, and all threads of the pool make this call.
        unsafe { attention::compute(&plan, work.cast(), team) };
        return true;
    }
    let (Some(packing), Some(kernels)) = (packing(format), kernels(format)) else { return false };
    if !supports(op) || work_size < product_work_size(kernels, op, team.threads) {
        return false;
    }
    // SAFETY: the operation is a supported one, its weights are packed, and all threads of the pool make this call.
    unsafe {
        match op.out.op {
            sys::GGML_OP_MUL_MAT => mul_mat::compute(packing, *kernels, op, work.cast(), team),
            _ => experts::compute(packing, *kernels, op, work.cast(), team),
        }
    }
    true
}

/// Whether attention is computed by our kernels.
extern "C" fn lck_attention(op: *const sys::ggml_tensor) -> bool {
    // SAFETY: as above.
    let op = unsafe { ggml::Op::new(&*op) };
    state::computes_attention() && state::level().is_some_and(|level| attention::supports(op, level).is_some())
}
