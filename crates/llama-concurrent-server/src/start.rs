//! Starts the generations of a request: all of them, or none and an error.

use std::sync::Arc;

use llama_concurrent::{Prompt, ReplyForm, Request, Token};

use crate::{
    active_generation::ActiveGeneration,
    app::App,
    clients::Client,
    error::{ApiError, ApiResult},
    in_flight::InFlightRequest,
    params::RequestOptions,
    prompt::{self, PromptInput, Use},
    work::{Job, Load},
};

/// A validated request, ready to be submitted.
pub(crate) struct Ready {
    pub(crate) options: RequestOptions,
    prompts: Vec<Arc<[Token]>>,
    /// The form of the answers to a chat.
    pub(crate) reply: Option<ReplyForm>,
}

impl Ready {
    /// The tokens of the first prompt.
    pub(crate) fn n_prompt(&self) -> usize {
        self.prompts.first().map_or(0, |tokens| tokens.len())
    }

    /// How many log probabilities are asked for of the prompts.
    pub(crate) fn n_prompt_scores(&self) -> usize {
        let each = self.options.params.logprobs.map_or(0, |n_top| n_top as usize + 1) * self.options.n;
        self.prompts.iter().map(|tokens| tokens.len()).sum::<usize>().saturating_mul(each)
    }

    /// The form of the answers to a chat.
    pub(crate) fn form(&self) -> ApiResult<ReplyForm> {
        self.reply.clone().ok_or_else(|| ApiError::internal("a chat without a form of its answer"))
    }

    /// The same for a chat, whose answers have this form.
    pub(crate) fn with_reply(self, form: ReplyForm) -> Self {
        Self { reply: Some(form), ..self }
    }
}

/// Validates the options of a request and tokenizes its prompts.
pub(crate) fn prepare(app: &App, prompts: &[PromptInput], options: RequestOptions, job: &Job) -> ApiResult<Ready> {
    let most = app.config.limits.max_generations;
    let count = prompts.len().saturating_mul(options.n);
    if count > most {
        return Err(ApiError::field(
            "prompt",
            format!("asks for {count} generations, but one request may have {most}"),
        ));
    }
    // Before any work, and so that an invalid parameter is reported before a full queue.
    app.engine.check_params(&options.params.clone().constraint(None))?;
    let prompts = prompt::tokenize(&app.engine, prompts, Use::Continue, job)?;
    for tokens in &prompts {
        check_length(app, tokens)?;
    }
    Ok(Ready { options, prompts: prompts.into_iter().map(Arc::from).collect(), reply: None })
}

/// Submits `options.n` generations for each prompt, in the order of the prompts: all of them, or none and an error.
pub(crate) async fn start(app: &Arc<App>, client: Client, ready: &Ready) -> ApiResult<Vec<ActiveGeneration>> {
    let Ready { options, prompts, reply } = ready;
    let count = prompts.len() * options.n;
    let permits = app.clients.permits(client, count)?;
    // Compiling takes milliseconds, and longer for the first constraint of an engine. The first request with a constraint
    // compiles it; the engine copies it for the others.
    let has_tools = reply.as_ref().is_some_and(|form| !form.tools().is_empty());
    let load = match options.params.constraint {
        None if !has_tools => Load::Bytes(options.params.logit_bias.len() * count),
        _ => Load::Constraint,
    };
    let (of_work, options, prompts, reply) = (app.clone(), options.clone(), prompts.clone(), reply.clone());
    let submit = move |job: &Job| -> ApiResult<Vec<ActiveGeneration>> {
        let guide = reply.as_ref().map(|form| of_work.engine.guide(form, &options.params)).transpose()?.flatten();
        let markup = reply.as_ref().map(ReplyForm::markup).unwrap_or_default();
        let choices = prompts.iter().flat_map(|tokens| (0..options.n).map(move |choice| (tokens, choice)));
        let each = choices.zip(permits).map(|((tokens, choice), permit)| {
            job.check()?;
            let request = request(&of_work, &options, choice, tokens).guide(guide.clone()).markup(markup.clone());
            let params = request.params.clone();
            let generation = of_work.engine.submit(request)?;
            let in_flight = InFlightRequest::new(generation.id(), tokens.len(), params);
            Ok(ActiveGeneration::new(generation, in_flight, tokens.clone(), of_work.clone(), permit))
        });
        each.collect()
    };
    app.lanes.run(load, submit).await
}

fn check_length(app: &App, tokens: &[Token]) -> ApiResult<()> {
    let (n, n_ctx) = (tokens.len(), app.engine.n_ctx());
    if n == 0 {
        return Err(ApiError::field("prompt", "is empty; give at least one character or token"));
    }
    match app.config.limits.max_prompt_tokens {
        Some(most) if n > most => {
            Err(ApiError::field("prompt", format!("has {n} tokens, but this server takes at most {most}")))
        }
        _ if n >= n_ctx => Err(ApiError::prompt_too_long(n, n_ctx)),
        _ => Ok(()),
    }
}

fn request(app: &App, options: &RequestOptions, choice: usize, tokens: &[Token]) -> Request {
    let mut params = options.params_of(choice);
    // Output that does not fit is cut off at the end of the slot, as in llama-server: clients ask for more than they need.
    if params.max_tokens.is_some_and(|max| tokens.len() + max as usize > app.engine.n_ctx()) {
        params.max_tokens = None;
    }
    // Whoever scores a prompt counts on the one token that follows it.
    if options.score_prompt && params.max_tokens == Some(1) {
        params.ignore_eos = true;
    }
    let limits = &app.config.limits;
    Request::new(Prompt::Tokens(tokens.to_vec()))
        .params(params)
        .priority(options.priority)
        .prefix_reuse(options.prefix_reuse)
        .report_progress(options.stream)
        .score_from(options.score_prompt.then_some(0))
        .queue_timeout(limits.queue_timeout)
        .timeout(limits.timeout)
}
