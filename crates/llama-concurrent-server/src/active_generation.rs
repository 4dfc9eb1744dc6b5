//! An active generation of a client: the engine's handle with metrics and tracing. Dropping it cancels the generation.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_util::{StreamExt, future::try_join_all};
use llama_concurrent::{
    Collector, Completion, Delta, Event, Finish, FinishReason, Generation, PromptToken, Timings, Token,
};
use tracing::Span;

use crate::{
    app::App,
    clients::Permit,
    error::{ApiError, ApiResult},
    in_flight::InFlightRequest,
    logprobs::Scored,
    work::Load,
};

/// The maximum number of log probabilities in an unstreamed response: some 200 MB of text. A stream has no limit.
pub(crate) const MOST_SCORES: usize = 2_000_000;

/// An active generation.
pub(crate) struct ActiveGeneration {
    generation: Generation,
    pub(crate) in_flight: Arc<InFlightRequest>,
    /// Shared by the answers to one prompt.
    pub(crate) prompt: Arc<[Token]>,
    /// Prompt tokens whose KV was reused, once it has a slot.
    n_cached: usize,
    app: Arc<App>,
    span: Span,
    _permit: Option<Permit>,
}

impl ActiveGeneration {
    pub(crate) fn new(
        generation: Generation,
        in_flight: InFlightRequest,
        prompt: Arc<[Token]>,
        app: Arc<App>,
        permit: Option<Permit>,
    ) -> Self {
        let in_flight = Arc::new(in_flight);
        app.in_flight.add(in_flight.clone());
        // Names as in OpenTelemetry's conventions for generative models.
        let span = tracing::info_span!(
            "generate",
            gen_ai.operation.name = "text_completion",
            gen_ai.request.model = app.config.model_name,
            gen_ai.usage.input_tokens = in_flight.n_prompt,
            gen_ai.usage.output_tokens = tracing::field::Empty,
            gen_ai.response.finish_reasons = tracing::field::Empty,
            queue_ms = tracing::field::Empty,
            ttft_ms = tracing::field::Empty,
        );
        Self { generation, in_flight, prompt, n_cached: 0, app, span, _permit: permit }
    }

    /// Cancels it before its next token; its last event is still delivered.
    pub(crate) fn cancel(&self) {
        self.generation.cancel();
    }

    /// Its timings so far, for a generation that has begun. Its wait for a slot counts as time of its prompt here.
    pub(crate) fn timings(&self) -> Timings {
        let in_flight = &self.in_flight;
        let mut timings = Timings::default();
        timings.ttft = in_flight.first().map(|first| first - in_flight.since);
        timings.e2e = in_flight.since.elapsed();
        timings.n_prompt_tokens = in_flight.n_prompt;
        timings.n_cached_tokens = self.n_cached;
        timings.n_output_tokens = in_flight.n_output();
        timings
    }

    /// Waits for the end. `scores` counts down how many log probabilities may still be kept.
    async fn collect(mut self, scores: &AtomicUsize) -> ApiResult<FinishedGeneration> {
        let mut collector = Collector::default();
        let (mut length, mut ends) = (0, Vec::new());
        loop {
            let event = self.next().await;
            let event = event.unwrap_or_else(|| unreachable!("a generation ends with its Finished event"));
            let each = match &event {
                Event::Prompt(tokens) => tokens.iter().filter_map(|token| token.logprobs.as_ref()).collect(),
                Event::Delta(Delta { logprobs: Some(found), .. }) => vec![&**found],
                _ => Vec::new(),
            };
            if !each.is_empty() {
                let n = each.iter().map(|found| found.top.len() + 1).sum();
                scores
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(n))
                    .map_err(|_| too_many_scores())?;
            }
            if let Event::Delta(delta) = &event {
                length += delta.text.len();
                ends.extend(delta.token.map(|_| length));
            }
            if let Some(result) = collector.take(event) {
                let Completion { text, tokens, logprobs, prompt, finish, .. } = result?;
                failure(&finish)?;
                let logprobs = tokens.iter().copied().zip(logprobs).collect();
                return Ok(FinishedGeneration {
                    running: self,
                    text,
                    tokens,
                    ends,
                    logprobs,
                    scored_prompt: prompt,
                    finish,
                });
            }
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Progress(told) => self.n_cached = told.n_cached_tokens,
            Event::Delta(Delta { token: Some(_), slot, .. }) => self.in_flight.token(*slot),
            Event::Finished(finish) => self.ended(finish),
            _ => {}
        }
    }

    fn ended(&self, finish: &Finish) {
        self.app.metrics.finished(finish);
        let timings = &finish.timings;
        self.span.record("gen_ai.usage.output_tokens", timings.n_output_tokens);
        self.span.record("gen_ai.response.finish_reasons", finish.reason.as_str());
        self.span.record("queue_ms", timings.queue.as_millis() as u64);
        self.span.record("ttft_ms", timings.ttft.map(|ttft| ttft.as_millis() as u64));
        tracing::debug!(parent: &self.span, "generation ended");
    }
}

