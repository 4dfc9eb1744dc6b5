//! The part that decides: a pure state machine without clock, channel, lock, thread or FFI.
//!
//! Requests come in with [`Scheduler::submit`]; [`Scheduler::plan`] says what to compute next, as one
//! `llama_decode` call; [`Scheduler::apply`] takes the result and says what the callers should hear. Time is a value
//! that the caller hands in.
//!
//! A *turn* decodes one token for every active sequence, context by context, computes a part of a text to embed, and then spends
//! at most `max_stall` on prefill. Each plan is one call of such a turn, so that cancels and new requests take effect between any two calls.

mod assignment;
mod calls;
mod cost;
mod drafts;
mod embeddings;
mod parking;
mod prefix;
mod queue;
mod sequence;
mod slots;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc, time::Duration};

use slab::Slab;

pub use self::{embeddings::NewEmbedding, sequence::NewSequence};
use llama_concurrent_types::{
    EngineConfig, Error, ErrorKind, Event, Finish, FinishReason, PoolShape, Priority, RequestId, SlotStats,
    Speculation, TokenTable, WorkerTotals,
};

use self::{
    calls::{InFlight, NextCall, Part, Turn},
    cost::{DecodeCost, PrefillCost},
    drafts::{Memory, Rates, Seats},
    embeddings::Embeddings,
    queue::{QueueKey, WaitQueue},
    sequence::Sequence,
    slots::SlotTable,
};
use crate::backend::{Backend, CallError, DraftCall, EmbedLimits, Op, SeqKey, StepOutcome, StepPlan};

/// What a scheduler is told about its worker.
#[derive(Clone, Copy, Debug)]
pub struct SchedulerConfig {
    /// The pool it hands out.
    pub shape: PoolShape,
    /// Prefill time between two decodes at most.
    pub max_stall: Duration,
    /// A batch request counts as if it had arrived this much later.
    pub batch_aging: Duration,
    /// A request whose reader is behind keeps its slot for so long while others wait.
    pub park_after: Duration,
    /// Reuse equal prompt beginnings; needs a backend that can copy and cut KV.
    pub prefix_reuse: bool,
    /// The sliding window of the model, 0 without one: see [`Backend::window`](crate::backend::Backend::window).
    pub window: usize,
    /// Move sequences so that decodes are not split; needs a backend that can copy KV.
    pub compact: bool,
    /// Bit-identical results whoever else runs.
    pub reproducible: bool,
    /// How texts are embedded.
    pub embed: EmbedLimits,
    /// How requests speculate that do not say; `None` where the backend cannot cut drafts out of its KV.
    pub speculation: Option<Speculation>,
    /// Whether there is a draft model: see [`Backend::has_draft_model`](crate::backend::Backend::has_draft_model).
    pub has_draft_model: bool,
}

impl SchedulerConfig {
    /// For a worker of an engine with this configuration and this backend.
    pub fn of(config: &EngineConfig, backend: &impl Backend) -> Self {
        let shape = backend.shape();
        // With several slots in a context, reproducible results come from the kernels, whatever the calls look like.
        let fixed_calls = config.reproducible && shape.slots == 1;
        Self {
            shape,
            max_stall: config.max_stall,
            batch_aging: config.batch_aging,
            park_after: config.park_after,
            prefix_reuse: config.prefix_reuse && backend.can_reuse_prefix() && !fixed_calls,
            window: backend.window(),
            compact: backend.can_swap(),
            reproducible: fixed_calls,
            embed: backend.embed_limits(),
            speculation: (backend.can_reuse_prefix() && !fixed_calls).then_some(config.speculation),
            has_draft_model: backend.has_draft_model(),
        }
    }
}

/// What the worker passes on.
#[derive(Clone, Debug)]
pub enum Effect {
    /// The request no longer waits: it got a slot or ended without one.
    LeftQueue {
        /// The request.
        id: RequestId,
    },
    /// Something for the caller.
    Event {
        /// The request.
        id: RequestId,
        /// Exactly one `Finished` comes for each request, as its last event.
        event: Event,
    },
}

