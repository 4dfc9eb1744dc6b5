//! Products through ggml, as llama.cpp asks for them, compared with double precision and against ggml's own.

#![allow(unsafe_code)] // It calls ggml itself.
#![cfg(target_arch = "x86_64")]

use llama_concurrent_kernels::{Mode, WeightFormat, install, set_enabled, set_floats};
use llama_cpp_sys_2 as sys;
use std::{ffi::CStr, ptr, sync::Mutex};

/// One test switches the kernels off for a moment.
static SWITCH: Mutex<()> = Mutex::new(());

/// Numbers without a pattern, between -1 and 1, large ones rare.
fn noise(count: usize, mut seed: u64) -> Vec<f32> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next() * next()).collect()
}

/// ggml's plain buffer type for weights, or ours.
fn buffer_type(ours: bool) -> sys::ggml_backend_buffer_type_t {
    // SAFETY: the name and the function's type are those of ggml-backend.h; the list ends with null.
    unsafe {
        let device = sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU);
        let registry = sys::ggml_backend_dev_backend_reg(device);
        let get = sys::ggml_backend_reg_get_proc_address(registry, c"ggml_backend_dev_get_extra_bufts".as_ptr());
        type Get = unsafe extern "C" fn(sys::ggml_backend_dev_t) -> *mut sys::ggml_backend_buffer_type_t;
        let first = *std::mem::transmute::<*mut std::os::raw::c_void, Get>(get)(device);
        if !ours {
            return sys::ggml_backend_cpu_buffer_type();
        }
        assert_eq!(CStr::from_ptr(sys::ggml_backend_buft_name(first)), c"CPU_CONCURRENT");
        first
    }
}

/// A product with `experts` matrices, or a plain one if there is none.
struct Case {
    format: WeightFormat,
    k: usize,
    rows: usize,
    experts: usize,
    slots: usize,
    /// Columns, and how many of them share a matrix of results (planes).
    tokens: usize,
    planes: usize,
}

impl Case {
    fn weights(&self) -> Vec<f32> {
        noise(self.k * self.rows * self.experts.max(1), 5)
    }

    fn x(&self) -> Vec<f32> {
        noise(self.k * self.tokens * self.planes, 6)
    }

    fn ids(&self) -> Vec<i32> {
        (0..self.slots * self.tokens).map(|i| ((i * i / 3 + i) % self.experts) as i32).collect()
    }

    /// What ggml reads from the quantised weights.
    fn file(&self) -> (Vec<u8>, Vec<f32>) {
        let values = self.weights();
        let rows = values.len() / self.k;
        let mut read = vec![0f32; values.len()];
        // SAFETY: both are as large as ggml makes them.
        unsafe {
            let kind = self.format.ggml_type;
            let mut bytes = vec![0u8; sys::ggml_row_size(kind, self.k as i64) * rows];
            if self.format.has_codebook {
                // Arbitrary weights, after a scale between 2^-7 and 2^-6.
                bytes.iter_mut().zip(values.iter().cycle()).for_each(|(byte, v)| *byte = (v.to_bits() >> 7) as u8);
                let block = sys::ggml_row_size(kind, self.format.block_len as i64);
                bytes.chunks_exact_mut(block).for_each(|block| block[1] = 0x20 | (block[1] & 3));
            } else {
                let (n_rows, k) = (rows as i64, self.k as i64);
                sys::ggml_quantize_chunk(kind, values.as_ptr(), bytes.as_mut_ptr().cast(), 0, n_rows, k, ptr::null());
            }
            match (*sys::ggml_get_type_traits(kind)).to_float {
                Some(to_float) => to_float(bytes.as_ptr().cast(), read.as_mut_ptr(), read.len() as i64),
                None => read = values, // single precision
            }
            (bytes, read)
        }
    }

