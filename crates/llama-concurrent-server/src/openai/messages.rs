//! Chat messages of a request as a prompt.

use llama_concurrent::{ChatMessage, ChatOptions, Prompt};
use serde_json::Value;

use super::tools;
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    fields::{Fields, wrong},
    work::Job,
};

/// The text that the model's template makes of `messages`.
pub(crate) fn render(app: &App, fields: &Fields<'_>, job: &Job) -> ApiResult<String> {
    let messages = read(fields, job)?;
    let options = options(fields)?;
    job.check()?;
    match app.engine.chat_prompt(&messages, &options)? {
        Prompt::Text(text) | Prompt::PlainText(text) => Ok(text),
        _ => Err(ApiError::bad_request("the chat template gives no text")),
    }
}

fn read(fields: &Fields<'_>, job: &Job) -> ApiResult<Vec<ChatMessage>> {
    fields.required("messages")?;
    let list = fields.list("messages")?.map_or(&[][..], Vec::as_slice);
    if list.is_empty() {
        return Err(ApiError::field(fields.path("messages"), "must have at least one message"));
    }
    list.iter()
        .enumerate()
        .map(|(index, value)| {
            job.check()?;
            message(format!("{}[{index}]", fields.path("messages")), value)
        })
        .collect()
}

fn message(path: String, value: &Value) -> ApiResult<ChatMessage> {
    let fields = Fields::at(path, value)?;
    fields.required("role")?;
    let role = match fields.text("role")?.unwrap_or_default() {
        // What OpenAI calls system messages of its newer models; templates do not know it.
        "developer" => "system",
        "" => return Err(ApiError::field(fields.path("role"), "must not be empty")),
        role => role,
    };
    if fields.list("tool_calls")?.is_some_and(|calls| !calls.is_empty()) {
        let must = "cannot be shown to the model: write the calls into 'content' as the model writes them";
        return Err(ApiError::field(fields.path("tool_calls"), must));
    }
    let content =
        fields.get("content").map_or_else(|| Ok(String::new()), |value| content(&fields.path("content"), value))?;
    Ok(ChatMessage::new(role, content))
}

/// A string, or a list of parts of which only texts can be read.
fn content(path: &str, value: &Value) -> ApiResult<String> {
    let parts = match value {
        Value::String(text) => return Ok(text.clone()),
        Value::Array(parts) => parts,
        other => return Err(wrong(path, "a string or a list of parts", other)),
    };
    let mut texts = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        let part = Fields::at(format!("{path}[{index}]"), part)?;
        part.required("type")?;
        match part.text("type")? {
            Some("text") => {
                part.required("text")?;
                texts.extend(part.text("text")?);
            }
            Some(other) => {
                let kind = part.path("type");
                return Err(ApiError::field(kind, format!("is '{other}', but this server reads only 'text'")));
            }
            None => {}
        }
    }
    Ok(texts.join("\n"))
}

fn options(fields: &Fields<'_>) -> ApiResult<ChatOptions> {
    let mut options = ChatOptions::default();
    if let Some(add) = fields.boolean("add_generation_prompt")? {
        options.add_generation_prompt = add;
    }
    if fields.list("tools")?.is_some_and(|tools| !tools.is_empty()) && !tools::are_forbidden(fields) {
        options.tools = fields.get("tools").cloned();
    }
    fields.object("chat_template_kwargs")?;
    if let Some(Value::Object(extra)) = fields.get("chat_template_kwargs") {
        options.extra = extra.clone();
    }
    Ok(options)
}
