//! `/api/embed`, and `/api/embeddings` of earlier versions.

use std::{sync::Arc, time::Instant};

use axum::{extract::State, response::Response};
use llama_concurrent::{EmbedOptions, Engine, Pooling, Token};
use serde_json::json;

use super::{
    answers::nanos,
    request::{ends_at_once, model},
};
use crate::{
    app::App,
    body::Body,
    clients::Client,
    error::{ApiError, ApiResult, json_text},
    fields::{Fields, wrong},
    openai::embeddings::{self as vectors, Texts},
    work::Job,
};

pub(super) async fn embed(State(app): State<Arc<App>>, client: Client, body: Body) -> ApiResult<Response> {
    let since = Instant::now();
    let read = body.read(&app, |app, fields, job| {
        check(fields)?;
        let input = fields.required("input")?;
        if !(input.is_string() || input.is_array()) {
            return Err(wrong(&fields.path("input"), "a string or a list of strings", input));
        }
        let truncate = fields.boolean("truncate")?.unwrap_or(true);
        let dimensions = vectors::dimensions(app, fields)?;
        // A text of nothing has no vector; in a list it is an error.
        let inputs = fields.texts("input")?.filter(|_| input != "").unwrap_or_default();
        let tokens = tokenize(app, &inputs, truncate, job)?;
        Ok((model(app, fields)?, Texts::new(app, "input", tokens, options(app, true))?, dimensions))
    });
    let (model, texts, dimensions) = read.await?;
    let mut embeddings = vectors::embed(&app, client, texts).await?;
    if let Some(dimensions) = dimensions {
        embeddings.iter_mut().for_each(|embedding| vectors::shorten(&mut embedding.values, dimensions));
    }
    vectors::answer(&app, embeddings, move |embeddings| {
        let n: usize = embeddings.iter().map(|embedding| embedding.n_prompt_tokens).sum();
        json!({
            "model": model,
            "embeddings": embeddings.iter().map(|embedding| &embedding.values).collect::<Vec<_>>(),
            "total_duration": nanos(since.elapsed()),
            "load_duration": 0,
            "prompt_eval_count": n,
        })
    })
    .await
}

/// One vector, of its own length.
pub(super) async fn embeddings(State(app): State<Arc<App>>, client: Client, body: Body) -> ApiResult<Response> {
    let read = body.read(&app, |app, fields, job| {
        check(fields)?;
        let prompt = fields.text("prompt")?.filter(|prompt| !prompt.is_empty());
        let inputs: Vec<String> = prompt.into_iter().map(str::to_owned).collect();
        Texts::new(app, "prompt", tokenize(app, &inputs, true, job)?, options(app, false))
    });
    let texts = read.await?;
    if texts.is_empty() {
        return Ok(json_text(json!({"embedding": []}).to_string()));
    }
    let embeddings = vectors::embed(&app, client, texts).await?;
    vectors::answer(&app, embeddings, |embeddings| {
        let values = embeddings.first().map(|embedding| &embedding.values);
        json!({ "embedding": values })
    })
    .await
}

/// One vector for each text, whatever the server is started with.
fn options(app: &App, normalize: bool) -> EmbedOptions {
    let pooling = app.config.pooling.filter(|&pooling| pooling != Pooling::None);
    EmbedOptions::default().normalize(normalize).pooling(pooling)
}

/// What an embedding does not depend on has to be of its type at least.
fn check(fields: &Fields<'_>) -> ApiResult<()> {
    fields.text("model")?;
    fields.object("options")?;
    ends_at_once(fields).map(drop)
}

fn tokenize(app: &App, texts: &[String], truncate: bool, job: &Job) -> ApiResult<Vec<Vec<Token>>> {
    let most = app.config.limits.max_prompt_tokens.map_or(app.engine.n_ctx(), |most| most.min(app.engine.n_ctx()));
    let one = |text: &String| {
        job.check()?;
        let tokens = app.engine.tokenize_while(text, true, true, || job.goes_on())?;
        if tokens.len() <= most {
            return Ok(tokens);
        }
        if truncate { cut(&app.engine, tokens, most) } else { Err(ApiError::prompt_too_long(tokens.len(), most)) }
    };
    texts.iter().map(one).collect()
}

/// The beginning of a text, with what the model wants behind one.
fn cut(engine: &Engine, mut tokens: Vec<Token>, most: usize) -> ApiResult<Vec<Token>> {
    let around = engine.tokenize_with("x", true, false)?;
    let behind = around.last().copied().filter(|last| engine.token_bytes(*last, false).is_empty());
    tokens.truncate(most - behind.map_or(0, |_| 1).min(most));
    tokens.extend(behind);
    Ok(tokens)
}
