//! `llama_engine_params`: everything that can be set about an engine.

use std::{
    ffi::{CStr, OsStr, c_char, c_void},
    os::unix::ffi::OsStrExt,
    sync::Arc,
    time::Duration,
};

use llama_concurrent::{EngineConfig, KvType, PackCache, PlacementPolicy, Replicate, Strategy};
use llama_concurrent_topology::parse_list;

use crate::{
    boundary::{Failure, Result, boundary},
    inside::{self, Inside},
    pointers::{self, Versioned, c_bool},
    status::llama_infer_status as Status,
};

/// How requests share the pool of contexts and slots.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum llama_engine_strategy {
    /// Chosen by the library: at present `BATCHED`.
    Auto = 0,
    /// One context with one slot: one request after the other.
    Sequential = 1,
    /// Many contexts of one slot each, one token per context per turn: isolated and exactly reproducible.
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
}

/// How workers are laid out over the machine.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum llama_engine_placement {
    /// One worker for each NUMA node that has memory and a fair share of the cores.
    Auto = 0,
    /// One worker for each NUMA node that has memory.
    Node = 1,
    /// One worker for each group of cores that share a last-level cache.
    L3 = 2,
    /// One worker over all cores; neither its threads nor its memory are bound.
    None = 3,
}

/// Whether each NUMA node gets a copy of the weights.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum llama_engine_replicate {
    /// Where they fit beside the KV caches.
    Auto = 0,
    /// Always; `OUT_OF_MEMORY` where they do not fit.
    Always = 1,
    /// Never: all workers share one copy.
    Never = 2,
}

/// Called while a model loads, with the share that is done, 0 to 1; false stops the load. Runs on the thread that called
/// `llama_engine_load`. Other loads wait meanwhile, so loading from inside it is refused with `IN_CALLBACK`.
pub type llama_engine_progress_callback = Option<unsafe extern "C" fn(share: f32, user_data: *mut c_void) -> c_bool>;

