//! `/v1/completions`.

use std::sync::Arc;

use axum::{extract::State, response::Response};

use super::answers::{self, Form};
use crate::{
    active_generation::MOST_SCORES,
    app::App,
    body::Body,
    clients::Client,
    error::{ApiError, ApiResult},
    fields::Fields,
    guard::Peer,
    infill::{self, Gap},
    params::RequestOptions,
    prompt::{self, PromptInput},
    start::{prepare, start},
    work::Job,
};

pub(crate) async fn completions(
    State(app): State<Arc<App>>,
    client: Client,
    peer: Peer,
    body: Body,
) -> ApiResult<Response> {
    let read = body.read(&app, |app, fields, job| {
        let mut options = RequestOptions::read_beside(&["echo", "suffix"], fields, app, job)?;
        let (mut prompts, _) = prompt::read("prompt", fields.required("prompt")?)?;
        let echo = echo(app, fields, &prompts)?;
        options.score_prompt = !echo.is_empty() && options.params.logprobs.is_some();
        if let Some(behind) = fields.text("suffix")?.filter(|suffix| !suffix.is_empty()) {
            if options.score_prompt {
                let must = "cannot be used together with 'echo' and 'logprobs': the model reads another text than the echo";
                return Err(ApiError::field("suffix", must));
            }
            for prompt in &mut prompts {
                *prompt = before(app, prompt, behind, &options, job)?;
            }
        }
        let ready = prepare(app, &prompts, options, job)?;
        if ready.options.score_prompt && ready.n_prompt_scores() > MOST_SCORES {
            let must = format!(
                "asks for more than {MOST_SCORES} log probabilities of prompts; lower 'logprobs' or 'n', or send fewer prompts"
            );
            return Err(ApiError::field("logprobs", must));
        }
        Ok((ready, echo))
    });
    let (ready, echo) = read.await?;
    let all = start(&app, client, &ready).await?;
    answers::respond(&app, &peer, &ready.options, Form::Text { echo }, all).await
}

/// The texts of the prompts, if answers begin with them.
fn echo(app: &App, fields: &Fields<'_>, prompts: &[PromptInput]) -> ApiResult<Vec<String>> {
    if !fields.boolean("echo")?.unwrap_or(false) {
        return Ok(Vec::new());
    }
    Ok(prompts.iter().map(|prompt| prompt.written(&app.engine)).collect())
}

/// The prompt for what stands between two texts.
fn before(
    app: &App,
    prompt: &PromptInput,
    behind: &str,
    options: &RequestOptions,
    job: &Job,
) -> ApiResult<PromptInput> {
    let Some(before) = prompt.as_text() else {
        return Err(ApiError::field("suffix", "cannot be used with a prompt of tokens; give a text"));
    };
    let gap = Gap { before: [before, ""], behind, others: Vec::new(), max_tokens: options.params.max_tokens };
    infill::prompt(app, &gap, job)?
        .ok_or_else(|| ApiError::field("suffix", format!("cannot be used: {}", infill::UNSUPPORTED)))
}
