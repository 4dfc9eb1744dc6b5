//! What a caller asks for and what comes back.

use std::{ops::Range, sync::Arc, time::Duration};

use crate::{
    embedding::{EmbedOptions, Embedding},
    error::{Error, ErrorKind, Result},
    guide::Guide,
    ids::{FinishReason, Token},
    logprobs::{PromptToken, TokenLogprobs},
    parameters::IntoField,
    sampling::SamplingParams,
    stats::Timings,
};

/// The text or the tokens to continue.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Prompt {
    /// Text. Special tokens written out in it (`<|user|>`) are recognised, and BOS is added where the model wants it.
    Text(String),
    /// Text of which nothing is read as a special token; BOS is added where the model wants it.
    PlainText(String),
    /// Text with special tokens, except inside of some spans of it; what chat templates make of messages.
    Marked(MarkedText),
    /// Token ids, used as they are.
    Tokens(Vec<Token>),
}

/// Text in which special tokens are recognised, except where it quotes somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MarkedText {
    /// The whole text.
    pub text: String,
    /// Ranges of its bytes in which nothing is read as a special token: in order, apart from each other, between characters.
    pub plain: Vec<Range<usize>>,
}

impl MarkedText {
    /// A text with these plain ranges.
    pub fn new(text: impl Into<String>, plain: Vec<Range<usize>>) -> Self {
        Self { text: text.into(), plain }
    }
}

impl Prompt {
    /// Whether there is nothing to continue; a BOS that the model adds does not count.
    pub fn is_empty(&self) -> bool {
        match self {
            Prompt::Text(text) | Prompt::PlainText(text) => text.is_empty(),
            Prompt::Marked(marked) => marked.text.is_empty(),
            Prompt::Tokens(tokens) => tokens.is_empty(),
        }
    }
}

impl Prompt {
    /// The text of a prompt that is not made of tokens.
    pub fn text(&self) -> Option<&str> {
        match self {
            Prompt::Text(text) | Prompt::PlainText(text) => Some(text),
            Prompt::Marked(marked) => Some(&marked.text),
            Prompt::Tokens(_) => None,
        }
    }
}

impl From<MarkedText> for Prompt {
    fn from(marked: MarkedText) -> Self {
        Prompt::Marked(marked)
    }
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Prompt::Text(text.to_owned())
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Prompt::Text(text)
    }
}

impl From<&String> for Prompt {
    fn from(text: &String) -> Self {
        Prompt::Text(text.clone())
    }
}

impl From<Vec<Token>> for Prompt {
    fn from(tokens: Vec<Token>) -> Self {
        Prompt::Tokens(tokens)
    }
}

/// Who goes first when slots or prefill time are short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Somebody waits for the answer.
    #[default]
    Interactive,
    /// Fills what interactive requests leave; ordered as if it had arrived
    /// [`batch_aging`](crate::EngineConfig::batch_aging) later, so it is never starved.
    Batch,
}

/// One generation to run, or one text to embed. Each field but the prompt has a builder method of its name.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// What to continue.
    pub prompt: Prompt,
    /// How to continue it.
    pub params: SamplingParams,
    /// Who goes first.
    pub priority: Priority,
    /// Give up if no slot was found by then, counted from submit.
    pub queue_timeout: Option<Duration>,
    /// Give up if not finished by then, counted from submit; what was generated so far was delivered.
    pub timeout: Option<Duration>,
    /// Start from KV that is there already, where the engine allows it; `false` computes the whole prompt.
    pub prefix_reuse: bool,
    /// Tell how likely the model found the prompt's tokens from this position on, by [`Event::Prompt`]. What stands before it
    /// may come from KV that is there already.
    pub score_from: Option<usize>,
    /// Tell how far the prompt is computed, by [`Event::Progress`].
    pub report_progress: bool,
    /// Embed the prompt instead of continuing it: the events are one [`Event::Embedding`], unless that fails, and the last.
    pub embed: Option<EmbedOptions>,
    /// Holds the output to a form, in the place of [`SamplingParams::constraint`].
    pub guide: Option<Guide>,
    /// Special tokens that are written out even where [`SamplingParams::special`] is off: the markup that whoever reads the
    /// output looks for.
    pub markup: Arc<[Token]>,
}

impl Request {
    /// A request with default sampling, interactive, without deadlines.
    pub fn new(prompt: impl Into<Prompt>) -> Self {
        Self {
            prompt: prompt.into(),
            params: SamplingParams::default(),
            priority: Priority::default(),
            queue_timeout: None,
            timeout: None,
            prefix_reuse: true,
            score_from: None,
            report_progress: false,
            embed: None,
            guide: None,
            markup: Arc::default(),
        }
    }

    /// Sets [`params`](Self::params).
    #[must_use]
    pub fn params(mut self, params: SamplingParams) -> Self {
        self.params = params;
        self
    }

    /// Sets [`priority`](Self::priority).
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets [`queue_timeout`](Self::queue_timeout).
    #[must_use]
    pub fn queue_timeout(mut self, limit: impl IntoField<Option<Duration>>) -> Self {
        self.queue_timeout = limit.into_field();
        self
    }

    /// Sets [`timeout`](Self::timeout).
    #[must_use]
    pub fn timeout(mut self, limit: impl IntoField<Option<Duration>>) -> Self {
        self.timeout = limit.into_field();
        self
    }

