//! From events to a result.

use crate::{
    embedding::Embedding,
    error::Result,
    ids::Token,
    logprobs::{PromptToken, TokenLogprobs},
    request::{Completion, Delta, Event, Finish},
};

/// Puts the events of a generation together to a completion.
#[derive(Debug, Default)]
pub struct Collector {
    text: String,
    tokens: Vec<Token>,
    logprobs: Vec<TokenLogprobs>,
    prompt: Box<[PromptToken]>,
    embedding: Option<Embedding>,
}

impl Collector {
    /// Takes an event; the last one gives the result.
    pub fn take(&mut self, event: Event) -> Option<Result<Completion>> {
        match event {
            Event::Progress(_) => None,
            Event::Prompt(tokens) => {
                self.add_prompt(tokens);
                None
            }
            Event::Embedding(embedding) => {
                self.add_embedding(*embedding);
                None
            }
            Event::Delta(mut delta) => {
                self.add(&mut delta);
                None
            }
            Event::Finished(finish) => Some(std::mem::take(self).finish(*finish).into_result()),
        }
    }

    /// Takes a piece, and its log probabilities out of it.
    pub fn add(&mut self, delta: &mut Delta) {
        self.logprobs.extend(delta.logprobs.take().map(|boxed| *boxed));
        self.push(delta);
    }

    /// Takes the tokens of the prompt.
    pub fn add_prompt(&mut self, tokens: Box<[PromptToken]>) {
        self.prompt = tokens;
    }

    /// Takes the vector of a text.
    pub fn add_embedding(&mut self, embedding: Embedding) {
        self.embedding = Some(embedding);
    }

    /// Takes the text and the token of a piece, without its log probabilities.
    pub fn push(&mut self, delta: &Delta) {
        self.text.push_str(&delta.text);
        self.tokens.extend(delta.token);
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The tokens so far.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// What there is at the end, also of a generation that failed.
    pub fn finish(self, finish: Finish) -> Completion {
        let Self { text, tokens, logprobs, prompt, embedding } = self;
        Completion { text, tokens, logprobs, prompt, embedding, finish }
    }
}
