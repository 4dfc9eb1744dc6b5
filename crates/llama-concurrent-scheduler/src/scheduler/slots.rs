//! Who sits in which slot, and what KV the empty ones still hold.

use llama_concurrent_types::{PoolShape, Token};

use crate::backend::{SeqKey, SlotId};

/// One KV stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub(super) owner: Option<SeqKey>,
    /// Tokens whose KV is still there after its last owner left; empty while occupied.
    pub(super) held: Vec<Token>,
    /// First position that every layer still holds: those with a sliding window drop older ones. Never less than what is
    /// there.
    pub(super) first: usize,
    /// Larger is more recent.
    last_used: u64,
}

/// All slots of one worker.
#[derive(Clone, Debug)]
pub(super) struct SlotTable {
    slots: Vec<Slot>,
    per_context: usize,
    /// Positions that a layer with a sliding window attends to; 0 without one.
    window: usize,
    clock: u64,
}

impl SlotTable {
    pub(super) fn new(shape: PoolShape, window: usize) -> Self {
        let slots = vec![Slot::default(); shape.contexts * shape.slots];
        Self { slots, per_context: shape.slots, window, clock: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn contexts(&self) -> usize {
        self.slots.len() / self.per_context
    }

    /// Its number among all slots of the worker.
    pub(super) fn index(&self, id: SlotId) -> usize {
        id.context * self.per_context + id.seq
    }

    pub(super) fn get(&self, id: SlotId) -> &Slot {
        &self.slots[self.index(id)]
    }

    fn get_mut(&mut self, id: SlotId) -> &mut Slot {
        let index = self.index(id);
        &mut self.slots[index]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotId, &Slot)> {
        let per_context = self.per_context;
        self.slots
            .iter()
            .enumerate()
            .map(move |(i, slot)| (SlotId { context: i / per_context, seq: i % per_context }, slot))
    }

    /// The slots of one context in ascending order of `seq`.
    pub(super) fn of_context(&self, context: usize) -> impl Iterator<Item = (SlotId, &Slot)> {
        let first = context * self.per_context;
        self.slots[first..first + self.per_context]
            .iter()
            .enumerate()
            .map(move |(seq, slot)| (SlotId { context, seq }, slot))
    }

    pub(super) fn has_free(&self) -> bool {
        self.slots.iter().any(|slot| slot.owner.is_none())
    }

    /// The free slot whose loss costs least: an empty one, or the one left alone the longest.
    pub(super) fn cheapest_free(&self, context: Option<usize>) -> Option<SlotId> {
        self.iter()
            .filter(|(id, slot)| slot.owner.is_none() && context.is_none_or(|c| c == id.context))
            .min_by_key(|(_, slot)| if slot.held.is_empty() { 0 } else { slot.last_used + 1 })
            .map(|(id, _)| id)
    }

    /// How many of the first `keep` of `len` computed positions of a slot can be gone on from: all of them, or none if a
    /// layer has dropped what the next token would attend to.
    pub(super) fn reusable(&self, id: SlotId, len: usize, keep: usize) -> usize {
        let first = self.get(id).first;
        if keep == len || first == 0 || first + self.window <= keep + 1 { keep } else { 0 }
    }

    /// Notes what the backend says a slot still holds.
    pub(super) fn set_first(&mut self, id: SlotId, first: usize) {
        self.get_mut(id).first = first;
    }

    /// Seats a sequence; what the slot held is no longer its own. Returns how many tokens it held.
    pub(super) fn assign(&mut self, id: SlotId, key: SeqKey) -> usize {
        let slot = self.get_mut(id);
        debug_assert!(slot.owner.is_none());
        slot.owner = Some(key);
        std::mem::take(&mut slot.held).len()
    }

    /// Frees a slot that still holds the KV of `held`.
    pub(super) fn release(&mut self, id: SlotId, held: Vec<Token>) {
        self.clock += 1;
        let clock = self.clock;
        let slot = self.get_mut(id);
        slot.owner = None;
        slot.held = held;
        slot.last_used = clock;
    }

    /// Exchanges two slots of one context, with what they hold and its age.
    pub(super) fn swap(&mut self, a: SlotId, b: SlotId) {
        let first = a.context * self.per_context;
        self.slots.swap(first + a.seq, first + b.seq);
    }

    /// Notes that a slot is about to hold a copy of another one.
    pub(super) fn copy(&mut self, src: SlotId, dst: SlotId) {
        self.get_mut(dst).first = self.get(src).first;
    }

    /// Notes that what a free slot holds was useful just now.
    pub(super) fn touch(&mut self, id: SlotId) {
        self.clock += 1;
        self.get_mut(id).last_used = self.clock;
    }
}

/// A move that makes the decoding slots of a context more consecutive.
///
/// llama.cpp splits a decode at every gap in the sequence ids, and each part reads all weights.
/// Takes which slots decode and which are free; moves the outer slot of the shorter end run into a free gap.
pub(super) fn compaction_move(decoding: &[bool], free: &[bool]) -> Option<(usize, usize)> {
    let first = decoding.iter().position(|&d| d)?;
    let last = decoding.iter().rposition(|&d| d)?;
    let mut gaps = (first..last).filter(|&i| free[i]);
    let lowest_gap = gaps.next()?;
    let highest_gap = gaps.next_back().unwrap_or(lowest_gap);
    let front_run = decoding[first..].iter().take_while(|&&d| d).count();
    let back_run = decoding[..=last].iter().rev().take_while(|&&d| d).count();
    Some(if front_run < back_run { (first, highest_gap) } else { (last, lowest_gap) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(text: &str, wanted: char) -> Vec<bool> {
        text.chars().map(|c| c == wanted).collect()
    }

    #[test]
    fn gaps_are_closed_from_the_shorter_end() {
        // d decodes, p prefills, a dot is free
        for (slots, expected) in [
            ("ddd.", None),
            (".ddd", None),
            ("dpd.", None),
            ("d.dd", Some((0, 1))),
            ("dd.d", Some((3, 2))),
            ("ddd..d", Some((5, 3))),
            ("d..ddd", Some((0, 2))),
            ("d.", None),
            ("....", None),
            ("d.p.d", Some((4, 1))),
        ] {
            assert_eq!(compaction_move(&flags(slots, 'd'), &flags(slots, '.')), expected, "{slots}");
        }
    }

    #[test]
    fn repeated_moves_end_with_one_run() {
        for bits in 0..256u32 {
            let mut decoding: Vec<bool> = (0..8).map(|i| bits >> i & 1 == 1).collect();
            let mut moves = 0;
            while let Some((from, to)) = compaction_move(&decoding, &decoding.iter().map(|d| !d).collect::<Vec<_>>()) {
                decoding.swap(from, to);
                moves += 1;
                assert!(moves <= 8, "{bits:b}");
            }
            let runs = decoding.windows(2).filter(|w| !w[0] && w[1]).count() + usize::from(decoding[0]);
            assert!(runs <= 1, "{bits:b}");
        }
    }
}
