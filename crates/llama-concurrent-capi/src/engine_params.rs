//! `llama_engine_params`: the configuration of an engine.

use std::{
    ffi::{CStr, OsStr, c_char, c_void},
    os::unix::ffi::OsStrExt,
    sync::Arc,
    time::Duration,
};

use llama_concurrent::{
    EngineConfig, KvType, PackCache, PlacementPolicy, Replicate, Speculation, Strategy, WaitPolicy,
};
use llama_concurrent_topology::parse_list;

use crate::{
    boundary::boundary,
    pointers::{self, Versioned},
    reentrancy::{self, CallbackContext},
    status::llama_infer_status as Status,
    types::{Failure, Result, c_bool},
};

/// How requests share contexts and slots.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum llama_engine_strategy {
    /// Chosen by the library; currently `BATCHED`.
    Auto = 0,
    /// One context with one slot: requests run one after the other.
    Sequential = 1,
    /// Many contexts with one slot each, decoded in turn, one token at a time: isolated and exactly reproducible.
    RoundRobin = 2,
    /// One context with many slots, decoded together: the highest throughput.
    Batched = 3,
}

/// Element type of a K or V cache.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum llama_engine_kv_type {
    /// 16-bit floats.
    F16 = 0,
    /// 8-bit blocks: about half the memory of F16.
    Q8_0 = 1,
    /// 32-bit floats: twice the memory of F16.
    F32 = 2,
    /// 4-bit blocks: about a quarter of the memory of F16, and noticeably less exact.
    Q4_0 = 3,
}

/// How workers are placed on the machine.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum llama_engine_placement {
    /// One worker per NUMA node that has memory and a fair share of the cores.
    Auto = 0,
    /// One worker per NUMA node that has memory.
    Node = 1,
    /// One worker per group of cores that share a last-level cache.
    L3 = 2,
    /// One worker on all cores; neither its threads nor its memory are bound.
    None = 3,
}

/// Whether each NUMA node gets a copy of the weights.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum llama_engine_replicate {
    /// If the copies and the KV caches fit into memory.
    Auto = 0,
    /// Always; loading fails with `OUT_OF_MEMORY` if the copies do not fit.
    Always = 1,
    /// Never: all workers share one copy.
    Never = 2,
}

/// How the compute threads of a worker wait for each other.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum llama_engine_wait_policy {
    /// Active while each thread has its own core, passive while other programs need the cores.
    Auto = 0,
    /// Waiting threads spin.
    Active = 1,
    /// Waiting threads sleep.
    Passive = 2,
}

/// Whether the next tokens of a request are guessed and computed beforehand. What is generated is the same in any case.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum llama_speculation {
    /// For an engine: where it is expected to be faster, by how often guesses were right and what computing them costs. For a
    /// request: as the engine is set.
    Auto = 0,
    /// Not at all.
    Off = 1,
    /// Whenever there is a guess and room in the call: what followed when the last tokens occurred before.
    Lookup = 2,
    /// Whenever there is room in the call: what the draft model guesses.
    Draft = 3,
}

/// Reports the progress of a load: `fraction` rises from 0 to 1. Return false to cancel the load. Called on the thread that
/// called `llama_engine_load`. `llama_engine_load` returns `IN_CALLBACK` in this callback, because loads are serialised.
pub type llama_engine_progress_callback = Option<unsafe extern "C" fn(fraction: f32, user_data: *mut c_void) -> c_bool>;

