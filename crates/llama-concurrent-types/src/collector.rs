//! From events to a result.

use crate::{
    error::{Error, Result},
    logprobs::TokenLogprobs,
    request::{Completion, Delta, Event, Finish, FinishReason, Token},
};

/// Puts events together to a completion.
#[derive(Debug, Default)]
pub struct Collector {
    text: String,
    tokens: Vec<Token>,
    logprobs: Vec<TokenLogprobs>,
}

impl Collector {
    /// Takes an event; the last one gives the result.
    pub fn take(&mut self, event: Event) -> Option<Result<Completion>> {
        match event {
            Event::Delta(Delta { text, token, logprobs, .. }) => {
                self.text.push_str(&text);
                self.tokens.extend(token);
                self.logprobs.extend(logprobs.map(|boxed| *boxed));
                None
            }
            Event::Finished(finish) => Some(self.finish(*finish)),
        }
    }

    fn finish(&mut self, finish: Finish) -> Result<Completion> {
        match (finish.reason, &finish.error) {
            (FinishReason::Error, Some(error)) => Err(Error::clone(error)),
            _ => Ok(Completion {
                text: std::mem::take(&mut self.text),
                tokens: std::mem::take(&mut self.tokens),
                logprobs: std::mem::take(&mut self.logprobs),
                finish,
            }),
        }
    }
}