    /// `None` if weights of this kind and shape are refused there.
    fn compute(&self, ours: bool, threads: i32) -> Option<Vec<f32>> {
        let n = |n: usize| n as i64;
        // SAFETY: calls as ggml documents them, on objects made here.
        unsafe {
            let params = sys::ggml_init_params { mem_size: 1 << 20, mem_buffer: ptr::null_mut(), no_alloc: true };
            let context = sys::ggml_init(params);
            let (k, rows) = (n(self.k), n(self.rows));
            let (weights, x, ids, out);
            if self.experts == 0 {
                weights = sys::ggml_new_tensor_2d(context, self.format.ggml_type, k, rows);
                x = sys::ggml_new_tensor_3d(context, sys::GGML_TYPE_F32, k, n(self.tokens), n(self.planes));
                ids = ptr::null_mut();
                out = sys::ggml_mul_mat(context, weights, x);
            } else {
                weights = sys::ggml_new_tensor_3d(context, self.format.ggml_type, k, rows, n(self.experts));
                x = sys::ggml_new_tensor_3d(context, sys::GGML_TYPE_F32, k, n(self.planes), n(self.tokens));
                ids = sys::ggml_new_tensor_2d(context, sys::GGML_TYPE_I32, n(self.slots), n(self.tokens));
                out = sys::ggml_mul_mat_id(context, weights, x, ids);
            }
            let buffer_type = buffer_type(ours);
            let own = sys::ggml_backend_buft_alloc_buffer(
                buffer_type,
                sys::ggml_backend_buft_get_alloc_size(buffer_type, weights),
            );
            sys::ggml_backend_tensor_alloc(own, weights, sys::ggml_backend_buffer_get_base(own));
            let device = sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU);
            let mut result = None;
            if sys::ggml_backend_dev_supports_op(device, out) {
                let file = self.file().0;
                sys::ggml_backend_tensor_set(weights, file.as_ptr().cast(), 0, file.len());
                let rest = sys::ggml_backend_alloc_ctx_tensors_from_buft(context, sys::ggml_backend_cpu_buffer_type());
                let columns = self.x();
                sys::ggml_backend_tensor_set(x, columns.as_ptr().cast(), 0, columns.len() * 4);
                if !ids.is_null() {
                    sys::ggml_backend_tensor_set(ids, self.ids().as_ptr().cast(), 0, self.slots * self.tokens * 4);
                }
                let graph = sys::ggml_new_graph(context);
                sys::ggml_build_forward_expand(graph, out);
                let backend = sys::ggml_backend_cpu_init();
                sys::ggml_backend_cpu_set_n_threads(backend, threads);
                assert_eq!(sys::ggml_backend_graph_compute(backend, graph), 0);
                let mut values = vec![0f32; sys::ggml_nelements(out) as usize];
                sys::ggml_backend_tensor_get(out, values.as_mut_ptr().cast(), 0, values.len() * 4);
                result = Some(values);
                sys::ggml_backend_free(backend);
                sys::ggml_backend_buffer_free(rest);
            }
            sys::ggml_backend_buffer_free(own);
            sys::ggml_free(context);
            result
        }
    }

    fn exactly(&self) -> Vec<f64> {
        let (weights, x) = (self.file().1, self.x());
        let product = |expert: usize, column: usize| {
            let x = &x[column * self.k..][..self.k];
            let matrix = &weights[expert * self.rows * self.k..][..self.rows * self.k];
            let dot = move |row: &[f32]| row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>();
            matrix.chunks_exact(self.k).map(dot).collect::<Vec<_>>()
        };
        if self.experts == 0 {
            return (0..self.tokens * self.planes).flat_map(|column| product(0, column)).collect();
        }
        let pairs = self.ids().into_iter().enumerate();
        pairs
            .flat_map(|(i, expert)| {
                product(expert as usize, i / self.slots * self.planes + i % self.slots % self.planes)
            })
            .collect()
    }

    /// Squares of what ours and ggml's results are wrong by, and of the results. Other numbers of threads give the same bits.
    fn check(&self, threads: &[i32]) -> [f64; 3] {
        let exact = self.exactly();
        let error = |result: &[f32]| result.iter().zip(&exact).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
        let stock = self.compute(false, 1).expect("ggml takes everything");
        let result = self.compute(true, 1).expect("a supported shape");
        for &threads in threads {
            let other = self.compute(true, threads).expect("a supported shape");
            assert!(result.iter().zip(&other).all(|(a, b)| a.to_bits() == b.to_bits()), "{threads} threads");
        }
        [error(&result), error(&stock), exact.iter().map(|value| value * value).sum()]
    }
}

