//! The demo model in other formats. Its rows are too short for blocks of 256, so it is widened by zeros, which changes
//! nothing that it computes: twice the width, and heads without effect.

use llama_cpp_sys_2 as sys;
use std::{
    ffi::{CStr, CString},
    path::Path,
    ptr,
};

const N_LAYER: usize = 6;
const N_EMBD: usize = 256;
const N_FF: usize = 512;
const RANK: usize = 8;

pub const HELDOUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo-heldout.txt");
const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo.gguf");

fn c(text: impl Into<Vec<u8>>) -> CString {
    CString::new(text).expect("no zero in it")
}

/// A GGUF file under construction.
struct Writer {
    gguf: *mut sys::gguf_context,
    tensors: *mut sys::ggml_context,
}

impl Writer {
    fn new() -> Self {
        let params = sys::ggml_init_params { mem_size: 96 << 20, mem_buffer: ptr::null_mut(), no_alloc: false };
        // SAFETY: plain constructors.
        unsafe { Self { gguf: sys::gguf_init_empty(), tensors: sys::ggml_init(params) } }
    }

    fn set_u32(&self, key: &str, value: usize) {
        // SAFETY: the file and the string live.
        unsafe { sys::gguf_set_val_u32(self.gguf, c(key).as_ptr(), value as u32) }
    }

    fn set_str(&self, key: &str, value: &str) {
        // SAFETY: as above.
        unsafe { sys::gguf_set_val_str(self.gguf, c(key).as_ptr(), c(value).as_ptr()) }
    }

    fn set_f32(&self, key: &str, value: f32) {
        // SAFETY: as above.
        unsafe { sys::gguf_set_val_f32(self.gguf, c(key).as_ptr(), value) }
    }

    /// Adds a tensor of one or two dimensions, in this type.
    fn add(&self, name: &str, kind: sys::ggml_type, values: &[f32], width: usize) {
        let rows = values.len() / width;
        // SAFETY: the tensor is as large as its type and dimensions say, and there is memory for all of them.
        unsafe {
            let tensor = match rows {
                1 => sys::ggml_new_tensor_1d(self.tensors, kind, width as i64),
                _ => sys::ggml_new_tensor_2d(self.tensors, kind, width as i64, rows as i64),
            };
            let data = (*tensor).data;
            sys::ggml_quantize_chunk(kind, values.as_ptr(), data, 0, rows as i64, width as i64, ptr::null());
            sys::ggml_set_name(tensor, c(name).as_ptr());
            sys::gguf_add_tensor(self.gguf, tensor);
        }
    }

    fn write(self, path: &Path) {
        let path = c(path.as_os_str().as_encoded_bytes());
        // SAFETY: made in `new`, freed once.
        unsafe {
            assert!(sys::gguf_write_to_file(self.gguf, path.as_ptr(), false));
            sys::gguf_free(self.gguf);
            sys::ggml_free(self.tensors);
        }
    }
}

