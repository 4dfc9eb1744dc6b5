//! `/api/generate`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde_json::{Value, json};

use super::{
    answers::{Answers, Shape},
    chat,
    messages::refuse_images,
    request::{Common, original},
};
use crate::{
    app::App,
    body::Body,
    clients::Client,
    error::{ApiError, ApiResult},
    fields::Fields,
    guard::Peer,
    infill::{self, Gap},
    params::RequestOptions,
    prompt::PromptInput,
    start::{self, Ready, start},
    work::Job,
};

pub(super) async fn generate(
    State(app): State<Arc<App>>,
    client: Client,
    peer: Peer,
    body: Body,
) -> ApiResult<Response> {
    let read = body.read(&app, |app, fields, job| {
        let common = Common::read(app, fields)?;
        let answers = Answers::new(app, Shape::Text, &common);
        Ok((answers, prepare(app, fields, common, job)?))
    });
    let (answers, ready) = read.await?;
    let Some(ready) = ready else { return Ok(answers.loaded()) };
    let all = start(&app, client, &ready).await?;
    answers.respond(&app, &peer, ready.reply, all).await
}

/// `None` where there is nothing to continue.
fn prepare(app: &App, fields: &Fields<'_>, mut common: Common, job: &Job) -> ApiResult<Option<Ready>> {
    refuse_images(fields)?;
    let text = |name| fields.text(name).map(Option::unwrap_or_default);
    let (prompt, system, template, suffix) = (text("prompt")?, text("system")?, text("template")?, text("suffix")?);
    fields.list("context")?;
    let is_raw = fields.boolean("raw")?.unwrap_or(false);
    if !template.is_empty() {
        let must = "cannot be used: Ollama's templates are Go's; start the server with --chat-template-file, or send 'raw': \
                    true and the whole prompt";
        return Err(ApiError::field("template", must));
    }
    if is_raw && !system.is_empty() {
        return Err(ApiError::field("system", "cannot be used together with 'raw': write it into the prompt"));
    }
    if prompt.is_empty() && suffix.is_empty() {
        return Ok(None);
    }
    if is_raw || !suffix.is_empty() {
        let form = Value::Object(common.form);
        let options = RequestOptions::read(&Fields::body(&form)?, app, job).map_err(original)?;
        let prompt =
            if suffix.is_empty() { prompt.to_owned().into() } else { between(app, prompt, suffix, &options, job)? };
        return start::prepare(app, &[prompt], options, job).map(Some);
    }
    let of = |role: &str, content: &str| json!({"role": role, "content": content});
    let system = (!system.is_empty()).then(|| of("system", system));
    common.form.insert("messages".into(), system.into_iter().chain([of("user", prompt)]).collect());
    chat::prepare(app, common, job).map(Some)
}

fn between(app: &App, before: &str, behind: &str, options: &RequestOptions, job: &Job) -> ApiResult<PromptInput> {
    let gap = Gap { before: [before, ""], behind, others: Vec::new(), max_tokens: options.params.max_tokens };
    infill::prompt(app, &gap, job)?
        .ok_or_else(|| ApiError::field("suffix", format!("cannot be used: {}", infill::UNSUPPORTED)))
}