impl Stream for ActiveGeneration {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Event>> {
        let polled = Pin::new(&mut self.generation).poll_next(task);
        if let Poll::Ready(Some(event)) = &polled {
            self.note(event);
        }
        polled
    }
}

impl Drop for ActiveGeneration {
    fn drop(&mut self) {
        self.app.in_flight.remove(self.in_flight.id);
        if !self.generation.is_finished() {
            self.app.metrics.abandoned(self.in_flight.n_prompt);
            tracing::debug!(parent: &self.span, "the client went away, the generation is cancelled");
        }
    }
}

/// A finished generation.
pub(crate) struct FinishedGeneration {
    pub(crate) running: ActiveGeneration,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
    /// For each token, the bytes of text up to its own: later ones may have been known only after it.
    pub(crate) ends: Vec<usize>,
    /// One per token, if requested.
    pub(crate) logprobs: Vec<Scored>,
    /// The prompt's tokens, if requested.
    pub(crate) scored_prompt: Box<[PromptToken]>,
    pub(crate) finish: Finish,
}

/// Waits for all generations. The first failure is the response, and cancels the others.
pub(crate) async fn collect_all(all: Vec<ActiveGeneration>) -> ApiResult<Vec<FinishedGeneration>> {
    let scores = AtomicUsize::new(MOST_SCORES);
    try_join_all(all.into_iter().map(|running| running.collect(&scores))).await
}

fn too_many_scores() -> ApiError {
    let message = format!(
        "the answer would have more than {MOST_SCORES} log probabilities; ask for a stream, for fewer of them or for fewer \
         tokens"
    );
    ApiError::bad_request(message)
}

impl FinishedGeneration {
    /// The approximate size of the response in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let of_prompt = self.scored_prompt.iter().filter_map(|one| one.logprobs.as_ref());
        let scores = self.logprobs.iter().map(|(_, found)| found).chain(of_prompt);
        let scores: usize = scores.map(|found| found.top.len() + 1).sum();
        self.text.len() + (self.tokens.len() + self.running.prompt.len()) * 4 + scores * 64
    }
}

/// The work of writing these generations.
pub(crate) fn load(outcomes: &[FinishedGeneration]) -> Load {
    Load::Bytes(outcomes.iter().map(FinishedGeneration::bytes).sum())
}

/// The error for an end that the client did not ask for.
pub(crate) fn failure(finish: &Finish) -> ApiResult<()> {
    match finish.reason {
        FinishReason::Stop | FinishReason::Length => Ok(()),
        FinishReason::Cancelled => Err(ApiError::unavailable("the server is shutting down; the request was cancelled")),
        FinishReason::Deadline if finish.timings.n_output_tokens == 0 && finish.timings.ttft.is_none() => {
            let message = "no slot was free within the server's time limit; try again later";
            Err(ApiError::unavailable(message).with_retry(finish.timings.queue))
        }
        FinishReason::Deadline => Err(ApiError::timeout("the request took longer than the server's time limit")),
        _ => Err(finish.error.clone().map_or_else(|| ApiError::unavailable("the request failed"), ApiError::from)),
    }
}
