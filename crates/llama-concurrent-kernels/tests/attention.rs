//! Attention through ggml, as llama.cpp asks for it, compared with double precision.

#![allow(unsafe_code)] // It calls ggml itself.
#![cfg(target_arch = "x86_64")]

use llama_concurrent_kernels::{Mode, install};
use llama_cpp_sys_2 as sys;
use std::ptr;

/// Numbers without a pattern, between -1 and 1.
fn noise(count: usize, mut seed: u64) -> Vec<f32> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

#[derive(Clone)]
struct Case {
    kind: sys::ggml_type,
    size: usize,
    /// Values of a cell, the first of its key's; as many as those unless said otherwise.
    value_size: usize,
    soft_cap: f32,
    /// Of ALiBi.
    largest_bias: f32,
    /// Of each query head, or none.
    sinks: Vec<f32>,
    tokens: usize,
    heads: usize,
    shared: usize,
    streams: usize,
    cells: usize,
    /// Of each stream and token, which cells it sees.
    mask: Vec<bool>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

impl Case {
    fn new(kind: sys::ggml_type, size: usize, shape: [usize; 5], seen: impl Fn(usize, usize, usize) -> bool) -> Self {
        let [tokens, heads, shared, streams, cells] = shape;
        let mut mask = Vec::new();
        for stream in 0..streams {
            for token in 0..tokens {
                mask.extend((0..cells).map(|cell| seen(stream, token, cell)));
            }
        }
        let cache = size * heads * streams * cells;
        let q = noise(size * heads * shared * tokens * streams, 1).into_iter().map(|v| v * 4.0).collect();
        let (k, v) = (noise(cache, 2), noise(cache, 3));
        let (value_size, soft_cap, largest_bias, sinks) = (size, 0.0, 0.0, Vec::new());
        Self {
            kind,
            size,
            value_size,
            soft_cap,
            largest_bias,
            sinks,
            tokens,
            heads,
            shared,
            streams,
            cells,
            mask,
            q,
            k,
            v,
        }
    }

    /// Quantises the cache; returns what is stored and what it means.
    fn stored(&self, values: &[f32]) -> (Vec<u8>, Vec<f32>) {
        if self.kind == sys::GGML_TYPE_F32 {
            return (values.iter().flat_map(|value| value.to_le_bytes()).collect(), values.to_vec());
        }
        let rows = values.len() / self.size;
        let mut read = vec![0f32; values.len()];
        // SAFETY: both are as large as ggml makes them.
        unsafe {
            let mut bytes = vec![0u8; sys::ggml_row_size(self.kind, self.size as i64) * rows];
            let out = bytes.as_mut_ptr().cast();
            sys::ggml_quantize_chunk(self.kind, values.as_ptr(), out, 0, rows as i64, self.size as i64, ptr::null());
            let to_float = (*sys::ggml_get_type_traits(self.kind)).to_float.expect("a type of caches");
            to_float(bytes.as_ptr().cast(), read.as_mut_ptr(), read.len() as i64);
            (bytes, read)
        }
    }

    /// By ggml, with whatever is installed. Q, K and V lie as llama.cpp has them: by token and then by head.
    fn compute(&self, threads: i32) -> Vec<f32> {
        let n = |n: usize| n as i64;
        let (size, tokens, cells, streams) = (n(self.size), n(self.tokens), n(self.cells), n(self.streams));
        // SAFETY: calls as ggml documents them, on objects made here.
        unsafe {
            let params = sys::ggml_init_params { mem_size: 64 << 20, mem_buffer: ptr::null_mut(), no_alloc: false };
            let context = sys::ggml_init(params);
            let fill = |tensor: *mut sys::ggml_tensor, bytes: &[u8]| {
                assert_eq!(sys::ggml_nbytes(tensor), bytes.len());
                ptr::copy_nonoverlapping(bytes.as_ptr(), (*tensor).data.cast(), bytes.len());
                tensor
            };
            let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
            let heads = n(self.heads * self.shared);
            let q = sys::ggml_new_tensor_4d(context, sys::GGML_TYPE_F32, size, heads, tokens, streams);
            let k = sys::ggml_new_tensor_4d(context, self.kind, size, n(self.heads), cells, streams);
            let v = sys::ggml_new_tensor_4d(context, self.kind, size, n(self.heads), cells, streams);
            let mask = sys::ggml_new_tensor_4d(context, sys::GGML_TYPE_F16, cells, tokens, 1, streams);
            let seen = (0..self.mask.len()).flat_map(|at| self.mask_bits(at).to_le_bytes()).collect::<Vec<u8>>();
            fill(mask, &seen);
            let permuted = |tensor| sys::ggml_permute(context, tensor, 0, 2, 1, 3);
            let q = permuted(fill(q, &floats(&self.q)));
            let k = permuted(fill(k, &self.stored(&self.k).0));
            let v = permuted(fill(v, &self.stored(&self.v).0));
            let v = sys::ggml_view_4d(
                context,
                v,
                n(self.value_size),
                cells,
                n(self.heads),
                streams,
                (*v).nb[1],
                (*v).nb[2],
                (*v).nb[3],
                0,
            );
            let out = sys::ggml_flash_attn_ext(context, q, k, v, mask, self.scale(), self.largest_bias, self.soft_cap);
            if !self.sinks.is_empty() {
                let sinks = sys::ggml_new_tensor_1d(context, sys::GGML_TYPE_F32, heads);
                sys::ggml_flash_attn_ext_add_sinks(out, fill(sinks, &floats(&self.sinks)));
            }
            let graph = sys::ggml_new_graph(context);
            sys::ggml_build_forward_expand(graph, out);
            let backend = sys::ggml_backend_cpu_init();
            sys::ggml_backend_cpu_set_n_threads(backend, threads);
            assert_eq!(sys::ggml_backend_graph_compute(backend, graph), 0);
            let result =
                std::slice::from_raw_parts((*out).data.cast::<f32>(), self.q.len() / self.size * self.value_size)
                    .to_vec();
            sys::ggml_backend_free(backend);
            sys::ggml_free(context);
            result
        }
    }

