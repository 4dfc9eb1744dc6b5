//! `/v1/embeddings`, and llama-server's `/embedding`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use futures_util::future::try_join_all;
use llama_concurrent::{Completion, EmbedOptions, Embedding, Pooling, Prompt, Request, Ticket, Token};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::{
    app::App,
    body::Body,
    clients::Client,
    error::{ApiError, ApiResult, json_text},
    fields::Fields,
    prompt, unsupported_fields,
    work::{Job, Load},
};

/// `/v1/embeddings`.
pub(crate) async fn openai(State(app): State<Arc<App>>, client: Client, body: Body) -> ApiResult<Response> {
    let read = body.read(&app, |app, fields, job| {
        if app.config.pooling == Some(Pooling::None) {
            let message = "this server was started with --pooling none, and a text has one vector here; /embeddings has those of \
                           all tokens";
            return Err(ApiError::bad_request(message));
        }
        let as_base64 = match fields.text("encoding_format")? {
            None | Some("float") => false,
            Some("base64") => true,
            Some(other) => {
                let must = format!("must be \"float\" or \"base64\", but is \"{other}\"");
                return Err(ApiError::field("encoding_format", must));
            }
        };
        let dimensions = dimensions(app, fields)?;
        let name = if fields.get("input").is_none() && fields.get("content").is_some() { "content" } else { "input" };
        Ok((Texts::read(app, fields, name, job)?, as_base64, dimensions))
    });
    let (texts, as_base64, dimensions) = read.await?;
    let mut embeddings = embed(&app, client, texts).await?;
    if let Some(dimensions) = dimensions {
        embeddings.iter_mut().for_each(|embedding| shorten(&mut embedding.values, dimensions));
    }
    let model = app.config.model_name.clone();
    answer(&app, embeddings, move |embeddings| {
        let n: usize = embeddings.iter().map(|embedding| embedding.n_prompt_tokens).sum();
        let data: Vec<Value> = embeddings
            .iter()
            .enumerate()
            .map(|(index, embedding)| {
                let values = if as_base64 { base64(&embedding.values).into() } else { json!(embedding.values) };
                json!({"object": "embedding", "index": index, "embedding": values})
            })
            .collect();
        json!({
            "object": "list",
            "data": data,
            "model": model,
            "usage": {"prompt_tokens": n, "total_tokens": n},
        })
    })
    .await
}

/// `/embedding`: for each text a list of its one vector, or of one for each token.
pub(crate) async fn native(State(app): State<Arc<App>>, client: Client, body: Body) -> ApiResult<Response> {
    let read = body.read(&app, |app, fields, job| {
        if fields.get("dimensions").is_some() {
            return Err(ApiError::field("dimensions", "cannot be used here; /v1/embeddings has it"));
        }
        let name = if fields.get("content").is_some() { "content" } else { "input" };
        Texts::read(app, fields, name, job)
    });
    let texts = read.await?;
    let embeddings = embed(&app, client, texts).await?;
    let entry = |(index, embedding): (usize, &Embedding)| {
        let vectors: Vec<&[f32]> = embedding.vectors().collect();
        json!({"index": index, "embedding": vectors})
    };
    answer(&app, embeddings, move |embeddings| embeddings.iter().enumerate().map(entry).collect()).await
}

/// The texts to embed, and the field that they came in.
pub(crate) struct Texts {
    name: &'static str,
    tokens: Vec<Vec<Token>>,
    options: EmbedOptions,
}

impl Texts {
    fn read(app: &App, fields: &Fields<'_>, name: &'static str, job: &Job) -> ApiResult<Self> {
        unsupported_fields::check_embedding(fields)?;
        let (inputs, _) = prompt::read(name, fields.required(name)?)?;
        Self::check_count(app, name, inputs.len())?;
        let normalize = match fields.integer(&["embd_normalize"], i64::MIN..=i64::MAX)? {
            None | Some(2) => true,
            Some(-1) => false,
            Some(other) => {
                let must = format!("must be 2 for the Euclidean norm or -1 for none, but is {other}");
                return Err(ApiError::field(fields.path("embd_normalize"), must));
            }
        };
        let tokens = prompt::tokenize(&app.engine, &inputs, prompt::Use::Embed, job);
        let options = EmbedOptions::default().normalize(normalize).pooling(app.config.pooling);
        Ok(Self { name, tokens: tokens.map_err(|error| error.of_embedding(name))?, options })
    }

    /// Texts as their tokens, with those that the model wants around a text.
    pub(crate) fn new(
        app: &App,
        name: &'static str,
        tokens: Vec<Vec<Token>>,
        options: EmbedOptions,
    ) -> ApiResult<Self> {
        Self::check_count(app, name, tokens.len())?;
        Ok(Self { name, tokens, options })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    fn check_count(app: &App, name: &str, count: usize) -> ApiResult<()> {
        let most = app.config.limits.max_generations;
        if count > most {
            return Err(ApiError::field(name, format!("has {count} texts, but one request may have {most}")));
        }
        Ok(())
    }
}

pub(crate) async fn embed(app: &Arc<App>, client: Client, texts: Texts) -> ApiResult<Vec<Embedding>> {
    let _permits = app.clients.permits(client, texts.tokens.len())?;
    try_join_all(texts.tokens.into_iter().map(|tokens| one(app, texts.name, tokens, &texts.options))).await
}

/// Writes vectors, at some ten bytes per number.
pub(crate) async fn answer(
    app: &App,
    embeddings: Vec<Embedding>,
    write: impl FnOnce(&[Embedding]) -> Value + Send + 'static,
) -> ApiResult<Response> {
    let numbers: usize = embeddings.iter().map(|embedding| embedding.values.len()).sum();
    let text = app.lanes.run(Load::Bytes(numbers * 10), move |_| Ok(write(&embeddings).to_string()));
    Ok(json_text(text.await?))
}

async fn one(app: &App, name: &str, tokens: Vec<Token>, options: &EmbedOptions) -> ApiResult<Embedding> {
    if tokens.is_empty() {
        return Err(ApiError::field(name, "is empty; give at least one character or token"));
    }
    if let Some(most) = app.config.limits.max_prompt_tokens.filter(|&most| tokens.len() > most) {
        let n = tokens.len();
        return Err(ApiError::field(name, format!("has {n} tokens, but this server takes at most {most}")));
    }
    let (sender, result) = oneshot::channel();
    let request = Request::new(Prompt::Tokens(tokens)).embed(options.clone());
    let accepted = app.engine.submit_then(&request, move |result| {
        let _ = sender.send(result.and_then(Completion::into_embedding));
    });
    let _cancel = CancelOnDrop(accepted.map_err(|error| ApiError::from(error).of_embedding(name))?);
    match result.await {
        Ok(embedding) => embedding.map_err(|error| ApiError::from(error).of_embedding(name)),
        Err(_) => Err(ApiError::unavailable("the server is shutting down; the request was cancelled")),
    }
}

/// Whoever no longer waits for a text leaves its place to others.
struct CancelOnDrop(Ticket);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// The requested number of dimensions.
pub(crate) fn dimensions(app: &App, fields: &Fields<'_>) -> ApiResult<Option<usize>> {
    let most = i64::from(app.engine.model().n_embd);
    Ok(fields.integer(&["dimensions"], 1..=most)?.map(|n| n as usize))
}

/// Truncates a vector and normalises it again, as for models trained for truncated embeddings.
pub(crate) fn shorten(values: &mut Vec<f32>, dimensions: usize) {
    values.truncate(dimensions);
    let length = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        values.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
}

/// Little-endian floats in base64, which OpenAI's client asks for.
fn base64(values: &[f32]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}
