//! Taking a request on the caller's thread: tokenize, check, reserve a place, hand it to a worker.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use crossbeam_channel::SendError;
use llama_concurrent_constraint::{Compiler, Grammar};
use llama_concurrent_llama::TokenizeOptions;
use llama_concurrent_scheduler::{NewEmbedding, NewSequence, Permit, WorkerLoad};
use llama_concurrent_types::{
    Constraint, EmbedOptions, Error, ErrorKind, Matcher, Pooling, Prompt, Request, RequestId, Result, SamplingParams,
    Speculation, Token,
};

use super::{Inner, WorkerHandle, shutting_down};
use crate::{
    stream::EventSink,
    ticket::Ticket,
    worker::{Caller, Command, EventSender},
};

/// Whether somebody still waits for the tokens.
pub(super) type GoOn<'a> = &'a (dyn Fn() -> bool + Sync);

/// What becomes of a prompt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Continue,
    Embed,
}

impl Inner {
    pub(super) fn submit(&self, request: &Request, sink: Box<dyn EventSink>) -> Result<Ticket> {
        match &request.embed {
            None => self.generate(request, sink),
            Some(options) => self.embed(request, options, sink),
        }
    }

    /// Refuses parameters that this engine cannot follow, apart from constraints.
    pub(super) fn check(&self, params: &SamplingParams) -> Result<()> {
        params.validate(self.model.table().len())?;
        if params.speculation == Speculation::Draft && !self.has_draft_model {
            let message =
                "speculation is draft, but the engine has no draft model; load it with one, or use auto or lookup";
            return Err(Error::new(ErrorKind::InvalidRequest, message));
        }
        Ok(())
    }

