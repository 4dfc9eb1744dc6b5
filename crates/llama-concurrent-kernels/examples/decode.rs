//! Times whole decodes, with the kernels or without: `decode MODEL [CONTEXT...]`.
//!
//! `LLAMA_CONCURRENT_KERNELS=off` times llama.cpp as it is. One process does one of the two, because what is installed
//! stays; alternate processes to compare. `CHECK=1` also prints a digest of the logits. `ROWS="7 8 9"` times these
//! numbers of sequences, at most 40, and `REPEATS` sets how often; `PREFILLS="15 16"` times calls with so many rows of one
//! prompt, at most 640, `PREFILLS=0` none. `OPS=1` also lists what each kind of operation takes, each computed by itself, so
//! that all together take longer than a call does.

#![allow(unsafe_code)] // It calls llama.cpp itself.

use llama_cpp_sys_2 as sys;
use std::{
    collections::BTreeMap,
    env,
    ffi::{CStr, CString},
    ptr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const SEQUENCES: usize = 40;
/// Positions of one sequence.
const LENGTH: usize = 640;
const BATCH: usize = 1024;

/// Time of each kind of operation, and how many there were, since the list was begun; and when the last one ended.
static OPS: Mutex<Option<(OpTimes, Instant)>> = Mutex::new(None);

type OpTimes = BTreeMap<String, (Duration, usize)>;

/// llama.cpp asks this before an operation, which it then computes by itself, and after it.
unsafe extern "C" fn on_op(op: *mut sys::ggml_tensor, before: bool, _: *mut std::os::raw::c_void) -> bool {
    let mut ops = OPS.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((list, last)) = ops.as_mut() else { return false };
    if !before {
        // SAFETY: a live operation; names end with a zero, and there is room for four sources and more.
        let (kind, weight) = unsafe {
            let weight = (*op).src[0].as_ref().map(|source| CStr::from_ptr(source.name.as_ptr()));
            (CStr::from_ptr(sys::ggml_op_desc(op)).to_string_lossy(), weight.map(CStr::to_string_lossy))
        };
        let weight = weight.filter(|name| name.ends_with(".weight")).unwrap_or_default();
        let weight = weight.rsplit_once(".weight").map_or("", |(name, _)| name.rsplit('.').next().unwrap_or(name));
        let (time, count) = list.entry(format!("{kind} {weight}")).or_default();
        *time += last.elapsed();
        *count += 1;
    }
    *last = Instant::now();
    true
}

struct Bench {
    context: *mut sys::llama_context,
    batch: sys::llama_batch,
    vocabulary: i32,
    seed: u32,
}

impl Bench {
    fn token(&mut self) -> i32 {
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.seed >> 8) as i32 % self.vocabulary
    }

    /// One row for each of `sequences`, at position `position`, or `length` rows of the one sequence.
    fn decode(&mut self, sequences: std::ops::Range<usize>, position: usize, length: usize) -> f64 {
        let rows: Vec<_> =
            sequences.flat_map(|s| (0..length).map(move |i| (s, position + i, i + 1 == length))).collect();
        assert!(rows.len() <= BATCH, "{} rows in one call; there is room for {BATCH}", rows.len());
        for (row, (sequence, position, last)) in rows.iter().copied().enumerate() {
            let token = self.token();
            // SAFETY: the batch has room for `BATCH` rows.
            unsafe {
                *self.batch.token.add(row) = token;
                *self.batch.pos.add(row) = position as i32;
                *self.batch.n_seq_id.add(row) = 1;
                **self.batch.seq_id.add(row) = sequence as i32;
                *self.batch.logits.add(row) = i8::from(last);
            }
        }
        self.batch.n_tokens = rows.len() as i32;
        let start = Instant::now();
        // SAFETY: the context lives, and the batch is filled.
        let status = unsafe { sys::llama_decode(self.context, self.batch) };
        assert_eq!(status, 0, "the batch was decoded");
        start.elapsed().as_secs_f64()
    }

    fn forget(&self, sequence: i32, from: i32) {
        // SAFETY: the context lives.
        unsafe { sys::llama_memory_seq_rm(sys::llama_get_memory(self.context), sequence, from, -1) };
    }

    /// Makes a sequence a copy of sequence 0.
    fn copy(&self, sequence: i32) {
        // SAFETY: the context lives.
        unsafe { sys::llama_memory_seq_cp(sys::llama_get_memory(self.context), 0, sequence, -1, -1) };
    }

    /// What the operations of calls with so many rows take, the longest first.
    fn list_ops(&mut self, rows: usize, context: usize) {
        const CALLS: usize = 10;
        let set = |list| std::mem::replace(&mut *OPS.lock().unwrap_or_else(PoisonError::into_inner), list);
        set(Some((BTreeMap::new(), Instant::now())));
        for _ in 0..CALLS {
            self.decode(0..rows, context, 1);
            (0..rows).for_each(|sequence| self.forget(sequence as i32, context as i32));
        }
        let mut list: Vec<_> = set(None).map_or_else(Vec::new, |(list, _)| list.into_iter().collect());
        list.sort_by_key(|(_, (time, _))| std::cmp::Reverse(*time));
        println!("  {rows} rows:");
        for (kind, (time, count)) in list {
            let (ms, count) = (time.as_secs_f64() * 1000.0 / CALLS as f64, count / CALLS);
            println!("  {ms:8.3} ms  {count:4} x {kind}");
        }
    }

    fn digest(&self) -> String {
        // SAFETY: the last decode asked for logits of row 0 at least.
        let logits = unsafe {
            std::slice::from_raw_parts(sys::llama_get_logits_ith(self.context, -1), self.vocabulary as usize)
        };
        let norm = logits.iter().map(|v| f64::from(v * v)).sum::<f64>().sqrt();
        format!("norm {norm:.4}, first {:?}", &logits[..4])
    }
}

