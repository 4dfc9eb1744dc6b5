//! A backend without a model: tokens are a function of the sequence so far, time is a function of the rows.
//!
//! It keeps the tokens of every slot and panics on whatever llama.cpp would assert on, so a scheduler that passes here
//! plans valid calls. Because the next token depends on all KV of the slot, reusing a wrong prefix changes the output; with
//! a sliding window, computing behind positions that were dropped panics.

mod stream;
mod timing;

use std::{collections::HashMap, time::Duration};

use llama_concurrent_types::{PoolShape, Token, TokenLogprob, TokenLogprobs};

use super::{
    Backend, Call, CallError, CallKind, DraftCall, DraftPart, Drafted, EmbedCall, EmbedLimits, EmbedPart, Held, Op,
    Row, Score, SeqKey, SlotId, StepOutcome, StepPlan,
    backend::{sample_rows, scored_rows},
};

pub use self::stream::SimWindow;
use self::stream::{EMPTY, Stream, followed_by, hash_of, next_of};
pub use self::timing::{SimCost, SimTiming};

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
    /// The text repeats itself: most tokens follow from as many of the last ones alone, where set.
    pub repeats: Option<usize>,
    /// Whether it says now and then that only one token may follow, which is mostly so.
    pub forces: bool,
    /// There is a draft model, which guesses the right token so many times of eight.
    pub draft_model: Option<u64>,
    /// The draft model fails.
    pub draft_model_fails: bool,
    /// What the draft model's context holds.
    seats: Vec<Vec<Token>>,
    /// What each sequence has so far, its last token included.
    texts: HashMap<SeqKey, Vec<Token>>,
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

impl SimBackend {
    /// How likely the last token of `sequence` is behind the others, as a run alone would say it.
    pub fn logprob(sequence: &[Token]) -> f32 {
        let (&next, before) = sequence.split_last().expect("a token");
        Self::likelihood(hash_of(before), Score { next, n_top: 0 }).logprob
    }

