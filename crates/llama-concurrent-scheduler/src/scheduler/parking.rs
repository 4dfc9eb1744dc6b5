//! Requests that nobody reads give their slots up when others wait for one: their KV goes to memory, and comes back.

use std::time::Duration;

use super::{Scheduler, sequence::Sequence};
use crate::backend::{Op, SeqKey, SlotId};

impl Scheduler {
    /// Takes slots from requests that have not been read for a while, no more than are waited for.
    pub(super) fn park_unread(&mut self, now: Duration, ops: &mut Vec<Op>) {
        let free = self.slots.iter().filter(|(_, slot)| slot.owner.is_none()).count();
        let wanted = self.waiting.len().saturating_sub(free);
        if wanted == 0 {
            return;
        }
        let mut unread: Vec<(Duration, SeqKey, SlotId)> = self.unread().collect();
        unread.sort_unstable();
        for (_, key, slot) in unread
            .into_iter()
            .take_while(|(since, ..)| since.saturating_add(self.config.park_after) <= now)
            .take(wanted)
        {
            ops.push(Op::Park { key, slot });
            let sequence = &mut self.sequences[key];
            sequence.slot = None;
            self.seats.leave(&mut sequence.drafts);
            sequence.parked = Some(self.slots.get(slot).first);
            let held = sequence.tokens[..sequence.computed].to_vec();
            self.slots.release(slot, held);
        }
    }

    /// When the next request gives its slot up, if others wait for one.
    pub(super) fn next_parking(&self) -> Option<Duration> {
        if self.waiting.len() == 0 {
            return None;
        }
        self.unread().map(|(since, ..)| since.saturating_add(self.config.park_after)).min()
    }

    /// Requests in slots that are not read, since when. None of a context in which a copy waits for the next call.
    fn unread(&self) -> impl Iterator<Item = (Duration, SeqKey, SlotId)> {
        self.slots.iter().filter_map(|(id, slot)| {
            let key = slot.owner?;
            let sequence = &self.sequences[key];
            let since = sequence.paused.filter(|_| sequence.is_decoding() && !self.copying[id.context])?;
            Some((since, key, id))
        })
    }

    /// Gives a parked request a free slot, if there is one.
    pub(super) fn unpark(&mut self, key: SeqKey, ops: &mut Vec<Op>) -> bool {
        let sequence = &self.sequences[key];
        let Some(slot) = self.slot_for(sequence, ops) else { return false };
        self.waiting.remove(sequence.queue_key, key);
        self.slots.assign(slot, key);
        ops.push(Op::Unpark { key, slot });
        let sequence = &mut self.sequences[key];
        sequence.slot = Some(slot);
        let first = sequence.parked.take();
        self.slots.set_first(slot, first.unwrap_or_default());
        true
    }

    /// Its old slot, if nobody else has taken that, or the one whose loss costs least.
    fn slot_for(&self, sequence: &Sequence, ops: &[Op]) -> Option<SlotId> {
        let own = &sequence.tokens[..sequence.computed];
        // What waits to be copied there would be overwritten.
        let copies = |op: &Op, context: usize| matches!(op, Op::Copy { dst, .. } if dst.context == context);
        let usable = |context: usize| !self.copying[context] && !ops.iter().any(|op| copies(op, context));
        let is_old =
            self.slots.iter().find(|(id, slot)| slot.owner.is_none() && usable(id.context) && slot.held == own);
        is_old.map(|(id, _)| id).or_else(|| {
            (0..self.slots.contexts())
                .filter(|&context| usable(context))
                .find_map(|context| self.slots.cheapest_free(Some(context)))
        })
    }
}