/// Decides for one worker which request gets which slot, and what is computed next.
pub struct Scheduler {
    config: SchedulerConfig,
    vocab: Arc<TokenTable>,
    sequences: Slab<Sequence>,
    keys: HashMap<RequestId, SeqKey>,
    waiting: WaitQueue,
    slots: SlotTable,
    embeddings: Embeddings,
    prefill_cost: PrefillCost,
    decode_cost: DecodeCost,
    /// How often guesses of all sequences were right.
    rates: Rates,
    /// What requests wrote that have ended.
    memory: Memory,
    /// Of the draft model's context.
    seats: Seats,
    /// The time of one guess of the draft model, by sequences.
    draft_cost: DecodeCost,
    /// The time in which it reads.
    draft_prefill: PrefillCost,
    drafting: Option<DraftCall>,
    embed_cost: PrefillCost,
    /// Where the next chunk of a prompt must end at the latest.
    prefill_stops: HashMap<SeqKey, usize>,
    turn: Turn,
    in_flight: Option<InFlight>,
    /// Contexts in which a copy waits for the next call: it moves data only then.
    copying: Vec<bool>,
    /// Housekeeping that ends of sequences left for the next plan.
    pending_ops: Vec<Op>,
    effects: Vec<Effect>,
    /// Others wait for this worker's processors.
    crowded: bool,
    next_deadline: Option<Duration>,
    arrivals: u64,
    totals: WorkerTotals,
}

impl Scheduler {
    /// A scheduler with all slots empty.
    pub fn new(config: SchedulerConfig, vocab: Arc<TokenTable>) -> Self {
        Self {
            slots: SlotTable::new(config.shape, config.window),
            config,
            vocab,
            sequences: Slab::new(),
            keys: HashMap::new(),
            waiting: WaitQueue::default(),
            embeddings: Embeddings::default(),
            prefill_cost: PrefillCost::default(),
            decode_cost: DecodeCost::default(),
            rates: Rates::of_all(),
            memory: Memory::default(),
            seats: Seats::new(if config.has_draft_model { config.shape.contexts * config.shape.slots } else { 0 }),
            draft_cost: DecodeCost::default(),
            draft_prefill: PrefillCost::default(),
            drafting: None,
            embed_cost: PrefillCost::default(),
            prefill_stops: HashMap::new(),
            turn: Turn::default(),
            in_flight: None,
            copying: vec![false; config.shape.contexts],
            pending_ops: Vec::new(),
            effects: Vec::new(),
            crowded: false,
            next_deadline: None,
            arrivals: 0,
            totals: WorkerTotals::default(),
        }
    }

    /// Puts a request in line. It was checked before: at least one token, prompt and output fit into a slot.
    pub fn submit(&mut self, new: NewSequence) {
        debug_assert!(!new.prompt.is_empty() && new.prompt.len() < self.config.shape.n_ctx);
        self.arrivals += 1;
        self.totals.requests.submitted += 1;
        let queue_key = QueueKey::new(new.priority, new.submitted, self.arrivals, self.config.batch_aging);
        let id = new.id;
        let sequence = Sequence::new(new, queue_key, &self.config, &self.vocab);
        self.next_deadline = self.next_deadline.into_iter().chain(sequence.next_deadline()).min();
        let key = self.sequences.insert(sequence);
        self.keys.insert(id, key);
        self.waiting.insert(queue_key, key);
    }

    /// Ends a request at its caller's wish; unknown and finished ones are ignored.
    pub fn cancel(&mut self, id: RequestId, now: Duration) {
        if let Some(&key) = self.keys.get(&id) {
            self.finish(key, FinishReason::Cancelled, None, None, now);
        } else {
            self.cancel_embedding(id, now);
        }
    }

