//! Whether to draft, by what, and how far: decisions of the scheduler.

use std::{collections::BTreeSet, time::Duration};

use super::{
    super::{CallError, Scheduler},
    Best, Drafts, Seat, best_length,
    rates::Source,
};
use crate::backend::{DraftCall, DraftPart, Drafted, SeqKey, SlotId, scored_rows};

/// What a token of a draft model costs beside one of the model, before the first was seen.
const USUAL_COST_OF_GUESS: f64 = 0.15;
/// What the draft model has to read before its first guess has to pay for itself within so many tokens.
const PAYBACK: f64 = 64.0;
/// Tokens that it may be behind for a call that also guesses.
const MAX_BEHIND: usize = 32;
/// After so many tokens the draft model is asked again, even if it was of no use before.
const ASK_AGAIN: usize = 512;

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

impl Scheduler {
    /// Has sequences that are decoded together guess how they go on. `has_asked`: the draft model has been asked just now.
    pub(in super::super) fn look_ahead(&mut self, decoding: &[(SlotId, SeqKey)], has_asked: bool) -> Ahead {
        let n = decoding.len();
        let n_ctx = self.config.shape.n_ctx;
        let room = (scored_rows(self.config.shape) / n).saturating_sub(1);
        let room = decoding.iter().map(|&(_, key)| n_ctx - 1 - self.sequences[key].computed).fold(room, usize::min);
        let (mut always, mut chances) = (0, Vec::with_capacity(n));
        for &(_, key) in decoding {
            let sequence = &mut self.sequences[key];
            let left = sequence.room_for_draft();
            let Some(drafts) = &mut sequence.drafts else {
                chances.push(Vec::new());
                continue;
            };
            if drafts.answered_at != Some(sequence.tokens.len()) {
                drafts.guess(&sequence.tokens, room.min(left), &self.memory);
            }
            if drafts.always {
                always = always.max(drafts.guesses.len());
            }
            chances.push(drafts.chances(&self.rates));
        }
        // Rows are idle only while nothing else waits to be computed; and the first call tells what one costs.
        let is_idle = self.sequences.iter().all(|(_, s)| !s.is_prefilling()) && self.embeddings.is_empty();
        let cost = self.decode_cost.seconds(n).filter(|_| is_idle && room > 0);
        let Some(plain) = cost else { return Ahead::Draft(always.min(room)) };
        let best = best_length(&chances, room, |length| self.seconds(n, length, plain));
        if !has_asked && let Some(call) = self.ask(decoding, &chances, room, plain, best) {
            return Ahead::Ask(call);
        }
        Ahead::Draft(always.max(best.length).min(room))
    }

    /// What a call of `n` sequences takes with drafts of a length, where it takes `plain` without.
    fn seconds(&self, n: usize, length: usize, plain: f64) -> f64 {
        self.decode_cost.seconds(n * (length + 1)).unwrap_or(plain)
    }

    /// What to ask the draft model, if that promises more than the `best` without it, whose guesses have these `chances`.
    fn ask(
        &mut self,
        decoding: &[(SlotId, SeqKey)],
        chances: &[Vec<f64>],
        room: usize,
        plain: f64,
        best: Best,
    ) -> Option<DraftCall> {
        if !self.config.has_draft_model {
            return None;
        }
        let n = decoding.len();
        let (mut asked, mut hoped, mut n_behind) = (Vec::new(), chances.to_vec(), 0);
        let (mut always, mut is_due) = (0, false);
        for (&(_, key), chances) in decoding.iter().zip(&mut hoped) {
            let sequence = &self.sequences[key];
            let most = room.min(sequence.room_for_draft());
            let Some(drafts) = sequence.drafts.as_ref().filter(|drafts| drafts.asks && most > 0) else { continue };
            if drafts.answered_at == Some(sequence.tokens.len()) {
                continue;
            }
            let chance = drafts.rates.chance(Source::AnyModel, &self.rates);
            let by_model = vec![chance; most.min(drafts.most)];
            if drafts.always || tokens(&by_model) > tokens(chances) {
                asked.push((key, by_model.len()));
                always = always.max(if drafts.always { by_model.len() } else { 0 });
                n_behind += sequence.tokens.len() - drafts.seat.map_or(0, |seat| seat.held);
                is_due |= sequence.tokens.len() >= drafts.asked_at + ASK_AGAIN;
                *chances = by_model;
            }
        }
        if asked.is_empty() {
            return None;
        }
        let step = self.draft_cost.seconds(asked.len()).unwrap_or(plain * USUAL_COST_OF_GUESS);
        let per_token = self.draft_prefill.seconds_per_token().unwrap_or(step / 4.0);
        let seconds = |length: usize| match length {
            0 => plain,
            _ => self.seconds(n, length, plain) + step * length as f64,
        };
        let with_model = best_length(&hoped, room, seconds);
        let mut rate = with_model.rate;
        if n_behind > asked.len() * MAX_BEHIND {
            rate = 1.0 / (1.0 / rate + n_behind as f64 * per_token / PAYBACK);
        }
        let length = match with_model.length {
            _ if always > 0 => always,
            length if length > 0 && rate > best.rate => length,
            _ if is_due => room.min(4),
            _ => return None,
        };
        // A guess more has to be worth the time that it and its row take.
        let further = step + (self.seconds(n, length, plain) - self.seconds(n, length - 1, plain)).max(0.0);
        let least = if always > 0 { 0.0 } else { (further * best.rate.max(rate) / asked.len() as f64).min(0.5) };
        let mut room_to_read = self.rows_within(&self.draft_prefill, self.config.max_stall / 2);
        let mut parts = Vec::new();
        for (key, most) in asked {
            let sequence = &mut self.sequences[key];
            let Some(drafts) = &mut sequence.drafts else { continue };
            drafts.clear();
            let Some(seat) = drafts.seat.or_else(|| {
                let index = self.seats.0.pop_first()?;
                Some(Seat { index, held: 0, guessed: 0 })
            }) else {
                continue;
            };
            drafts.seat = Some(seat);
            drafts.asked_at = sequence.tokens.len();
            // The last token is always read: what follows it is asked.
            let keep = seat.held.min(sequence.tokens.len() - 1);
            let behind = &sequence.tokens[keep..];
            let read = &behind[..behind.len().min(room_to_read.max(MAX_BEHIND))];
            let n = if read.len() == behind.len() { length.min(most) } else { 0 };
            room_to_read = room_to_read.saturating_sub(read.len());
            let tokens = read.to_vec();
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
fn tokens(chances: &[f64]) -> f64 {
    let right = chances.iter().scan(1.0, |right, chance| {
        *right *= chance;
        Some(*right)
    });
    right.sum()
}
