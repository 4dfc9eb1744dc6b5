//! `llama_engine_stats`: the configuration, counters and current state of an engine.

use std::{
    collections::BTreeSet,
    ffi::{CStr, CString, c_char},
    sync::{Mutex, PoisonError},
};

use llama_concurrent::EngineStats;

use crate::{
    boundary::boundary,
    engine_params::llama_engine_strategy,
    engine_state::ENGINES,
    pointers::{self, Versioned},
    status::llama_infer_status as Status,
    types::llama_engine,
};

/// A snapshot of the state of an engine. Counters start at 0 when the engine is loaded.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama_engine_stats {
    /// `sizeof(llama_engine_stats)`, set by the caller.
    pub size: usize,
    // figures: begin
    /// How requests share contexts and slots; never "auto". One of `llama_engine_strategy`.
    pub strategy: i32,
    /// Threads that own contexts.
    pub workers: u32,
    /// Contexts over all workers.
    pub contexts: u32,
    /// Requests that can run at once.
    pub slots: u32,
    /// Tokens of prompt and output that one slot holds.
    pub n_ctx: u32,
    /// Compute threads.
    pub threads: u32,
    /// Tokens that the model was trained to look back on.
    pub n_ctx_train: u32,
    /// Tokens in the vocabulary.
    pub n_vocab: u32,
    /// Bytes of the weights as they lie in the file.
    pub model_bytes: u64,
    /// Bytes of the weights that were repacked for this CPU.
    pub repack_bytes: u64,
    /// Bytes of the K and V caches.
    pub kv_bytes: u64,
    /// Bytes of scratch memory.
    pub compute_bytes: u64,
    /// Number of `llama_decode` calls that generated tokens.
    pub decode_calls: u64,
    /// Rows in these calls, one per token, without those of drafts that were wrong.
    pub decode_rows: u64,
    /// Time spent in these calls, in milliseconds.
    pub decode_ms: f64,
    /// Number of `llama_decode` calls that computed prompts.
    pub prefill_calls: u64,
    /// Rows in these calls, one per prompt token.
    pub prefill_rows: u64,
    /// Time spent in these calls, in milliseconds.
    pub prefill_ms: f64,
    /// Output tokens generated.
    pub output_tokens: u64,
    /// Prompt tokens that were reused instead of computed.
    pub cached_tokens: u64,
    /// Prompts accepted.
    pub requests_submitted: u64,
    /// Prompts refused because the queue was full.
    pub requests_rejected: u64,
    /// Prompts whose output was ended by the model or by a stop string.
    pub requests_stopped: u64,
    /// Prompts whose output was ended by `max_tokens` or by a full slot.
    pub requests_length: u64,
    /// Prompts cancelled.
    pub requests_cancelled: u64,
    /// Prompts that ran out of time.
    pub requests_deadline: u64,
    /// Prompts that failed.
    pub requests_failed: u64,
    /// Prompts in a slot now.
    pub requests_running: u32,
    /// Prompts waiting for a slot now.
    pub requests_waiting: u32,
    /// Instruction set of this library's kernels that compute weights, such as "avx512vnni"; "off" if ggml's kernels
    /// compute everything. `kernels_share` says how much they compute. The text lives as long as the library.
    pub kernels: *const c_char,
    /// Copies of the weights in memory: more than one on machines with several NUMA nodes.
    pub weight_copies: u32,
    /// Compute threads that the system does not keep on the CPUs planned for them; 0 where it does not tell.
    pub strayed_threads: u32,
    /// Smallest share, over all workers, of the pages of weights and KV that lie on the worker's NUMA node. -1: the
    /// system does not tell.
    pub local_fraction: f64,
    /// Packed weights: "mapped" from the file that an earlier load wrote, "written" by this one, or "off". The text
    /// lives as long as the library.
    pub pack_cache: *const c_char,
    /// Share of the model's matrix products that this library's kernels compute, from 0 to 1.
    pub kernels_share: f64,
    /// Which kernels compute which share of the matrix products, by weight format, such as "ggml 61 % (Q4_1), avx2 39 %
    /// (Q6_K)". The text lives as long as the library.
    pub products: *const c_char,
    /// CPUs planned for the compute threads, as a list such as "0-3,8". The text lives as long as the library.
    pub cpus: *const c_char,
    /// Prompts that have begun, are not read, and gave their slot up to others that waited; their KV lies in memory.
    pub requests_parked: u32,
    /// Workers whose threads wait passively now, because others want their CPUs (`wait_policy`).
    pub passive_workers: u32,
    /// Of the time of the compute threads, the share that they lately waited for a CPU which somebody else used; of the
    /// worker that waited most.
    pub cpu_wait: f64,
    /// How often a worker changed between waiting actively and passively because of other programs.
    pub wait_switches: u64,
    /// Output tokens that were drafted: guessed, and computed before it was known that they come (`speculation`).
    pub drafted_tokens: u64,
    /// Drafted tokens that came.
    pub accepted_tokens: u64,
    /// How requests speculate that do not say: "auto", "off", "lookup" or "draft"; "off" if the configuration is auto,
    /// and drafts could change texts. The text lives as long as the library.
    pub speculation: *const c_char,
    /// Time spent in calls of the draft model, in milliseconds.
    pub draft_model_ms: f64,
    // figures: end
}

