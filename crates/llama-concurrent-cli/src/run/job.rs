//! One request of a run, from submit to its outcome.

use std::time::{Duration, Instant};

use llama_concurrent::{
    Collector, Completion, Engine, Error, Event, Finish, FinishReason, Generation, Prompt, Request, Token,
    TokenLogprobs,
};

use crate::failure::{Failure, is_bad_input};

/// How often a request without events updates the progress bar.
const TICK: Duration = Duration::from_millis(50);

pub struct Job {
    state: Result<Generation, Outcome>,
    /// From the start of the run.
    submitted: Duration,
}

pub enum Outcome {
    Done(Box<Answer>),
    /// The request was invalid, and nothing was computed.
    Refused(String),
    Failed(String),
}

pub struct Answer {
    pub text: String,
    pub tokens: Vec<Token>,
    /// One for each token, where they were asked for.
    pub logprobs: Vec<TokenLogprobs>,
    pub finish: Finish,
    /// From the start of the run.
    pub ended: Duration,
}

impl Job {
    pub fn submit(engine: &Engine, start: Instant, request: Request) -> Self {
        let submitted = start.elapsed();
        let state = match &request.prompt {
            // A model with a BOS token would continue from that alone, which is hardly ever intended.
            Prompt::Text(text) if text.is_empty() => Err(Outcome::Refused("the prompt is empty".to_owned())),
            _ => engine.submit(request).map_err(Outcome::from),
        };
        Self { state, submitted }
    }

    pub fn is_accepted(&self) -> bool {
        self.state.is_ok()
    }

    /// Waits for the end. `grow` gets the text as it arrives, `tick` is called often.
    pub fn wait(self, mut grow: impl FnMut(&str) -> Result<(), Failure>, tick: impl Fn()) -> Result<Outcome, Failure> {
        let mut generation = match self.state {
            Ok(generation) => generation,
            Err(outcome) => return Ok(outcome),
        };
        let mut collector = Collector::default();
        loop {
            tick();
            let Some(event) = generation.next_within(TICK) else { continue };
            if let Event::Delta(delta) = &event {
                grow(&delta.text)?;
            }
            if let Some(result) = collector.take(event) {
                return Ok(result.map_or_else(Outcome::from, |completion| {
                    let ended = self.submitted + completion.finish.timings.e2e;
                    let Completion { text, tokens, logprobs, finish, .. } = completion;
                    Outcome::Done(Box::new(Answer { text, tokens, logprobs, finish, ended }))
                }));
            }
        }
    }
}

impl Outcome {
    /// The message for the user, and its level.
    pub fn diagnostic(&self) -> Option<(&'static str, String)> {
        match self {
            Outcome::Refused(error) | Outcome::Failed(error) => Some(("error", error.clone())),
            Outcome::Done(answer) => match answer.finish.reason {
                FinishReason::Deadline => Some(("warning", "out of time, so the text ends early".to_owned())),
                FinishReason::Cancelled => Some(("warning", "cancelled, so the text ends early".to_owned())),
                _ => None,
            },
        }
    }
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        if is_bad_input(error.kind()) {
            Outcome::Refused(error.to_string())
        } else {
            Outcome::Failed(error.to_string())
        }
    }
}
