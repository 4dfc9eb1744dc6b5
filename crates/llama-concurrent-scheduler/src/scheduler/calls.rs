//! Calls: what one turn computes, call by call, and what becomes of the results.

use std::time::Duration;

use llama_concurrent_types::{Error, ErrorKind, Event, FinishReason, TokenLogprobs};

use super::{Effect, Scheduler, cost::PrefillCost, queue::QueueKey, sequence::Advance};
use crate::backend::{Call, CallKind, EmbedCall, Op, Row, Sampled, SeqKey, SlotId, TILE_ROWS, scored_rows};

/// Prompt tokens that a turn computes at least, however slow the machine, so that prefill never starves.
const MIN_CHUNK: usize = 16;
/// First chunk beside running streams, before anything is known about the machine.
const FIRST_CHUNK: usize = 32;
/// With nobody decoding, one prefill call takes this long at most: a new arrival waits for no more than that, and
/// chunks from 32 tokens up are equally fast per token.
const MAX_IDLE_CALL: Duration = Duration::from_secs(1);
/// Least rows that such a call is given.
const MIN_IDLE_CHUNK: usize = 128;
/// Short prompts share a call until it has this many rows, below which a row costs more.
const FUSED_ROWS: usize = 32;
/// Chunk of reproducible mode: fixed, because the shape of a call decides the rounding of its results.
const REPRODUCIBLE_CHUNK: usize = 32;

/// Where the present turn stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    next_context: usize,
    embedded: bool,
    prefill_calls: usize,
    prefill_time: Duration,
}

/// What a call computes of a sequence.
pub(super) struct Part {
    pub(super) key: SeqKey,
    n_rows: usize,
    n_scored: usize,
    /// Whether a token is sampled for it.
    sampled: bool,
}

/// The call that the backend is working on.
pub(super) struct InFlight {
    pub(super) context: usize,
    kind: CallKind,
    n_rows: usize,
    pub(super) parts: Vec<Part>,
    /// Replicas of KV distort the time of the call.
    learn: bool,
}

impl Scheduler {
    /// The next call of this turn, or of the next one: first each context decodes, then texts are embedded, then comes prefill
    /// within its limits.
    pub(super) fn next_call(&mut self) -> (Option<Call>, Option<EmbedCall>) {
        // The second pass is the turn after this one: this one may have nothing left to do.
        for _ in 0..2 {
            while self.turn.next_context < self.config.shape.contexts {
                let context = self.turn.next_context;
                self.turn.next_context += 1;
                if let Some(call) = self.decode_call(context) {
                    return (Some(call), None);
                }
            }
            if !std::mem::replace(&mut self.turn.embedded, true)
                && let n = self.rows_within(&self.embed_cost, self.config.max_stall / 2)
                && let Some(call) = self.embeddings.next_call(n, self.config.embed)
            {
                return (None, Some(call));
            }
            if let Some(call) = self.prefill_call() {
                return (Some(call), None);
            }
            self.turn = Turn::default();
        }
        (None, None)
    }

    /// One row for each sequence of the context that decodes, in ascending order of `seq`.
    fn decode_call(&self, context: usize) -> Option<Call> {
        let rows: Vec<Row> = self
            .slots
            .of_context(context)
            .filter_map(|(id, slot)| {
                let key = slot.owner?;
                let sequence = &self.sequences[key];
                sequence.is_runnable().then(|| Row {
                    seq: id.seq,
                    token: sequence.tokens[sequence.computed],
                    pos: sequence.computed,
                    sample: Some(key),
                    score: None,
                })
            })
            .collect();
        (!rows.is_empty()).then_some(Call { context, kind: CallKind::Decode, rows })
    }

    /// The next part of the prompt that is first in line, and of the ones after it while the call is small.
    fn prefill_call(&self) -> Option<Call> {
        let mut line: Vec<(QueueKey, SeqKey, SlotId)> = self
            .slots
            .iter()
            .filter_map(|(id, slot)| {
                let key = slot.owner?;
                let sequence = &self.sequences[key];
                sequence.is_prefilling().then_some((sequence.queue_key, key, id))
            })
            .collect();
        line.sort_unstable_by_key(|&(queue_key, ..)| queue_key);
        let context = line.first()?.2.context;
        let chunk = self.prefill_chunk()?;

        let mut rows: Vec<Row> = Vec::new();
        let mut logits_left = scored_rows(self.config.shape);
        for &(_, key, slot) in line.iter().filter(|(.., slot)| slot.context == context) {
            let sequence = &self.sequences[key];
            let stop = self.prefill_stops.get(&key).copied().unwrap_or(usize::MAX);
            let (left, room) = (sequence.n_prompt.min(stop) - sequence.computed, chunk - rows.len());
            // A prompt that does not end here stops at whole tiles; a short rest is not left for a call of its own.
            let n = if left <= room { left } else { room - room % TILE_ROWS };
            let end = sequence.computed + n;
            let first_logits = sequence.first_logits().max(sequence.computed);
            let end = end.min(first_logits + logits_left);
            logits_left -= end.saturating_sub(first_logits);
            rows.extend((sequence.computed..end).map(|pos| Row {
                seq: slot.seq,
                token: sequence.tokens[pos],
                pos,
                sample: (pos + 1 == sequence.n_prompt).then_some(key),
                score: sequence.score(pos),
            }));
            if logits_left == 0 || rows.len() >= FUSED_ROWS.min(chunk) || self.config.reproducible {
                break;
            }
        }
        Some(Call { context, kind: CallKind::Prefill, rows })
    }

