//! `/v1/rerank`: documents in the order in which they answer a query, as Jina's API and, with `texts`, as Text Embeddings
//! Inference's.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use llama_concurrent::{EmbedOptions, Embedding, Pooling};
use serde_json::{Map, Value, json};

use crate::{
    app::App,
    body::Body,
    clients::Client,
    error::{ApiError, ApiResult},
    fields::{Fields, wrong},
    openai::embeddings::{self, Texts},
    work::Job,
};

/// How the answer is written.
struct Form {
    /// As Text Embeddings Inference writes it: a bare list.
    is_tei: bool,
    /// The documents, where they are to be shown.
    documents: Option<Vec<String>>,
    /// So many of the best.
    top_n: usize,
    model: String,
}

pub(crate) async fn rerank(State(app): State<Arc<App>>, client: Client, body: Body) -> ApiResult<Response> {
    if !app.engine.model().has_rank_head {
        let message = "this model does not rank documents; start the server with a reranker, or compare vectors of \
                       /v1/embeddings";
        return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, "not_supported_error", message));
    }
    let (texts, form) = body.read(&app, read).await?;
    let ranks = embeddings::embed(&app, client, texts).await?;
    embeddings::answer(&app, ranks, move |ranks| form.write(ranks)).await
}

fn read(app: &App, fields: &Fields<'_>, job: &Job) -> ApiResult<(Texts, Form)> {
    let is_tei = fields.get("texts").is_some();
    let name = if is_tei { "texts" } else { "documents" };
    let query = fields.required_text("query")?;
    let value = fields.required(name)?;
    let list = value.as_array().ok_or_else(|| wrong(&fields.path(name), "a list of strings", value))?;
    if list.is_empty() {
        return Err(ApiError::field(fields.path(name), "must not be an empty list"));
    }
    let text = |(index, value): (usize, &Value)| {
        let text = value.as_str().or_else(|| value.get("text")?.as_str());
        text.map(str::to_owned)
            .ok_or_else(|| wrong(&format!("{name}[{index}]"), "a string or an object with a 'text'", value))
    };
    let documents = list.iter().enumerate().map(text).collect::<ApiResult<Vec<String>>>()?;
    let mut prompts = Vec::with_capacity(documents.len());
    for document in &documents {
        job.check()?;
        for prompt in app.engine.rank_prompts(query, [document])? {
            prompts.push(prompt.map_err(|error| ApiError::from(error).of_embedding(name))?);
        }
    }
    let shown = fields.boolean(if is_tei { "return_text" } else { "return_documents" })?.unwrap_or(false);
    let top_n = fields.integer(&["top_n"], 1..=i64::MAX)?.map_or(documents.len(), |n| n as usize);
    let model = fields.text("model")?.unwrap_or(&app.config.model_name).to_owned();
    let texts = Texts::new(app, name, prompts, EmbedOptions::default().pooling(Pooling::Rank))?;
    Ok((texts, Form { is_tei, documents: shown.then_some(documents), top_n, model }))
}

impl Form {
    fn write(&self, ranks: &[Embedding]) -> Value {
        let score = |rank: &Embedding| rank.values.first().copied().unwrap_or(f32::NEG_INFINITY);
        let mut order: Vec<usize> = (0..ranks.len()).collect();
        order.sort_by(|&a, &b| score(&ranks[b]).total_cmp(&score(&ranks[a])));
        let result = |index: usize| {
            let name = if self.is_tei { "score" } else { "relevance_score" };
            let mut result =
                Map::from_iter([("index".to_owned(), index.into()), (name.to_owned(), json!(score(&ranks[index])))]);
            if let Some(document) = self.documents.as_ref().and_then(|documents| documents.get(index)) {
                match self.is_tei {
                    true => result.insert("text".into(), document.as_str().into()),
                    false => result.insert("document".into(), json!({"text": document})),
                };
            }
            Value::Object(result)
        };
        let results: Value = order.into_iter().take(self.top_n).map(result).collect();
        if self.is_tei {
            return results;
        }
        let n: usize = ranks.iter().map(|rank| rank.n_prompt_tokens).sum();
        json!({
            "model": self.model,
            "object": "list",
            "usage": {"prompt_tokens": n, "total_tokens": n},
            "results": results,
        })
    }
}
