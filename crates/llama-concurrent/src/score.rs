//! Continuations that are given, and how likely the model finds them.

use llama_concurrent_types::{
    Completion, Error, ErrorKind, Priority, Prompt, PromptToken, Request, Result, SamplingParams, Token,
};

use crate::engine::Engine;

/// How likely the model finds a continuation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Score {
    /// Natural logarithm of its probability: the sum of those of its tokens.
    pub logprob: f64,
    /// Whether it is what greedy sampling would have chosen, token by token.
    pub is_greedy: bool,
    /// Its tokens, each with the likeliest one in its place.
    pub tokens: Vec<PromptToken>,
}

impl Score {
    /// The score of a continuation whose tokens were told by [`Event::Prompt`](llama_concurrent_types::Event::Prompt).
    pub fn of(tokens: Vec<PromptToken>) -> Self {
        let found = || tokens.iter().filter_map(|one| one.logprobs.as_ref());
        let logprob = found().map(|found| f64::from(found.logprob)).sum();
        let likeliest = |one: &PromptToken| Some(one.logprobs.as_ref()?.top.first()?.token);
        let is_greedy = tokens.iter().all(|one| likeliest(one).is_none_or(|token| token == one.token));
        Self { logprob, is_greedy, tokens }
    }
}

impl Engine {
    /// How likely the model finds each of these continuations of a text, in their order. A long text is computed once in each
    /// context where prefixes are reused. They run in the batch class, and one that fails does not disturb the others.
    ///
    /// Two texts are tokenized as one, and scored from the first token on in which that differs from the text alone. Where
    /// nothing stands before a continuation, its first token counts as certain.
    pub fn score<P: Into<Prompt>>(
        &self,
        text: impl Into<Prompt>,
        continuations: impl IntoIterator<Item = P>,
    ) -> Vec<Result<Score>> {
        let continuations: Vec<Prompt> = continuations.into_iter().map(Into::into).collect();
        let n = continuations.len();
        let requests = match self.score_requests(text, continuations) {
            Ok(requests) => requests,
            Err(error) => return (0..n).map(|_| Err(error.clone())).collect(),
        };
        let score = |completion: Completion| match completion.prompt.is_empty() {
            true => Err(Error::new(ErrorKind::ShuttingDown, "it was cancelled before the continuation was scored")),
            false => Ok(Score::of(completion.prompt.into())),
        };
        self.run_each(requests, |_, _| ()).into_iter().map(|done| done.and_then(score)).collect()
    }

    /// The requests of [`score`](Self::score), for callers who submit them themselves: a completion's
    /// [`prompt`](Completion::prompt) gives the [`Score::of`] its continuation.
    ///
    /// # Errors
    /// As [`tokenize_prompt`](Self::tokenize_prompt) of the text; a continuation has its own error in its place.
    pub fn score_requests<P: Into<Prompt>>(
        &self,
        text: impl Into<Prompt>,
        continuations: impl IntoIterator<Item = P>,
    ) -> Result<Vec<Result<Request>>> {
        let text = text.into();
        let before = self.begin(&text)?;
        Ok(continuations.into_iter().map(|one| self.score_request(&text, &before, &one.into())).collect())
    }

    /// The tokens of a text before which nothing stands.
    fn begin(&self, text: &Prompt) -> Result<Vec<Token>> {
        if text.is_empty() { self.tokenize("") } else { self.tokenize_prompt(text, || true) }
    }

    fn score_request(&self, text: &Prompt, before: &[Token], continuation: &Prompt) -> Result<Request> {
        if continuation.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "the continuation is empty; give at least one character",
            ));
        }
        let whole = match (text, continuation) {
            (Prompt::Text(text), Prompt::Text(more)) => self.tokenize(&format!("{text}{more}"))?,
            (_, Prompt::Text(more)) => [before, &self.tokenize_with(more, false, true)?].concat(),
            (_, Prompt::Tokens(more)) => [before, more].concat(),
            (_, other) => {
                let said = "a continuation is text or tokens, not";
                return Err(Error::new(ErrorKind::InvalidRequest, format!("{said} {other:?}")));
            }
        };
        // Where tokens reach over the end of the text, the first of them counts, too.
        let same = whole.iter().zip(before).take_while(|(a, b)| a == b).count();
        let params = SamplingParams::default().max_tokens(1).logprobs(1);
        let request = Request::new(Prompt::Tokens(whole)).params(params).priority(Priority::Batch);
        Ok(request.score_from(same))
    }
}