/// The lower quartile: on a machine that others use, what is above says more about them.
fn typical(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 4]
}

fn number(name: &str, default: i32) -> i32 {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn numbers(name: &str, default: &str) -> Vec<usize> {
    let text = env::var(name).unwrap_or_else(|_| default.to_string());
    text.split_whitespace().map(|n| n.parse().unwrap_or_else(|_| panic!("{name}: {n} is no number"))).collect()
}

fn main() {
    let mut args = env::args().skip(1);
    let path = CString::new(args.next().expect("the path of a model")).expect("a path");
    let contexts: Vec<usize> = args.filter_map(|arg| arg.parse().ok()).collect();
    eprintln!("{}", llama_concurrent_kernels::install(llama_concurrent_kernels::Mode::Auto).reason);
    // SAFETY: calls as llama.h documents them.
    let mut bench = unsafe {
        unsafe extern "C" fn quiet(
            _: sys::ggml_log_level,
            _: *const std::os::raw::c_char,
            _: *mut std::os::raw::c_void,
        ) {
        }
        sys::llama_log_set(Some(quiet), ptr::null_mut());
        sys::llama_backend_init();
        let start = Instant::now();
        let model = sys::llama_model_load_from_file(path.as_ptr(), sys::llama_model_default_params());
        assert!(!model.is_null(), "the model was loaded");
        println!("loaded in {:.2} s", start.elapsed().as_secs_f64());
        let mut params = sys::llama_context_default_params();
        params.n_seq_max = SEQUENCES as u32;
        params.n_ctx = (SEQUENCES * LENGTH) as u32;
        params.n_batch = BATCH as u32;
        params.n_ubatch = 512;
        params.n_threads = number("THREADS", 2);
        params.n_threads_batch = params.n_threads;
        params.kv_unified = number("UNIFIED", 0) != 0;
        params.flash_attn_type = sys::LLAMA_FLASH_ATTN_TYPE_ENABLED;
        if number("OPS", 0) != 0 {
            params.cb_eval = Some(on_op);
        }
        if number("KV_Q8", 0) != 0 {
            (params.type_k, params.type_v) = (sys::GGML_TYPE_Q8_0, sys::GGML_TYPE_Q8_0);
        }
        let context = sys::llama_init_from_model(model, params);
        assert!(!context.is_null(), "the context was made");
        let vocabulary = sys::llama_vocab_n_tokens(sys::llama_model_get_vocab(model));
        Bench { context, batch: sys::llama_batch_init(BATCH as i32, 0, 1), vocabulary, seed: 1 }
    };
    for length in numbers("PREFILLS", "128 512").into_iter().filter(|&length| length > 0) {
        assert!(length <= LENGTH, "PREFILLS: {length} is more than a sequence holds, {LENGTH}");
        let mut times = Vec::new();
        for _ in 0..number("REPEATS", 3) {
            bench.forget(0, -1);
            times.push(bench.decode(0..1, 0, length));
        }
        println!("prefill {length}: {:.1} tok/s", length as f64 / typical(times));
        if number("CHECK", 0) != 0 {
            println!("  {}", bench.digest());
        }
    }
    let rows = numbers("ROWS", "1 2 4 8 16 32");
    for context in contexts {
        bench.forget(-1, 0);
        for position in (0..context).step_by(512) {
            bench.decode(0..1, position, 512.min(context - position));
        }
        (1..SEQUENCES).for_each(|sequence| bench.copy(sequence as i32));
        print!("context {context}:");
        for rows in rows.iter().copied() {
            let repeats = number("REPEATS", if rows < 8 { 11 } else { 5 });
            let times = (0..repeats)
                .map(|_| {
                    let time = bench.decode(0..rows, context, 1);
                    (0..rows).for_each(|sequence| bench.forget(sequence as i32, context as i32));
                    time
                })
                .collect();
            print!("  {rows}: {:.1}", rows as f64 / typical(times));
        }
        println!(" tok/s");
        if number("CHECK", 0) != 0 {
            println!("  {}", bench.digest());
        }
        for rows in rows.iter().copied().filter(|_| number("OPS", 0) != 0) {
            bench.list_ops(rows, context);
        }
    }
}
