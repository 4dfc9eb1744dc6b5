//! A backend without a model: tokens are a function of the sequence so far, time is a function of the rows.
//!
//! It keeps the tokens of every slot and panics on whatever llama.cpp would assert on, so a scheduler that passes here
//! plans valid calls. Because the next token depends on all KV of the slot, reusing a wrong prefix changes the output.

use std::time::Duration;

use super::{Backend, Call, CallError, CallKind, Op, Row, Sampled, SlotId, StepOutcome, StepPlan};
use crate::{config::PoolShape, request::Token};

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

/// The simulated backend.
#[derive(Clone, Debug)]
pub struct SimBackend<T = SimCost> {
    shape: PoolShape,
    timing: T,
    n_vocab: Token,
    /// For each slot, what stands for all tokens up to each position.
    kv: Vec<Vec<u64>>,
    /// Contexts in which a copy waits for the next call, as llama.cpp's do.
    copying: Vec<bool>,
    samplers: Vec<bool>,
    calls: u64,
    embedded: usize,
    /// Every n-th call fails, where set.
    pub fail_every: Option<u64>,
    /// Parts that decode calls were split into, beyond one each.
    pub split_decodes: u64,
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
            kv: vec![Vec::new(); shape.contexts * shape.slots],
            copying: vec![false; shape.contexts],
            samplers: Vec::new(),
            calls: 0,
            embedded: 0,
            fail_every: None,
            split_decodes: 0,
        }
    }

    /// Sequences that have begun and not ended.
    pub fn live_sequences(&self) -> usize {
        self.samplers.iter().filter(|&&live| live).count()
    }

    fn slot(&mut self, id: SlotId) -> &mut Vec<u64> {
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
            }
            Op::Truncate { slot, keep } => {
                let kv = self.slot(*slot);
                assert!(*keep <= kv.len(), "only what is there can be kept");
                kv.truncate(*keep);
            }
            Op::Copy { src, dst, keep } => {
                assert_eq!(src.context, dst.context, "copies stay within a context");
                assert_ne!(src, dst);
                let source = self.slot(*src);
                assert!(*keep <= source.len(), "only what is there can be copied");
                let copied = source[..*keep].to_vec();
                *self.slot(*dst) = copied;
                self.copying[dst.context] = true;
                return self.timing.copy();
            }
            Op::Swap { a, b } => {
                assert_eq!(a.context, b.context, "slots are swapped within a context");
                assert_ne!(a, b);
                assert!(!self.copying[a.context], "a swap would overtake a copy");
                let held = std::mem::take(self.slot(*a));
                let positions = held.len() + self.slot(*b).len();
                let other = std::mem::replace(self.slot(*b), held);
                *self.slot(*a) = other;
                return self.timing.swap(positions);
            }
        }
        Duration::ZERO
    }

    fn check_call(&self, call: &Call) {
        assert!(!call.rows.is_empty() && call.rows.len() <= self.shape.n_batch, "1 to n_batch rows");
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

    fn compute_row(&mut self, context: usize, row: &Row) -> Option<Sampled> {
        let n_ctx = self.shape.n_ctx;
        let n_vocab = self.n_vocab;
        if let Some(key) = row.sample {
            assert!(self.samplers.get(key).is_some_and(|&live| live), "sampling for a live sequence");
        }
        let kv = self.slot(SlotId { context, seq: row.seq });
        assert_eq!(row.pos, kv.len(), "positions follow each other");
        assert!(kv.len() < n_ctx, "KV within the slot");
        let hash = followed_by(kv.last().copied().unwrap_or(EMPTY), row.token);
        kv.push(hash);
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

    /// A token's vector is its id and its position.
    fn embed(&mut self, computed: usize, tokens: &[Token]) -> Result<Vec<Vec<f32>>, CallError> {
        assert!(!tokens.is_empty() && tokens.len() <= self.shape.n_batch, "1 to n_batch rows");
        assert!(computed == 0 || computed == self.embedded, "a text goes on where it was");
        self.embedded = computed + tokens.len();
        assert!(self.embedded <= self.shape.n_ctx, "a text within the context");
        Ok((computed..).zip(tokens).map(|(position, &token)| vec![token as f32, position as f32]).collect())
    }

    fn run(&mut self, plan: &StepPlan) -> StepOutcome {
        let mut elapsed: Duration = plan.ops.iter().map(|op| self.apply_op(op)).sum();
        let Some(call) = &plan.call else {
            return StepOutcome { elapsed, sampled: Ok(Vec::new()) };
        };
        self.check_call(call);
        let parts = 1 + call.rows.windows(2).filter(|w| w[1].seq != w[0].seq && w[1].seq != w[0].seq + 1).count();
        if call.kind == CallKind::Decode {
            self.split_decodes += parts as u64 - 1;
        }
        elapsed += self.timing.call(call, parts);
        self.calls += 1;
        if self.fail_every.is_some_and(|n| self.calls.is_multiple_of(n)) {
            // A failed llama_decode leaves an unknown part of its rows behind.
            let half = call.rows.len() / 2;
            for row in &call.rows[..half] {
                self.compute_row(call.context, row);
            }
            return StepOutcome { elapsed, sampled: Err(CallError { message: "simulated failure".into() }) };
        }
        self.copying[call.context] = false;
        let sampled = call.rows.iter().filter_map(|row| self.compute_row(call.context, row)).collect();
        StepOutcome { elapsed, sampled: Ok(sampled) }
    }
}
