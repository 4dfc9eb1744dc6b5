//! From prompts and a wish to running generations: all of them, or an error and none.

use std::sync::Arc;

use llama_concurrent::{Prompt, Request, SamplingParams, Token};

use crate::{
    app::App,
    clients::Client,
    error::{ApiError, ApiResult},
    live::Live,
    params::Wish,
    prompt::{self, PromptInput, Use},
    running::Running,
    work::{Job, Load},
};

/// What a request asks the engine for, checked and ready to be submitted.
pub(crate) struct Ready {
    pub(crate) wish: Wish,
    prompts: Vec<Arc<[Token]>>,
}

/// Checks a wish and makes tokens of its prompts.
pub(crate) fn prepare(app: &App, prompts: &[PromptInput], wish: Wish, job: &Job) -> ApiResult<Ready> {
    let most = app.config.limits.max_generations;
    let count = prompts.len().saturating_mul(wish.n);
    if count > most {
        return Err(ApiError::field(
            "prompt",
            format!("asks for {count} generations, but one request may have {most}"),
        ));
    }
    // Before any work, and so that a wrong parameter is told before a full queue.
    app.engine.check_params(&SamplingParams { constraint: None, ..wish.params.clone() })?;
    let prompts = prompt::tokenize(&app.engine, prompts, Use::Continue, job)?;
    for tokens in &prompts {
        check_length(app, tokens)?;
    }
    Ok(Ready { wish, prompts: prompts.into_iter().map(Arc::from).collect() })
}

/// Submits `wish.n` generations for each prompt, in the order of the prompts: all of them, or an error and none.
pub(crate) async fn start(app: &Arc<App>, client: Client, ready: &Ready) -> ApiResult<Vec<Running>> {
    let Ready { wish, prompts } = ready;
    let count = prompts.len() * wish.n;
    let seats = app.clients.seats(client, count)?;
    // Compiling takes milliseconds, and the first time of an engine longer. The first request with a constraint compiles it;
    // the engine gives copies to the others.
    let load = match wish.params.constraint {
        Some(_) => Load::Constraint,
        None => Load::Bytes(wish.params.logit_bias.len() * count),
    };
    let (of_work, wish, prompts) = (app.clone(), wish.clone(), prompts.clone());
    let submit = move |job: &Job| -> ApiResult<Vec<Running>> {
        let choices = prompts.iter().flat_map(|tokens| (0..wish.n).map(move |choice| (tokens, choice)));
        let each = choices.zip(seats).map(|((tokens, choice), seat)| {
            job.check()?;
            let request = request(&of_work, &wish, choice, tokens);
            let params = request.params.clone();
            let generation = of_work.engine.submit(request)?;
            let live = Live::new(generation.id(), tokens.len(), params);
            Ok(Running::new(generation, live, tokens.clone(), of_work.clone(), seat))
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

fn request(app: &App, wish: &Wish, choice: usize, tokens: &[Token]) -> Request {
    let mut params = wish.params_of(choice);
    // What does not fit is cut off at the end of the slot, as in llama-server; clients ask for far more than they need.
    if params.max_tokens.is_some_and(|max| tokens.len() + max as usize > app.engine.n_ctx()) {
        params.max_tokens = None;
    }
    let limits = &app.config.limits;
    Request {
        prefix_reuse: wish.prefix_reuse,
        queue_timeout: limits.queue_timeout,
        timeout: limits.timeout,
        ..Request::new(Prompt::Tokens(tokens.to_vec())).with_params(params).with_priority(wish.priority)
    }
}
