//! Finding KV that is there already: equal prompt beginnings are computed once.

use llama_concurrent_types::Token;

use super::{sequence::Sequence, slots::SlotTable};
use crate::backend::SlotId;

/// Prefixes shorter than this are computed again: copying moves the whole stream, whatever its length.
const MIN_COPIED: usize = 16;
/// A running prefill is waited for if it will save at least this many tokens more than what is there now.
const MIN_AWAITED: usize = 32;

/// Where a request should start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// In this slot, whose first `cached` positions stay.
    InPlace { slot: SlotId, cached: usize },
    /// In this slot after copying the first `cached` positions from another slot of its context.
    CopyFrom { source: SlotId, slot: SlotId, cached: usize },
    /// Not yet: the running prefill in this slot is about to compute the same beginning of `shared` tokens.
    Await { source: SlotId, shared: usize },
}

pub(super) fn common_prefix(a: &[Token], b: &[Token]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// Decides where a prompt starts, of which the first `reusable` tokens need not be computed. There must be a free slot.
///
/// `owner` looks up a running sequence.
pub(super) fn find_start<'a>(
    reusable: &[Token],
    slots: &SlotTable,
    owner: impl Fn(usize) -> &'a Sequence,
) -> Option<Start> {
    let free_in: Vec<Option<SlotId>> = (0..slots.contexts()).map(|c| slots.cheapest_free(Some(c))).collect();
    // (tokens, in a free slot, slot): of equal lengths a free slot wins, because nothing need be copied
    let mut ready = (0, false, None);
    let mut coming = (0, None);
    for (id, slot) in slots.iter() {
        match slot.owner {
            None => {
                let shared = slots.reusable(id, slot.held.len(), common_prefix(reusable, &slot.held));
                if (shared, true) > (ready.0, ready.1) {
                    ready = (shared, true, Some(id));
                }
            }
            Some(key) if free_in[id.context].is_some() => {
                let sequence = owner(key);
                let shared = common_prefix(reusable, &sequence.tokens);
                let there = slots.reusable(id, sequence.computed, shared.min(sequence.computed));
                if (there, false) > (ready.0, ready.1) {
                    ready = (there, false, Some(id));
                }
                // What is computed already and dropped from a sliding window does not come again.
                if sequence.is_prefilling() && shared > sequence.computed {
                    coming = coming.max((shared, Some(id)));
                }
            }
            Some(_) => {}
        }
    }
    let (cached, is_free, source) = ready;
    if let (shared, Some(source)) = coming
        && shared >= cached + MIN_AWAITED
    {
        return Some(Start::Await { source, shared });
    }
    let Some(source) = source.filter(|_| cached > 0) else {
        return slots.cheapest_free(None).map(|slot| Start::InPlace { slot, cached: 0 });
    };
    let target = free_in[source.context];
    // Continuing in place spends what the slot holds beyond the shared part; fine if that is the lesser part
    // (the next turn of a chat), or if it would be the next to go anyway.
    if is_free && (cached * 2 >= slots.get(source).held.len() || target == Some(source)) {
        return Some(Start::InPlace { slot: source, cached });
    }
    match target {
        Some(slot) if cached >= MIN_COPIED => Some(Start::CopyFrom { source, slot, cached }),
        _ => slots.cheapest_free(None).map(|slot| Start::InPlace { slot, cached: 0 }),
    }
}
