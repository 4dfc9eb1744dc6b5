//! The boundary between deciding and computing: a plan goes in, tokens come out.
//!
//! The scheduler writes plans, a [`Backend`] carries them out. `LlamaBackend` does so with llama.cpp,
//! `SimBackend` with a model of its cost and a check of every rule that llama.cpp would assert on.

use std::{sync::Arc, time::Duration};

use llama_concurrent_types::{Matcher, PoolShape, SamplingParams, Token, TokenLogprobs};

use crate::contention::Contention;

/// A KV stream: one sequence of one context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId {
    /// Index of the context within its worker.
    pub context: usize,
    /// llama.cpp's `seq_id` within the context.
    pub seq: usize,
}

/// Names a running sequence towards the backend, independent of the slot it sits in.
pub type SeqKey = usize;

/// Changes that take effect before the call of the same plan, in order.
#[derive(Clone, Debug)]
pub enum Op {
    /// A sequence starts: set up its sampler and show it the prompt.
    Begin {
        /// The sequence.
        key: SeqKey,
        /// How to sample it.
        params: Arc<SamplingParams>,
        /// The end of its prompt, as much as the penalties look back on.
        history: Vec<Token>,
        /// The constraint of its parameters, compiled.
        matcher: Option<Box<dyn Matcher>>,
        /// Whether its calls may have drafts.
        drafts: bool,
    },
    /// A sequence is over: free its sampler, and what is parked under its name.
    End {
        /// The sequence.
        key: SeqKey,
    },
    /// Forget the KV of a slot from position `keep` on; 0 empties it.
    Truncate {
        /// The slot.
        slot: SlotId,
        /// Positions that stay.
        keep: usize,
    },
    /// Make `dst` hold the first `keep` positions of `src`; both are of one context.
    Copy {
        /// Where the KV comes from; it stays as it is.
        src: SlotId,
        /// Where it goes; what was there is lost.
        dst: SlotId,
        /// Positions that `dst` holds afterwards.
        keep: usize,
    },
    /// Copy what a slot holds to memory of its own, under the sequence's name. The slot keeps it, too.
    Park {
        /// The sequence.
        key: SeqKey,
        /// Its slot.
        slot: SlotId,
    },
    /// Make the slot hold what was parked under the sequence's name, and free that memory. Where that cannot be done, the
    /// slot is empty and the sequence is among [`StepOutcome::lost`]. No copy waits for a call in the slot's context.
    Unpark {
        /// The sequence.
        key: SeqKey,
        /// Its new slot.
        slot: SlotId,
    },
    /// Exchange what two slots of one context hold. Since the last [`Copy`](Self::Copy) in that context, a call of it was
    /// computed.
    Swap {
        /// One of them.
        a: SlotId,
        /// The other.
        b: SlotId,
    },
}

/// Which of the two kinds of work a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// One row for each of several sequences, or equally many: then those behind the first are drafts.
    Decode,
    /// Many rows of one sequence's prompt, or of a few short ones.
    Prefill,
}

/// One token to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// `seq_id` within the call's context.
    pub seq: usize,
    /// The token.
    pub token: Token,
    /// Its position: one after the last position of the slot.
    pub pos: usize,
    /// The sequence to sample for after this row; `None` computes KV only. Of a draft, only rows are sampled for up to the first
    /// that was not chosen: see [`sample_rows`].
    pub sample: Option<SeqKey>,
    /// How likely is what follows in the prompt? Of a call, at most [`scored_rows`] ask for that or for a sample.
    pub score: Option<Score>,
}

impl Row {
    /// Whether the model's logits are needed behind this row.
    pub fn needs_logits(&self) -> bool {
        self.sample.is_some() || self.score.is_some()
    }
}

/// A question for the log probability of a token behind a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    /// The token that follows.
    pub next: Token,
    /// How many of the likeliest tokens are wanted beside it.
    pub n_top: usize,
}

/// Rows of a call whose logits may be asked for: memory for the logits of all rows of a prompt would be a hundred times that.
pub fn scored_rows(shape: PoolShape) -> usize {
    shape.slots.max(TILE_ROWS).min(shape.n_batch)
}

/// Of these, the rows for each of `n` sequences that are decoded together. With one there is no room for drafts.
pub fn rows_for_each(shape: PoolShape, n: usize) -> usize {
    scored_rows(shape) / n.max(1)
}