/// Everything that can be set about an engine. Start from `llama_engine_default_params`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama_engine_params {
    /// `sizeof(llama_engine_params)`, set by `llama_engine_default_params`.
    pub size: usize,
    /// One of `llama_engine_strategy`. Default: AUTO.
    pub strategy: i32,
    /// Requests that run at once. Each costs KV memory for `n_ctx` tokens: 22 MiB per 1024 tokens on a 1.1B model. 0
    /// (default): 16 for each worker, fewer where memory is short.
    pub slots: u32,
    /// Tokens of prompt and output that one slot holds. 0 (default): the model's trained length, at most 2048.
    pub n_ctx: u32,
    /// Rows of one `llama_decode` at most; compute buffers grow with it. Default: 512.
    pub n_batch: u32,
    /// Compute threads. 0 (default): the physical cores that this process may use. More than may run at once are
    /// lowered, with a warning in the log, because llama.cpp's barriers spin.
    pub threads: u32,
    /// Threads that each own contexts and decode. 0 (default): as `placement` says, 1 on a machine with one memory. More
    /// than one on the same memory is slower.
    pub workers: u32,
    /// Milliseconds of somebody else's prompt between two tokens of a running request at most. Default: 200. Smaller
    /// gives smoother streams and later first tokens.
    pub max_stall_ms: u32,
    /// Requests that may wait for a slot; one more is refused with `OVERLOADED`. Default: 1024.
    pub max_queued_requests: u32,
    /// Prompt tokens that may wait for a slot. Default: 1000000.
    pub max_queued_tokens: u64,
    /// A request of the batch class counts as if it had come so many milliseconds later. Default: 10000.
    pub batch_aging_ms: u32,
    /// Events that may wait for their reader; then the request pauses until the reader caught up. Default: 256.
    pub stream_buffer: u32,
    /// Element type of the K cache, one of `llama_engine_kv_type`. Default: F16.
    pub type_k: i32,
    /// Element type of the V cache, one of `llama_engine_kv_type`. Default: F16.
    pub type_v: i32,
    /// How long idle compute threads spin before they sleep, 0 (not at all) to 100. Default: 50.
    pub poll: u32,
    /// Reuse what was computed for equal beginnings of prompts. Default: true.
    pub prefix_reuse: c_bool,
    /// Bit-identical tokens whoever else is running. Costs nothing where the library's kernels compute the whole model;
    /// elsewhere it means round-robin, fixed prefill chunks and no reuse. Default: false.
    pub reproducible: c_bool,
    /// Map the model file instead of reading it into private memory. Default: true.
    pub mmap: c_bool,
    /// Repack weights for the CPU while loading: faster from about 4 requests on, a second copy in memory. Default:
    /// true.
    pub repack: c_bool,
    /// Check every weight for NaN and infinity while loading. Default: false.
    pub check_tensors: c_bool,
    /// Use llama.cpp's flash attention. A Q8_0 V cache needs it. Default: true.
    pub flash_attn: c_bool,
    /// Pin each compute thread to its own core. Default: true.
    pub pin: c_bool,
    /// Compute matrices and attention with this library's own kernels where the CPU has what they need: two to three
    /// times as fast from some 4 requests on. They need `repack`. Default: true.
    pub kernels: c_bool,
    /// Called while the model loads; may be NULL (default).
    pub progress: llama_engine_progress_callback,
    /// Passed to `progress`.
    pub progress_user_data: *mut c_void,
    /// Keep the weights as the kernels pack them in a file, as large as the model, that the first load writes: later ones
    /// map it, in a fraction of the time, and share its pages with all processes. A path of a folder that exists, or ""
    /// for the model's own, where the file is called as the model with `.packed` at the end. A file that does not fit is
    /// made anew; where none can be written, the load goes on, with a warning. Needs `mmap`. NULL (default): pack with
    /// each load.
    pub pack_cache: *const c_char,
    /// One of `llama_engine_placement`. Default: AUTO.
    pub placement: i32,
    /// One of `llama_engine_replicate`. Default: AUTO.
    pub replicate: i32,
    /// CPUs that compute threads may use, such as "0-7,16". NULL (default): all that this process may use, on machines
    /// with two kinds of cores the faster ones.
    pub cpus: *const c_char,
    /// NUMA nodes whose cores and memory are used, such as "0,1". NULL (default): all.
    pub nodes: *const c_char,
    /// Keep keys and values of all tokens also in layers with a sliding window, so that prompts can share a beginning long
    /// after its sequence went on; takes the KV memory of a model without windows. Default: false.
    pub swa_full: c_bool,
    /// Must be zero.
    pub reserved: [c_bool; 7],
    /// Render chats with this template instead of the one in the model's file: Jinja source, or the name of one that comes
    /// with this library, such as "chatml". NULL (default): the file's own, or ChatML where it has none.
    pub chat_template: *const c_char,
    /// Variables of the chat template as a JSON object, such as `{"enable_thinking": false}`; those of a call
    /// (`chat_variables`) replace them one by one. NULL (default) for none.
    pub chat_template_kwargs: *const c_char,
}

// SAFETY: `#[repr(C)]`, starts with its size; numbers, a raw pointer and an optional function.
unsafe impl Versioned for llama_engine_params {
    const INITIALIZER: &'static str = "start from llama_engine_default_params()";
}

crate::ends_with!(llama_engine_params, chat_template_kwargs: *const c_char);

/// A pointer that we hand back to its owner and never follow.
#[derive(Clone, Copy)]
struct Theirs(*mut c_void);

// SAFETY: the progress callback runs on the thread that passed it.
unsafe impl Send for Theirs {}
// SAFETY: as above.
unsafe impl Sync for Theirs {}

