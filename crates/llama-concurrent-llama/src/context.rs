//! One llama.cpp context: some KV streams, decoded together. Checks what llama.cpp would assert on.

use std::{
    ptr::NonNull,
    sync::{Arc, Mutex, PoisonError},
};

use llama_concurrent_scheduler::{CallError, Row, scored_rows};
use llama_concurrent_types::{EngineConfig, Error, ErrorKind, KvType, MemoryStats, PoolShape, Result};
use llama_cpp_sys_2 as sys;

use super::{ffi, log, model::Model, threadpool::Threads};

/// Creating contexts concurrently is not safe for every model architecture.
static CREATING: Mutex<()> = Mutex::new(());

/// The output of a context.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// Logits of some rows, to sample tokens from.
    Logits,
    /// The embedding of each row.
    Vectors,
    /// What the rank head makes of each sequence.
    Ranks,
}

/// The state of a sequence, and its length.
pub(super) struct Parked {
    state: Vec<u8>,
    length: usize,
}

pub(super) struct Context {
    raw: NonNull<sys::llama_context>,
    model: Arc<Model>,
    shape: PoolShape,
    batch: Batch,
    /// Next position of each sequence, so that an invalid row is rejected here.
    lengths: Vec<usize>,
}

impl Context {
    /// A context whose graphs run on `threads`.
    pub(super) fn new(
        model: Arc<Model>,
        shape: PoolShape,
        config: &EngineConfig,
        threads: &Threads,
        output: Output,
    ) -> Result<Self> {
        let _one_at_a_time = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
        log::take_captured_errors();
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        // SAFETY: a plain constructor.
        let mut params = unsafe { sys::llama_context_default_params() };
        params.n_ctx = small(shape.n_ctx * shape.slots);
        // Some recurrent models cannot reserve a graph for a maximum batch that is not a multiple of the sequences.
        params.n_ubatch = small(shape.n_batch.next_multiple_of(shape.slots));
        params.n_batch = params.n_ubatch;
        params.n_seq_max = small(shape.slots);
        let all_logits = output == Output::Logits && model.faults().needs_all_logits;
        params.n_outputs_max = small(match output {
            Output::Logits if !all_logits => scored_rows(shape),
            _ => shape.n_batch,
        });
        params.embeddings = output != Output::Logits;
        params.pooling_type =
            if output == Output::Ranks { sys::LLAMA_POOLING_TYPE_RANK } else { sys::LLAMA_POOLING_TYPE_NONE };
        let is_encoder = model.is_encoder();
        if is_encoder {
            // There is no KV, whose room slots would share: each sequence may be as long as a slot.
            params.n_ctx = small(shape.n_ctx);
            params.n_ubatch = small(shape.n_batch);
            params.n_batch = params.n_ubatch;
            params.attention_type = sys::LLAMA_ATTENTION_TYPE_NON_CAUSAL;
        }
        params.n_threads = threads.n_threads() as i32;
        params.n_threads_batch = threads.n_threads() as i32;
        params.type_k = ggml_type(config.type_k);
        params.type_v = ggml_type(config.type_v);
        params.flash_attn_type =
            if config.flash_attn { sys::LLAMA_FLASH_ATTN_TYPE_AUTO } else { sys::LLAMA_FLASH_ATTN_TYPE_DISABLED };
        params.no_perf = true;
        params.kv_unified = is_encoder;
        params.swa_full = config.swa_full;

        let mut message = ffi::Message::new();
        // SAFETY: the model is alive and kept so by the `Arc`.
        let raw = unsafe { ffi::lc_context_new(model.as_ptr(), params, message.as_mut_ptr(), message.size()) };
        let Some(raw) = NonNull::new(raw) else {
            let captured = log::take_captured_errors();
            // llama.cpp catches other failures itself and logs them.
            if !message.text().is_empty() {
                return Err(Error::new(
                    ErrorKind::ModelInvalid,
                    format!(
                        "llama.cpp cannot run this model: {}; it was converted wrongly or is damaged",
                        message.text()
                    ),
                ));
            }
            return Err(Error::new(
                ErrorKind::OutOfMemory,
                format!(
                    "llama.cpp cannot create a context of {} slots x {} tokens ({captured}); lower slots or n_ctx",
                    shape.slots, shape.n_ctx
                ),
            ));
        };
        let context =
            Self { raw, model, shape, batch: Batch::new(shape.n_batch, all_logits), lengths: vec![0; shape.slots] };
        // SAFETY: the context is alive.
        let per_slot = unsafe { sys::llama_n_ctx_seq(raw.as_ptr()) } as usize;
        if per_slot < shape.n_ctx {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                format!("llama.cpp gives each slot {per_slot} tokens instead of {}; lower n_ctx", shape.n_ctx),
            ));
        }
        Ok(context)
    }

    /// KV and scratch memory of this context, and the repacked weights of its model.
    pub(super) fn memory(&self) -> MemoryStats {
        // SAFETY: the context is alive.
        let memory = unsafe { ffi::lc_memory_of(self.raw.as_ptr()) };
        MemoryStats {
            model_bytes: self.model.size_bytes(),
            repack_bytes: memory.repack_bytes,
            kv_bytes: memory.kv_bytes,
            compute_bytes: memory.compute_bytes,
        }
    }

    /// The memory of its KV cache; empty for memory other than plain KV.
    pub(super) fn kv_ranges(&self) -> Vec<ffi::Range> {
        // SAFETY: the context is alive, and there is room for as many ranges as is said.
        ffi::Range::list(|ranges, max| unsafe { ffi::lc_kv_ranges(self.raw.as_ptr(), ranges, max) })
    }

    fn kv(&self) -> sys::llama_memory_t {
        // SAFETY: the context is alive.
        unsafe { sys::llama_get_memory(self.raw.as_ptr()) }
    }

    /// The first position that every layer of a sequence still holds; those with a sliding window drop what no further token
    /// attends to.
    pub(super) fn first_held(&self, seq: usize) -> usize {
        assert!(seq < self.shape.slots, "sequence {seq} of {}", self.shape.slots);
        // SAFETY: the context is alive and the sequence exists.
        let first = unsafe { sys::llama_memory_seq_pos_min(self.kv(), seq as i32) };
        // Negative: the window is empty.
        usize::try_from(first).unwrap_or(self.lengths[seq])
    }

    /// Removes positions from `keep` on.
    pub(super) fn truncate(&mut self, seq: usize, keep: usize) {
        assert!(seq < self.shape.slots, "sequence {seq} of {}", self.shape.slots);
        // SAFETY: the sequence exists. Removing a whole sequence never fails; a part is removed only where KV is plain.
        let done = unsafe { sys::llama_memory_seq_rm(self.kv(), seq as i32, keep as i32, -1) };
        debug_assert!(done);
        self.lengths[seq] = self.lengths[seq].min(keep);
    }

    /// Copies the first `keep` positions of `src` to `dst`. The data is copied with the next decode.
    pub(super) fn copy(&mut self, src: usize, dst: usize, keep: usize) {
        assert!(src < self.shape.slots && dst < self.shape.slots && src != dst);
        // SAFETY: both sequences exist and are different streams; the range is full, as llama.cpp demands of streams.
        unsafe { sys::llama_memory_seq_cp(self.kv(), src as i32, dst as i32, -1, -1) };
        self.lengths[dst] = self.lengths[src];
        self.truncate(dst, keep);
    }

    /// Copies the state of a sequence; `None` if there is no memory for it.
    pub(super) fn park(&mut self, seq: usize) -> Option<Parked> {
        assert!(seq < self.shape.slots, "sequence {seq} of {}", self.shape.slots);
        // SAFETY: the context is alive and the sequence exists.
        let size = unsafe { sys::llama_state_seq_get_size(self.raw.as_ptr(), seq as i32) };
        let mut state = Vec::new();
        state.try_reserve_exact(size).ok()?;
        state.resize(size, 0);
        // SAFETY: as above, and there is room for `size` bytes.
        let written = unsafe { sys::llama_state_seq_get_data(self.raw.as_ptr(), state.as_mut_ptr(), size, seq as i32) };
        (written == size).then(|| Parked { state, length: self.lengths[seq] })
    }

    /// Restores a parked sequence. Returns whether that succeeded.
    pub(super) fn unpark(&mut self, seq: usize, parked: &Parked) -> bool {
        self.truncate(seq, 0);
        let Parked { state, length } = parked;
        // SAFETY: the context is alive, the sequence exists, and the state is one of this model and these parameters.
        let read = unsafe { sys::llama_state_seq_set_data(self.raw.as_ptr(), state.as_ptr(), state.len(), seq as i32) };
        if read == state.len() {
            self.lengths[seq] = *length;
        }
        read == state.len()
    }

    /// Whether sequences can be swapped.
    pub(super) fn can_swap(&self) -> bool {
        // SAFETY: the context is alive.
        unsafe { ffi::lc_kv_can_swap(self.raw.as_ptr()) }
    }

    /// Swaps the contents of two sequences immediately. No copy may be pending until the next decode.
    ///
    /// If memory runs out, both sequences become empty, and the next call on either is refused.
    pub(super) fn swap(&mut self, a: usize, b: usize) {
        assert!(a < self.shape.slots && b < self.shape.slots && a != b);
        // SAFETY: the context is alive, and both sequences exist.
        if unsafe { ffi::lc_kv_swap(self.raw.as_ptr(), a as i32, b as i32) } {
            self.lengths.swap(a, b);
        } else {
            self.truncate(a, 0);
            self.truncate(b, 0);
            tracing::warn!("sequences {a} and {b} could not be swapped: out of memory");
        }
    }

    /// Rows of a call at most.
    pub(super) fn n_batch(&self) -> usize {
        self.shape.n_batch
    }

    /// Computes rows. After an error the KV of their sequences is undefined.
    pub(super) fn decode(&mut self, rows: &[Row], threads: &Threads) -> Result<(), CallError> {
        self.check(rows)?;
        self.batch.fill(rows);
        let mut message = ffi::Message::new();
        // SAFETY: the batch's arrays hold `rows.len()` entries; its tokens, positions and sequence ids were checked.
        let status = threads.run(self.raw, || unsafe {
            ffi::lc_decode(self.raw.as_ptr(), self.batch.as_raw(), message.as_mut_ptr(), message.size())
        });
        let message = match status {
            0 => {
                for row in rows {
                    self.lengths[row.seq] = row.pos + 1;
                }
                return Ok(());
            }
            1 => "found no room in the KV cache".into(),
            2 => "was aborted".into(),
            ffi::DECODE_THREW => message.text(),
            other => format!("llama_decode returned {other} {}", log::take_captured_errors()),
        };
        Err(CallError { message })
    }

    /// Logits after row `index` of the last decode, which must have asked for them.
    pub(super) fn logits(&mut self, index: usize) -> Option<&mut [f32]> {
        // SAFETY: the context is alive; an index without logits gives NULL.
        let logits = unsafe { sys::llama_get_logits_ith(self.raw.as_ptr(), index as i32) };
        let n_vocab = self.model.table().len();
        // SAFETY: not NULL means `n_vocab` floats that are ours until the next decode, which needs `&mut self`.
        (!logits.is_null()).then(|| unsafe { std::slice::from_raw_parts_mut(logits, n_vocab) })
    }

    /// What the rank head makes of a sequence of the last decode, in a context for [`Output::Ranks`].
    pub(super) fn ranks(&mut self, seq: usize) -> Option<&[f32]> {
        // SAFETY: the context is alive; a sequence without a result gives NULL.
        let ranks = unsafe { sys::llama_get_embeddings_seq(self.raw.as_ptr(), seq as i32) };
        let n = self.model.n_ranks();
        // SAFETY: not NULL means `n_cls_out` floats, which are ours until the next decode.
        (!ranks.is_null()).then(|| unsafe { std::slice::from_raw_parts(ranks, n) })
    }

    /// The embedding of row `index` of the last decode, in a context for [`Output::Vectors`].
    pub(super) fn vector(&mut self, index: usize) -> Option<&[f32]> {
        // SAFETY: the context is alive; an index without an embedding gives NULL.
        let vector = unsafe { sys::llama_get_embeddings_ith(self.raw.as_ptr(), index as i32) };
        let width = self.model.width();
        // SAFETY: not NULL means `n_embd` floats, which are ours until the next decode.
        (!vector.is_null()).then(|| unsafe { std::slice::from_raw_parts(vector, width) })
    }

    fn check(&self, rows: &[Row]) -> Result<(), CallError> {
        let refuse = |message: String| Err(CallError { message });
        if rows.is_empty() || rows.len() > self.shape.n_batch {
            return refuse(format!("{} rows, but a call takes 1 to {}", rows.len(), self.shape.n_batch));
        }
        let mut previous: Option<&Row> = None;
        for row in rows {
            if row.seq >= self.shape.slots {
                return refuse(format!("sequence {} does not exist", row.seq));
            }
            let expected = match previous.filter(|p| p.seq == row.seq) {
                Some(previous) => previous.pos + 1,
                None => self.lengths[row.seq],
            };
            if row.pos != expected || row.pos >= self.shape.n_ctx {
                return refuse(format!("position {} of sequence {}, but {expected} is next", row.pos, row.seq));
            }
            if usize::try_from(row.token).map_or(true, |t| t >= self.model.table().len()) {
                return refuse(format!("token {} is not in the vocabulary", row.token));
            }
            previous = Some(row);
        }
        Ok(())
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: created by us, freed once; the model outlives it through the `Arc`.
        unsafe { sys::llama_free(self.raw.as_ptr()) }
    }
}

