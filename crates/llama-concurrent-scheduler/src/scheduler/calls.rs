//! Calls: what one turn computes, call by call, and what becomes of the results.

use std::time::Duration;

use llama_concurrent_types::{Error, ErrorKind, Event, FinishReason, TokenLogprobs};

use super::{Effect, Scheduler, cost::PrefillCost, drafts::Ahead, queue::QueueKey, sequence::Advance};
use crate::backend::{Call, CallKind, DraftCall, EmbedCall, Op, Row, Sampled, SeqKey, SlotId, TILE_ROWS, scored_rows};

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

/// What is computed next.
pub(super) enum NextCall {
    /// Rows of sequences in slots.
    Rows(Call),
    /// Texts to embed.
    Embed(EmbedCall),
    /// Guesses of the draft model.
    Draft(DraftCall),
}

/// Where the present turn stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    next_context: usize,
    /// The context for whose sequences the draft model was asked by the last call.
    asked: Option<usize>,
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
    pub(super) fn next_call(&mut self) -> Option<NextCall> {
        // The second pass is the turn after this one: this one may have nothing left to do.
        for _ in 0..2 {
            while self.turn.next_context < self.config.shape.contexts {
                let context = self.turn.next_context;
                self.turn.next_context += 1;
                if let Some(call) = self.decode_call(context) {
                    return Some(call);
                }
            }
            if !std::mem::replace(&mut self.turn.embedded, true)
                && let n = self.rows_within(&self.embed_cost, self.config.max_stall / 2)
                && let Some(call) = self.embeddings.next_call(n, self.config.embed)
            {
                return Some(NextCall::Embed(call));
            }
            if let Some(call) = self.prefill_call() {
                return Some(NextCall::Rows(call));
            }
            self.turn = Turn::default();
        }
        None
    }

    /// One row for each sequence of the context that decodes, in ascending order of `seq`, and behind it those of its draft. Before
    /// that the draft model may have a call.
    fn decode_call(&mut self, context: usize) -> Option<NextCall> {
        let owners = self.slots.of_context(context).filter_map(|(id, slot)| Some((id, slot.owner?)));
        let decoding: Vec<(SlotId, SeqKey)> = owners.filter(|&(_, key)| self.sequences[key].is_runnable()).collect();
        if decoding.is_empty() {
            return None;
        }
        let has_asked = self.turn.asked.take() == Some(context);
        let n_drafted = match self.look_ahead(context, &decoding, has_asked) {
            Ahead::Draft(n) => n,
            Ahead::Ask(call) => {
                (self.turn.next_context, self.turn.asked) = (context, Some(context));
                return Some(NextCall::Draft(call));
            }
        };
        let mut rows = Vec::with_capacity(decoding.len() * (1 + n_drafted));
        for (id, key) in decoding {
            let sequence = &mut self.sequences[key];
            let (token, pos) = (sequence.tokens[sequence.computed], sequence.computed);
            let draft = sequence.drafts.as_mut().map(|drafts| drafts.draft(n_drafted));
            let sampled = std::iter::once(token).chain(draft.into_iter().flatten()).map(|token| (token, Some(key)));
            // Where a draft is shorter than others', anything fills the rows.
            let filled = sampled.chain(std::iter::repeat((token, None))).take(1 + n_drafted).enumerate();
            let row = |(i, (token, sample))| Row { seq: id.seq, token, pos: pos + i, sample, score: None };
            rows.extend(filled.map(row));
        }
        Some(NextCall::Rows(Call { context, kind: CallKind::Decode, rows }))
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
    pub(super) fn rows_within(&self, cost: &PrefillCost, limit: Duration) -> usize {
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
        let (mut tokens, mut scored) = (tokens.into_iter(), scored.into_iter());
        let mut n_kept = 0;
        for part in &call.parts {
            debug_assert!(self.sequences[part.key].slot.is_some_and(|slot| slot.context == call.context));
            n_kept += match call.kind {
                CallKind::Decode => self.apply_decoded(part, &mut tokens, now),
                CallKind::Prefill => self.apply_prefilled(part, &mut tokens, &mut scored, now),
            };
        }
        match call.kind {
            CallKind::Decode => {
                self.totals.decode.add(n_kept, elapsed);
                if call.learn {
                    self.decode_cost.observe(call.n_rows, elapsed);
                }
            }
            CallKind::Prefill => {
                self.totals.prefill.add(call.n_rows, elapsed);
                self.turn.prefill_calls += 1;
                self.turn.prefill_time += elapsed;
                if call.learn {
                    self.prefill_cost.observe(call.n_rows, elapsed);
                }
            }
        }
    }

    fn apply_prefilled(
        &mut self,
        part: &Part,
        tokens: &mut impl Iterator<Item = Sampled>,
        scored: &mut impl Iterator<Item = TokenLogprobs>,
        now: Duration,
    ) -> usize {
        let sequence = &mut self.sequences[part.key];
        let first = sequence.computed;
        sequence.computed += part.n_rows;
        let prompt = sequence.take_scores(first, scored.take(part.n_scored)).map(Event::Prompt);
        let events = sequence.progress().into_iter().chain(prompt);
        let id = sequence.id;
        self.effects.extend(events.map(|event| Effect::Event { id, event }));
        if part.sampled {
            self.take_token(part.key, tokens.next(), now);
        }
        part.n_rows
    }

    /// Takes the tokens that were chosen behind a row and its draft, and cuts what was not chosen out of the KV. How many of the
    /// rows are kept.
    fn apply_decoded(&mut self, part: &Part, tokens: &mut impl Iterator<Item = Sampled>, now: Duration) -> usize {
        let key = part.key;
        let sequence = &mut self.sequences[key];
        let Some(slot) = sequence.slot else { return 0 };
        // As many as `sample_rows` gave for this sequence, though an earlier one may end it.
        let mut chosen = Vec::new();
        loop {
            let sampled = tokens.next();
            let goes_on = match (&sampled, &mut sequence.drafts) {
                (Some(Sampled::Token { token, last, .. }), Some(drafts)) => {
                    drafts.chosen(*token, &mut self.rates) && !last
                }
                _ => false,
            };
            chosen.push(sampled);
            if !goes_on {
                break;
            }
        }
        let n_drafted = sequence.drafts.as_ref().map_or(0, |drafts| drafts.n_drafted());
        sequence.timings.n_drafted_tokens += n_drafted;
        self.totals.drafts += u64::from(n_drafted > 0);
        self.totals.drafted_tokens += n_drafted as u64;

        let mut n_kept = 0;
        for sampled in chosen {
            let sequence = &mut self.sequences[key];
            sequence.computed += 1;
            if n_kept > 0 {
                sequence.timings.n_accepted_tokens += 1;
                self.totals.accepted_tokens += 1;
            }
            n_kept += 1;
            self.take_token(key, sampled, now);
            if !self.sequences.contains(key) {
                break;
            }
        }
        if n_kept < part.n_rows {
            let keep = self.sequences.get(key).map_or(self.slots.get(slot).held.len(), |sequence| sequence.computed);
            self.pending_ops.push(Op::Truncate { slot, keep });
        }
        n_kept
    }

    /// Takes what was chosen for a sequence, which may end it.
    fn take_token(&mut self, key: SeqKey, sampled: Option<Sampled>, now: Duration) {
        let (token, logprobs, last) = match sampled {
            Some(Sampled::Token { token, logprobs, last }) => (token, logprobs, last),
            Some(Sampled::Complete) => return self.finish(key, FinishReason::Stop, None, None, now),
            Some(Sampled::Impossible(why)) => {
                let error = Error::new(ErrorKind::Decode, format!("no token could be chosen: {why}"));
                return self.finish(key, FinishReason::Error, None, Some(error), now);
            }
            None => {
                let error = Error::new(ErrorKind::Internal, "the backend chose too few tokens; please report this");
                return self.finish(key, FinishReason::Error, None, Some(error), now);
            }
        };
        let sequence = &mut self.sequences[key];
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