    /// Rows that the next prefill call may have; `None` if this turn has had its share. With nobody decoding that is one call.
    fn prefill_chunk(&self) -> Option<usize> {
        let is_first = self.turn.prefill_calls == 0;
        if self.config.reproducible {
            return is_first.then_some(REPRODUCIBLE_CHUNK.min(self.config.shape.n_batch));
        }
        let left = self.config.max_stall.saturating_sub(self.turn.prefill_time);
        let is_worthwhile = || self.prefill_cost.tokens_within(left).unwrap_or(FIRST_CHUNK) >= MIN_CHUNK;
        let goes_on = is_first || (self.anyone_decodes() && is_worthwhile());
        goes_on.then(|| self.rows_within(&self.prefill_cost, left))
    }

    /// Rows that take `limit` at most while anyone decodes, otherwise no longer than a new arrival may wait.
    fn rows_within(&self, cost: &PrefillCost, limit: Duration) -> usize {
        let (limit, unknown, least) = match self.anyone_decodes() || self.crowded {
            true => (limit, FIRST_CHUNK, MIN_CHUNK),
            false => (MAX_IDLE_CALL, MIN_IDLE_CHUNK, MIN_IDLE_CHUNK),
        };
        cost.tokens_within(limit).unwrap_or(unknown).max(least).min(self.config.shape.n_batch)
    }

    fn anyone_decodes(&self) -> bool {
        self.sequences.iter().any(|(_, sequence)| sequence.is_runnable())
    }

    pub(super) fn note_in_flight(&self, call: &Call, ops: &[Op]) -> InFlight {
        let mut parts: Vec<Part> = Vec::with_capacity(call.rows.len());
        let mut last_seq = None;
        for row in &call.rows {
            if last_seq != Some(row.seq) {
                let slot = SlotId { context: call.context, seq: row.seq };
                if let Some(key) = self.slots.get(slot).owner {
                    parts.push(Part { key, n_rows: 0, n_scored: 0, sampled: false });
                }
                last_seq = Some(row.seq);
            }
            if let Some(part) = parts.last_mut() {
                part.n_rows += 1;
                part.n_scored += usize::from(row.score.is_some());
                part.sampled |= row.sample.is_some();
            }
        }
        let learn = !ops.iter().any(|op| matches!(op, Op::Copy { .. } | Op::Swap { .. }));
        InFlight { context: call.context, kind: call.kind, n_rows: call.rows.len(), parts, learn }
    }

    pub(super) fn apply_tokens(
        &mut self,
        call: InFlight,
        tokens: Vec<Sampled>,
        scored: Vec<TokenLogprobs>,
        elapsed: Duration,
        now: Duration,
    ) {
        match call.kind {
            CallKind::Decode => self.totals.decode.add(call.n_rows, elapsed),
            CallKind::Prefill => {
                self.totals.prefill.add(call.n_rows, elapsed);
                self.turn.prefill_calls += 1;
                self.turn.prefill_time += elapsed;
                if call.learn {
                    self.prefill_cost.observe(call.n_rows, elapsed);
                }
            }
        }
        let (mut tokens, mut scored) = (tokens.into_iter(), scored.into_iter());
        for Part { key, n_rows, n_scored, sampled } in call.parts {
            let sequence = &mut self.sequences[key];
            let first = sequence.computed;
            sequence.computed += n_rows;
            if call.kind == CallKind::Prefill {
                let prompt = sequence.take_scores(first, scored.by_ref().take(n_scored)).map(Event::Prompt);
                let events = sequence.progress().into_iter().chain(prompt);
                let id = sequence.id;
                self.effects.extend(events.map(|event| Effect::Event { id, event }));
            }
            debug_assert!(sequence.slot.is_some_and(|slot| slot.context == call.context));
            if !sampled {
                continue;
            }
            let (token, logprobs, last) = match tokens.next() {
                Some(Sampled::Token { token, logprobs, last }) => (token, logprobs, last),
                Some(Sampled::Complete) => {
                    self.finish(key, FinishReason::Stop, None, None, now);
                    continue;
                }
                Some(Sampled::Impossible(why)) => {
                    let error = Error::new(ErrorKind::Decode, format!("no token could be chosen: {why}"));
                    self.finish(key, FinishReason::Error, None, Some(error), now);
                    continue;
                }
                None => {
                    let error = Error::new(ErrorKind::Internal, "the backend chose too few tokens; please report this");
                    self.finish(key, FinishReason::Error, None, Some(error), now);
                    continue;
                }
            };
            let id = sequence.id;
            let slot = sequence.slot.map_or(0, |slot| self.slots.index(slot));
            let effects = &mut self.effects;
            let before = sequence.timings.n_output_tokens;
            let advance = sequence.accept(token, logprobs, slot, now, &self.vocab, |delta| {
                effects.push(Effect::Event { id, event: Event::Delta(delta) });
            });
            self.totals.output_tokens += (sequence.timings.n_output_tokens - before) as u64;
            match advance {
                Advance::Continue | Advance::Full if last => self.finish(key, FinishReason::Stop, None, None, now),
                Advance::Continue => {}
                Advance::EndOfGeneration => self.finish(key, FinishReason::Stop, None, None, now),
                Advance::StopString(which) => self.finish(key, FinishReason::Stop, Some(which), None, now),
                Advance::Full => self.finish(key, FinishReason::Length, None, None, now),
            }
        }
    }
}
