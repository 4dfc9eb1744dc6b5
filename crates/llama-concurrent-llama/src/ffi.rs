//! The functions of `shim.cpp` and `swap.cpp`.

use std::ffi::{c_char, c_int, c_void};

use llama_cpp_sys_2 as sys;

/// What `lc_decode` returns when llama.cpp threw.
pub(super) const DECODE_THREW: i32 = -100;

#[repr(C)]
pub(super) struct Memory {
    pub(super) repack_bytes: u64,
    pub(super) kv_bytes: u64,
    pub(super) compute_bytes: u64,
}

/// A range of memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Range {
    pub(super) data: *const c_void,
    pub(super) size: u64,
}

impl Range {
    /// Collects the ranges of a function that writes at most as many as fit and returns their number.
    pub(super) fn list(write: impl FnOnce(*mut Range, usize) -> usize) -> Vec<Range> {
        let mut ranges = [Range { data: std::ptr::null(), size: 0 }; 64];
        let n = write(ranges.as_mut_ptr(), ranges.len());
        ranges[..n.min(ranges.len())].to_vec()
    }
}

/// A weight in memory, valid during the callback.
#[repr(C)]
pub(super) struct Weight {
    pub(super) name: *const c_char,
    pub(super) buffer: *const c_char,
    pub(super) data: *const c_void,
    pub(super) size: u64,
    pub(super) dims: *const [i64; 4],
    pub(super) kind: i32,
}

unsafe extern "C" {
    pub(super) fn lc_model_load(
        path: *const c_char,
        params: sys::llama_model_params,
        message: *mut c_char,
        size: usize,
    ) -> *mut sys::llama_model;

    pub(super) fn lc_context_new(
        model: *mut sys::llama_model,
        params: sys::llama_context_params,
        message: *mut c_char,
        size: usize,
    ) -> *mut sys::llama_context;

    pub(super) fn lc_decode(
        context: *mut sys::llama_context,
        batch: sys::llama_batch,
        message: *mut c_char,
        size: usize,
    ) -> c_int;

    pub(super) fn lc_tokenize(
        vocab: *const sys::llama_vocab,
        text: *const c_char,
        length: i32,
        tokens: *mut sys::llama_token,
        n_max: i32,
        add_special: bool,
        parse_special: bool,
        message: *mut c_char,
        size: usize,
    ) -> i32;

    pub(super) fn lc_special_tokens(vocab: *const sys::llama_vocab, tokens: *mut sys::llama_token, n_max: i32) -> i32;

    pub(super) fn lc_memory_of(context: *const sys::llama_context) -> Memory;

    pub(super) fn lc_each_weight(
        model: *const sys::llama_model,
        each: extern "C" fn(*const Weight, *mut c_void),
        user_data: *mut c_void,
    );

    pub(super) fn lc_each_tensor(
        path: *const c_char,
        each: extern "C" fn(*const c_char, *const i64, *mut c_void),
        user_data: *mut c_void,
        message: *mut c_char,
        size: usize,
    ) -> bool;

    pub(super) fn lc_weight_ranges(model: *const sys::llama_model, ranges: *mut Range, max: usize) -> usize;

    pub(super) fn lc_kv_can_swap(context: *const sys::llama_context) -> bool;

    pub(super) fn lc_kv_swap(context: *const sys::llama_context, a: sys::llama_seq_id, b: sys::llama_seq_id) -> bool;

    pub(super) fn lc_kv_ranges(context: *const sys::llama_context, ranges: *mut Range, max: usize) -> usize;
}

/// A buffer for the message of an exception, or of an abort turned into one.
pub(super) struct Message([u8; 512]);

impl Message {
    pub(super) fn new() -> Self {
        Self([0; 512])
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut c_char {
        self.0.as_mut_ptr().cast()
    }

    pub(super) fn size(&self) -> usize {
        self.0.len()
    }

    /// The message of the exception; empty if there was none.
    pub(super) fn text(&self) -> String {
        let end = self.0.iter().position(|&b| b == 0).unwrap_or(self.0.len());
        String::from_utf8_lossy(&self.0[..end]).into_owned()
    }
}