    fn generate(&self, request: &Request, sink: Box<dyn EventSink>) -> Result<Ticket> {
        let submitted = self.epoch.elapsed();
        self.check(&request.params)?;
        if self.summary.is_encoder {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                format!(
                    "the model is an encoder ({}): it makes vectors of texts and generates nothing; embed the text, or load \
                     a model that generates",
                    self.summary.architecture
                ),
            ));
        }
        if request.prompt.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "the prompt is empty; give at least one character or token",
            ));
        }
        let prompt = self.tokenize(&request.prompt, Use::Continue, &|| true)?;
        self.check_fits(&prompt, &request.params)?;
        if let Some(from) = request.score_from.filter(|&from| from >= prompt.len()) {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("score_from is {from}, but the prompt has {} tokens; give a smaller one", prompt.len()),
            ));
        }
        let matcher = match (&request.guide, &request.params.constraint) {
            (Some(guide), _) => Some(guide.matcher()),
            (None, Some(constraint)) => Some(Box::new(self.compile(constraint)?) as Box<dyn Matcher>),
            (None, None) => None,
        };
        let permit = self.admission.reserve(prompt.len())?;
        let worker = &self.workers[self.choose_worker(&prompt)];
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let sequence = NewSequence {
            id,
            prompt,
            params: Arc::new(request.params.clone()),
            matcher,
            markup: request.markup.clone(),
            prefix_reuse: request.prefix_reuse,
            score_from: request.score_from,
            report_progress: request.report_progress,
            priority: request.priority,
            submitted,
            queue_deadline: request.queue_timeout.map(|limit| submitted.saturating_add(limit)),
            deadline: request.timeout.map(|limit| submitted.saturating_add(limit)),
        };
        hand_over(worker, id, permit, sink, |caller| Command::Submit(Box::new(sequence), caller))
    }

    fn embed(&self, request: &Request, options: &EmbedOptions, sink: Box<dyn EventSink>) -> Result<Ticket> {
        let submitted = self.epoch.elapsed();
        let tokens = self.tokenize(&request.prompt, Use::Embed, &|| true)?;
        let (n_tokens, n_ctx) = (tokens.len(), self.shape.n_ctx);
        if n_tokens == 0 {
            return Err(Error::new(ErrorKind::InvalidRequest, "the text has no tokens; give some other text"));
        }
        if n_tokens > n_ctx {
            return Err(Error::new(
                ErrorKind::PromptTooLong { n_prompt: n_tokens, max_tokens: 0, n_ctx },
                format!(
                    "the text has {n_tokens} tokens, but at most {n_ctx} can be embedded; shorten it or raise n_ctx"
                ),
            ));
        }
        let pooling = options.pooling.or_else(|| self.model.pooling().filter(|&own| own != Pooling::Rank));
        let pooling = pooling.unwrap_or(Pooling::Mean);
        if pooling == Pooling::Rank {
            self.check_rank_head()?;
        }
        let permit = self.admission.reserve(n_tokens)?;
        // Nothing of it stays in a slot, so its prefix is not to be remembered.
        let worker = &self.workers[self.choose_worker(&[])];
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let text = NewEmbedding {
            id,
            tokens,
            pooling,
            normalize: options.normalize,
            priority: request.priority,
            submitted,
            queue_deadline: request.queue_timeout.map(|limit| submitted.saturating_add(limit)),
            deadline: request.timeout.map(|limit| submitted.saturating_add(limit)),
        };
        hand_over(worker, id, permit, sink, |caller| Command::Embed(Box::new(text), caller))
    }

    fn choose_worker(&self, prompt: &[Token]) -> usize {
        let loads: Vec<WorkerLoad> = self.workers.iter().map(|worker| worker.shared.load()).collect();
        self.router.lock().unwrap_or_else(PoisonError::into_inner).choose(prompt, &loads)
    }

    /// Compiles a constraint on this thread; the first one of an engine also prepares the vocabulary.
    pub(super) fn compile(&self, constraint: &Constraint) -> Result<Grammar> {
        let new = || {
            // Drafts spell what a constraint demands. What that needs is made here, and not while others wait for tokens.
            self.model.table().spelled(b"");
            Compiler::new(self.model.table())
        };
        self.grammars.get_or_init(new).as_ref().map_err(Error::clone)?.compile(constraint)
    }

    pub(super) fn check_rank_head(&self) -> Result<()> {
        if self.summary.has_rank_head {
            return Ok(());
        }
        let message = "the model has no head that ranks texts; load a reranker, or compare vectors of texts instead";
        Err(Error::new(ErrorKind::InvalidRequest, message))
    }

    /// The tokens of a prompt; with text that cannot fit it is refused before all of it is tokenized.
    pub(super) fn tokenize(&self, prompt: &Prompt, to: Use, go_on: GoOn<'_>) -> Result<Vec<Token>> {
        let options = TokenizeOptions {
            begin: true,
            // Behind a prompt it would say that the text is over, and the model would begin another.
            end: to == Use::Embed,
            go_on: Some(go_on),
            room: Some(self.shape.n_ctx),
            ..TokenizeOptions::default()
        };
        let parsed = TokenizeOptions { parse_special: true, ..options };
        match prompt {
            Prompt::Text(text) => self.model.tokenize(text, &parsed),
            Prompt::PlainText(text) => self.model.tokenize(text, &options),
            Prompt::Marked(marked) => {
                self.model.tokenize(&marked.text, &TokenizeOptions { plain: &marked.plain, ..parsed })
            }
            Prompt::Tokens(tokens) => {
                let n_vocab = self.model.table().len();
                match tokens.iter().find(|&&token| usize::try_from(token).map_or(true, |t| t >= n_vocab)) {
                    None => Ok(tokens.clone()),
                    Some(token) => Err(Error::new(
                        ErrorKind::InvalidRequest,
                        format!("prompt token {token} is not in the vocabulary of {n_vocab} tokens"),
                    )),
                }
            }
            other => {
                Err(Error::new(ErrorKind::InvalidRequest, format!("the engine cannot read this prompt: {other:?}")))
            }
        }
    }

    fn check_fits(&self, prompt: &[Token], params: &SamplingParams) -> Result<()> {
        let (n_prompt, n_ctx) = (prompt.len(), self.shape.n_ctx);
        if n_prompt == 0 {
            return Err(Error::new(ErrorKind::InvalidRequest, "the prompt has no tokens; give some other text"));
        }
        let max_tokens = params.max_tokens.unwrap_or(1) as usize;
        if n_prompt.saturating_add(max_tokens) <= n_ctx {
            return Ok(());
        }
        let output = match params.max_tokens {
            Some(n) => format!("max_tokens {n}"),
            None => "at least 1 output token".into(),
        };
        Err(Error::new(
            ErrorKind::PromptTooLong { n_prompt, max_tokens, n_ctx },
            format!(
                "the prompt has {n_prompt} tokens; with {output} that exceeds the {n_ctx} tokens of a slot; \
                 shorten the prompt, lower max_tokens or raise n_ctx (the model was trained for {})",
                self.summary.n_ctx_train
            ),
        ))
    }
}

fn hand_over(
    worker: &WorkerHandle,
    id: RequestId,
    mut permit: Permit,
    sink: Box<dyn EventSink>,
    command: impl FnOnce(Caller) -> Command,
) -> Result<Ticket> {
    // Counted before it is sent: a worker that shuts down waits for what is on its way. If it has ended already, the
    // events tell the caller.
    permit.assign(&worker.shared.unfinished);
    let caller = Caller { events: EventSender::new(sink), permit };
    match worker.commands.send(command(caller)) {
        Ok(()) => Ok(Ticket { id, commands: worker.commands.clone() }),
        Err(SendError(refused)) => {
            if let Command::Submit(_, caller) | Command::Embed(_, caller) = refused {
                caller.events.disarm();
            }
            Err(shutting_down())
        }
    }
}
