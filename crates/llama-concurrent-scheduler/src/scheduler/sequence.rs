//! A request on its way: its tokens, how far they are computed, and its text.

use std::{sync::Arc, time::Duration};

use llama_concurrent_types::{
    Delta, Event, Matcher, Priority, PromptProgress, PromptToken, RequestId, SamplingParams, SlotStats, Timings, Token,
    TokenLogprobs, TokenTable,
};

use super::{SchedulerConfig, drafts::Drafts, queue::QueueKey};
use crate::{
    backend::{Score, SlotId},
    text::TokenText,
};

/// A request in the scheduler's terms: tokenized, validated, with absolute times.
#[derive(Clone, Debug)]
pub struct NewSequence {
    /// The request.
    pub id: RequestId,
    /// Prompt tokens, at least one.
    pub prompt: Vec<Token>,
    /// How to sample.
    pub params: Arc<SamplingParams>,
    /// Its constraint, compiled.
    pub matcher: Option<Box<dyn Matcher>>,
    /// Special tokens that are written out in any case.
    pub markup: Arc<[Token]>,
    /// Whether it may start from KV that is there already.
    pub prefix_reuse: bool,
    /// Tell how likely the tokens of the prompt are from this position on.
    pub score_from: Option<usize>,
    /// Tell how far the prompt is computed.
    pub report_progress: bool,
    /// Who goes first.
    pub priority: Priority,
    /// When it was submitted.
    pub submitted: Duration,
    /// When to give up waiting for a slot.
    pub queue_deadline: Option<Duration>,
    /// When to give up altogether.
    pub deadline: Option<Duration>,
}

/// Tokens of the prompt by which the beginning of an output is recognised.
const LEAD_IN: usize = 8;

/// What a sampled token did to a sequence.
pub(super) enum Advance {
    /// It goes on.
    Continue,
    /// The model ended it.
    EndOfGeneration,
    /// This stop string ended it.
    StopString(usize),
    /// It has all the tokens that it may have.
    Full,
}

pub(super) struct Sequence {
    pub(super) id: RequestId,
    pub(super) params: Arc<SamplingParams>,
    /// Until it goes to the backend.
    pub(super) matcher: Option<Box<dyn Matcher>>,
    markup: Arc<[Token]>,
    pub(super) prefix_reuse: bool,
    score_from: Option<usize>,
    report_progress: bool,
    /// The tokens of the prompt that were asked about, as far as they are computed.
    pub(super) scored: Vec<PromptToken>,
    /// Prompt, then output. All but a freshly sampled last one are to be computed.
    pub(super) tokens: Vec<Token>,
    pub(super) n_prompt: usize,
    /// Leading tokens whose KV is in the slot.
    pub(super) computed: usize,
    /// `tokens` never grows beyond this.
    max_total: usize,
    pub(super) slot: Option<SlotId>,
    /// The reader is behind since then: decode nothing.
    pub(super) paused: Option<Duration>,
    /// Its KV lies in the backend's memory, from this position on, since others waited for its slot.
    pub(super) parked: Option<usize>,
    pub(super) queue_key: QueueKey,
    pub(super) priority: Priority,
    pub(super) queue_deadline: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) submitted: Duration,
    pub(super) admitted: Option<Duration>,
    last_token: Option<Duration>,
    text: TokenText<Shown>,
    /// Special tokens that are stop strings, by the place of those.
    stop_tokens: Vec<(Token, usize)>,
    /// `None`: it has no drafts.
    pub(super) drafts: Option<Box<Drafts>>,
    pub(super) timings: Timings,
}

