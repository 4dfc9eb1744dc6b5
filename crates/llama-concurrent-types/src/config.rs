//! How an engine is set up. Every strategy is a pool shape: `workers x contexts x slots`.

use std::{fmt, time::Duration};

use crate::{
    choices::{KvType, LoadProgress, PackCache, Strategy},
    error::{Error, ErrorKind, Result},
    parameters::{from, from_to, no_number},
    placement::{PlacementPolicy, Replicate, WaitPolicy},
    speculation::Speculation,
};

crate::parameters! {
    /// Everything that can be set about an engine. `None` means: chosen from the machine and the model.
    #[derive(Clone)]
    pub struct EngineConfig {
        /// How requests share contexts and slots: the shape of the pool, whose size `slots` and `workers` set.
        strategy: Strategy = Strategy::default(), no_number().c(1).flags(&["strategy"], "NAME");
        /// Number of requests that run at once, over all workers. Each costs KV memory for `n_ctx` tokens: 22 MiB per
        /// 1024 tokens on a 1.1B model. Unset: 16 per worker, halved until all KV fits in a quarter of the free memory.
        slots: Option<usize> = None, from_to(1.0, MAX_SLOTS as f64, "1 or more, and at most 256, as many sequences as llama.cpp holds")
            .c(1).flags(&["slots", "parallel"], "N");
        /// Tokens of prompt and output that one slot holds. Unset: the model's trained length, at most 2048.
        n_ctx: Option<usize> = None, from_to(MIN_N_CTX as f64, (i32::MAX as usize / MAX_SLOTS) as f64, "16 to 8388607 tokens")
            .c(1).flags(&["n-ctx"], "TOKENS");
        /// Maximum number of tokens in one `llama_decode`; compute buffers grow with it.
        n_batch: usize = 512, from_to(16.0, 65_536.0, "16 to 65536 tokens").c(1);
        /// Number of compute threads over all workers. Unset: the physical cores that this process may use. A number
        /// larger than can run at once is lowered with a warning, because llama.cpp's barriers spin.
        threads: Option<usize> = None, from(1.0, "at least 1; leave it out to have it chosen").c(1).flags(&["threads"], "N");
        /// Number of threads that each own contexts and decode independently. Unset: as `placement` says, 1 on a
        /// machine with one memory. More than one on the same memory is slower (35 instead of 45 tok/s at 16 streams on
        /// two cores).
        workers: Option<usize> = None, from(1.0, "at least 1; leave it out to have it chosen").c(1).flags(&["workers"], "N");
        /// How many milliseconds the prompts of other requests may hold up the next token of a running one. Smaller
        /// values give smoother streams and later first tokens; at least 16 prompt tokens are always processed.
        max_stall: Duration = Duration::from_millis(200), from(0.0, "a number of milliseconds")
            .c(1).flags(&["max-stall-ms"], "MS");
        /// Maximum number of requests waiting for a slot; further ones are refused as overload.
        max_queued_requests: usize = 1024, from(1.0, "at least 1").c(1);
        /// Maximum number of prompt tokens waiting for a slot; what exceeds it is refused as overload.
        max_queued_tokens: usize = 1_000_000, from(1.0, "at least 1").c(1).wide();
        /// Requests of the batch class are served as if they had arrived this many milliseconds later.
        batch_aging: Duration = Duration::from_secs(10), from(0.0, "a number of milliseconds").c(1);
        /// Maximum number of events waiting for their reader; at that point the request pauses until the reader catches
        /// up.
        stream_buffer: usize = 256, from(1.0, "at least 1").c(1);
        /// Element type of the K cache.
        type_k: KvType = KvType::default(), no_number().c(1);
        /// Element type of the V cache; a quantised type needs `flash_attn`.
        type_v: KvType = KvType::default(), no_number().c(1);
        /// How long idle compute threads spin before they sleep, from 0 (not at all) to 100.
        poll: u32 = 50, from_to(0.0, 100.0, "0 to 100").c(1).flags(&["poll"], "N");
        /// Reuse the KV of equal prompt beginnings instead of computing it again.
        prefix_reuse: bool = true, no_number().c(1);
        /// Generate bit-identical tokens whatever else is running. Free where this library's kernels compute the whole
        /// model (CPU with AVX2, architectures and formats as in DESIGN.md); elsewhere it means round-robin, fixed
        /// prefill chunks and no prefix reuse.
        reproducible: bool = false, no_number().c(1).flags(&["reproducible"], "");
        /// Map the model file instead of reading it into private memory; all contexts and processes share the pages.
        mmap: bool = true, no_number().c(1).flags(&["no-mmap"], "");
        /// Repack weights for the CPU while loading: faster from about 4 requests on, at the cost of a second copy of
        /// the weights in memory (the mapped pages can then be reclaimed).
        repack: bool = true, no_number().c(1).flags(&["no-repack"], "");
        /// Check every weight for NaN and infinity while loading; reads the whole file.
        check_tensors: bool = false, no_number().c(1);
        /// Use llama.cpp's flash attention. Without it, prompts next to running streams are computed faster (9.6
        /// instead of 11.5 ms per token in chunks of 32), but 16 short streams decode more slowly (165 instead of 135
        /// ms per step) and scratch memory grows with `n_batch` times `n_ctx`.
        flash_attn: bool = true, no_number().c(1).flags(&["no-flash-attn"], "");
        /// Pin each compute thread to its own core.
        pin: bool = true, no_number().c(1).flags(&["no-pin"], "");
        /// Compute matrices and attention with this library's own kernels where the CPU supports them: two to three
        /// times as fast from about 4 requests on. Needs `repack`. Engines of one process that live at the same time
        /// share the attention kernels, or their absence, with the first of them.
        kernels: bool = true, no_number().c(1);
        /// Called while the model loads with the share that is done, 0 to 1; false stops the load.
        progress: Option<LoadProgress> = None, no_number();
        /// Keep the weights as the kernels pack them in a file as large as the model, written by the first load. Later ones map
        /// it: they pack nothing, do not read the model, and share its pages with all other processes. A file that is damaged or
        /// of a model that has changed is made anew; where none can be written, that is a warning. Needs `mmap`. Unset: weights
        /// are packed with each load, into memory of this process on huge pages.
        pack_cache: Option<PackCache> = None, no_number();
        /// How workers are laid out: one per NUMA node with a fair share of the cores (auto), one per NUMA node (node),
        /// one per group of cores that share a cache (l3), or a single one that is bound to nothing (none).
        placement: PlacementPolicy = PlacementPolicy::default(), no_number().c(2).flags(&["placement"], "HOW");
        /// Whether each NUMA node gets a copy of the weights, each of which takes their full size: where they fit
        /// (auto), always or never.
        replicate: Replicate = Replicate::default(), no_number().c(2).flags(&["replicate"], "WHEN");
        /// CPUs that compute threads may use, numbered as by the operating system; one thread per physical core among
        /// them. Unset: all that this process may use; on machines with two kinds of cores, the faster ones.
        cpus: Option<Vec<usize>> = None, no_number().c(2).flags(&["cpus"], "LIST");
        /// NUMA nodes whose cores and memory are used. Unset: all.
        nodes: Option<Vec<usize>> = None, no_number().c(2).flags(&["nodes"], "LIST");
        /// Keep the keys and values of all tokens also in layers with a sliding window (Gemma, gpt-oss and others),
        /// which otherwise keep only those of the window and of one batch. Prompts can then share a beginning long
        /// after its sequence went on, for the KV memory of a model without windows: with 2,048 tokens per slot and a
        /// window of 512, twice as much.
        swa_full: bool = false, no_number().c(2).flags(&["swa-full"], "");
        /// Render chats with this template instead of the one in the model file: Jinja source, or the name of one that
        /// comes with this library, such as "chatml". Unset: the file's own, or ChatML where it has none.
        chat_template: Option<String> = None, no_number().flags(&["chat-template"], "TEMPLATE");
        /// Variables for the chat template, such as `enable_thinking`; those of a call replace them one by one.
        chat_template_kwargs: serde_json::Map<String, serde_json::Value> = serde_json::Map::new(), no_number()
            .flags(&["chat-template-kwargs"], "JSON");
        /// How compute threads wait for each other: by spinning, which is fastest where each has a core to itself (active); by
        /// sleeping, with the work left to whoever runs, which is fastest beside busy programs (passive); or as the time that
        /// they wait for a core suggests, where the system tells it (auto).
        wait_policy: WaitPolicy = WaitPolicy::default(), no_number().flags(&["wait-policy"], "HOW");
        /// How many milliseconds a request whose reader is behind keeps its slot while others wait for one. Then its KV is moved
        /// to memory, until the reader has caught up.
        park_after: Duration = Duration::from_millis(250), from(0.0, "a number of milliseconds").flags(&["park-after-ms"], "MS");
        /// Whether the next tokens of a request that does not say are guessed and computed beforehand, where the call has room: as
        /// costs and chances suggest (auto), not at all (off), whenever they can be looked up in what was written before
        /// (lookup), or by the draft model (draft). Generated tokens are the same, bit for bit, where this library's kernels
        /// compute the whole model; elsewhere auto is off.
        speculation: Speculation = Speculation::default(), no_number().flags(&["speculation"], "HOW");
        /// Path of a smaller model with the same vocabulary, a GGUF file, that guesses the next tokens. It has a KV cache for as
        /// many slots. Unset: there is none.
        draft_model: Option<String> = None, no_number().flags(&["draft-model", "model-draft", "spec-draft-model"], "FILE");
    }
}