    /// The token that follows `sequence`: what a run alone on an empty slot would give, where the text
    /// [repeats](Self::repeats) like this.
    pub fn next_token(sequence: &[Token], repeats: Option<usize>, n_vocab: Token) -> Token {
        next_of(hash_of(sequence), sequence, repeats, n_vocab)
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
            repeats: None,
            forces: false,
            draft_model: None,
            draft_model_fails: false,
            seats: vec![Vec::new(); shape.contexts * shape.slots],
            texts: HashMap::new(),
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

    /// Reads and guesses as a draft model. What it has read has to be what the sequence has.
    fn draft(&mut self, call: &DraftCall) -> Result<Vec<Vec<Drafted>>, CallError> {
        assert!(call.parts.is_sorted_by(|a, b| a.seat < b.seat), "each seat once");
        if self.fails() || self.draft_model_fails {
            call.parts.iter().for_each(|part| self.seats[part.seat].clear());
            return Err(CallError { message: "simulated failure".into() });
        }
        let quality = self.draft_model.expect("there is a draft model");
        let mut drafted = Vec::new();
        for DraftPart { key, seat, keep, tokens, n, .. } in &call.parts {
            assert!(self.samplers.get(*key).is_some_and(|&live| live), "a live sequence");
            let (held, text) = (&mut self.seats[*seat], &self.texts[key]);
            held.truncate(*keep);
            held.extend(tokens);
            assert!(!tokens.is_empty() && held.len() <= self.shape.n_ctx);
            assert_eq!(held[..], text[..held.len()], "it reads what is written");
            assert!(*n == 0 || held.len() == text.len(), "guesses stand behind the last token");
            let mut guesses = Vec::new();
            for i in 0..*n {
                let right = SimBackend::next_token(held, self.repeats, self.n_vocab);
                let is_right = hash_of(held) >> 33 & 7 < quality;
                let token = if is_right { right } else { (right + 1) % self.n_vocab };
                guesses.push(Drafted { token, chance: if is_right { 0.9 } else { 0.5 } });
                if i + 1 < *n {
                    held.push(token);
                }
            }
            drafted.push(guesses);
        }
        Ok(drafted)
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
                self.texts.remove(key);
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
                assert!(
                    rows[0].sample.is_some() && rows.is_sorted_by_key(|row| row.sample.is_none()),
                    "a draft, then what fills"
                );
            }
        }
        if call.kind == CallKind::Decode {
            assert!(seen.is_sorted(), "slots ascend in a decode");
            // llama.cpp splits where sequences have fewer rows than others.
            assert!(call.rows.chunk_by(|a, b| a.seq == b.seq).all(|rows| rows.len() * seen.len() == call.rows.len()));
        }
    }

    /// Computes a row; what follows it.
    fn compute_row(&mut self, context: usize, row: &Row, scored: &mut Vec<TokenLogprobs>) -> Token {
        let n_ctx = self.shape.n_ctx;
        let (n_vocab, repeats) = (self.n_vocab, self.repeats);
        if let Some(key) = row.sample {
            assert!(self.samplers.get(key).is_some_and(|&live| live), "sampling for a live sequence");
        }
        let window = self.window;
        let kv = self.slot(SlotId { context, seq: row.seq });
        assert_eq!(row.pos, kv.hashes.len(), "positions follow each other");
        assert!(row.pos < n_ctx, "KV within the slot");
        let hash = followed_by(kv.hashes.last().copied().unwrap_or(EMPTY), row.token);
        kv.hashes.push(hash);
        kv.tokens.push(row.token);
        if let Some(SimWindow { positions, .. }) = window {
            assert!(
                kv.first == 0 || kv.first + positions <= row.pos + 1,
                "the window holds all that the token attends to"
            );
        }
        scored.extend(row.score.map(|score| Self::likelihood(hash, score)));
        next_of(hash, &kv.tokens, repeats, n_vocab)
    }

    /// What may follow the last tokens of these sequences: the next one, or another one.
    fn forced(&self, last: &HashMap<SeqKey, usize>) -> Vec<(SeqKey, Vec<Token>)> {
        let mut forced = Vec::new();
        for &key in last.keys() {
            let text = &self.texts[&key];
            let next = SimBackend::next_token(text, self.repeats, self.n_vocab);
            match hash_of(text) % 8 {
                0 | 1 => forced.push((key, vec![next])),
                2 => forced.push((key, vec![next, 3])),
                3 => forced.push((key, vec![(next + 1) % self.n_vocab])),
                _ => {}
            }
        }
        forced
    }

    /// Computes rows; what follows each. Rows of a draft drop nothing from a window that the first of them attends to.
    fn compute_rows(&mut self, call: &Call, rows: &[Row], scored: &mut Vec<TokenLogprobs>) -> Vec<Token> {
        let mut followers = Vec::new();
        for of_slot in rows.chunk_by(|a, b| a.seq == b.seq) {
            for row in of_slot {
                followers.push(self.compute_row(call.context, row, scored));
            }
            if let Some(SimWindow { positions, spare }) = self.window {
                let n_drafted = if call.kind == CallKind::Decode { of_slot.len() - 1 } else { 0 };
                let kv = self.slot(SlotId { context: call.context, seq: of_slot[0].seq });
                kv.keep_last(positions + spare + n_drafted);
            }
        }
        followers
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

    fn has_draft_model(&self) -> bool {
        self.draft_model.is_some()
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
        if let Some(draft) = &plan.draft {
            assert!(plan.call.is_none(), "one call at a time");
            let n_read = draft.parts.iter().map(|part| part.tokens.len()).sum();
            let drafted = self.draft(draft);
            let n_guessed = drafted.iter().flatten().map(Vec::len).max().unwrap_or(0);
            elapsed += self.timing.draft(n_read, n_guessed);
            let (lost, held) = (self.lost.clone(), self.held(plan));
            return StepOutcome { drafted: Some(drafted), lost, held, ..StepOutcome::new(elapsed, Ok(Vec::new())) };
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
            self.compute_rows(call, &call.rows[..call.rows.len() / 2], &mut Vec::new());
            let sampled = Err(CallError { message: "simulated failure".into() });
            return StepOutcome {
                lost: self.lost.clone(),
                held: self.held(plan),
                ..StepOutcome::new(elapsed, sampled)
            };
        }
        self.copying[call.context] = false;
        let mut scored = Vec::new();
        let followers = self.compute_rows(call, &call.rows, &mut scored);
        let mut last = HashMap::new();
        let sampled = sample_rows(&call.rows, |index, key| {
            last.insert(key, index);
            followers[index].into()
        });
        for (&key, &index) in &last {
            let row = call.rows[index];
            let mut text = self.slot(SlotId { context: call.context, seq: row.seq }).tokens[..=row.pos].to_vec();
            text.push(followers[index]);
            self.texts.insert(key, text);
        }
        let forced = if self.forces { self.forced(&last) } else { Vec::new() };
        StepOutcome {
            scored,
            forced,
            lost: self.lost.clone(),
            held: self.held(plan),
            ..StepOutcome::new(elapsed, Ok(sampled))
        }
    }
}
