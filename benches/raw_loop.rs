//! The engine against bare llama.cpp: the same calls, with nothing around them.
//!
//! `cargo bench --bench raw_loop -- MODEL [--slots 16] [--prompt 48] [--output 64] [--threads N] [--repeats 5]`
//!
//! The bare side creates a context and a thread pool of the same shape and calls `llama_decode` in a loop: each prompt
//! in one call, then every sequence one row per call. It samples nothing, makes no text and tells nobody. The engine
//! side submits the same load and reads its streams. Runs alternate within one process; both sides map the model once,
//! and both compute with this library's kernels, or with ggml's alone where LLAMA_CONCURRENT_KERNELS=off.

#![allow(unsafe_code)]

use std::{
    ffi::CString,
    sync::mpsc,
    time::{Duration, Instant},
};

use clap::Parser;
use llama_concurrent::{Engine, EngineConfig, Request, SamplingParams, Speculation, Strategy, Token};
use llama_concurrent_kernels::{Mode, install};
use llama_cpp_sys_2 as sys;

#[derive(Clone, Parser)]
struct Args {
    /// A GGUF file, for example of `llama-concurrent synth --preset tinyllama-1.1b --type q4_0`.
    model: String,
    /// Sequences at once.
    #[arg(long, default_value_t = 16)]
    slots: usize,
    /// Prompt tokens of each.
    #[arg(long, default_value_t = 48)]
    prompt: usize,
    /// Output tokens of each.
    #[arg(long, default_value_t = 64)]
    output: usize,
    /// Compute threads.
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    threads: usize,
    /// Pairs of runs.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Given by `cargo bench`; means nothing here.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Context length of a slot: prompt and output, rounded up to llama.cpp's block of 256.
fn n_ctx(args: &Args) -> usize {
    (args.prompt + args.output).next_multiple_of(256)
}

fn token(sequence: usize, position: usize) -> Token {
    (300 + (sequence * 97 + position * 31) % 400) as Token
}

struct Raw {
    context: *mut sys::llama_context,
    slots: usize,
}

/// Time in prefill calls and in decode calls.
type Times = (Duration, Duration);

impl Raw {
    fn new(model: *mut sys::llama_model, args: &Args, slots: usize) -> Self {
        // SAFETY: the model outlives the process's use of it; parameters come from llama.cpp's own defaults.
        unsafe {
            let mut params = sys::llama_context_default_params();
            params.n_ctx = (n_ctx(args) * slots) as u32;
            params.n_batch = 512;
            params.n_ubatch = 512;
            params.n_seq_max = slots as u32;
            params.n_outputs_max = slots as u32;
            params.n_threads = args.threads as i32;
            params.n_threads_batch = args.threads as i32;
            params.kv_unified = false;
            params.no_perf = true;
            let context = sys::llama_init_from_model(model, params);
            assert!(!context.is_null(), "llama.cpp cannot create the context");
            let mut pool = sys::ggml_threadpool_params_default(args.threads as i32);
            pool.cpumask[..args.threads].fill(true);
            pool.strict_cpu = true;
            let pool = sys::ggml_threadpool_new(&mut pool);
            sys::llama_attach_threadpool(context, pool, pool);
            Self { context, slots }
        }
    }

    /// One `llama_decode`; `(sequence, token, position, wants logits)` for each row.
    fn decode(&self, rows: &[(usize, Token, usize, bool)]) -> Duration {
        let mut token: Vec<_> = rows.iter().map(|row| row.1).collect();
        let mut pos: Vec<_> = rows.iter().map(|row| row.2 as i32).collect();
        let mut n_seq_id = vec![1; rows.len()];
        let mut seq: Vec<_> = rows.iter().map(|row| row.0 as i32).collect();
        let mut seq_id: Vec<_> = seq.iter_mut().map(|seq| &raw mut *seq).collect();
        let mut logits: Vec<_> = rows.iter().map(|row| i8::from(row.3)).collect();
        let batch = sys::llama_batch {
            n_tokens: rows.len() as i32,
            token: token.as_mut_ptr(),
            embd: std::ptr::null_mut(),
            pos: pos.as_mut_ptr(),
            n_seq_id: n_seq_id.as_mut_ptr(),
            seq_id: seq_id.as_mut_ptr(),
            logits: logits.as_mut_ptr(),
        };
        let start = Instant::now();
        // SAFETY: the arrays hold `rows.len()` entries and live until the call returns.
        assert_eq!(unsafe { sys::llama_decode(self.context, batch) }, 0);
        // SAFETY: the context is alive. Waits for the results, as reading the logits would.
        unsafe { sys::llama_synchronize(self.context) };
        start.elapsed()
    }

