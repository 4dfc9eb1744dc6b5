//! Whether to draft, by what, and how far: decisions of the scheduler.

use std::{collections::BTreeSet, time::Duration};

use super::{
    super::{CallError, Scheduler},
    Best, Drafts, Seat, best_length,
    rates::Source,
};
use crate::backend::{DraftCall, DraftPart, Drafted, SeqKey, SlotId, rows_for_each};

/// What a token of a draft model costs beside one of the model, before the first was seen.
const USUAL_COST_OF_GUESS: f64 = 0.15;
/// What the draft model has to read before its first guess has to pay for itself within so many tokens.
const PAYBACK: f64 = 64.0;
/// Tokens that it may be behind for a call that also guesses.
const MAX_BEHIND: usize = 32;
/// After so many tokens the draft model is asked again, even if it was of no use before.
const ASK_AGAIN: usize = 512;
/// Guesses that it is asked for then.
const TRIAL: usize = 4;

/// KV streams of the draft model's context.
#[derive(Debug, Default)]
pub(in super::super) struct Seats(BTreeSet<usize>);

impl Seats {
    pub(in super::super) fn new(n: usize) -> Self {
        Self((0..n).collect())
    }

    /// How many are free.
    pub(in super::super) fn n_free(&self) -> usize {
        self.0.len()
    }

    /// Takes back the seat of a sequence, which holds nothing of it any more.
    pub(in super::super) fn leave(&mut self, drafts: &mut Option<Box<Drafts>>) {
        self.0.extend(drafts.as_mut().and_then(|drafts| drafts.seat.take()).map(|seat| seat.index));
    }
}

/// What comes before the next decode call of some sequences.
pub(in super::super) enum Ahead {
    /// The draft model guesses.
    Ask(DraftCall),
    /// Nothing: each gets so many rows for its draft.
    Draft(usize),
}

/// The next decode call of a context, and the turn around it.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// Sequences of the call.
    n: usize,
    /// Rows that each may have behind its first.
    room: usize,
    /// Seconds of the call without drafts.
    plain: f64,
    /// Seconds of the decode calls of other contexts in the turn.
    others: f64,
}

/// A sequence that the draft model may be asked for, and how many guesses it has use for.
struct Asked {
    key: SeqKey,
    most: usize,
}

impl Scheduler {
    /// Has sequences that are decoded together guess how they go on. `has_asked`: the draft model has been asked just now.
    pub(in super::super) fn look_ahead(
        &mut self,
        context: usize,
        decoding: &[(SlotId, SeqKey)],
        has_asked: bool,
    ) -> Ahead {
        let n = decoding.len();
        let left = decoding.iter().map(|&(_, key)| self.config.shape.n_ctx - 1 - self.sequences[key].computed).min();
        let room = (rows_for_each(self.config.shape, n) - 1).min(left.unwrap_or(0));
        // Who drafts whatever it costs must not slow down those who do not.
        let in_slots = || self.sequences.iter().map(|(_, s)| s).filter(|s| s.slot.is_some());
        let all_want = in_slots().all(|s| s.drafts.as_ref().is_some_and(|drafts| drafts.always));
        // Rows are idle only while nothing else waits to be computed.
        let is_idle = in_slots().all(|s| !s.is_prefilling()) && self.embeddings.is_empty();
        let (mut longest, mut chances) = (0, Vec::with_capacity(n));
        for &(_, key) in decoding {
            let sequence = &mut self.sequences[key];
            let most = room.min(sequence.room_for_draft());
            let Some(drafts) = &mut sequence.drafts else {
                chances.push(Vec::new());
                continue;
            };
            if drafts.answered_at != Some(sequence.tokens.len()) {
                drafts.guess(&sequence.tokens, most, &self.memory);
            }
            longest = longest.max(drafts.guesses.len());
            chances.push(drafts.chances(&self.rates));
        }
        let always = if all_want { longest.min(room) } else { 0 };
        // The first call tells what one costs.
        let plain = self.decode_cost.seconds(n).filter(|_| room > 0 && is_idle);
        let Some(plain) = plain else { return Ahead::Draft(always) };
        let mut round = Round { n, room, plain, others: 0.0 };
        for other in (0..self.config.shape.contexts).filter(|&other| other != context) {
            let owners = self.slots.of_context(other).filter_map(|(_, slot)| slot.owner);
            let n = owners.filter(|&key| self.sequences[key].is_runnable()).count();
            if n > 0 {
                round.others += self.decode_cost.seconds(n).unwrap_or(plain);
                chances.extend(std::iter::repeat_n(Vec::new(), n));
            }
        }
        let best = best_length(&chances, room, |length| self.seconds(&round, length));
        if !has_asked && let Some(call) = self.ask(decoding, chances, &round, best, all_want) {
            return Ahead::Ask(call);
        }
        Ahead::Draft(always.max(best.length))
    }

    /// What the decode calls of a turn take with drafts of a length.
    fn seconds(&self, round: &Round, length: usize) -> f64 {
        round.others + self.decode_cost.seconds(round.n * (length + 1)).unwrap_or(round.plain)
    }

