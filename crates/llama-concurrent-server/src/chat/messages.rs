//! The messages of a request, and what else its chat template reads.

use llama_concurrent::{ChatMessage, ChatOptions, Continuation};
use serde_json::Value;

use crate::{
    app::App,
    error::{ApiError, ApiResult},
    fields::{Fields, wrong},
    work::Job,
};

pub(super) fn read(fields: &Fields<'_>, job: &Job) -> ApiResult<Vec<ChatMessage>> {
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

/// The template sees all fields of a message.
fn message(path: String, value: &Value) -> ApiResult<ChatMessage> {
    let fields = Fields::at(path, value)?;
    fields.required("role")?;
    let role = match fields.text("role")?.unwrap_or_default() {
        "" => return Err(ApiError::field(fields.path("role"), "must not be empty")),
        role => role,
    };
    for name in ["name", "tool_call_id", "reasoning_content"] {
        fields.text(name)?;
    }
    let has_calls = calls(&fields)?;
    let object = value.as_object();
    let has = |name| object.is_some_and(|object| object.contains_key(name));
    let may_lack_content = role == "assistant" && has_calls;
    if !has("content") && !may_lack_content {
        let must = if role == "assistant" { "is required where there are no 'tool_calls'" } else { "is required" };
        return Err(ApiError::field(fields.path("content"), must));
    }
    let content = fields.get("content").cloned().unwrap_or_default();
    check_content(&fields.path("content"), &content)?;
    let mut message = ChatMessage::new(role, content);
    for (name, value) in object.into_iter().flatten() {
        if name != "role" && name != "content" {
            message = message.with(name, value.clone());
        }
    }
    Ok(message)
}

/// A string, or a list of parts, which must be texts.
fn check_content(path: &str, value: &Value) -> ApiResult<()> {
    let parts = match value {
        Value::String(_) | Value::Null => return Ok(()),
        Value::Array(parts) => parts,
        other => return Err(wrong(path, "a string or a list of parts", other)),
    };
    for (index, part) in parts.iter().enumerate() {
        let part = Fields::at(format!("{path}[{index}]"), part)?;
        part.required("type")?;
        match part.text("type")? {
            Some("text") => {
                part.required("text")?;
                part.text("text")?;
            }
            Some(other) => {
                let kind = part.path("type");
                return Err(ApiError::field(kind, format!("is '{other}', but this server reads only 'text'")));
            }
            None => {}
        }
    }
    Ok(())
}

/// Whether a message has tool calls in OpenAI's format.
fn calls(fields: &Fields<'_>) -> ApiResult<bool> {
    let list = fields.list("tool_calls")?.map_or(&[][..], Vec::as_slice);
    for (index, call) in list.iter().enumerate() {
        let call = Fields::at(format!("{}[{index}]", fields.path("tool_calls")), call)?;
        call.required("function")?;
        let Some(function) = call.object("function")? else { continue };
        function.required("name")?;
        function.text("name")?;
        match function.get("arguments") {
            None | Some(Value::String(_) | Value::Object(_)) => {}
            Some(other) => return Err(wrong(&function.path("arguments"), "a string of JSON or an object", other)),
        }
    }
    Ok(!list.is_empty())
}

/// What the template is told besides messages and tools.
pub(super) fn options(app: &App, fields: &Fields<'_>) -> ApiResult<ChatOptions> {
    let mut options = ChatOptions::default();
    let generate = fields.boolean("add_generation_prompt")?;
    options.add_generation_prompt = generate.unwrap_or(true);
    options.continue_final_message = continuation(app, fields)?;
    let continues = !matches!(options.continue_final_message, Continuation::Auto | Continuation::Never);
    if continues && generate == Some(true) {
        let must =
            "cannot be true together with 'add_generation_prompt': the last message is continued, or a new one begins";
        return Err(ApiError::field(fields.path("continue_final_message"), must));
    }
    // OpenAI's name for a variable of some templates.
    match fields.text("reasoning_effort")? {
        None | Some("") => {}
        Some("none") => drop(options.extra.insert("enable_thinking".into(), false.into())),
        Some(effort) => drop(options.extra.insert("reasoning_effort".into(), effort.into())),
    }
    fields.object("chat_template_kwargs")?;
    if let Some(Value::Object(extra)) = fields.get("chat_template_kwargs") {
        options.extra.extend(extra.clone());
    }
    options.parse_special = fields.boolean("parse_special")?.unwrap_or(app.config.parse_special);
    Ok(options)
}

fn continuation(app: &App, fields: &Fields<'_>) -> ApiResult<Continuation> {
    match fields.get("continue_final_message") {
        None if app.config.prefill_assistant => Ok(Continuation::Auto),
        None => Ok(Continuation::Never),
        Some(Value::Bool(true)) => Ok(Continuation::Last),
        Some(Value::Bool(false)) => Ok(Continuation::Never),
        Some(Value::String(field)) if field == "content" => Ok(Continuation::Content),
        Some(Value::String(field)) if field == "reasoning_content" => Ok(Continuation::Reasoning),
        Some(Value::String(other)) => {
            let must = format!("must be true, false, \"content\" or \"reasoning_content\", but is \"{other}\"");
            Err(ApiError::field(fields.path("continue_final_message"), must))
        }
        Some(other) => Err(wrong(&fields.path("continue_final_message"), "true, false or the name of a field", other)),
    }
}