// SAFETY: `#[repr(C)]`, starts with its size; numbers.
unsafe impl Versioned for llama_engine_stats {
    const INITIALIZER: &'static str = "set it to sizeof(llama_engine_stats)";
}

// last member: begin
crate::assert_no_tail_padding!(llama_engine_stats, draft_model_ms: f64);
// last member: end

/// Fills `*stats` with a snapshot of the engine's state. The caller sets `stats->size` first. The strings in it live as long
/// as the library. Cheap: it does not wait for the workers. May be called from any callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_engine_get_stats(engine: *mut llama_engine, stats: *mut llama_engine_stats) -> Status {
    boundary(|| {
        let engine = ENGINES.get(engine)?;
        let (now, model) = (engine.engine.stats(), engine.engine.model());
        let told = |name: &str| {
            let figure = EngineStats::FIGURES.iter().find(|figure| figure.name == name).expect("a figure of the table");
            (figure.get)(&now, model)
        };
        let filled = llama_engine_stats {
            size: 0,
            // values: begin
            strategy: llama_engine_strategy::of(now.strategy) as i32,
            workers: told("workers").count() as u32,
            contexts: told("contexts").count() as u32,
            slots: told("slots").count() as u32,
            n_ctx: told("n_ctx").count() as u32,
            threads: told("threads").count() as u32,
            n_ctx_train: told("n_ctx_train").count() as u32,
            n_vocab: told("n_vocab").count() as u32,
            model_bytes: told("model_bytes").count(),
            repack_bytes: told("repack_bytes").count(),
            kv_bytes: told("kv_bytes").count(),
            compute_bytes: told("compute_bytes").count(),
            decode_calls: told("decode_calls").count(),
            decode_rows: told("decode_rows").count(),
            decode_ms: told("decode").real(),
            prefill_calls: told("prefill_calls").count(),
            prefill_rows: told("prefill_rows").count(),
            prefill_ms: told("prefill").real(),
            output_tokens: told("output_tokens").count(),
            cached_tokens: told("cached_tokens").count(),
            requests_submitted: told("requests_submitted").count(),
            requests_rejected: told("requests_rejected").count(),
            requests_stopped: told("requests_stopped").count(),
            requests_length: told("requests_length").count(),
            requests_cancelled: told("requests_cancelled").count(),
            requests_deadline: told("requests_deadline").count(),
            requests_failed: told("requests_failed").count(),
            requests_running: told("requests_running").count() as u32,
            requests_waiting: told("requests_waiting").count() as u32,
            kernels: text(&told("kernels").text()),
            weight_copies: told("weight_copies").count() as u32,
            strayed_threads: told("strayed_threads").count() as u32,
            local_fraction: told("local_fraction").real(),
            pack_cache: text(&told("pack_cache").text()),
            kernels_share: told("kernels_share").real(),
            products: text(&told("products").text()),
            cpus: text(&told("cpus").text()),
            requests_parked: told("requests_parked").count() as u32,
            passive_workers: told("passive_workers").count() as u32,
            cpu_wait: told("cpu_wait").real(),
            wait_switches: told("wait_switches").count(),
            drafted_tokens: told("drafted_tokens").count(),
            accepted_tokens: told("accepted_tokens").count(),
            speculation: text(&told("speculation").text()),
            draft_model_ms: told("draft_model").real(),
            // values: end
        };
        // SAFETY: `stats` is what the header asks for.
        unsafe { pointers::write_sized(stats, filled, "stats") }
    })
}

/// Interns a string for the life of the library. Only for texts of which there are few.
fn text(text: &str) -> *const c_char {
    static TEXTS: Mutex<BTreeSet<&'static CStr>> = Mutex::new(BTreeSet::new());
    let text = CString::new(text).unwrap_or_default();
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    match texts.get(&*text) {
        Some(known) => known.as_ptr(),
        None => {
            let kept: &'static CStr = Box::leak(text.into_boxed_c_str());
            texts.insert(kept);
            kept.as_ptr()
        }
    }
}