/// Writes the widened model with all matrices of this type; or in F32, with the values that they have in it.
pub fn write_model(path: &Path, kind: sys::ggml_type, as_values: bool) {
    let writer = Writer::new();
    // SAFETY: calls as gguf.h documents them, on objects made here.
    unsafe {
        let mut tensors = ptr::null_mut();
        let params = sys::gguf_init_params { no_alloc: false, ctx: &raw mut tensors };
        let demo = sys::gguf_init_from_file(c(DEMO).as_ptr(), params);
        assert!(!demo.is_null(), "the demo model is there");
        sys::gguf_set_kv(writer.gguf, demo);
        for (key, value) in [
            ("llama.embedding_length", N_EMBD),
            ("llama.feed_forward_length", N_FF),
            ("llama.attention.head_count", 8),
            ("llama.attention.head_count_kv", 4),
        ] {
            writer.set_u32(key, value);
        }
        // The mean of the squares is half as large, over twice as many.
        writer.set_f32("llama.attention.layer_norm_rms_epsilon", 0.5e-5);
        // The first stands for the data of all.
        let mut tensor = sys::ggml_get_next_tensor(tensors, sys::ggml_get_first_tensor(tensors));
        while !tensor.is_null() {
            let name = CStr::from_ptr((*tensor).name.as_ptr()).to_str().expect("ASCII");
            let [width, rows] = [0, 1].map(|i| (*tensor).ne[i] as usize);
            let mut values = vec![0f32; width * rows];
            let count = values.len() as i64;
            match (*sys::ggml_get_type_traits((*tensor).type_)).to_float {
                Some(to_float) if (*tensor).type_ != sys::GGML_TYPE_F32 => {
                    to_float((*tensor).data, values.as_mut_ptr(), count);
                }
                _ => values.copy_from_slice(std::slice::from_raw_parts((*tensor).data.cast(), width * rows)),
            }
            if rows == 1 {
                values.iter_mut().for_each(|weight| *weight *= 0.5f32.sqrt());
            }
            let wide_rows = if rows == 1 || name == "token_embd.weight" { rows } else { widened(rows) };
            let wide = widen(&values, width, widened(width), wide_rows);
            match (rows, as_values) {
                (1, _) => writer.add(name, sys::GGML_TYPE_F32, &wide, widened(width)),
                (_, false) => writer.add(name, kind, &wide, widened(width)),
                (_, true) => {
                    writer.add(name, sys::GGML_TYPE_F32, &rounded(kind, &wide, widened(width)), widened(width))
                }
            }
            tensor = sys::ggml_get_next_tensor(tensors, tensor);
        }
        sys::gguf_free(demo);
        sys::ggml_free(tensors);
    }
    writer.write(path);
}

/// 64 and 128 double; the hidden layer has 384.
fn widened(n: usize) -> usize {
    if n == 384 { N_FF } else { 2 * n }
}

fn widen(values: &[f32], width: usize, wide: usize, rows: usize) -> Vec<f32> {
    let mut all = vec![0.0; wide * rows];
    for (from, to) in values.chunks_exact(width).zip(all.chunks_exact_mut(wide)) {
        to[..width].copy_from_slice(from);
    }
    all
}

/// What values become in a type.
fn rounded(kind: sys::ggml_type, values: &[f32], width: usize) -> Vec<f32> {
    let rows = values.len() / width;
    let mut read = vec![0f32; values.len()];
    // SAFETY: the bytes are as many as ggml writes and reads.
    unsafe {
        let mut bytes = vec![0u8; sys::ggml_row_size(kind, width as i64) * rows];
        let out = bytes.as_mut_ptr().cast();
        sys::ggml_quantize_chunk(kind, values.as_ptr(), out, 0, rows as i64, width as i64, ptr::null());
        let to_float = (*sys::ggml_get_type_traits(kind)).to_float.expect("a quantised type");
        to_float(bytes.as_ptr().cast(), read.as_mut_ptr(), read.len() as i64);
    }
    read
}

/// A LoRA adapter that changes much: random, for two matrices of each layer.
pub fn write_adapter(path: &Path) {
    let writer = Writer::new();
    writer.set_str("general.type", "adapter");
    writer.set_str("general.architecture", "llama");
    writer.set_str("adapter.type", "lora");
    writer.set_f32("adapter.lora.alpha", RANK as f32);
    let mut seed = 3u64;
    let mut noise = |count: usize| -> Vec<f32> {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((seed >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * 0.15
        };
        (0..count).map(|_| next()).collect()
    };
    for layer in 0..N_LAYER {
        for (matrix, width, rows) in [("attn_q", N_EMBD, N_EMBD), ("ffn_down", N_FF, N_EMBD)] {
            let name = format!("blk.{layer}.{matrix}.weight");
            let (a, b) = (noise(width * RANK), noise(RANK * rows));
            writer.add(&format!("{name}.lora_a"), sys::GGML_TYPE_F32, &a, width);
            // What comes into the part that stands for nothing would be heard by the norms: leave it zero.
            let halved: Vec<f32> = b.iter().enumerate().map(|(i, v)| if i < b.len() / 2 { *v } else { 0.0 }).collect();
            writer.add(&format!("{name}.lora_b"), sys::GGML_TYPE_F32, &halved, RANK);
        }
    }
    writer.write(path);
}
