//! A backend without a model: tokens are a function of the sequence so far, time is a function of the rows.
//!
//! It keeps the tokens of every slot and panics on whatever llama.cpp would assert on, so a scheduler that passes here
//! plans valid calls. Because the next token depends on all KV of the slot, reusing a wrong prefix changes the output; with
//! a sliding window, computing behind positions that were dropped panics.

use std::{collections::HashMap, time::Duration};

use llama_concurrent_types::{PoolShape, Token, TokenLogprob, TokenLogprobs};

use super::{
    Backend, Call, CallError, CallKind, EmbedCall, EmbedLimits, EmbedPart, Held, Op, Row, Sampled, Score, SeqKey,
    SlotId, StepOutcome, StepPlan, backend::scored_rows,
};

/// What simulated work takes.
pub trait SimTiming {
    /// One `llama_decode`. llama.cpp splits it into `parts`, each of which reads all weights.
    fn call(&self, call: &Call, parts: usize) -> Duration;

    /// One copy of a KV stream.
    fn copy(&self) -> Duration;

    /// An exchange of two slots that hold so many positions together.
    fn swap(&self, positions: usize) -> Duration;
}

/// The simplest timing: a share for reading the weights, and a share for each row.
#[derive(Clone, Copy, Debug)]
pub struct SimCost {
    /// Once for each part into which llama.cpp would split the call.
    pub per_part: Duration,
    /// For each row.
    pub per_row: Duration,
    /// For each copy of a KV stream.
    pub per_copy: Duration,
}

impl Default for SimCost {
    /// About a 1.1B model on two cores.
    fn default() -> Self {
        Self {
            per_part: Duration::from_millis(60),
            per_row: Duration::from_millis(15),
            per_copy: Duration::from_millis(8),
        }
    }
}

impl SimTiming for SimCost {
    fn call(&self, call: &Call, parts: usize) -> Duration {
        self.per_part * parts as u32 + self.per_row * call.rows.len() as u32
    }

    fn copy(&self) -> Duration {
        self.per_copy
    }

    fn swap(&self, _positions: usize) -> Duration {
        self.per_copy
    }
}

/// A sliding window as llama.cpp keeps it.
#[derive(Clone, Copy, Debug)]
pub struct SimWindow {
    /// Positions that a token attends to, its own included.
    pub positions: usize,
    /// Positions before these that are kept.
    pub spare: usize,
}

/// What a slot holds.
#[derive(Clone, Debug, Default)]
struct Stream {
    /// What stands for all tokens up to each position.
    hashes: Vec<u64>,
    /// Positions before this one have been dropped from the window.
    first: usize,
}

impl Stream {
    fn truncate(&mut self, keep: usize) {
        assert!(keep <= self.hashes.len(), "only what is there can be kept");
        assert!(keep == 0 || keep >= self.first, "the window still holds what is kept");
        self.hashes.truncate(keep);
        if keep == 0 {
            self.first = 0;
        }
    }

    fn keep_last(&mut self, positions: usize) {
        self.first = self.first.max(self.hashes.len().saturating_sub(positions));
    }
}

/// The simulated backend.
#[derive(Clone, Debug)]
pub struct SimBackend<T = SimCost> {
    shape: PoolShape,
    timing: T,
    n_vocab: Token,
    kv: Vec<Stream>,
    /// Contexts in which a copy waits for the next call, as llama.cpp's do.
    copying: Vec<bool>,
    samplers: Vec<bool>,
    /// What is parked, by sequence.
    parked: HashMap<SeqKey, Stream>,
    calls: u64,
    embedded: usize,
    /// How it embeds texts.
    pub embed_limits: EmbedLimits,
    /// The sliding window of the model, where it has one.
    pub window: Option<SimWindow>,
    /// Sequences that were lost in the plan that is carried out.
    lost: Vec<SeqKey>,
    /// What was parked is lost if its length is a multiple of this, where set.
    pub lose_every: Option<u64>,
    /// Every n-th call fails, where set.
    pub fail_every: Option<u64>,
    /// Parts that decode calls were split into, beyond one each.
    pub split_decodes: u64,
}