    /// Sets [`prefix_reuse`](Self::prefix_reuse).
    #[must_use]
    pub fn prefix_reuse(mut self, reuse: bool) -> Self {
        self.prefix_reuse = reuse;
        self
    }

    /// Sets [`score_from`](Self::score_from).
    #[must_use]
    pub fn score_from(mut self, position: impl IntoField<Option<usize>>) -> Self {
        self.score_from = position.into_field();
        self
    }

    /// Sets [`report_progress`](Self::report_progress).
    #[must_use]
    pub fn report_progress(mut self, report: bool) -> Self {
        self.report_progress = report;
        self
    }

    /// Sets [`embed`](Self::embed).
    #[must_use]
    pub fn embed(mut self, options: impl IntoField<Option<EmbedOptions>>) -> Self {
        self.embed = options.into_field();
        self
    }

    /// Sets [`guide`](Self::guide).
    #[must_use]
    pub fn guide(mut self, guide: impl IntoField<Option<Guide>>) -> Self {
        self.guide = guide.into_field();
        self
    }

    /// Sets [`markup`](Self::markup).
    #[must_use]
    pub fn markup(mut self, tokens: impl Into<Arc<[Token]>>) -> Self {
        self.markup = tokens.into();
        self
    }
}

/// What a generation tells its caller: of its prompt where the request asks for that, any number of deltas, then exactly one
/// `Finished`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// More of the prompt is computed; the first comes with the slot, the last before every delta. Only where
    /// [`Request::report_progress`] asks for it.
    Progress(PromptProgress),
    /// The prompt is computed; comes once, before every delta, and only where [`Request::score_from`] asks for it.
    Prompt(Box<[PromptToken]>),
    /// The text is embedded, as [`Request::embed`] asks for; only the end follows.
    Embedding(Box<Embedding>),
    /// Text grew.
    Delta(Delta),
    /// The end; nothing follows.
    Finished(Box<Finish>),
}

/// How far a prompt is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PromptProgress {
    /// Tokens of the prompt.
    pub n_prompt_tokens: usize,
    /// Those whose KV was there already.
    pub n_cached_tokens: usize,
    /// Those that are computed, or were there.
    pub n_computed_tokens: usize,
}

/// One output token and the text that became certain with it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Delta {
    /// Whole characters; empty while a character is incomplete. With stop strings, tokens wait until it is certain that
    /// their text is of none, and those of one that came are left out.
    pub text: String,
    /// The token; `None` where the rest of an earlier token's text is released.
    pub token: Option<Token>,
    /// Position of the token in the output, from 0.
    pub index: usize,
    /// What [`SamplingParams::logprobs`] asked for; `None` without it, and where there is no token.
    pub logprobs: Option<Box<TokenLogprobs>>,
    /// The slot that it comes from, as `Engine::slots` numbers them. A request may move between two
    /// tokens.
    pub slot: usize,
}

/// The last word on a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Finish {
    /// Why it ended.
    pub reason: FinishReason,
    /// Which of the request's stop strings ended it.
    pub stop: Option<usize>,
    /// What failed, where the reason is [`FinishReason::Error`].
    pub error: Option<Error>,
    /// When what happened, and how many tokens.
    pub timings: Timings,
}

impl Finish {
    /// An end without a stop string or an error.
    pub fn new(reason: FinishReason, timings: Timings) -> Self {
        Self { reason, stop: None, error: None, timings }
    }

    /// The end of a generation that failed.
    pub fn failed(error: Error) -> Self {
        Self { error: Some(error), ..Self::new(FinishReason::Error, Timings::default()) }
    }
}

/// A whole generation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Completion {
    /// All text.
    pub text: String,
    /// All output tokens whose text begins in `text`: without those of a stop string, and the end-of-generation token.
    pub tokens: Vec<Token>,
    /// One for each token if [`SamplingParams::logprobs`] asked for them, otherwise empty.
    pub logprobs: Vec<TokenLogprobs>,
    /// The tokens of the prompt from [`Request::score_from`] on, otherwise empty.
    pub prompt: Box<[PromptToken]>,
    /// What [`Request::embed`] asked for.
    pub embedding: Option<Embedding>,
    /// Why it ended, and its timings.
    pub finish: Finish,
}

impl Completion {
    /// The error of a generation that failed; cancelled and expired ones are completions.
    pub fn into_result(self) -> Result<Self> {
        match (self.finish.reason, &self.finish.error) {
            (FinishReason::Error, Some(error)) => Err(error.clone()),
            _ => Ok(self),
        }
    }

    /// The vector of a text that was embedded.
    ///
    /// # Errors
    /// Why there is none: what failed, a cancel, or a deadline.
    pub fn into_embedding(self) -> Result<Embedding> {
        let Self { finish, embedding, .. } = self;
        if let (FinishReason::Error, Some(error)) = (finish.reason, finish.error) {
            return Err(error);
        }
        embedding.ok_or_else(|| match finish.reason {
            FinishReason::Deadline => {
                let kind = ErrorKind::Overloaded { retry_after: finish.timings.queue };
                Error::new(kind, "the time for the text was over before it was embedded; allow more time or send less")
            }
            _ => Error::new(ErrorKind::ShuttingDown, "the text was cancelled before it was embedded"),
        })
    }
}