/// ggml's kernels, and ours, work on tiles of so many rows: on a 1.1B model 15 rows took 162 ms and 16 rows 126 ms, and a ragged
/// chunk of 19 or 25 rows cost an eighth of all throughput.
pub const TILE_ROWS: usize = 16;

/// One `llama_decode`.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The context.
    pub context: usize,
    /// Decode or prefill.
    pub kind: CallKind,
    /// Rows grouped by slot; in a decode call ascending by `seq`, equally many of each.
    pub rows: Vec<Row>,
}

/// Samples behind each row that asks for it, in order, with `sample`, which gets the index of the row and the sequence. Of rows
/// of one sequence the later ones are a draft: each counts only if what was chosen behind the row before it is its token.
pub fn sample_rows(rows: &[Row], mut sample: impl FnMut(usize, SeqKey) -> Sampled) -> Vec<Sampled> {
    let mut sampled = Vec::new();
    // What was chosen behind the last row that was sampled for, if the text can go on from there.
    let mut last: Option<(SeqKey, Option<Token>)> = None;
    for (index, row) in rows.iter().enumerate() {
        let Some(key) = row.sample else { continue };
        if last.is_some_and(|(of, chosen)| of == key && chosen != Some(row.token)) {
            last = Some((key, None));
            continue;
        }
        let one = sample(index, key);
        let chosen = match &one {
            Sampled::Token { token, last: false, .. } => Some(*token),
            _ => None,
        };
        last = Some((key, chosen));
        sampled.push(one);
    }
    sampled
}

/// Texts, or a part of one, that are to become vectors. They are apart from all slots.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbedCall {
    /// The parts, each of another text.
    pub parts: Vec<EmbedPart>,
    /// Whether scores are wanted and no vectors: what the model's rank head makes of each text.
    pub ranks: bool,
}

impl EmbedCall {
    /// Tokens to compute.
    pub fn n_rows(&self) -> usize {
        self.parts.iter().map(|part| part.tokens.len()).sum()
    }
}

/// A part of a text, which is computed from its beginning.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbedPart {
    /// Tokens of the text that were computed by the calls before; 0 begins a new text.
    pub computed: usize,
    /// The tokens that follow them.
    pub tokens: Vec<Token>,
}

/// How a backend embeds texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbedLimits {
    /// Texts of one call at most.
    pub texts: usize,
    /// Tokens of a call with more than one text at most.
    pub rows: usize,
    /// Each text has to be computed in one call, since its tokens attend to all of it; otherwise a call takes a part of one.
    pub whole: bool,
}

/// What a draft model is to guess.
#[derive(Clone, Debug, PartialEq)]
pub struct DraftCall {
    /// For each sequence, ascending by seat.
    pub parts: Vec<DraftPart>,
}

/// One sequence of a [`DraftCall`].
#[derive(Clone, Debug, PartialEq)]
pub struct DraftPart {
    /// The sequence. A copy of its sampler chooses, with the same random numbers.
    pub key: SeqKey,
    /// Its KV stream in the draft model's context.
    pub seat: usize,
    /// Positions of the seat that stay; what else it holds is forgotten.
    pub keep: usize,
    /// The tokens behind them, at least one.
    pub tokens: Vec<Token>,
    /// Tokens to guess at most; none if the sequence has further tokens.
    pub n: usize,
    /// No further guess is made where all so far are less likely right than this.
    pub least: f64,
}

/// A guess of a draft model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drafted {
    /// The token.
    pub token: Token,
    /// How likely the draft model finds it.
    pub chance: f32,
}

/// What to do next: housekeeping, then at most one call of any kind.
#[derive(Clone, Debug, Default)]
pub struct StepPlan {
    /// Housekeeping, in order.
    pub ops: Vec<Op>,
    /// The call for sequences in slots.
    pub call: Option<Call>,
    /// The call for texts to embed.
    pub embed: Option<EmbedCall>,
    /// The call of the draft model.
    pub draft: Option<DraftCall>,
}

impl StepPlan {
    /// Whether it computes nothing.
    pub fn is_idle(&self) -> bool {
        self.call.is_none() && self.embed.is_none() && self.draft.is_none()
    }