impl llama_engine_params {
    pub fn defaults() -> Self {
        let config = EngineConfig::default();
        Self {
            size: size_of::<Self>(),
            strategy: llama_engine_strategy::Auto as i32,
            slots: 0,
            n_ctx: 0,
            n_batch: config.n_batch as u32,
            threads: 0,
            workers: 0,
            max_stall_ms: config.max_stall.as_millis() as u32,
            max_queued_requests: config.max_queued_requests as u32,
            max_queued_tokens: config.max_queued_tokens as u64,
            batch_aging_ms: config.batch_aging.as_millis() as u32,
            stream_buffer: config.stream_buffer as u32,
            type_k: llama_engine_kv_type::F16 as i32,
            type_v: llama_engine_kv_type::F16 as i32,
            poll: config.poll,
            prefix_reuse: config.prefix_reuse.into(),
            reproducible: config.reproducible.into(),
            mmap: config.mmap.into(),
            repack: config.repack.into(),
            check_tensors: config.check_tensors.into(),
            flash_attn: config.flash_attn.into(),
            pin: config.pin.into(),
            kernels: config.kernels.into(),
            progress: None,
            progress_user_data: std::ptr::null_mut(),
            pack_cache: std::ptr::null(),
            placement: llama_engine_placement::Auto as i32,
            replicate: llama_engine_replicate::Auto as i32,
            cpus: std::ptr::null(),
            nodes: std::ptr::null(),
            swa_full: config.swa_full.into(),
            reserved: [0; 7],
            chat_template: std::ptr::null(),
            chat_template_kwargs: std::ptr::null(),
        }
    }

    /// # Safety
    /// `pack_cache`, `cpus`, `nodes`, `chat_template` and `chat_template_kwargs` are NULL or NUL-terminated strings.
    pub unsafe fn config(&self) -> Result<EngineConfig> {
        let chosen = |n: u32| (n > 0).then_some(n as usize);
        let millis = |ms: u32| Duration::from_millis(ms.into());
        let user_data = Theirs(self.progress_user_data);
        Ok(EngineConfig {
            strategy: strategy(self.strategy)?,
            workers: chosen(self.workers),
            slots: chosen(self.slots),
            n_ctx: chosen(self.n_ctx),
            n_batch: self.n_batch as usize,
            threads: chosen(self.threads),
            max_stall: millis(self.max_stall_ms),
            max_queued_requests: self.max_queued_requests as usize,
            max_queued_tokens: usize::try_from(self.max_queued_tokens).unwrap_or(usize::MAX),
            batch_aging: millis(self.batch_aging_ms),
            stream_buffer: self.stream_buffer as usize,
            prefix_reuse: self.prefix_reuse != 0,
            reproducible: self.reproducible != 0,
            mmap: self.mmap != 0,
            repack: self.repack != 0,
            check_tensors: self.check_tensors != 0,
            type_k: kv_type(self.type_k, "type_k")?,
            type_v: kv_type(self.type_v, "type_v")?,
            flash_attn: self.flash_attn != 0,
            swa_full: self.swa_full != 0,
            pin: self.pin != 0,
            kernels: self.kernels != 0,
            poll: self.poll,
            pack_cache: (!self.pack_cache.is_null()).then(|| {
                // SAFETY: not NULL, so a string, by the caller's promise. Paths need not be UTF-8.
                match unsafe { CStr::from_ptr(self.pack_cache) }.to_bytes() {
                    b"" => PackCache::BesideModel,
                    folder => PackCache::Folder(OsStr::from_bytes(folder).into()),
                }
            }),
            progress: self.progress.map(|progress| -> llama_concurrent::LoadProgress {
                Arc::new(move |share| {
                    let user_data = user_data;
                    // SAFETY: by passing it, the caller promised that it can be called so until the load is over.
                    inside::during(Inside::Progress, || unsafe { progress(share, user_data.0) != 0 })
                })
            }),
            placement: placement(self.placement)?,
            replicate: replicate(self.replicate)?,
            // SAFETY: the caller's promise.
            cpus: unsafe { list(self.cpus, "cpus") }?,
            // SAFETY: as above.
            nodes: unsafe { list(self.nodes, "nodes") }?,
            // SAFETY: as above.
            chat_template: unsafe { pointers::optional_text(self.chat_template, "chat_template") }?.map(str::to_owned),
            // SAFETY: as above.
            chat_template_kwargs: match unsafe {
                pointers::optional_text(self.chat_template_kwargs, "chat_template_kwargs")
            }? {
                Some(json) => serde_json::from_str(json).map_err(|error| {
                    let message = format!("chat_template_kwargs is not a JSON object: {error}");
                    Failure::new(Status::InvalidConfig, message)
                })?,
                None => serde_json::Map::new(),
            },
        })
    }
}

