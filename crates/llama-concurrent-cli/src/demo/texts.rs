//! The texts of the demo while they grow.

use std::time::{Duration, Instant};

use llama_concurrent::{Collector, Engine, Event, Finish, FinishReason, Generation, Request, SamplingParams};

use super::{
    boxes::{Pane, State},
    prompts::PROMPTS,
};
use crate::failure::Failure;

/// All texts, submitted at once.
pub struct Texts {
    texts: Vec<Text>,
    start: Instant,
}

struct Text {
    prompt: &'static str,
    generation: Generation,
    collected: Collector,
    /// When the first token was not there yet, and when the latest was.
    since: Instant,
    until: Instant,
    finish: Option<Finish>,
}

impl Texts {
    pub fn submit(engine: &Engine, max_tokens: u32) -> Result<Self, Failure> {
        let params = SamplingParams::default().max_tokens(max_tokens);
        let start = Instant::now();
        let submit = |&prompt: &&'static str| {
            let generation = engine.submit(Request::new(prompt).params(params.clone()))?;
            Ok(Text { prompt, generation, collected: Collector::default(), since: start, until: start, finish: None })
        };
        Ok(Self { texts: PROMPTS.iter().map(submit).collect::<Result<_, Failure>>()?, start })
    }

    /// Reads the available output without waiting: all of it, or `pace` tokens per second of each text.
    pub fn read(&mut self, pace: Option<f64>) {
        self.texts.iter_mut().for_each(|text| text.read(pace));
    }

    pub fn all_done(&self) -> bool {
        self.texts.iter().all(|text| text.finish.is_some())
    }

    /// The failure of the first text that failed.
    pub fn first_error(&self) -> Option<Failure> {
        self.texts.iter().find_map(|text| {
            let finish = text.finish.as_ref().filter(|finish| finish.reason == FinishReason::Error)?;
            finish.error.clone().map(Failure::from)
        })
    }

    /// The state of every text. The engine has no other requests, so texts get its `slots` in order.
    pub fn panes(&self, slots: usize) -> Vec<Pane<'_>> {
        let decoding = self.texts.iter().filter(|text| text.tokens() > 0 && text.finish.is_none()).count();
        let mut in_prefill = slots.saturating_sub(decoding);
        let mut state = |text: &Text| match (&text.finish, text.tokens()) {
            (Some(_), _) => State::Done,
            (None, 0) if in_prefill == 0 => State::Waiting,
            (None, 0) => {
                in_prefill -= 1;
                State::Prefill
            }
            (None, _) => State::Decoding,
        };
        let pane = |text| Pane { state: state(text), ..text.pane() };
        self.texts.iter().map(pane).collect()
    }

    pub fn tokens(&self) -> usize {
        self.texts.iter().map(Text::tokens).sum()
    }

    /// Since the submit; stops with the last text.
    pub fn elapsed(&self) -> Duration {
        let ends: Option<Vec<_>> = self.texts.iter().map(|text| Some(text.finish.as_ref()?.timings.e2e)).collect();
        ends.and_then(|ends| ends.into_iter().max()).unwrap_or_else(|| self.start.elapsed())
    }
}

impl Text {
    fn tokens(&self) -> usize {
        self.collected.tokens().len()
    }

    fn read(&mut self, pace: Option<f64>) {
        let now = Instant::now();
        let readable = match pace {
            Some(pace) if self.tokens() > 0 => ((now - self.since).as_secs_f64() * pace) as usize,
            Some(_) => 1,
            None => usize::MAX,
        };
        if self.tokens() == 0 {
            self.since = now;
        }
        while self.tokens() < readable {
            match self.generation.next_within(Duration::ZERO) {
                Some(Event::Delta(delta)) => {
                    self.collected.push(&delta);
                    self.until = now;
                }
                Some(Event::Finished(finish)) => self.finish = Some(*finish),
                _ => break,
            }
        }
    }

    fn pane(&self) -> Pane<'_> {
        let (output, tokens) = (self.collected.text(), self.tokens());
        Pane { state: State::Waiting, prompt: self.prompt, output, tokens, rate: self.rate() }
    }

    /// Tokens per second of this text.
    fn rate(&self) -> Option<f64> {
        let (tokens, time) = match &self.finish {
            Some(finish) => (finish.timings.itl.len(), finish.timings.itl.iter().sum()),
            None => (self.tokens(), self.until - self.since),
        };
        (tokens > 0 && !time.is_zero()).then(|| tokens as f64 / time.as_secs_f64())
    }
}