    /// The slots whose KV it touches, each once.
    pub fn slots(&self) -> Vec<SlotId> {
        let of_op = |op: &Op| match *op {
            Op::Begin { .. } | Op::End { .. } | Op::Park { .. } => [None, None],
            Op::Truncate { slot, .. } | Op::Unpark { slot, .. } => [Some(slot), None],
            Op::Copy { dst, .. } => [Some(dst), None],
            Op::Swap { a, b } => [Some(a), Some(b)],
        };
        let of_call = self.call.iter().flat_map(|call| {
            let context = call.context;
            call.rows.iter().map(move |row| SlotId { context, seq: row.seq })
        });
        let mut slots: Vec<SlotId> = self.ops.iter().flat_map(of_op).flatten().chain(of_call).collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// What llama.cpp said, in words.
    pub message: String,
}

/// What came of choosing a token.
#[derive(Clone, Debug, PartialEq)]
pub enum Sampled {
    /// A token.
    Token {
        /// The token.
        token: Token,
        /// How likely it was, where the parameters ask for that.
        logprobs: Option<Box<TokenLogprobs>>,
        /// Under the sequence's constraint nothing can follow.
        last: bool,
    },
    /// The text is complete under its constraint, and no token can follow.
    Complete,
    /// No token is possible, in words.
    Impossible(String),
}

impl From<Token> for Sampled {
    fn from(token: Token) -> Self {
        Sampled::Token { token, logprobs: None, last: false }
    }
}

/// What became of a plan.
#[derive(Clone, Debug)]
pub struct StepOutcome {
    /// Time the call took, operations and sampling included.
    pub elapsed: Duration,
    /// What [`sample_rows`] gives for the rows of the call.
    pub sampled: Result<Vec<Sampled>, CallError>,
    /// For sequences of the call that [draft](Op::Begin::drafts) and have a constraint, where there is
    /// [room](rows_for_each) for drafts: the tokens that it lets follow the last one, as far as there is only one way.
    pub forced: Vec<(SeqKey, Vec<Token>)>,
    /// One for each row with `score`, in the order of the rows; empty after an error.
    pub scored: Vec<TokenLogprobs>,
    /// What the model made of each token of the plan's [`EmbedCall`], as a vector; `None` without one.
    pub vectors: Option<Result<Vec<Vec<f32>>, CallError>>,
    /// What the draft model guessed for each part of the plan's [`DraftCall`]; `None` without one.
    pub drafted: Option<Result<Vec<Vec<Drafted>>, CallError>>,
    /// Sequences whose parked KV could not be brought back.
    pub lost: Vec<SeqKey>,
    /// What slots named in the plan still hold, where the model has a sliding window; empty otherwise.
    pub held: Vec<Held>,
}

impl StepOutcome {
    /// What came of a call of a model without a sliding window.
    pub fn new(elapsed: Duration, sampled: Result<Vec<Sampled>, CallError>) -> Self {
        Self {
            elapsed,
            sampled,
            forced: Vec::new(),
            scored: Vec::new(),
            vectors: None,
            drafted: None,
            lost: Vec::new(),
            held: Vec::new(),
        }
    }
}

/// What a slot still holds in every layer, after a plan was carried out. Layers with a sliding window drop positions that
/// the sequence no longer attends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The slot.
    pub slot: SlotId,
    /// The first position that no layer has dropped; all from there on are held.
    pub first: usize,
}

/// Carries out plans. Owned by one worker thread.
pub trait Backend {
    /// The pool that plans may address.
    fn shape(&self) -> PoolShape;

    /// Whether a slot's KV can be copied and cut at any position (not so in recurrent models).
    fn can_reuse_prefix(&self) -> bool;

    /// Whether two slots of a context can exchange what they hold.
    fn can_swap(&self) -> bool;

    /// The sliding window of the model in positions, 0 without one. Some layers attend to no more positions than that, the
    /// token's own included, and drop older ones; what a slot still holds is in [`StepOutcome::held`].
    fn window(&self) -> usize;

    /// How it embeds texts; by default one after the other, in parts.
    fn embed_limits(&self) -> EmbedLimits {
        EmbedLimits { texts: 1, rows: self.shape().n_batch, whole: false }
    }

    /// Whether it has a draft model, with a KV stream for each slot.
    fn has_draft_model(&self) -> bool {
        false
    }

    /// What it has seen of others that want its processors.
    fn contention(&self) -> Contention {
        Contention::default()
    }

    /// So many workers, this one included, compute on its processors in the next calls. With more than one, no thread may spin.
    fn share(&mut self, _sharers: usize) {}

    /// Others compute on the same processors until the next plan comes: nothing may spin meanwhile.
    fn rest(&mut self) {}

    /// Carries out one plan. After an error the slots, or the seats, of the call hold an unknown amount of KV and must be emptied.
    fn run(&mut self, plan: &StepPlan) -> StepOutcome;
}