impl Sequence {
    pub(super) fn new(new: NewSequence, queue_key: QueueKey, config: &SchedulerConfig, vocab: &TokenTable) -> Self {
        let n_ctx = config.shape.n_ctx;
        let n_prompt = new.prompt.len();
        let max_output = new.params.max_tokens.map_or(usize::MAX, |n| n as usize);
        let mut timings = Timings::default();
        timings.n_prompt_tokens = n_prompt;
        Self {
            id: new.id,
            n_prompt,
            computed: 0,
            max_total: n_prompt.saturating_add(max_output).min(n_ctx),
            slot: None,
            paused: None,
            parked: None,
            queue_key,
            priority: new.priority,
            queue_deadline: new.queue_deadline,
            deadline: new.deadline,
            submitted: new.submitted,
            admitted: None,
            last_token: None,
            text: TokenText::new(&new.params.stop),
            stop_tokens: stop_tokens(&new.params.stop, vocab),
            drafts: config
                .speculation
                .and_then(|engine| Drafts::new(&new.params, n_prompt, engine, config.has_draft_model)),
            timings,
            tokens: new.prompt,
            params: new.params,
            matcher: new.matcher,
            markup: new.markup,
            prefix_reuse: new.prefix_reuse,
            scored: Vec::new(),
            score_from: new.score_from,
            report_progress: new.report_progress,
        }
    }

    /// The tokens of the prompt whose KV may come from elsewhere: logits are needed of what follows them.
    pub(super) fn reusable(&self) -> &[Token] {
        &self.tokens[..self.first_logits()]
    }

    /// Tokens that a draft of it may have: the one behind them is sampled, too.
    pub(super) fn room_for_draft(&self) -> usize {
        (self.max_total - self.tokens.len()).saturating_sub(1)
    }

    /// The output, behind the end of the prompt.
    pub(super) fn written(&self) -> &[Token] {
        &self.tokens[self.n_prompt.saturating_sub(LEAD_IN)..]
    }

    /// The first row of the prompt whose logits are needed.
    pub(super) fn first_logits(&self) -> usize {
        self.score_from.map_or(usize::MAX, |from| from.saturating_sub(1)).min(self.n_prompt - 1)
    }

    /// How far the prompt is computed, where that is to be told.
    pub(super) fn progress(&self) -> Option<Event> {
        let mut progress = PromptProgress::default();
        progress.n_prompt_tokens = self.n_prompt;
        progress.n_cached_tokens = self.timings.n_cached_tokens;
        progress.n_computed_tokens = self.computed.min(self.n_prompt);
        self.report_progress.then_some(Event::Progress(progress))
    }

    /// What is asked about the token behind this row of the prompt.
    pub(super) fn score(&self, pos: usize) -> Option<Score> {
        let next = self.tokens[..self.n_prompt].get(pos + 1)?;
        let n_top = self.params.logprobs.map_or(0, |n| n as usize);
        (self.score_from? <= pos + 1).then_some(Score { next: *next, n_top })
    }

    /// Takes what was asked about the rows of the prompt that were computed from `first` on; the tokens of the prompt, once
    /// all of it is.
    pub(super) fn take_scores(
        &mut self,
        first: usize,
        scores: impl Iterator<Item = TokenLogprobs>,
    ) -> Option<Box<[PromptToken]>> {
        let from = self.score_from?;
        if from == 0 && first == 0 {
            self.scored.push(PromptToken { token: self.tokens[0], logprobs: None });
        }
        let end = (self.computed + 1).min(self.n_prompt);
        let next = self.tokens[(first + 1).max(from).min(end)..end].iter();
        self.scored.extend(next.zip(scores).map(|(&token, found)| PromptToken { token, logprobs: Some(found) }));
        (self.computed >= self.n_prompt).then(|| std::mem::take(&mut self.scored).into())
    }

    pub(super) fn is_prefilling(&self) -> bool {
        self.slot.is_some() && self.computed < self.n_prompt
    }

    /// Has a sampled token that waits to be computed.
    pub(super) fn is_decoding(&self) -> bool {
        self.slot.is_some() && self.computed >= self.n_prompt
    }

    pub(super) fn is_runnable(&self) -> bool {
        self.is_decoding() && self.paused.is_none()
    }