/// Over all columns of all shapes together: a single column's error is a matter of luck.
fn check_all(name: &str, cases: impl Iterator<Item = Case>) {
    let sums =
        cases.map(|case| case.check(&[2, 3])).fold([0.0; 3], |sums, case| std::array::from_fn(|i| sums[i] + case[i]));
    let [ours, stock, size] = sums;
    println!("{name}: errors are {:.3} of ggml's", (ours / stock).sqrt());
    // With weights in single precision only the order of sums is left to be wrong by.
    assert!(ours < 1.05 * stock || ours < 1e-12 * size, "{name}: ours is wrong by {ours:e}, ggml by {stock:e}");
}

/// All formats, those of floats too.
fn formats() -> &'static [WeightFormat] {
    let status = install(Mode::Auto);
    assert!(status.level.is_some(), "{}", status.reason);
    set_floats(true);
    &status.formats
}

#[test]
fn plain_products_are_no_worse_than_ggmls() {
    let _guard = SWITCH.lock();
    for &format in formats() {
        let shapes =
            [(16, 1, 1), (48, 5, 1), (208, 33, 1), (1040, 3, 4), (32, 40, 3), (7, 5, 1), (41, 9, 2)].into_iter();
        let case = |(rows, tokens, planes)| Case { format, k: 768, rows, experts: 0, slots: 0, tokens, planes };
        check_all(format.name, shapes.map(case));
    }
}

#[test]
fn products_with_experts_are_no_worse_than_ggmls() {
    let _guard = SWITCH.lock();
    for &format in formats() {
        for (experts, slots, tokens, planes) in
            [(4, 2, 1, 1), (8, 2, 7, 1), (8, 3, 40, 3), (60, 4, 9, 1), (2, 2, 70, 2)]
        {
            Case { format, k: 512, rows: 91, experts, slots, tokens, planes }.check(&[2, 3]);
        }
    }
}

#[test]
fn many_threads_compute_the_same_bits() {
    let _guard = SWITCH.lock();
    let format = formats()[0];
    for (experts, slots) in [(0, 0), (8, 2)] {
        Case { format, k: 512, rows: 200, experts, slots, tokens: 7, planes: 1 }.check(&[8]);
    }
}

#[test]
fn unknown_formats_and_switched_off_kernels_are_left_to_ggml() {
    let _guard = SWITCH.lock();
    let case =
        |format: &WeightFormat| Case { format: *format, k: 256, rows: 32, experts: 0, slots: 0, tokens: 2, planes: 1 };
    let mut unknown = formats()[0];
    unknown.ggml_type = sys::GGML_TYPE_TQ2_0;
    assert!(formats().iter().all(|format| format.ggml_type != unknown.ggml_type), "TQ2_0 is not unknown any more");
    assert!(case(&unknown).compute(true, 1).is_none());

    let (floats, quants): (Vec<WeightFormat>, Vec<WeightFormat>) = formats().iter().partition(|one| one.is_float);
    let are_packed = |formats: &[WeightFormat], expected: bool| {
        assert!(formats.iter().all(|format| refused(&case(format)) != expected), "{formats:?}");
    };
    are_packed(&quants, true);
    are_packed(&floats, true);
    set_floats(false);
    are_packed(&quants, true);
    are_packed(&floats, false);
    set_floats(true);
    // The buffer type still exists, but accepts no more weights; llama.cpp then asks the next.
    set_enabled(false);
    are_packed(&quants, false);
    are_packed(&floats, false);
    set_enabled(true);
    are_packed(&quants, true);
}

/// Whether weights that are not allocated yet are refused, as llama.cpp asks while it loads.
fn refused(case: &Case) -> bool {
    // SAFETY: calls as ggml documents them, on objects made here.
    unsafe {
        let params = sys::ggml_init_params { mem_size: 1 << 20, mem_buffer: ptr::null_mut(), no_alloc: true };
        let context = sys::ggml_init(params);
        let weights = sys::ggml_new_tensor_2d(context, case.format.ggml_type, case.k as i64, case.rows as i64);
        let x = sys::ggml_new_tensor_2d(context, sys::GGML_TYPE_F32, case.k as i64, 512);
        let out = sys::ggml_mul_mat(context, weights, x);
        (*weights).buffer = sys::ggml_backend_buft_alloc_buffer(buffer_type(true), 0);
        let device = sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU);
        let refused = !sys::ggml_backend_dev_supports_op(device, out);
        sys::ggml_backend_buffer_free((*weights).buffer);
        sys::ggml_free(context);
        refused
    }
}