    /// The mask in half precision: with ALiBi, minus the distance of token and cell.
    fn mask_bits(&self, at: usize) -> u16 {
        match (self.mask[at], self.largest_bias > 0.0) {
            (false, _) => 0xfc00,
            (true, false) => 0,
            (true, true) => half::f16::from_f32(-((at % self.cells) as f32)).to_bits(),
        }
    }

    fn bias(&self, at: usize, head: usize) -> f64 {
        let heads = self.heads * self.shared;
        let whole = 1 << heads.ilog2();
        let (base, power) = if head < whole { (1.0, head + 1) } else { (0.5, 2 * (head - whole) + 1) };
        let slope = (-f64::from(self.largest_bias) * base / f64::from(whole as u32) * power as f64).exp2();
        let slope = if self.largest_bias > 0.0 { slope } else { 1.0 };
        f64::from(half::f16::from_bits(self.mask_bits(at)).to_f32()) * slope
    }

    fn scale(&self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }

    fn exactly(&self) -> Vec<f64> {
        let (k, v) = (self.stored(&self.k).1, self.stored(&self.v).1);
        let mut out = Vec::new();
        for stream in 0..self.streams {
            for token in 0..self.tokens {
                let seen = &self.mask[(stream * self.tokens + token) * self.cells..][..self.cells];
                for head in 0..self.heads * self.shared {
                    let row = (stream * self.tokens + token) * self.heads * self.shared + head;
                    let q = &self.q[row * self.size..][..self.size];
                    let at = |values: &[f32], cell: usize, d: usize| {
                        let row = (stream * self.cells + cell) * self.heads + head / self.shared;
                        f64::from(values[row * self.size + d])
                    };
                    let score = |cell| (0..self.size).map(|d| f64::from(q[d]) * at(&k, cell, d)).sum::<f64>();
                    let cap = f64::from(self.soft_cap);
                    let capped = |score: f64| if cap > 0.0 { cap * (score / cap).tanh() } else { score };
                    let first = (stream * self.tokens + token) * self.cells;
                    let weight =
                        |cell| (capped(score(cell) * f64::from(self.scale())) + self.bias(first + cell, head)).exp();
                    let weights: Vec<f64> =
                        (0..self.cells).map(|cell| if seen[cell] { weight(cell) } else { 0.0 }).collect();
                    let sink = self.sinks.get(head).map_or(0.0, |sink| f64::from(*sink).exp());
                    let total: f64 = weights.iter().sum::<f64>() + sink;
                    out.extend((0..self.value_size).map(|d| {
                        let sum: f64 = weights.iter().enumerate().map(|(cell, w)| w * at(&v, cell, d)).sum();
                        if total == 0.0 { 0.0 } else { sum / total }
                    }));
                }
            }
        }
        out
    }