/// The configuration of an engine. Initialise it with `llama_engine_default_params`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama_engine_params {
    /// `sizeof(llama_engine_params)`, set by `llama_engine_default_params`.
    pub size: usize,
    // parameters 1: begin
    /// How requests share contexts and slots: the shape of the pool, whose size `slots` and `workers` set. One of
    /// `llama_engine_strategy`. Default: AUTO.
    pub strategy: i32,
    /// Number of requests that run at once, over all workers. Each costs KV memory for `n_ctx` tokens: 22 MiB per 1024
    /// tokens on a 1.1B model. 0 (default): 16 per worker, halved until all KV fits in a quarter of the free memory.
    pub slots: u32,
    /// Tokens of prompt and output that one slot holds. 0 (default): the model's trained length, at most 2048.
    pub n_ctx: u32,
    /// Maximum number of tokens in one `llama_decode`; compute buffers grow with it. Default: 512.
    pub n_batch: u32,
    /// Number of compute threads over all workers. 0 (default): the physical cores that this process may use. A number
    /// larger than can run at once is lowered with a warning, because llama.cpp's barriers spin.
    pub threads: u32,
    /// Number of threads that each own contexts and decode independently. 0 (default): as `placement` says, 1 on a
    /// machine with one memory. More than one on the same memory is slower (35 instead of 45 tok/s at 16 streams on two
    /// cores).
    pub workers: u32,
    /// How many milliseconds the prompts of other requests may hold up the next token of a running one. Smaller values
    /// give smoother streams and later first tokens; at least 16 prompt tokens are always processed. Default: 200.
    pub max_stall_ms: u32,
    /// Maximum number of requests waiting for a slot; further ones are refused as overload. Default: 1024.
    pub max_queued_requests: u32,
    /// Maximum number of prompt tokens waiting for a slot; what exceeds it is refused as overload. Default: 1000000.
    pub max_queued_tokens: u64,
    /// Requests of the batch class are served as if they had arrived this many milliseconds later. Default: 10000.
    pub batch_aging_ms: u32,
    /// Maximum number of events waiting for their reader; at that point the request pauses until the reader catches up.
    /// Default: 256.
    pub stream_buffer: u32,
    /// Element type of the K cache. One of `llama_engine_kv_type`. Default: F16.
    pub type_k: i32,
    /// Element type of the V cache; a quantised type needs `flash_attn`. One of `llama_engine_kv_type`. Default: F16.
    pub type_v: i32,
    /// How long idle compute threads spin before they sleep, from 0 (not at all) to 100. Default: 50.
    pub poll: u32,
    /// Reuse the KV of equal prompt beginnings instead of computing it again. Default: true.
    pub prefix_reuse: c_bool,
    /// Generate bit-identical tokens whatever else is running. Free where this library's kernels compute the whole
    /// model (CPU with AVX2, architectures and formats as in DESIGN.md); elsewhere it means round-robin, fixed prefill
    /// chunks and no prefix reuse. Default: false.
    pub reproducible: c_bool,
    /// Map the model file instead of reading it into private memory; all contexts and processes share the pages.
    /// Default: true.
    pub mmap: c_bool,
    /// Repack weights for the CPU while loading: faster from about 4 requests on, at the cost of a second copy of the
    /// weights in memory (the mapped pages can then be reclaimed). Default: true.
    pub repack: c_bool,
    /// Check every weight for NaN and infinity while loading; reads the whole file. Default: false.
    pub check_tensors: c_bool,
    /// Use llama.cpp's flash attention. Without it, prompts next to running streams are computed faster (9.6 instead of
    /// 11.5 ms per token in chunks of 32), but 16 short streams decode more slowly (165 instead of 135 ms per step) and
    /// scratch memory grows with `n_batch` times `n_ctx`. Default: true.
    pub flash_attn: c_bool,
    /// Pin each compute thread to its own core. Default: true.
    pub pin: c_bool,
    /// Compute matrices and attention with this library's own kernels where the CPU supports them: two to three times
    /// as fast from about 4 requests on. Needs `repack`. Engines of one process that live at the same time share the
    /// attention kernels, or their absence, with the first of them. Default: true.
    pub kernels: c_bool,
    // parameters 1: end
    /// Called while the model loads; may be NULL (default).
    pub progress: llama_engine_progress_callback,
    /// Passed to `progress` as `user_data`.
    pub progress_user_data: *mut c_void,
    /// Directory in which to cache the weights as packed by the kernels. It must exist; "" stands for the model's own
    /// directory. The first load writes a file as large as the model, named like it with `.packed` appended. Later loads map
    /// that file in a fraction of the time, and all processes share its pages. A file that does not match the model is
    /// rewritten. If the file cannot be written, the load succeeds with a warning. Needs `mmap`. NULL (default): no cache;
    /// each load packs the weights.
    pub pack_cache: *const c_char,
    // parameters 2: begin
    /// How workers are laid out: one per NUMA node with a fair share of the cores (auto), one per NUMA node (node), one
    /// per group of cores that share a cache (l3), or a single one that is bound to nothing (none). One of
    /// `llama_engine_placement`. Default: AUTO.
    pub placement: i32,
    /// Whether each NUMA node gets a copy of the weights, each of which takes their full size: where they fit (auto),
    /// always or never. One of `llama_engine_replicate`. Default: AUTO.
    pub replicate: i32,
    /// CPUs that compute threads may use, numbered as by the operating system; one thread per physical core among them.
    /// A list such as "0-7,16"; NULL (default): all that this process may use; on machines with two kinds of cores, the
    /// faster ones.
    pub cpus: *const c_char,
    /// NUMA nodes whose cores and memory are used. A list such as "0-7,16"; NULL (default): all.
    pub nodes: *const c_char,
    /// Keep the keys and values of all tokens also in layers with a sliding window (Gemma, gpt-oss and others), which
    /// otherwise keep only those of the window and of one batch. Prompts can then share a beginning long after its
    /// sequence went on, for the KV memory of a model without windows: with 2,048 tokens per slot and a window of 512,
    /// twice as much. Default: false.
    pub swa_full: c_bool,
    // parameters 2: end
    /// Reserved; must be zero.
    pub reserved: [c_bool; 7],
    // last parameters: begin
    /// Render chats with this template instead of the one in the model file: Jinja source, or the name of one that
    /// comes with this library, such as "chatml". NULL (default): the file's own, or ChatML where it has none.
    pub chat_template: *const c_char,
    /// Variables for the chat template, such as `enable_thinking`; those of a call replace them one by one. A JSON
    /// object; NULL (default): none.
    pub chat_template_kwargs: *const c_char,
    /// How compute threads wait for each other: by spinning, which is fastest where each has a core to itself (active);
    /// by sleeping, with the work left to whoever runs, which is fastest beside busy programs (passive); or as the time
    /// that they wait for a core suggests, where the system tells it (auto). One of `llama_engine_wait_policy`.
    /// Default: AUTO.
    pub wait_policy: i32,
    /// How many milliseconds a request whose reader is behind keeps its slot while others wait for one. Then its KV is
    /// moved to memory, until the reader has caught up. Default: 250.
    pub park_after_ms: u32,
    /// Whether the next tokens of a request that does not say are guessed and computed beforehand, where the call has
    /// room: as costs and chances suggest (auto), not at all (off), whenever they can be looked up in what was written
    /// before (lookup), or by the draft model (draft). Generated tokens are the same, bit for bit, where this library's
    /// kernels compute the whole model; elsewhere auto is off. One of `llama_speculation`. Default: AUTO.
    pub speculation: i32,
    /// Path of a smaller model with the same vocabulary, a GGUF file, that guesses the next tokens. It has a KV cache
    /// for as many slots. NULL (default): there is none.
    pub draft_model: *const c_char,
    // last parameters: end
}