impl fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineConfig")
            .field("strategy", &self.strategy)
            .field("workers", &self.workers)
            .field("slots", &self.slots)
            .field("n_ctx", &self.n_ctx)
            .field("threads", &self.threads)
            .field("max_stall", &self.max_stall)
            .field("reproducible", &self.reproducible)
            .field("placement", &self.placement)
            .finish_non_exhaustive()
    }
}

/// llama.cpp's own limit on sequences of one context (`LLAMA_MAX_SEQ`).
pub const MAX_SLOTS: usize = 256;
/// Shorter contexts than this leave no room for a chat turn, and llama.cpp pads to it anyway.
const MIN_N_CTX: usize = 16;
/// Slots where nobody says otherwise and memory allows: fused decode gains little beyond (45-49 tok/s at 16, 52 at 32).
pub const DEFAULT_SLOTS: usize = 16;
/// Tokens of a slot where nobody says otherwise and the model was trained for more.
pub const DEFAULT_N_CTX: usize = 2048;

/// The pool that one worker owns, fully decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolShape {
    /// Contexts of this worker, visited in turn.
    pub contexts: usize,
    /// KV streams of each context, decoded together.
    pub slots: usize,
    /// Tokens that one slot holds.
    pub n_ctx: usize,
    /// Rows of one `llama_decode` at most.
    pub n_batch: usize,
}