/// # Safety
/// As `pointers::optional_text`.
unsafe fn list(pointer: *const c_char, name: &str) -> Result<Option<Vec<usize>>> {
    // SAFETY: the caller's promise.
    let text = unsafe { pointers::optional_text(pointer, name) }?;
    Ok(text.map(parse_list).transpose()?)
}

fn placement(number: i32) -> Result<PlacementPolicy> {
    use llama_engine_placement as Named;
    [
        (Named::Auto, PlacementPolicy::Auto),
        (Named::Node, PlacementPolicy::Node),
        (Named::L3, PlacementPolicy::L3),
        (Named::None, PlacementPolicy::None),
    ]
    .into_iter()
    .find_map(|(named, policy)| (named as i32 == number).then_some(policy))
    .ok_or_else(|| Failure::unknown(Status::InvalidConfig, "placement", number, "llama_engine_placement"))
}

fn replicate(number: i32) -> Result<Replicate> {
    use llama_engine_replicate as Named;
    [(Named::Auto, Replicate::Auto), (Named::Always, Replicate::Always), (Named::Never, Replicate::Never)]
        .into_iter()
        .find_map(|(named, replicate)| (named as i32 == number).then_some(replicate))
        .ok_or_else(|| Failure::unknown(Status::InvalidConfig, "replicate", number, "llama_engine_replicate"))
}

fn strategy(number: i32) -> Result<Strategy> {
    use llama_engine_strategy as Named;
    [
        (Named::Auto, Strategy::Auto),
        (Named::Sequential, Strategy::Sequential),
        (Named::RoundRobin, Strategy::RoundRobin),
        (Named::Batched, Strategy::Batched),
    ]
    .into_iter()
    .find_map(|(named, strategy)| (named as i32 == number).then_some(strategy))
    .ok_or_else(|| Failure::unknown(Status::InvalidConfig, "strategy", number, "llama_engine_strategy"))
}

/// The number of a strategy in the header.
pub fn strategy_number(strategy: Strategy) -> i32 {
    let number = match strategy {
        Strategy::Auto => llama_engine_strategy::Auto,
        Strategy::Sequential => llama_engine_strategy::Sequential,
        Strategy::RoundRobin => llama_engine_strategy::RoundRobin,
        Strategy::Batched => llama_engine_strategy::Batched,
    };
    number as i32
}

fn kv_type(number: i32, field: &str) -> Result<KvType> {
    use llama_engine_kv_type as Named;
    [(Named::F16, KvType::F16), (Named::Q8_0, KvType::Q8_0), (Named::F32, KvType::F32)]
        .into_iter()
        .find_map(|(named, kv_type)| (named as i32 == number).then_some(kv_type))
        .ok_or_else(|| Failure::unknown(Status::InvalidConfig, field, number, "llama_engine_kv_type"))
}

/// Fills a struct of `size` bytes with the defaults. `llama_engine_default_params` is the convenient form: it passes the
/// size that the caller was compiled with, so programs and libraries of different versions fit together.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_engine_params_init(params: *mut llama_engine_params, size: usize) -> Status {
    // SAFETY: `params` is NULL or writable for `size` bytes, as the header asks.
    boundary(|| unsafe { pointers::write_of_size(params, size, llama_engine_params::defaults(), "params") })
}
