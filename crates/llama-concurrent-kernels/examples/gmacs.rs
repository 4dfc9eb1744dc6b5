//! Billions of multiplications a second of one matrix product, llama.cpp's own kernels and ours in turn, 0 where there are none:
//! `gmacs [ROWS [K [THREADS [SECONDS [FORMAT]]]]]`.

#![allow(unsafe_code)] // It calls ggml itself.

use llama_cpp_sys_2 as sys;
use std::{env, ffi::CStr, ptr, time::Instant};

const COLUMNS: [usize; 7] = [1, 2, 4, 8, 16, 32, 128];

/// A product with weights in a buffer of one type, ready to be computed again and again.
struct Product {
    context: *mut sys::ggml_context,
    buffers: [sys::ggml_backend_buffer_t; 2],
    backend: sys::ggml_backend_t,
    graph: *mut sys::ggml_cgraph,
}

impl Product {
    /// `None` if weights of this kind are refused.
    fn new(
        kind: sys::ggml_type,
        rows: usize,
        k: usize,
        n: usize,
        buffer_type: sys::ggml_backend_buffer_type_t,
        threads: i32,
    ) -> Option<Self> {
        // SAFETY: calls as ggml documents them, on objects made here; all are freed in drop.
        unsafe {
            let params = sys::ggml_init_params { mem_size: 1 << 20, mem_buffer: ptr::null_mut(), no_alloc: true };
            let context = sys::ggml_init(params);
            let weights = sys::ggml_new_tensor_2d(context, kind, k as i64, rows as i64);
            let x = sys::ggml_new_tensor_2d(context, sys::GGML_TYPE_F32, k as i64, n as i64);
            let out = sys::ggml_mul_mat(context, weights, x);
            let size = sys::ggml_backend_buft_get_alloc_size(buffer_type, weights);
            let own = sys::ggml_backend_buft_alloc_buffer(buffer_type, size);
            sys::ggml_backend_tensor_alloc(own, weights, sys::ggml_backend_buffer_get_base(own));
            let device = sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU);
            if !sys::ggml_backend_dev_supports_op(device, out) {
                sys::ggml_backend_buffer_free(own);
                sys::ggml_free(context);
                return None;
            }
            let values: Vec<f32> = (0..k * 64).map(|i| ((i * 7919 % 2003) as f32 - 1001.0) / 1001.0).collect();
            let row = sys::ggml_row_size(kind, k as i64);
            let mut file = vec![0u8; row * rows];
            let few = 64.min(rows);
            let importance = vec![1.0f32; k];
            sys::ggml_quantize_chunk(
                kind,
                values.as_ptr(),
                file.as_mut_ptr().cast(),
                0,
                few as i64,
                k as i64,
                importance.as_ptr(),
            );
            let (first, rest) = file.split_at_mut(row * few);
            for part in rest.chunks_mut(row * few) {
                part.copy_from_slice(&first[..part.len()]);
            }
            sys::ggml_backend_tensor_set(weights, file.as_ptr().cast(), 0, file.len());
            let cpu = sys::ggml_backend_cpu_buffer_type();
            let rest = sys::ggml_backend_alloc_ctx_tensors_from_buft(context, cpu);
            for column in 0..n {
                sys::ggml_backend_tensor_set(x, values.as_ptr().cast(), column * k * 4, k * 4);
            }
            let graph = sys::ggml_new_graph(context);
            sys::ggml_build_forward_expand(graph, out);
            let backend = sys::ggml_backend_cpu_init();
            sys::ggml_backend_cpu_set_n_threads(backend, threads);
            Some(Self { context, buffers: [own, rest], backend, graph })
        }
    }

    fn run(&self) {
        // SAFETY: the graph's tensors are allocated.
        let status = unsafe { sys::ggml_backend_graph_compute(self.backend, self.graph) };
        assert_eq!(status, 0, "the product was computed");
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        // SAFETY: nothing uses them any more.
        unsafe {
            sys::ggml_backend_free(self.backend);
            for buffer in self.buffers {
                sys::ggml_backend_buffer_free(buffer);
            }
            sys::ggml_free(self.context);
        }
    }
}

/// ggml's buffer types for weights: ours if installed, its own repacked ones, the plain one.
fn buffer_types() -> Vec<(String, sys::ggml_backend_buffer_type_t)> {
    // SAFETY: the name and the function's type are those of ggml-backend.h; the list ends with null.
    unsafe {
        let device = sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU);
        let registry = sys::ggml_backend_dev_backend_reg(device);
        let get = sys::ggml_backend_reg_get_proc_address(registry, c"ggml_backend_dev_get_extra_bufts".as_ptr());
        type Get = unsafe extern "C" fn(sys::ggml_backend_dev_t) -> *mut sys::ggml_backend_buffer_type_t;
        let get: Get = std::mem::transmute(get);
        let mut next = get(device);
        let mut buffer_types = Vec::new();
        while !(*next).is_null() {
            buffer_types.push(*next);
            next = next.add(1);
        }
        buffer_types.push(sys::ggml_backend_cpu_buffer_type());
        let name =
            |buffer_type| CStr::from_ptr(sys::ggml_backend_buft_name(buffer_type)).to_string_lossy().into_owned();
        buffer_types.into_iter().map(|buffer_type| (name(buffer_type), buffer_type)).collect()
    }
}

fn main() {
    let mut numbers = env::args().skip(1).filter_map(|arg| arg.parse::<f64>().ok());
    let rows = numbers.next().unwrap_or(2048.0) as usize;
    let k = numbers.next().unwrap_or(2048.0) as usize;
    let threads = numbers.next().unwrap_or(1.0) as i32;
    let seconds = numbers.next().unwrap_or(0.15);
    let only: Option<String> = env::args().nth(5);
    let status = llama_concurrent_kernels::install(llama_concurrent_kernels::Mode::Auto);
    eprintln!("{}", status.reason);
    llama_concurrent_kernels::set_floats(true);
    let buffer_types = buffer_types();
    println!("{rows} x {k}, {threads} threads, GMAC/s: stock, ours");
    println!("{:8}{}", "", COLUMNS.map(|n| format!("{n:>16}")).concat());
    for format in status.formats.iter().filter(|format| only.as_ref().is_none_or(|only| only == format.name)) {
        print!("{:8}", format.name);
        for n in COLUMNS {
            let make = |ours: bool| {
                let mut buffer_types = buffer_types.iter().filter(|(name, _)| (name == "CPU_CONCURRENT") == ours);
                buffer_types
                    .find_map(|(_, buffer_type)| Product::new(format.ggml_type, rows, k, n, *buffer_type, threads))
            };
            let products = [make(false), make(true)];
            let mut times = [Vec::new(), Vec::new()];
            let start = Instant::now();
            while start.elapsed().as_secs_f64() < seconds * 2.0 {
                for (product, times) in products.iter().zip(&mut times) {
                    if let Some(product) = product {
                        // The second of two in a row, so that the weights are as warm as they would be alone.
                        product.run();
                        let start = Instant::now();
                        product.run();
                        times.push(start.elapsed().as_secs_f64());
                    }
                }
            }
            let speed = times.map(|mut times| {
                times.sort_by(f64::total_cmp);
                times.get(times.len() / 2).map_or(0.0, |time| (rows * k * n) as f64 / time / 1e9)
            });
            print!("{:>8.1}{:>8.1}", speed[0], speed[1]);
        }
        println!();
    }
}