// SAFETY: `#[repr(C)]`, starts with its size; numbers, a raw pointer and an optional function.
unsafe impl Versioned for llama_engine_params {
    const INITIALIZER: &'static str = "start from llama_engine_default_params()";
}

// last member: begin
crate::assert_no_tail_padding!(llama_engine_params, draft_model: *const c_char);
// last member: end

/// The caller's pointer, which is passed back and never dereferenced.
#[derive(Clone, Copy)]
struct UserData(*mut c_void);

// SAFETY: the progress callback runs on the thread that passed it.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl llama_engine_params {
    pub fn defaults() -> Self {
        let default = EngineConfig::default();
        Self {
            size: size_of::<Self>(),
            // defaults: begin
            strategy: llama_engine_strategy::of(default.strategy) as i32,
            slots: default.slots.map_or(0, |n| n as _),
            n_ctx: default.n_ctx.map_or(0, |n| n as _),
            n_batch: default.n_batch as _,
            threads: default.threads.map_or(0, |n| n as _),
            workers: default.workers.map_or(0, |n| n as _),
            max_stall_ms: default.max_stall.as_millis() as _,
            max_queued_requests: default.max_queued_requests as _,
            max_queued_tokens: default.max_queued_tokens as _,
            batch_aging_ms: default.batch_aging.as_millis() as _,
            stream_buffer: default.stream_buffer as _,
            type_k: llama_engine_kv_type::of(default.type_k) as i32,
            type_v: llama_engine_kv_type::of(default.type_v) as i32,
            poll: default.poll as _,
            prefix_reuse: default.prefix_reuse.into(),
            reproducible: default.reproducible.into(),
            mmap: default.mmap.into(),
            repack: default.repack.into(),
            check_tensors: default.check_tensors.into(),
            flash_attn: default.flash_attn.into(),
            pin: default.pin.into(),
            kernels: default.kernels.into(),
            placement: llama_engine_placement::of(default.placement) as i32,
            replicate: llama_engine_replicate::of(default.replicate) as i32,
            cpus: std::ptr::null(),
            nodes: std::ptr::null(),
            swa_full: default.swa_full.into(),
            chat_template: std::ptr::null(),
            chat_template_kwargs: std::ptr::null(),
            wait_policy: llama_engine_wait_policy::of(default.wait_policy) as i32,
            park_after_ms: default.park_after.as_millis() as _,
            speculation: llama_speculation::of(default.speculation) as i32,
            draft_model: std::ptr::null(),
            // defaults: end
            progress: None,
            progress_user_data: std::ptr::null_mut(),
            pack_cache: std::ptr::null(),
            reserved: [0; 7],
        }
    }

    /// # Safety
    /// `pack_cache`, `cpus`, `nodes`, `chat_template` and `chat_template_kwargs` are NULL or NUL-terminated strings.
    pub unsafe fn config(&self) -> Result<EngineConfig> {
        let user_data = UserData(self.progress_user_data);
        let pack_cache = (!self.pack_cache.is_null()).then(|| {
            // SAFETY: not NULL, so a string, by the caller's promise. Paths need not be UTF-8.
            match unsafe { CStr::from_ptr(self.pack_cache) }.to_bytes() {
                b"" => PackCache::BesideModel,
                folder => PackCache::Folder(OsStr::from_bytes(folder).into()),
            }
        });
        let progress = self.progress.map(|progress| -> llama_concurrent::LoadProgress {
            Arc::new(move |fraction| {
                let user_data = user_data;
                // SAFETY: by passing it, the caller promised that it can be called with this pointer until the load is over.
                reentrancy::during(CallbackContext::Progress, || unsafe { progress(fraction, user_data.0) != 0 })
            })
        });
        let mut params = EngineConfig::default();
        // SAFETY: the caller's promise.
        unsafe {
            // readers: begin
            params.strategy = llama_engine_strategy::read(self.strategy, "strategy")?;
            params.slots = (self.slots > 0).then_some(self.slots as _);
            params.n_ctx = (self.n_ctx > 0).then_some(self.n_ctx as _);
            params.n_batch = self.n_batch as _;
            params.threads = (self.threads > 0).then_some(self.threads as _);
            params.workers = (self.workers > 0).then_some(self.workers as _);
            params.max_stall = Duration::from_millis(self.max_stall_ms.into());
            params.max_queued_requests = self.max_queued_requests as _;
            params.max_queued_tokens = self.max_queued_tokens as _;
            params.batch_aging = Duration::from_millis(self.batch_aging_ms.into());
            params.stream_buffer = self.stream_buffer as _;
            params.type_k = llama_engine_kv_type::read(self.type_k, "type_k")?;
            params.type_v = llama_engine_kv_type::read(self.type_v, "type_v")?;
            params.poll = self.poll as _;
            params.prefix_reuse = self.prefix_reuse != 0;
            params.reproducible = self.reproducible != 0;
            params.mmap = self.mmap != 0;
            params.repack = self.repack != 0;
            params.check_tensors = self.check_tensors != 0;
            params.flash_attn = self.flash_attn != 0;
            params.pin = self.pin != 0;
            params.kernels = self.kernels != 0;
            params.placement = llama_engine_placement::read(self.placement, "placement")?;
            params.replicate = llama_engine_replicate::read(self.replicate, "replicate")?;
            params.cpus = list(self.cpus, "cpus")?;
            params.nodes = list(self.nodes, "nodes")?;
            params.swa_full = self.swa_full != 0;
            params.chat_template = pointers::optional_text(self.chat_template, "chat_template")?.map(str::to_owned);
            params.chat_template_kwargs = object(self.chat_template_kwargs, "chat_template_kwargs")?;
            params.wait_policy = llama_engine_wait_policy::read(self.wait_policy, "wait_policy")?;
            params.park_after = Duration::from_millis(self.park_after_ms.into());
            params.speculation = llama_speculation::read(self.speculation, "speculation")?;
            params.draft_model = pointers::optional_text(self.draft_model, "draft_model")?.map(str::to_owned);
            // readers: end
        }
        params.pack_cache = pack_cache;
        params.progress = progress;
        Ok(params)
    }
}

