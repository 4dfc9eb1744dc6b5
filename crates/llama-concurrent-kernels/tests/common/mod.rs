//! A few weights, loaded as llama.cpp loads them, and the products with them.

#![allow(dead_code)] // Each test uses a part of it.

use llama_concurrent_kernels::{
    Mode,
    cache::{Model, Outcome, PackCache},
    install,
};
use llama_cpp_sys_2 as sys;
use std::{ffi::CString, path::Path, ptr};

const K: usize = 512;
const ROWS: usize = 96;
const COLUMNS: usize = 3;
pub const KINDS: [sys::ggml_type; 3] = [sys::GGML_TYPE_Q4_0, sys::GGML_TYPE_Q4_K, sys::GGML_TYPE_Q6_K];

/// Numbers without a pattern, between -1 and 1.
pub fn noise(count: usize, mut seed: u64) -> Vec<f32> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// The file's bytes of the weights of a model: one of each kind.
pub fn weights(seed: u64) -> Vec<Vec<u8>> {
    let quantise = |(index, kind): (usize, &sys::ggml_type)| {
        let values = noise(K * ROWS, seed * 8 + index as u64);
        // SAFETY: the bytes are as many as ggml writes.
        unsafe {
            let mut bytes = vec![0u8; sys::ggml_row_size(*kind, K as i64) * ROWS];
            let out = bytes.as_mut_ptr().cast();
            sys::ggml_quantize_chunk(*kind, values.as_ptr(), out, 0, ROWS as i64, K as i64, ptr::null());
            bytes
        }
    };
    KINDS.iter().enumerate().map(quantise).collect()
}

/// A model in memory.
pub struct Loaded {
    context: *mut sys::ggml_context,
    buffer: sys::ggml_backend_buffer_t,
    weights: Vec<*mut sys::ggml_tensor>,
}

impl Loaded {
    /// Has the weights packed, or taken from the file of the session of this thread.
    pub fn new(files: &[Vec<u8>]) -> Self {
        install(Mode::Auto);
        // SAFETY: calls as ggml documents them, on objects made here.
        unsafe {
            let params = sys::ggml_init_params { mem_size: 1 << 20, mem_buffer: ptr::null_mut(), no_alloc: true };
            let context = sys::ggml_init(params);
            let tensor = |(index, kind): (usize, &sys::ggml_type)| {
                let tensor = sys::ggml_new_tensor_2d(context, *kind, K as i64, ROWS as i64);
                let name = CString::new(format!("blk.{index}.weight")).expect("no zero in it");
                sys::ggml_set_name(tensor, name.as_ptr());
                tensor
            };
            let weights: Vec<_> = KINDS.iter().enumerate().map(tensor).collect();
            let buffer = sys::ggml_backend_alloc_ctx_tensors_from_buft(context, buffer_type());
            for (tensor, file) in weights.iter().zip(files) {
                sys::ggml_backend_tensor_set(*tensor, file.as_ptr().cast(), 0, file.len());
            }
            Self { context, buffer, weights }
        }
    }

    /// Products of all weights with the same columns.
    pub fn products(&self) -> Vec<u32> {
        let x = noise(K * COLUMNS, 99);
        // SAFETY: as above.
        unsafe {
            let backend = sys::ggml_backend_cpu_init();
            let params = sys::ggml_init_params { mem_size: 1 << 20, mem_buffer: ptr::null_mut(), no_alloc: true };
            let context = sys::ggml_init(params);
            let columns = sys::ggml_new_tensor_2d(context, sys::GGML_TYPE_F32, K as i64, COLUMNS as i64);
            let results: Vec<_> = self.weights.iter().map(|w| sys::ggml_mul_mat(context, *w, columns)).collect();
            let graph = sys::ggml_new_graph(context);
            results.iter().for_each(|result| sys::ggml_build_forward_expand(graph, *result));
            let buffer = sys::ggml_backend_alloc_ctx_tensors(context, backend);
            sys::ggml_backend_tensor_set(columns, x.as_ptr().cast(), 0, size_of_val(&x[..]));
            assert_eq!(sys::ggml_backend_graph_compute(backend, graph), sys::GGML_STATUS_SUCCESS);
            let read = |result: &*mut sys::ggml_tensor| {
                let mut out = vec![0f32; ROWS * COLUMNS];
                sys::ggml_backend_tensor_get(*result, out.as_mut_ptr().cast(), 0, size_of_val(&out[..]));
                out
            };
            let all = results.iter().flat_map(read).map(f32::to_bits).collect();
            sys::ggml_backend_buffer_free(buffer);
            sys::ggml_free(context);
            sys::ggml_backend_free(backend);
            all
        }
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: made in `new`, freed once.
        unsafe {
            sys::ggml_backend_buffer_free(self.buffer);
            sys::ggml_free(self.context);
        }
    }
}

/// Where the kernels want their weights: the first of ggml's extra buffer types.
fn buffer_type() -> sys::ggml_backend_buffer_type_t {
    // SAFETY: the name and the function's type are those of ggml-backend.h; the list ends with null.
    unsafe {
        let device = sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU);
        let get = sys::ggml_backend_reg_get_proc_address(registry(), c"ggml_backend_dev_get_extra_bufts".as_ptr());
        type Get = unsafe extern "C" fn(sys::ggml_backend_dev_t) -> *mut sys::ggml_backend_buffer_type_t;
        *std::mem::transmute::<*mut std::os::raw::c_void, Get>(get)(device)
    }
}

fn registry() -> sys::ggml_backend_reg_t {
    // SAFETY: the CPU is always there.
    unsafe { sys::ggml_backend_dev_backend_reg(sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU)) }
}

/// Whether llama.cpp would read a model file ahead that it maps now.
pub fn reads_ahead() -> bool {
    // SAFETY: as above.
    unsafe {
        let get = sys::ggml_backend_reg_get_proc_address(registry(), c"ggml_backend_cpu_is_numa".as_ptr());
        !std::mem::transmute::<*mut std::os::raw::c_void, unsafe extern "C" fn() -> bool>(get)()
    }
}

/// One load with a file of packed weights: what came of it, what was warned of, and the model.
pub fn load(path: &Path, model: Model, files: &[Vec<u8>]) -> (Result<Outcome, String>, Option<String>, Loaded) {
    install(Mode::Auto);
    let cache = PackCache::begin(path, model);
    let warning = cache.warning().map(str::to_owned);
    let loaded = Loaded::new(files);
    (cache.finish(&mut |_| true), warning, loaded)
}