fn ggml_type(kv: KvType) -> sys::ggml_type {
    match kv {
        KvType::F16 => sys::GGML_TYPE_F16,
        KvType::Q8_0 => sys::GGML_TYPE_Q8_0,
        KvType::Q4_0 => sys::GGML_TYPE_Q4_0,
        KvType::F32 => sys::GGML_TYPE_F32,
    }
}

/// The arrays behind a `llama_batch`, reused from call to call.
struct Batch {
    token: Vec<sys::llama_token>,
    pos: Vec<sys::llama_pos>,
    n_seq_id: Vec<i32>,
    seq: Vec<sys::llama_seq_id>,
    seq_id: Vec<*mut sys::llama_seq_id>,
    logits: Vec<i8>,
    /// Whether to request the logits of every row.
    all_logits: bool,
}

impl Batch {
    fn new(rows: usize, all_logits: bool) -> Self {
        Self {
            token: Vec::with_capacity(rows),
            pos: Vec::with_capacity(rows),
            n_seq_id: Vec::with_capacity(rows),
            seq: Vec::with_capacity(rows),
            seq_id: Vec::with_capacity(rows),
            logits: Vec::with_capacity(rows),
            all_logits,
        }
    }

    fn fill(&mut self, rows: &[Row]) {
        self.token.clear();
        self.token.extend(rows.iter().map(|row| row.token));
        self.pos.clear();
        self.pos.extend(rows.iter().map(|row| row.pos as i32));
        self.n_seq_id.clear();
        self.n_seq_id.resize(rows.len(), 1);
        self.logits.clear();
        self.logits.extend(rows.iter().map(|row| i8::from(self.all_logits || row.needs_logits())));
        self.seq.clear();
        self.seq.extend(rows.iter().map(|row| row.seq as i32));
        self.seq_id.clear();
        self.seq_id.extend(self.seq.iter_mut().map(|seq| &raw mut *seq));
    }

    /// A view for one call; valid until the next `fill`.
    fn as_raw(&mut self) -> sys::llama_batch {
        sys::llama_batch {
            n_tokens: self.token.len() as i32,
            token: self.token.as_mut_ptr(),
            embd: std::ptr::null_mut(),
            pos: self.pos.as_mut_ptr(),
            n_seq_id: self.n_seq_id.as_mut_ptr(),
            seq_id: self.seq_id.as_mut_ptr(),
            logits: self.logits.as_mut_ptr(),
        }
    }
}
