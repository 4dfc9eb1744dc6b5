//! How far prompts are computed, for clients that ask for it by `return_progress`.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use llama_concurrent::{Finish, Timings};
use serde::Serialize;
use tokio::time::{Interval, interval};

use crate::active_generation::ActiveGeneration;

/// How often the slots are looked at; a step of a long prompt takes about as long.
const EVERY: Duration = Duration::from_millis(50);

/// Tokens of a prompt, under llama-server's names.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct PromptProgress {
    pub(crate) total: usize,
    /// Those whose KV was there already.
    pub(crate) cache: usize,
    /// Those that are computed, or were there.
    pub(crate) processed: usize,
    /// Milliseconds since the request was accepted.
    pub(crate) time_ms: u64,
    /// The same for figures that divide by it.
    #[serde(skip)]
    pub(crate) elapsed: Duration,
}

impl PromptProgress {
    /// The timings so far. Before anything is computed, nothing took time.
    pub(crate) fn timings(&self) -> Timings {
        let mut timings = Timings::default();
        let time = if self.processed == self.cache { Duration::ZERO } else { self.elapsed };
        (timings.ttft, timings.e2e) = (Some(time), time);
        (timings.n_prompt_tokens, timings.n_cached_tokens) = (self.processed, self.cache);
        timings
    }
}

/// Watches the prompts of a stream.
pub(crate) struct Watch {
    ticks: Interval,
    told: Vec<Told>,
}

/// What was told of a prompt.
#[derive(Clone, Copy, Default)]
enum Told {
    #[default]
    Nothing,
    Until(usize),
    Everything,
}

impl Watch {
    pub(crate) fn new(count: usize) -> Self {
        Self { ticks: interval(EVERY), told: vec![Told::Nothing; count] }
    }

    /// Whether it is time to [`look`](Self::look) at each prompt.
    pub(crate) fn is_due(&mut self, task: &mut Context<'_>) -> bool {
        let mut due = false;
        while self.told.iter().any(|told| !matches!(told, Told::Everything)) {
            match self.ticks.poll_tick(task) {
                Poll::Ready(_) => due = true,
                Poll::Pending => break,
            }
        }
        due
    }

    /// Tells how far a prompt is.
    pub(crate) fn look(&mut self, index: usize, running: &ActiveGeneration, tell: impl FnMut(&PromptProgress)) {
        if let Some(seen) = running.prompt_progress() {
            self.told[index].tell(seen, tell);
        }
    }

    /// A token came, so the whole prompt is computed.
    pub(crate) fn token(&mut self, index: usize, running: &ActiveGeneration, tell: impl FnMut(&PromptProgress)) {
        if let (Told::Nothing | Told::Until(_), Some(seen)) = (self.told[index], running.prompt_progress()) {
            self.told[index].tell(PromptProgress { processed: seen.total, ..seen }, tell);
        }
    }

    /// The generation has ended, maybe before anybody looked.
    pub(crate) fn end(
        &mut self,
        index: usize,
        running: &ActiveGeneration,
        finish: &Finish,
        tell: impl FnMut(&PromptProgress),
    ) {
        let (total, cache) = (finish.timings.n_prompt_tokens, finish.timings.n_cached_tokens);
        let elapsed = running.in_flight.since.elapsed();
        let time_ms = elapsed.as_millis() as u64;
        self.told[index].tell(PromptProgress { total, cache, processed: total, time_ms, elapsed }, tell);
    }
}

impl Told {
    /// Tells what is new: at first where the work begins, behind what was there.
    fn tell(&mut self, seen: PromptProgress, mut tell: impl FnMut(&PromptProgress)) {
        let until = match *self {
            Told::Everything => return,
            Told::Until(until) => until,
            Told::Nothing => {
                tell(&PromptProgress { processed: seen.cache, ..seen });
                seen.cache
            }
        };
        let processed = seen.processed.max(until);
        if processed > until {
            tell(&PromptProgress { processed, ..seen });
        }
        *self = if processed == seen.total { Told::Everything } else { Told::Until(processed) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_begins_at_the_cache_and_never_goes_back() {
        let mut told = Told::default();
        let mut all = Vec::new();
        for processed in [3, 3, 5, 4, 8, 8] {
            let seen = PromptProgress { total: 8, cache: 2, processed, time_ms: 0, elapsed: Duration::ZERO };
            told.tell(seen, |progress| all.push(progress.processed));
        }
        assert_eq!(all, [2, 3, 5, 8]);
    }
}