/// # Safety
/// As `pointers::optional_text`.
unsafe fn list(pointer: *const c_char, name: &str) -> Result<Option<Vec<usize>>> {
    // SAFETY: the caller's promise.
    let text = unsafe { pointers::optional_text(pointer, name) }?;
    Ok(text.map(parse_list).transpose()?)
}

/// # Safety
/// As `pointers::optional_text`.
unsafe fn object(pointer: *const c_char, name: &str) -> Result<serde_json::Map<String, serde_json::Value>> {
    // SAFETY: the caller's promise.
    let Some(json) = unsafe { pointers::optional_text(pointer, name) }? else {
        return Ok(serde_json::Map::new());
    };
    serde_json::from_str(json)
        .map_err(|error| Failure::new(Status::InvalidConfig, format!("{name} is not a JSON object: {error}")))
}

/// Converts between an enum of the engine and the numbers of the header.
macro_rules! numbered {
    ($($named:ident for $type:ident: $($variant:ident)*;)*) => {$(
        impl $named {
            /// The number of a value.
            pub fn of(value: $type) -> Self {
                match value {
                    $($type::$variant => Self::$variant,)*
                }
            }

            /// The value of a number in a field.
            pub(crate) fn read(number: i32, field: &str) -> Result<$type> {
                match number {
                    $(n if n == Self::$variant as i32 => Ok($type::$variant),)*
                    n => Err(Failure::unknown(Status::InvalidConfig, field, n, stringify!($named))),
                }
            }
        }
    )*};
}

numbered! {
    llama_engine_strategy for Strategy: Auto Sequential RoundRobin Batched;
    llama_engine_kv_type for KvType: F16 Q8_0 F32 Q4_0;
    llama_engine_placement for PlacementPolicy: Auto Node L3 None;
    llama_engine_replicate for Replicate: Auto Always Never;
    llama_engine_wait_policy for WaitPolicy: Auto Active Passive;
    llama_speculation for Speculation: Auto Off Lookup Draft;
}

/// Fills `*params`, a struct of `size` bytes, with the defaults. Programs normally call `llama_engine_default_params`, which
/// passes the size of the header that they were compiled with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_engine_params_init(params: *mut llama_engine_params, size: usize) -> Status {
    // SAFETY: `params` is NULL or writable for `size` bytes, as the header asks.
    boundary(|| unsafe { pointers::write_of_size(params, size, llama_engine_params::defaults(), "params") })
}