    /// Ends every request.
    pub fn cancel_all(&mut self, now: Duration) {
        let keys: Vec<SeqKey> = self.sequences.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.finish(key, FinishReason::Cancelled, None, None, now);
        }
        self.cancel_all_embeddings(now);
    }

    /// Stops or goes on decoding a request whose reader is behind. Its slot stays its own until others wait for one.
    pub fn set_paused(&mut self, id: RequestId, paused: bool, now: Duration) {
        let Some(&key) = self.keys.get(&id) else { return };
        let sequence = &mut self.sequences[key];
        sequence.paused = paused.then(|| sequence.paused.unwrap_or(now));
        if sequence.parked.is_some() {
            if paused {
                self.waiting.remove(sequence.queue_key, key);
            } else {
                self.waiting.insert(sequence.queue_key, key);
            }
        }
    }

    /// Whether others wait for this worker's processors: then its calls are no longer than beside sequences that decode.
    pub fn set_crowded(&mut self, crowded: bool) {
        self.crowded = crowded;
    }

    /// Whether all that it computes is for requests of the batch class.
    pub fn is_batch_only(&self) -> bool {
        self.embeddings.is_batch_only() && self.sequences.iter().all(|(_, s)| s.priority == Priority::Batch)
    }

    /// The next thing to compute. Every plan is followed by one [`apply`](Self::apply).
    pub fn plan(&mut self, now: Duration) -> StepPlan {
        debug_assert!(self.in_flight.is_none(), "plan() without apply()");
        self.expire(now);
        let mut ops = std::mem::take(&mut self.pending_ops);
        if self.config.compact {
            self.compact(&mut ops);
        }
        self.park_unread(now, &mut ops);
        let unparked = self.admit(now, &mut ops);
        for op in &ops {
            if let Op::Copy { dst, .. } = op {
                self.copying[dst.context] = true;
            }
        }
        // What cannot be brought back must not be computed with.
        let next = if unparked { None } else { self.next_call() };
        let (mut call, mut embed, mut draft) = (None, None, None);
        match next {
            Some(NextCall::Rows(rows)) => {
                self.in_flight = Some(self.note_in_flight(&rows, &ops));
                call = Some(rows);
            }
            Some(NextCall::Embed(texts)) => embed = Some(texts),
            Some(NextCall::Draft(guesses)) => {
                self.drafting = Some(guesses.clone());
                draft = Some(guesses);
            }
            None => {}
        }
        StepPlan { ops, call, embed, draft }
    }

    /// Takes what the backend made of the last plan and returns what callers should hear.
    pub fn apply(&mut self, outcome: StepOutcome, now: Duration) -> Vec<Effect> {
        for key in outcome.lost {
            let message =
                "the memory for a request whose reader was slow could not be had; read faster or allow fewer requests";
            self.finish(key, FinishReason::Error, None, Some(Error::new(ErrorKind::OutOfMemory, message)), now);
        }
        for held in &outcome.held {
            self.slots.set_first(held.slot, held.first);
        }
        if let Some(call) = self.in_flight.take() {
            match outcome.sampled {
                Ok(tokens) => {
                    self.copying[call.context] = false;
                    self.apply_tokens(call, tokens, outcome.scored, outcome.elapsed, now);
                    for (key, tokens) in outcome.forced {
                        let sequence = self.sequences.get_mut(key);
                        if let Some(drafts) = sequence.and_then(|sequence| sequence.drafts.as_mut()) {
                            drafts.set_forced(tokens);
                        }
                    }
                }
                Err(error) => {
                    let error = Error::new(ErrorKind::Decode, format!("llama.cpp failed: {}", error.message));
                    for Part { key, .. } in call.parts {
                        self.finish(key, FinishReason::Error, None, Some(error.clone()), now);
                    }
                }
            }
        }
        if let (Some(call), Some(drafted)) = (self.drafting.take(), outcome.drafted) {
            self.apply_drafted(call, drafted, outcome.elapsed);
        }
        if let Some(vectors) = outcome.vectors {
            self.apply_vectors(vectors, outcome.elapsed, now);
        }
        std::mem::take(&mut self.effects)
    }

    /// Whether a further plan would compute something now.
    pub fn has_work(&self) -> bool {
        self.sequences.iter().any(|(_, s)| s.is_runnable() || s.is_prefilling())
            || (self.waiting.len() > 0 && self.slots.has_free())
            || !self.embeddings.is_empty()
            || !self.pending_ops.is_empty()
            || !self.effects.is_empty()
    }

    /// The moment at which a deadline strikes next or an unread request gives its slot up, if there is nothing else to do.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.next_deadline.into_iter().chain(self.next_parking()).min()
    }

    /// Whether there is no request at all.
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty() && self.embeddings.is_empty()
    }

    /// Sums so far, and how many requests run and wait.
    pub fn totals(&self) -> WorkerTotals {
        let (embedding, to_embed) = self.embeddings.running_and_waiting();
        let waiting = self.waiting.len();
        let parked = self.sequences.iter().filter(|(_, s)| s.parked.is_some() && s.paused.is_some()).count();
        let running = self.sequences.len() - waiting - parked + embedding;
        let mut totals = self.totals;
        (totals.running, totals.waiting, totals.parked) = (running, waiting + to_embed, parked);
        totals
    }

    /// What each slot is doing, in the order of their numbers.
    pub fn slots(&self) -> impl Iterator<Item = SlotStats> {
        self.slots.iter().map(|(_, slot)| match slot.owner {
            None => SlotStats { n_tokens: slot.held.len(), ..SlotStats::default() },
            Some(key) => self.sequences[key].slot_stats(),
        })
    }

    fn expire(&mut self, now: Duration) {
        if self.next_deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        let is_late = |s: &Sequence| s.next_deadline().is_some_and(|deadline| now >= deadline);
        let late: Vec<_> = self.sequences.iter().filter(|(_, s)| is_late(s)).map(|(key, _)| key).collect();
        for key in late {
            self.finish(key, FinishReason::Deadline, None, None, now);
        }
        self.expire_embeddings(now);
        let deadlines = self.sequences.iter().filter_map(|(_, s)| s.next_deadline());
        self.next_deadline = deadlines.chain(self.embeddings.next_deadline()).min();
    }

    /// The one place where a request ends.
    fn finish(&mut self, key: SeqKey, reason: FinishReason, stop: Option<usize>, error: Option<Error>, now: Duration) {
        let mut sequence = self.sequences.remove(key);
        let id = sequence.id;
        self.keys.remove(&id);
        if sequence.admitted.is_some() {
            self.pending_ops.push(Op::End { key });
        }
        if sequence.drafts.is_some() {
            if sequence.timings.n_output_tokens > 0 {
                self.memory.add(sequence.written());
            }
            self.seats.leave(&mut sequence.drafts);
        }
        match sequence.slot {
            Some(slot) => {
                let held = if reason == FinishReason::Error {
                    self.pending_ops.push(Op::Truncate { slot, keep: 0 });
                    Vec::new()
                } else {
                    sequence.tokens.truncate(sequence.computed);
                    std::mem::take(&mut sequence.tokens)
                };
                self.slots.release(slot, held);
            }
            None if sequence.parked.is_some() => {
                self.waiting.remove(sequence.queue_key, key);
            }
            None => {
                self.waiting.remove(sequence.queue_key, key);
                sequence.timings.queue = now.saturating_sub(sequence.submitted);
                self.effects.push(Effect::LeftQueue { id });
            }
        }
        let slot = sequence.slot.map_or(0, |slot| self.slots.index(slot));
        let effects = &mut self.effects;
        sequence.show_rest(slot, &mut |delta| effects.push(Effect::Event { id, event: Event::Delta(delta) }));
        self.totals.requests.count(reason);
        sequence.timings.e2e = now.saturating_sub(sequence.submitted);
        let mut finish = Finish::new(reason, sequence.timings);
        (finish.stop, finish.error) = (stop, error);
        self.effects.push(Effect::Event { id, event: Event::Finished(Box::new(finish)) });
    }

    /// Panics if any rule of the state is broken; for tests, after every step.
    pub fn check_invariants(&self) {
        let shape = self.config.shape;
        assert_eq!(self.keys.len(), self.sequences.len());
        assert_eq!(self.slots.len(), shape.contexts * shape.slots);
        self.embeddings.check_invariants(shape.n_ctx, self.config.embed);
        let mut owned = 0;
        for (id, slot) in self.slots.iter() {
            assert!(slot.held.len() <= shape.n_ctx, "held KV within the slot");
            if let Some(key) = slot.owner {
                owned += 1;
                assert!(slot.held.is_empty(), "an occupied slot holds nothing for others");
                assert_eq!(self.sequences[key].slot, Some(id), "a slot is owned once");
            }
        }
        let seated =
            self.sequences.iter().filter(|(_, s)| s.drafts.as_ref().is_some_and(|drafts| drafts.has_seat())).count();
        let n_seats = if self.config.has_draft_model { shape.contexts * shape.slots } else { 0 };
        assert_eq!(seated + self.seats.n_free(), n_seats, "each seat is somebody's or free");
        let (mut waiting, mut unread) = (0, 0);
        for (key, sequence) in &self.sequences {
            sequence.check_invariants(shape.n_ctx);
            assert_eq!(self.keys.get(&sequence.id), Some(&key));
            match sequence.slot {
                Some(slot) => assert_eq!(self.slots.get(slot).owner, Some(key)),
                None if sequence.parked.is_some() && sequence.paused.is_some() => unread += 1,
                None => waiting += 1,
            }
        }
        assert_eq!(owned + waiting + unread, self.sequences.len());
        assert_eq!(waiting, self.waiting.len());
    }
}