    /// The case of one stream alone.
    fn stream(&self, stream: usize) -> Self {
        let part = |values: &[f32]| {
            let count = values.len() / self.streams;
            values[stream * count..][..count].to_vec()
        };
        let count = self.mask.len() / self.streams;
        let mask = self.mask[stream * count..][..count].to_vec();
        Self { streams: 1, mask, q: part(&self.q), k: part(&self.k), v: part(&self.v), ..self.clone() }
    }
}

fn check(case: &Case) {
    install(Mode::Auto);
    let exact = case.exactly();
    let result = case.compute(1);
    let square = |v: f64| v * v;
    let wrong: f64 = result.iter().zip(&exact).map(|(a, b)| square(f64::from(*a) - b)).sum();
    let error = (wrong / exact.iter().map(|v| square(*v)).sum::<f64>()).sqrt();
    assert!(error < 2e-6, "wrong by {error:e}");
    for threads in [2, 3, 8] {
        assert!(same(&case.compute(threads), &result), "{threads} threads give other bits than one");
    }
}

fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

const KINDS: [sys::ggml_type; 4] = [sys::GGML_TYPE_F32, sys::GGML_TYPE_F16, sys::GGML_TYPE_Q8_0, sys::GGML_TYPE_Q4_0];

#[test]
fn soft_caps_sinks_and_biases() {
    for kind in KINDS {
        for [tokens, heads, shared] in [[1, 2, 8], [9, 2, 3], [70, 1, 16], [3, 1, 12]] {
            let plain = Case::new(kind, 64, [tokens, heads, shared, 2, 333], |stream, token, cell| {
                cell + 40 * stream <= 250 + token
            });
            let sinks = noise(heads * shared, 9).into_iter().map(|v| v * 5.0).collect::<Vec<_>>();
            check(&Case { soft_cap: 2.5, ..plain.clone() });
            check(&Case { soft_cap: 50.0, ..plain.clone() });
            check(&Case { sinks: sinks.clone(), ..plain.clone() });
            check(&Case { largest_bias: 8.0, ..plain.clone() });
            check(&Case { soft_cap: 20.0, largest_bias: 4.0, sinks, ..plain });
        }
    }
}

#[test]
fn heads_of_all_sizes() {
    for kind in KINDS {
        let is_blocks = kind == sys::GGML_TYPE_Q8_0 || kind == sys::GGML_TYPE_Q4_0;
        for (size, value_size) in [(40, 40), (80, 80), (72, 72), (192, 128), (576, 512), (288, 96), (64, 32)] {
            if is_blocks && (size % 32 != 0 || value_size % 32 != 0) {
                continue;
            }
            for [tokens, shared] in [[1, 16], [5, 3], [20, 1]] {
                let case = Case::new(kind, size, [tokens, 2, shared, 2, 200], |_, token, cell| cell <= 150 + token);
                check(&Case { value_size, ..case });
            }
        }
    }
}

#[test]
fn one_token_of_several_sequences() {
    for kind in KINDS {
        for (size, shared) in [(64, 8), (128, 4), (96, 7), (256, 1), (32, 16), (64, 3)] {
            check(&Case::new(kind, size, [1, 2, shared, 5, 800], |stream, _, cell| {
                cell < 70 * (stream + 1) * (stream + 1)
            }));
        }
    }
}

#[test]
fn a_prompt() {
    for kind in KINDS {
        for tokens in [1, 2, 3, 9, 65, 70] {
            check(&Case::new(kind, 64, [tokens, 2, 4, 1, 301], |_, token, cell| cell <= 200 + token));
            check(&Case::new(kind, 64, [tokens, 1, 1, 3, 64], |stream, token, cell| cell <= 5 * stream + token));
        }
    }
}

#[test]
fn a_cache_that_sequences_share() {
    // Cells of seven sequences, some in blocks of their own, some mixed.
    let of = |cell: usize| if cell < 640 { cell / 96 } else { cell % 7 };
    for kind in KINDS {
        check(&Case::new(kind, 64, [7, 2, 8, 1, 1000], |_, token, cell| of(cell) == token));
        check(&Case::new(kind, 64, [70, 1, 4, 1, 1000], |_, token, cell| of(cell) == token % 7));
    }
}

#[test]
fn a_window_and_rows_that_see_nothing() {
    for kind in KINDS {
        check(&Case::new(kind, 128, [1, 2, 6, 2, 1024], |stream, _, cell| cell > 500 && cell < 700 + stream));
        check(&Case::new(kind, 128, [3, 2, 6, 2, 512], |_, token, cell| token != 1 && cell % 3 == 0));
    }
}

#[test]
fn a_sequence_gets_the_same_bits_alone() {
    install(Mode::Auto);
    for kind in KINDS {
        let case = Case::new(kind, 64, [1, 2, 8, 9, 1100], |stream, _, cell| cell < 120 * (stream + 1));
        let all = case.compute(2);
        for stream in 0..case.streams {
            let alone = case.stream(stream).compute(2);
            assert!(same(&alone, &all[stream * alone.len()..][..alone.len()]));
        }
    }
}
