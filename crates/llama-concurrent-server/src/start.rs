//! From prompts and a wish to running generations: all of them, or an error and none.

use std::sync::Arc;

use llama_concurrent::{Generation, Prompt, Request, SamplingParams, Token};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    app::App,
    clients::Client,
    error::{ApiError, ApiResult},
    live::Live,
    params::Wish,
    prompt::{self, PromptInput},
    running::Running,
};

/// Submits `wish.n` generations for each prompt, in the order of the prompts.
pub(crate) async fn start(
    app: &Arc<App>,
    client: Client,
    prompts: Vec<PromptInput>,
    wish: &Wish,
) -> ApiResult<Vec<Running>> {
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
    let prompts = prompt::tokenize(&app.engine, prompts).await?;
    for tokens in &prompts {
        check_length(app, tokens)?;
    }
    let mut seats = app.clients.seats(client, count)?.into_iter();
    let turn = turn(app, wish).await;
    let mut all = Vec::with_capacity(count);
    for tokens in prompts {
        let tokens: Arc<[Token]> = tokens.into();
        for choice in 0..wish.n {
            let request = request(app, wish, choice, &tokens);
            let generation = submit(app, request.clone(), turn.clone()).await?;
            let live = Live::new(generation.id(), tokens.len(), request.params);
            all.push(Running::new(generation, live, tokens.clone(), app.clone(), seats.next().flatten()));
        }
    }
    Ok(all)
}

/// A turn to compile constraints, which takes milliseconds, and the first time of an engine longer; `None` if there is none.
async fn turn(app: &App, wish: &Wish) -> Option<Turn> {
    wish.params.constraint.as_ref()?;
    // Nobody closes the semaphore.
    app.compiling.clone().acquire_owned().await.ok().map(Arc::new)
}

/// Goes with the work, which is not given up when its client goes away.
type Turn = Arc<OwnedSemaphorePermit>;

/// The first with a constraint compiles it; the engine gives copies to the others.
async fn submit(app: &App, request: Request, turn: Option<Turn>) -> ApiResult<Generation> {
    let engine = app.engine.clone();
    let is_long = turn.is_some();
    let work = move || {
        let generation = engine.submit(request)?;
        drop(turn);
        Ok(generation)
    };
    prompt::off_thread(is_long, work).await
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