impl EngineConfig {
    /// Checks every field that does not depend on the model.
    pub fn validate(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidConfig, message));
        if let Some(refused) = Self::FIELDS.iter().find_map(|field| field.check(self).err()) {
            return invalid(refused);
        }
        if self.strategy == Strategy::Sequential && self.slots.is_some_and(|slots| slots > 1) {
            return invalid(format!(
                "strategy 'sequential' runs one request at a time, but slots is {}; use 'batched' or 'round-robin'",
                self.slots.unwrap_or(1)
            ));
        }
        if !self.flash_attn && self.type_v.has_blocks() {
            let message = "V cache needs flash attention; leave it on, or use f16 for the V cache";
            return invalid(format!("a {} {message}", self.type_v));
        }
        if self.speculation == Speculation::Draft && self.draft_model.is_none() {
            return invalid(
                "speculation is draft, but there is no draft model; set draft_model, or use auto or lookup".into(),
            );
        }
        if self.pack_cache.is_some() && !self.mmap {
            return invalid("pack_cache maps a file, but mmap is off; leave it on, or pack with each load".into());
        }
        if self.cpus.as_ref().is_some_and(Vec::is_empty) || self.nodes.as_ref().is_some_and(Vec::is_empty) {
            return invalid("cpus or nodes is an empty list; name at least one, or leave it out to use all".into());
        }
        Ok(())
    }

    /// Requests at once over all workers, where that was decided by somebody.
    pub fn wanted_slots(&self) -> Option<usize> {
        match self.strategy {
            Strategy::Sequential => Some(self.workers.unwrap_or(1)),
            _ => self.slots,
        }
    }

    /// Tokens of a slot, for a model that was trained for so many; 0 where its file does not say.
    pub fn n_ctx_for(&self, n_ctx_train: usize) -> usize {
        let trained = if n_ctx_train == 0 { DEFAULT_N_CTX } else { n_ctx_train };
        self.n_ctx.unwrap_or_else(|| DEFAULT_N_CTX.min(trained).max(MIN_N_CTX))
    }

    /// Slots of each of `workers` workers, where the KV cache of one takes `kv_of_slot` bytes. `free_memory` in bytes bounds
    /// the default only.
    pub fn slots_of_each_worker(&self, workers: usize, kv_of_slot: f64, free_memory: Option<u64>) -> usize {
        if let Some(total) = self.wanted_slots() {
            return total.div_ceil(workers);
        }
        let budget = free_memory.map_or(f64::INFINITY, |bytes| bytes as f64 / 4.0);
        let mut slots = DEFAULT_SLOTS;
        while slots > 1 && (slots * workers) as f64 * kv_of_slot > budget {
            slots /= 2;
        }
        slots
    }

    /// The pool of a worker with so many slots; `strategy` is not `Auto` any more.
    pub fn pool_shape(&self, strategy: Strategy, slots: usize, n_ctx_train: usize) -> PoolShape {
        let (contexts, slots) = match strategy {
            Strategy::RoundRobin => (slots, 1),
            _ => (1, slots),
        };
        // A decode call carries one row per slot, so a batch is never smaller than the slots.
        PoolShape { contexts, slots, n_ctx: self.n_ctx_for(n_ctx_train), n_batch: self.n_batch.max(slots) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(strategy: Strategy, slots: Option<usize>, workers: usize) -> (usize, usize) {
        let config = EngineConfig::default().strategy(strategy).slots(slots);
        config.validate().unwrap();
        let shape = config.pool_shape(strategy, config.slots_of_each_worker(workers, 0.0, Some(1)), 4096);
        (shape.contexts, shape.slots)
    }

    #[test]
    fn strategies_are_shapes() {
        assert_eq!(shape(Strategy::Sequential, None, 1), (1, 1));
        assert_eq!(shape(Strategy::RoundRobin, Some(8), 1), (8, 1));
        assert_eq!(shape(Strategy::Batched, Some(8), 1), (1, 8));
        assert_eq!(shape(Strategy::Batched, None, 1), (1, DEFAULT_SLOTS));
        assert_eq!(shape(Strategy::Batched, Some(9), 2), (1, 5));
    }

    #[test]
    fn default_slots_respect_memory() {
        let config = EngineConfig::default();
        let kv_of_slot = 2048.0 * 1000.0;
        let enough_for = |slots: u64| Some(2048 * 1000 * slots * 4);
        assert_eq!(config.slots_of_each_worker(1, kv_of_slot, enough_for(4)), 4);
        assert_eq!(config.slots_of_each_worker(2, kv_of_slot, enough_for(4)), 2);
        assert_eq!(config.slots_of_each_worker(1, kv_of_slot, None), DEFAULT_SLOTS);
        assert_eq!(config.pool_shape(Strategy::Batched, 4, 4096).n_ctx, 2048);
        assert_eq!(config.pool_shape(Strategy::Batched, 4, 512).n_ctx, 512);
        assert_eq!(config.pool_shape(Strategy::Batched, 4, 0).n_ctx, 2048);
    }

    #[test]
    fn bad_fields_are_refused_with_words() {
        let base = EngineConfig::default();
        let bad = [
            base.clone().slots(0),
            base.clone().slots(MAX_SLOTS + 1),
            base.clone().strategy(Strategy::Sequential).slots(4),
            base.clone().n_ctx(1),
            base.clone().n_batch(1),
            base.clone().threads(0),
            base.clone().poll(101),
            base.clone().pack_cache(PackCache::BesideModel).mmap(false),
            base.clone().cpus(vec![]),
            base.clone().nodes(vec![]),
            base.flash_attn(false).type_v(KvType::Q8_0),
        ];
        for config in bad {
            let error = config.validate().unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::InvalidConfig, "{error}");
        }
        assert!("turbo".parse::<Strategy>().unwrap_err().to_string().contains("round-robin"));
    }
}