/// What a part of a text costs: as many rows of a prompt.
fn rows_of(call: &EmbedCall) -> Call {
    let rows = call.parts.iter().enumerate().flat_map(|(seq, EmbedPart { computed, tokens })| {
        (*computed..).zip(tokens).map(move |(pos, &token)| Row { seq, token, pos, sample: None, score: None })
    });
    Call { context: 0, kind: CallKind::Prefill, rows: rows.collect() }
}

/// What stands for no tokens at all.
const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

fn followed_by(hash: u64, token: Token) -> u64 {
    (hash ^ (token as u64).wrapping_add(1)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
}

fn token_of(hash: u64, n_vocab: Token) -> Token {
    ((hash >> 17) % n_vocab as u64) as Token
}

impl SimBackend {
    /// How likely the last token of `sequence` is behind the others, as a run alone would say it.
    pub fn logprob(sequence: &[Token]) -> f32 {
        let (&next, before) = sequence.split_last().expect("a token");
        let hash = before.iter().fold(EMPTY, |hash, &token| followed_by(hash, token));
        Self::likelihood(hash, Score { next, n_top: 0 }).logprob
    }

    /// The token that follows `sequence`: what a run alone on an empty slot would give.
    pub fn next_token(sequence: &[Token], n_vocab: Token) -> Token {
        token_of(sequence.iter().fold(EMPTY, |hash, &token| followed_by(hash, token)), n_vocab)
    }
}

impl<T: SimTiming> SimBackend<T> {
    /// A backend with empty slots whose tokens are `0..n_vocab`.
    pub fn new(shape: PoolShape, timing: T, n_vocab: Token) -> Self {
        Self {
            shape,
            timing,
            n_vocab,
            kv: vec![Stream::default(); shape.contexts * shape.slots],
            copying: vec![false; shape.contexts],
            samplers: Vec::new(),
            parked: HashMap::new(),
            calls: 0,
            embedded: 0,
            embed_limits: EmbedLimits { texts: 1, rows: shape.n_batch, whole: false },
            window: None,
            lost: Vec::new(),
            lose_every: None,
            fail_every: None,
            split_decodes: 0,
        }
    }

    /// Sequences that have begun and not ended.
    pub fn live_sequences(&self) -> usize {
        self.samplers.iter().filter(|&&live| live).count()
    }

    /// Counts a call; whether it is to fail.
    fn fails(&mut self) -> bool {
        self.calls += 1;
        self.fail_every.is_some_and(|n| self.calls.is_multiple_of(n))
    }

    /// How likely a token is behind what a hash stands for: any number that depends on both.
    fn likelihood(hash: u64, Score { next, n_top }: Score) -> TokenLogprobs {
        let logprob = |token: Token| -((followed_by(hash, token) % 1000) as f32);
        let top = (0..n_top as Token).map(|token| TokenLogprob { token, logprob: logprob(token) }).collect();
        TokenLogprobs { logprob: logprob(next), top }
    }

    /// A token's vector is its id and its position; a text's score is the sum of its last part's tokens.
    fn embed(&mut self, call: &EmbedCall) -> Result<Vec<Vec<f32>>, CallError> {
        let EmbedLimits { texts, rows, whole } = self.embed_limits;
        assert!((1..=texts).contains(&call.parts.len()), "1 to {texts} texts");
        assert!(call.parts.len() == 1 || (whole && call.n_rows() <= rows), "{} rows", call.n_rows());
        assert!(whole || call.n_rows() <= self.shape.n_batch, "no more than n_batch rows");
        if self.fails() {
            return Err(CallError { message: "simulated failure".into() });
        }
        let mut vectors = Vec::new();
        for EmbedPart { computed, tokens } in &call.parts {
            assert!(!tokens.is_empty(), "at least one token");
            assert!(*computed == 0 || (!whole && *computed == self.embedded), "a text goes on where it was");
            self.embedded = computed + tokens.len();
            assert!(self.embedded <= self.shape.n_ctx, "a text within the context");
            if call.ranks {
                vectors.push(vec![tokens.iter().sum::<Token>() as f32]);
            } else {
                vectors.extend((*computed..).zip(tokens).map(|(pos, &token)| vec![token as f32, pos as f32]));
            }
        }
        Ok(vectors)
    }

    /// Sequences that are parked.
    pub fn parked_sequences(&self) -> usize {
        self.parked.len()
    }

    /// What the slots of a plan hold, as llama.cpp tells it.
    fn held(&self, plan: &StepPlan) -> Vec<Held> {
        let first = |slot: SlotId| self.kv[slot.context * self.shape.slots + slot.seq].first;
        let slots = if self.window.is_some() { plan.slots() } else { Vec::new() };
        slots.into_iter().map(|slot| Held { slot, first: first(slot) }).collect()
    }

    fn slot(&mut self, id: SlotId) -> &mut Stream {
        assert!(id.context < self.shape.contexts && id.seq < self.shape.slots, "slot {id:?} exists");
        &mut self.kv[id.context * self.shape.slots + id.seq]
    }

    fn apply_op(&mut self, op: &Op) -> Duration {
        match op {
            Op::Begin { key, .. } => {
                if self.samplers.len() <= *key {
                    self.samplers.resize(key + 1, false);
                }
                assert!(!std::mem::replace(&mut self.samplers[*key], true), "sequence {key} begins once");
            }
            Op::End { key } => {
                assert!(std::mem::take(&mut self.samplers[*key]), "sequence {key} ends after it began");
                self.parked.remove(key);
            }
            Op::Truncate { slot, keep } => {
                self.slot(*slot).truncate(*keep);
            }
            Op::Copy { src, dst, keep } => {
                assert_eq!(src.context, dst.context, "copies stay within a context");
                assert_ne!(src, dst);
                let mut copied = self.slot(*src).clone();
                copied.truncate(*keep);
                *self.slot(*dst) = copied;
                self.copying[dst.context] = true;
                return self.timing.copy();
            }
            Op::Park { key, slot } => {
                let stream = self.slot(*slot).clone();
                assert!(self.parked.insert(*key, stream).is_none(), "sequence {key} is parked once");
                return self.timing.copy();
            }
            Op::Unpark { key, slot } => {
                assert!(!self.copying[slot.context], "what waits to be copied would be overwritten");
                let stream = self.parked.remove(key).expect("it was parked");
                let lost = self.lose_every.is_some_and(|n| (stream.hashes.len() as u64).is_multiple_of(n));
                *self.slot(*slot) = if lost { Stream::default() } else { stream };
                self.lost.extend(lost.then_some(*key));
                return self.timing.copy();
            }
            Op::Swap { a, b } => {
                assert_eq!(a.context, b.context, "slots are swapped within a context");
                assert_ne!(a, b);
                assert!(!self.copying[a.context], "a swap would overtake a copy");
                let (of_a, of_b) = (std::mem::take(self.slot(*a)), std::mem::take(self.slot(*b)));
                let positions = of_a.hashes.len() + of_b.hashes.len();
                (*self.slot(*a), *self.slot(*b)) = (of_b, of_a);
                return self.timing.swap(positions);
            }
        }
        Duration::ZERO
    }

    fn check_call(&self, call: &Call) {
        assert!(!call.rows.is_empty() && call.rows.len() <= self.shape.n_batch, "1 to n_batch rows");
        let n_logits = call.rows.iter().filter(|row| row.needs_logits()).count();
        assert!(n_logits <= scored_rows(self.shape), "logits of {n_logits} rows");
        let mut seen = Vec::new();
        for rows in call.rows.chunk_by(|a, b| a.seq == b.seq) {
            assert!(!seen.contains(&rows[0].seq), "rows of a slot stand together");
            seen.push(rows[0].seq);
            if call.kind == CallKind::Decode {
                assert_eq!(rows.len(), 1, "one row per slot in a decode");
            }
        }
        if call.kind == CallKind::Decode {
            assert!(seen.is_sorted(), "slots ascend in a decode");
        }
    }

    fn compute_row(&mut self, context: usize, row: &Row, scored: &mut Vec<TokenLogprobs>) -> Option<Sampled> {
        let n_ctx = self.shape.n_ctx;
        let n_vocab = self.n_vocab;
        if let Some(key) = row.sample {
            assert!(self.samplers.get(key).is_some_and(|&live| live), "sampling for a live sequence");
        }
        let window = self.window;
        let kv = self.slot(SlotId { context, seq: row.seq });
        assert_eq!(row.pos, kv.hashes.len(), "positions follow each other");
        assert!(row.pos < n_ctx, "KV within the slot");
        let hash = followed_by(kv.hashes.last().copied().unwrap_or(EMPTY), row.token);
        kv.hashes.push(hash);
        if let Some(SimWindow { positions, spare }) = window {
            assert!(
                kv.first == 0 || kv.first + positions <= row.pos + 1,
                "the window holds all that the token attends to"
            );
            kv.keep_last(positions + spare);
        }
        scored.extend(row.score.map(|score| Self::likelihood(hash, score)));
        row.sample.map(|_| token_of(hash, n_vocab).into())
    }
}

impl<T: SimTiming> Backend for SimBackend<T> {
    fn shape(&self) -> PoolShape {
        self.shape
    }

    fn can_reuse_prefix(&self) -> bool {
        true
    }

    fn can_swap(&self) -> bool {
        true
    }

    fn window(&self) -> usize {
        self.window.map_or(0, |window| window.positions)
    }

    fn embed_limits(&self) -> EmbedLimits {
        self.embed_limits
    }

    fn run(&mut self, plan: &StepPlan) -> StepOutcome {
        self.lost.clear();
        let mut elapsed: Duration = plan.ops.iter().map(|op| self.apply_op(op)).sum();
        if let Some(embed) = &plan.embed {
            assert!(plan.call.is_none(), "one call at a time");
            elapsed += self.timing.call(&rows_of(embed), 1);
            let vectors = Some(self.embed(embed));
            return StepOutcome {
                vectors,
                lost: self.lost.clone(),
                held: self.held(plan),
                ..StepOutcome::new(elapsed, Ok(Vec::new()))
            };
        }
        let Some(call) = &plan.call else {
            return StepOutcome {
                lost: self.lost.clone(),
                held: self.held(plan),
                ..StepOutcome::new(elapsed, Ok(Vec::new()))
            };
        };
        self.check_call(call);
        let parts = 1 + call.rows.windows(2).filter(|w| w[1].seq != w[0].seq && w[1].seq != w[0].seq + 1).count();
        if call.kind == CallKind::Decode {
            self.split_decodes += parts as u64 - 1;
        }
        elapsed += self.timing.call(call, parts);
        if self.fails() {
            // A failed llama_decode leaves an unknown part of its rows behind.
            let half = call.rows.len() / 2;
            for row in &call.rows[..half] {
                self.compute_row(call.context, row, &mut Vec::new());
            }
            let sampled = Err(CallError { message: "simulated failure".into() });
            return StepOutcome {
                lost: self.lost.clone(),
                held: self.held(plan),
                ..StepOutcome::new(elapsed, sampled)
            };
        }
        self.copying[call.context] = false;
        let mut scored = Vec::new();
        let sampled = call.rows.iter().filter_map(|row| self.compute_row(call.context, row, &mut scored)).collect();
        StepOutcome { scored, lost: self.lost.clone(), held: self.held(plan), ..StepOutcome::new(elapsed, Ok(sampled)) }
    }
}
