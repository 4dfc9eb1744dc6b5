//! Who gets a free slot, where in it the work starts, and keeping decoding slots side by side.

use std::time::Duration;

use super::{
    Effect, Scheduler,
    prefix::{self, Start},
    slots,
};
use crate::backend::{Op, SeqKey, SlotId};

/// Waiting requests that are looked at for one free slot while those before them await a running prefill.
const MAX_LOOKAHEAD: usize = 64;

impl Scheduler {
    /// Moves one sequence per context so that decoding slots come to stand side by side. What a free slot held may be the
    /// beginning of somebody's next turn, and is kept in the slot that becomes free.
    pub(super) fn compact(&mut self, ops: &mut Vec<Op>) {
        if self.config.shape.slots < 3 {
            return;
        }
        for context in 0..self.config.shape.contexts {
            if self.copying[context] {
                continue;
            }
            let is_decoding = |key: Option<SeqKey>| key.is_some_and(|key| self.sequences[key].is_decoding());
            let decoding: Vec<bool> = self.slots.of_context(context).map(|(_, s)| is_decoding(s.owner)).collect();
            let free: Vec<bool> = self.slots.of_context(context).map(|(_, s)| s.owner.is_none()).collect();
            if let Some((from, to)) = slots::compaction_move(&decoding, &free) {
                self.move_sequence(SlotId { context, seq: from }, SlotId { context, seq: to }, ops);
            }
        }
    }

    fn move_sequence(&mut self, from: SlotId, to: SlotId, ops: &mut Vec<Op>) {
        let Some(key) = self.slots.get(from).owner else { return };
        self.slots.swap(from, to);
        self.sequences[key].slot = Some(to);
        ops.push(Op::Swap { a: from, b: to });
    }

    /// Gives free slots to those who wait; whether what was parked comes back with that.
    pub(super) fn admit(&mut self, now: Duration, ops: &mut Vec<Op>) -> bool {
        self.prefill_stops.clear();
        if self.waiting.len() == 0 || !self.slots.has_free() {
            return false;
        }
        let candidates: Vec<SeqKey> = self.waiting.iter().take(MAX_LOOKAHEAD).collect();
        for key in candidates {
            if self.sequences[key].parked.is_some() {
                // What comes back may be lost on its way, so nothing else builds on this plan.
                if self.unpark(key, ops) {
                    return true;
                }
                continue;
            }
            let start = if self.config.prefix_reuse && self.sequences[key].prefix_reuse {
                prefix::find_start(self.sequences[key].reusable(), &self.slots, |k| &self.sequences[k])
            } else {
                self.slots.cheapest_free(None).map(|slot| Start::InPlace { slot, cached: 0 })
            };
            match start {
                None => return false,
                Some(Start::Await { source, shared }) => self.stop_prefill(source, shared),
                Some(start) => self.assign(key, start, now, ops),
            }
        }
        false
    }

    /// Has a running prefill stop where others wait to go on from it: once it is further, a sliding window may have dropped
    /// what they need.
    fn stop_prefill(&mut self, source: SlotId, shared: usize) {
        if self.config.window > 0
            && let Some(key) = self.slots.get(source).owner
        {
            let stop = self.prefill_stops.entry(key).or_insert(shared);
            *stop = shared.min(*stop);
        }
    }

    fn assign(&mut self, key: SeqKey, start: Start, now: Duration, ops: &mut Vec<Op>) {
        let (slot, cached, source) = match start {
            Start::InPlace { slot, cached } => (slot, cached, None),
            Start::CopyFrom { source, slot, cached } => (slot, cached, Some(source)),
            Start::Await { .. } => return,
        };
        let held = self.slots.assign(slot, key);
        match source {
            Some(src) => {
                if self.slots.get(src).owner.is_none() {
                    self.slots.touch(src);
                }
                self.slots.copy(src, slot);
                ops.push(Op::Copy { src, dst: slot, keep: cached });
            }
            None if held > cached => ops.push(Op::Truncate { slot, keep: cached }),
            None => {}
        }
        let sequence = &mut self.sequences[key];
        self.waiting.remove(sequence.queue_key, key);
        sequence.slot = Some(slot);
        sequence.computed = cached;
        sequence.admitted = Some(now);
        sequence.timings.queue = now.saturating_sub(sequence.submitted);
        sequence.timings.n_cached_tokens = cached;
        self.totals.cached_tokens += cached as u64;
        self.effects.push(Effect::LeftQueue { id: sequence.id });
        let id = sequence.id;
        self.effects.extend(sequence.progress().map(|event| Effect::Event { id, event }));
        ops.push(Op::Begin {
            key,
            params: sequence.params.clone(),
            history: sequence.penalty_history(),
            matcher: sequence.matcher.take(),
            drafts: sequence.drafts.is_some(),
        });
    }
}