    /// What to ask the draft model, if that promises more than the `best` without it, or everybody `wants` it. The guesses
    /// without it have these `chances`.
    fn ask(
        &mut self,
        decoding: &[(SlotId, SeqKey)],
        mut chances: Vec<Vec<f64>>,
        round: &Round,
        best: Best,
        wants: bool,
    ) -> Option<DraftCall> {
        if !self.config.has_draft_model {
            return None;
        }
        let (mut asked, mut n_behind, mut is_due) = (Vec::new(), 0, false);
        for (&(_, key), chances) in decoding.iter().zip(&mut chances) {
            let sequence = &self.sequences[key];
            let n_tokens = sequence.tokens.len();
            let can_ask = |drafts: &&Drafts| drafts.asks && drafts.answered_at != Some(n_tokens);
            let Some(drafts) = sequence.drafts.as_deref().filter(can_ask) else { continue };
            let most = round.room.min(sequence.room_for_draft()).min(drafts.most);
            let by_model = vec![drafts.rates.chance(Source::AnyModel, &self.rates); most];
            if most > 0 && (wants || expected_tokens(&by_model) > expected_tokens(chances)) {
                asked.push(Asked { key, most });
                n_behind += n_tokens - drafts.seat.map_or(0, |seat| seat.held);
                is_due |= n_tokens >= drafts.asked_at + ASK_AGAIN;
                *chances = by_model;
            }
        }
        let longest = asked.iter().map(|one| one.most).max()?;
        let step = self.draft_cost.seconds(asked.len()).unwrap_or(round.plain * USUAL_COST_OF_GUESS);
        let per_token = self.draft_prefill.seconds_per_token().unwrap_or(step / 4.0);
        let seconds = |length: usize| self.seconds(round, length) + step * length as f64;
        let with_model = best_length(&chances, round.room, seconds);
        let mut rate = with_model.rate;
        if n_behind > asked.len() * MAX_BEHIND {
            rate = 1.0 / (1.0 / rate + n_behind as f64 * per_token / PAYBACK);
        }
        let length = match with_model.length {
            _ if wants => longest,
            length if length > 0 && rate > best.rate => length,
            _ if is_due => longest.min(TRIAL),
            _ => return None,
        };
        // A guess more has to be worth the time that it and its row take.
        let further = (seconds(length) - seconds(length - 1)).max(step);
        let least = if wants { 0.0 } else { (further * best.rate.max(rate) / asked.len() as f64).min(0.5) };
        self.draft_call(&asked, length, least)
    }

    /// Has the draft model read what it has missed, as much as others can wait for, and guess so far.
    fn draft_call(&mut self, asked: &[Asked], length: usize, least: f64) -> Option<DraftCall> {
        let mut room_to_read = self.rows_within(&self.draft_prefill, self.config.max_stall / 2);
        let mut parts = Vec::new();
        for &Asked { key, most } in asked {
            let sequence = &mut self.sequences[key];
            let Some(drafts) = &mut sequence.drafts else { continue };
            drafts.clear();
            let free = || self.seats.0.pop_first().map(|index| Seat { index, held: 0, guessed: 0 });
            let Some(seat) = drafts.seat.or_else(free) else { continue };
            drafts.seat = Some(seat);
            drafts.asked_at = sequence.tokens.len();
            // The last token is always read: what follows it is asked.
            let keep = seat.held.min(sequence.tokens.len() - 1);
            let behind = &sequence.tokens[keep..];
            let tokens = behind[..behind.len().min(room_to_read.max(MAX_BEHIND))].to_vec();
            let n = if tokens.len() == behind.len() { length.min(most) } else { 0 };
            room_to_read = room_to_read.saturating_sub(tokens.len());
            parts.push(DraftPart { key, seat: seat.index, keep, tokens, n, least });
        }
        parts.sort_unstable_by_key(|part| part.seat);
        (!parts.is_empty()).then_some(DraftCall { parts })
    }

    /// Takes what the draft model guessed.
    pub(in super::super) fn apply_drafted(
        &mut self,
        call: DraftCall,
        drafted: Result<Vec<Vec<Drafted>>, CallError>,
        elapsed: Duration,
    ) {
        let n_read: usize = call.parts.iter().map(|part| part.tokens.len()).sum();
        let n_steps = match &drafted {
            Ok(drafted) => drafted.iter().map(Vec::len).max().unwrap_or(0),
            Err(_) => 0,
        };
        self.totals.draft_model.add(n_read, elapsed);
        if n_steps > 0 && n_read <= 4 * call.parts.len() {
            self.draft_cost.observe(call.parts.len(), elapsed / n_steps as u32);
        } else if n_steps == 0 && drafted.is_ok() {
            self.draft_prefill.observe(n_read, elapsed);
        }
        let mut answers = match drafted {
            Ok(drafted) => drafted.into_iter().map(Some).collect(),
            Err(error) => {
                tracing::warn!(
                    "the draft model failed and is not asked for these requests any more: {}",
                    error.message
                );
                vec![None; call.parts.len()]
            }
        }
        .into_iter();
        for part in call.parts {
            let Some(drafts) = &mut self.sequences[part.key].drafts else { continue };
            match answers.next().flatten() {
                Some(guesses) => drafts.answer(part.keep + part.tokens.len(), &guesses),
                None => {
                    drafts.asks = false;
                    drafts.seat = drafts.seat.map(|seat| Seat { held: 0, guessed: 0, ..seat });
                }
            }
        }
    }
}

/// Tokens that guesses with these chances are worth.
fn expected_tokens(chances: &[f64]) -> f64 {
    let right = chances.iter().scan(1.0, |right, chance| {
        *right *= chance;
        Some(*right)
    });
    right.sum()
}