    /// The next moment at which a deadline may strike.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let queue = self.queue_deadline.filter(|_| self.admitted.is_none());
        queue.into_iter().chain(self.deadline).min()
    }

    /// Takes a sampled token; pushes what the caller should see to `emit`.
    pub(super) fn accept(
        &mut self,
        token: Token,
        logprobs: Option<Box<TokenLogprobs>>,
        slot: usize,
        now: Duration,
        vocab: &TokenTable,
        mut emit: impl FnMut(Delta),
    ) -> Advance {
        let ends = !self.params.ignore_eos && vocab.is_end_of_generation(token);
        if ends || self.params.stop_token_ids.contains(&token) {
            return Advance::EndOfGeneration;
        }
        if let Some(&(_, which)) = self.stop_tokens.iter().find(|(stop, _)| *stop == token) {
            self.show_rest(slot, &mut emit);
            return Advance::StopString(which);
        }
        match self.last_token.replace(now) {
            Some(last) => self.timings.itl.push(now.saturating_sub(last)),
            None => self.timings.ttft = Some(now.saturating_sub(self.submitted)),
        }
        self.tokens.push(token);
        let index = self.timings.n_output_tokens;
        self.timings.n_output_tokens += 1;

        let special = self.params.special || self.markup.contains(&token);
        let shown = Shown { token, index, logprobs };
        let stop =
            self.text.push(shown, vocab.text(token, special), &mut |shown, text| emit(delta(shown, text, index, slot)));
        let full = self.tokens.len() >= self.max_total;
        if full {
            self.show_rest(slot, &mut emit);
        }
        match stop {
            Some(which) => Advance::StopString(which),
            None if full => Advance::Full,
            None => Advance::Continue,
        }
    }

    /// Emits what was held back in case a character or a stop string would be completed; nothing after a stop string.
    pub(super) fn show_rest(&mut self, slot: usize, emit: &mut impl FnMut(Delta)) {
        let next = self.timings.n_output_tokens;
        self.text.finish(&mut |shown, text| emit(delta(shown, text, next, slot)));
    }

    pub(super) fn slot_stats(&self) -> SlotStats {
        let Timings { n_prompt_tokens, n_cached_tokens, n_output_tokens, .. } = self.timings;
        SlotStats { request: Some(self.id), n_tokens: self.computed, n_prompt_tokens, n_cached_tokens, n_output_tokens }
    }

    /// Tokens at the end of the prompt that the penalties look back on.
    pub(super) fn penalty_history(&self) -> Vec<Token> {
        if !self.params.has_penalties() {
            return Vec::new();
        }
        let start = self.n_prompt.saturating_sub(self.params.penalty_last_n as usize);
        self.tokens[start..self.n_prompt].to_vec()
    }

    pub(super) fn check_invariants(&self, n_ctx: usize) {
        assert!(self.computed <= self.tokens.len(), "computed tokens within total");
        assert!(self.tokens.len() <= n_ctx, "tokens within the slot");
        if self.is_decoding() {
            assert_eq!(self.computed + 1, self.tokens.len(), "exactly the last token waits");
        }
        if self.parked.is_some() {
            assert!(self.slot.is_none() && self.computed >= self.n_prompt, "what is parked has begun to decode");
            assert_eq!(self.computed + 1, self.tokens.len(), "exactly the last token waits");
        } else if self.slot.is_none() {
            assert_eq!(self.computed, 0, "a waiting request holds no KV");
        }
        assert_eq!(self.tokens.len(), self.n_prompt + self.timings.n_output_tokens);
    }
}

/// What a reader is told of a token besides its text.
struct Shown {
    token: Token,
    index: usize,
    logprobs: Option<Box<TokenLogprobs>>,
}

fn delta(shown: Option<Shown>, text: String, next: usize, slot: usize) -> Delta {
    let mut delta = Delta::default();
    (delta.text, delta.index, delta.slot) = (text, next, slot);
    if let Some(shown) = shown {
        (delta.token, delta.index, delta.logprobs) = (Some(shown.token), shown.index, shown.logprobs);
    }
    delta
}

fn stop_tokens(stops: &[String], vocab: &TokenTable) -> Vec<(Token, usize)> {
    let token = |(which, stop): (usize, &String)| vocab.special_token(stop).map(|token| (token, which));
    stops.iter().enumerate().filter_map(token).collect()
}