    fn run(&self, args: &Args) -> Times {
        // SAFETY: the context is alive.
        unsafe { sys::llama_memory_clear(sys::llama_get_memory(self.context), false) };
        let (mut prefill, mut decode) = (Duration::ZERO, Duration::ZERO);
        for s in 0..self.slots {
            let rows: Vec<_> = (0..args.prompt).map(|p| (s, token(s, p), p, p + 1 == args.prompt)).collect();
            prefill += self.decode(&rows);
        }
        for p in args.prompt..args.prompt + args.output - 1 {
            let rows: Vec<_> = (0..self.slots).map(|s| (s, token(s, p), p, true)).collect();
            decode += self.decode(&rows);
        }
        (prefill, decode)
    }
}

/// The bare side on a thread of its own: ggml pins the thread that creates a pool, and what that thread starts later
/// would inherit one core.
struct RawThread {
    ask: mpsc::Sender<()>,
    answer: mpsc::Receiver<Times>,
}

impl RawThread {
    fn start(model: SharedModel, args: &Args, slots: usize) -> Self {
        let (ask, asked) = mpsc::channel();
        let (answers, answer) = mpsc::channel();
        let args = args.clone();
        std::thread::spawn(move || {
            let raw = Raw::new(model.get(), &args, slots);
            while asked.recv().is_ok() {
                let _ = answers.send(raw.run(&args));
            }
        });
        Self { ask, answer }
    }

    fn run(&self) -> Times {
        self.ask.send(()).expect("the bare side is there");
        self.answer.recv().expect("the bare side answers")
    }
}

/// A loaded model that is never freed.
#[derive(Clone, Copy)]
struct SharedModel(*mut sys::llama_model);

// SAFETY: a loaded model is read-only.
unsafe impl Send for SharedModel {}

impl SharedModel {
    fn get(self) -> *mut sys::llama_model {
        self.0
    }
}

fn load_raw(path: &str) -> SharedModel {
    let path = CString::new(path).expect("a path without NUL");
    // SAFETY: plain use of llama.cpp's loader with its default parameters.
    unsafe {
        sys::llama_backend_init();
        sys::llama_log_set(Some(silence), std::ptr::null_mut());
        let mut params = sys::llama_model_default_params();
        params.n_gpu_layers = 0;
        let model = sys::llama_model_load_from_file(path.as_ptr(), params);
        assert!(!model.is_null(), "llama.cpp cannot load the model");
        SharedModel(model)
    }
}

extern "C" fn silence(_: sys::ggml_log_level, _: *const std::ffi::c_char, _: *mut std::ffi::c_void) {}

/// Wall time of the load, and time in decode calls.
fn run_engine(engine: &Engine, args: &Args, slots: usize) -> Times {
    let before = engine.stats().totals.decode.busy;
    let params = SamplingParams::default().max_tokens(args.output as u32).ignore_eos(true);
    let requests = (0..slots)
        .map(|s| Request::new((0..args.prompt).map(|p| token(s, p)).collect::<Vec<_>>()).params(params.clone()))
        .collect();
    let start = Instant::now();
    for result in engine.run_all(requests, |_, _| {}) {
        assert_eq!(result.expect("generated").tokens.len(), args.output);
    }
    (start.elapsed(), engine.stats().totals.decode.busy - before)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let args = Args::parse();
    // Before the first model is loaded: later ones do not effect them.
    println!("{}", install(Mode::Auto).reason);
    let model = load_raw(&args.model);
    println!(
        "{} prompt and {} output tokens, {} threads, {} pairs",
        args.prompt, args.output, args.threads, args.repeats
    );
    for slots in [1, args.slots] {
        let raw = RawThread::start(model, &args, slots);
        let config = EngineConfig::default()
            .strategy(if slots == 1 { Strategy::Sequential } else { Strategy::Batched })
            .slots(slots)
            .n_ctx(n_ctx(&args))
            .threads(args.threads)
            // The bare loop knows no stalls: it computes all prompts first.
            .max_stall(Duration::MAX)
            .prefix_reuse(false)
            // Nor any drafts.
            .speculation(Speculation::Off);
        let engine = Engine::load(&args.model, config).expect("the engine loads the model");
        run_engine(&engine, &args, slots);
        raw.run();
        let mut ratios = (Vec::new(), Vec::new());
        let mut rates = (Vec::new(), Vec::new());
        for _ in 0..args.repeats {
            let (prefill, decode) = raw.run();
            let (wall, busy) = run_engine(&engine, &args, slots);
            let rows = (slots * (args.output - 1)) as f64;
            rates.0.push(rows / decode.as_secs_f64());
            rates.1.push(rows / busy.as_secs_f64());
            ratios.0.push(decode.as_secs_f64() / busy.as_secs_f64());
            ratios.1.push((prefill + decode).as_secs_f64() / wall.as_secs_f64());
        }
        println!(
            "{slots:>3} sequences: bare {:7.1} tok/s, engine {:7.1} tok/s decode; engine at {:5.1} % of bare in decode, \
             {:5.1} % over the whole load",
            median(rates.0),
            median(rates.1),
            100.0 * median(ratios.0),
            100.0 * median(ratios.1),
        );
    }
}
