//! Requests of the Responses API, written as requests of the chat API.

use serde_json::{Map, Value, json};

use super::{
    input::{self, OfApp},
    store::Owner,
};
use crate::{
    app::App,
    chat::history::History,
    error::{ApiError, ApiResult},
    fields::{Fields, wrong},
    unsupported_fields,
    work::Job,
};

/// Fields of the chat API, and what clients know them as.
pub(super) const NAMES: &[(&str, &str)] = &[
    ("prompt", "input"),
    ("messages", "input"),
    ("max_completion_tokens", "max_output_tokens"),
    ("reasoning_effort", "reasoning.effort"),
    ("response_format.json_schema", "text.format"),
    ("response_format", "text.format"),
    ("verbosity", "text.verbosity"),
];

/// Fields that are read here. All others are those of the other generating routes.
const OWN: [&str; 12] = [
    "input",
    "instructions",
    "previous_response_id",
    "tools",
    "text",
    "reasoning",
    "max_output_tokens",
    "include",
    "top_logprobs",
    "truncation",
    "stream_options",
    "metadata",
];

/// A request as one of the chat API, and what its response tells of it.
pub(super) struct Asked {
    pub(super) chat: Value,
    pub(super) echo: Map<String, Value>,
    /// All turns so far as a list in JSON, without its end, if the response is kept.
    pub(super) conversation: Option<String>,
    pub(super) owner: Owner,
}

pub(super) fn read(app: &App, owner: Owner, fields: &Fields<'_>, job: &Job) -> ApiResult<Asked> {
    unsupported_fields::check_responses(fields)?;
    let mut history = previous(app, owner, fields)?;
    input::read(fields, &mut history, &mut OfApp(app, owner), job)?;
    if history.is_empty() {
        return Err(ApiError::field(fields.path("input"), "is required, and must not be empty"));
    }
    job.check()?;
    let keeps = fields.boolean("store")?.unwrap_or(true);
    let conversation = keeps.then(|| serde_json::to_string(&history)).transpose();
    let mut conversation = conversation.map_err(|error| ApiError::internal(error.to_string()))?;
    // The answer is put before the end of the list.
    if let Some(list) = &mut conversation {
        list.pop();
    }
    // The instructions of earlier requests do not count for this one.
    if let Some(instructions) = fields.text("instructions")? {
        history.lead(instructions.to_owned());
    }
    let (mut chat, echo) = options(fields)?;
    chat.insert("messages".into(), history.into_messages());
    Ok(Asked { chat: chat.into(), echo, conversation, owner })
}

/// The conversation that the request goes on with.
fn previous(app: &App, owner: Owner, fields: &Fields<'_>) -> ApiResult<History> {
    let Some(id) = fields.text("previous_response_id")? else { return Ok(History::default()) };
    let Some(kept) = app.responses.get(id, owner) else {
        let must = format!("is '{id}', but a response of this id was not found. {}", app.responses.rules());
        return Err(ApiError::field(fields.path("previous_response_id"), must));
    };
    serde_json::from_str(&kept.conversation).map_err(|error| ApiError::internal(error.to_string()))
}

/// Everything but the messages: for the chat API, and for the response.
fn options(fields: &Fields<'_>) -> ApiResult<(Map<String, Value>, Map<String, Value>)> {
    let mut chat = Map::new();
    for (name, value) in fields.entries().filter(|(name, _)| !OWN.contains(name)) {
        chat.insert(name.to_owned(), value.clone());
    }
    // The answer is an item of its own, also behind one of the assistant.
    chat.entry("continue_final_message").or_insert(false.into());
    let mut echo = defaults();
    for (name, value) in fields.entries() {
        if echo.contains_key(name) || ECHOED.contains(&name) {
            echo.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(most) = fields.integer(&["max_output_tokens"], -1..=i64::from(u32::MAX))? {
        chat.insert("max_completion_tokens".into(), most.into());
    }
    if let Some(tools) = tools(fields)? {
        echo.insert("tools".into(), tools.clone());
        chat.insert("tools".into(), tools);
    }
    form(fields, &mut chat, &mut echo)?;
    if let Some(reasoning) = fields.object("reasoning")? {
        ["summary", "generate_summary"].iter().try_for_each(|name| reasoning.text(name).map(drop))?;
        if let Some(effort) = reasoning.text("effort")? {
            chat.insert("reasoning_effort".into(), effort.into());
        }
    }
    let top = fields.integer(&["top_logprobs"], 0..=20)?;
    if fields.texts("include")?.is_some_and(|include| include.iter().any(|name| name == "message.output_text.logprobs"))
    {
        chat.insert("logprobs".into(), true.into());
        chat.insert("top_logprobs".into(), top.unwrap_or(0).into());
    }
    if let Some(other) = fields.text("truncation")?.filter(|how| !["auto", "disabled"].contains(how)) {
        let must = format!("must be \"auto\" or \"disabled\", but is \"{other}\"");
        return Err(ApiError::field(fields.path("truncation"), must));
    }
    metadata(fields)?;
    Ok((chat, echo))
}

/// Bounded as OpenAI bounds them, since every event with the response has them.
fn metadata(fields: &Fields<'_>) -> ApiResult<()> {
    let Some(metadata) = fields.object("metadata")? else { return Ok(()) };
    for (count, (name, value)) in metadata.entries().enumerate() {
        let Some(text) = value.as_str() else { return Err(wrong(&metadata.path(name), "a string", value)) };
        if count >= 16 || name.chars().count() > 64 || text.chars().count() > 512 {
            let must = "must have at most 16 pairs, with names of at most 64 and values of at most 512 characters";
            return Err(ApiError::field(fields.path("metadata"), must));
        }
    }
    Ok(())
}

/// What a response tells where the request says nothing.
fn defaults() -> Map<String, Value> {
    let defaults = json!({
        "instructions": null,
        "max_output_tokens": null,
        "max_tool_calls": null,
        "metadata": {},
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "reasoning": {"effort": null, "summary": null},
        "service_tier": "default",
        "store": true,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "truncation": "disabled",
    });
    match defaults {
        Value::Object(defaults) => defaults,
        _ => Map::new(),
    }
}

/// What it tells besides, where the request has it.
const ECHOED: [&str; 5] = ["temperature", "top_p", "user", "safety_identifier", "prompt_cache_key"];

/// Functions alone: a tool that OpenAI runs would be missing from the answer, and nobody would know why.
fn tools(fields: &Fields<'_>) -> ApiResult<Option<Value>> {
    let Some(list) = fields.list("tools")? else { return Ok(None) };
    let tool = |(index, value): (usize, &Value)| {
        let tool = Fields::at(format!("{}[{index}]", fields.path("tools")), value)?;
        let kind = tool.required_text("type")?;
        if kind != "function" {
            let must = format!("is '{kind}', but this server runs no tools of its own; it knows 'function'");
            return Err(ApiError::field(tool.path("type"), must));
        }
        let strict = tool.boolean("strict")?.unwrap_or(true);
        tool.object("parameters")?;
        Ok(json!({
            "type": "function",
            "name": tool.required_text("name")?,
            "description": tool.text("description")?,
            "parameters": tool.get("parameters"),
            "strict": strict,
        }))
    };
    list.iter().enumerate().map(tool).collect::<ApiResult<Value>>().map(Some)
}

/// The form of the answer's text.
fn form(fields: &Fields<'_>, chat: &mut Map<String, Value>, echo: &mut Map<String, Value>) -> ApiResult<()> {
    let Some(text) = fields.object("text")? else { return Ok(()) };
    if let Some(verbosity) = text.text("verbosity")? {
        chat.insert("verbosity".into(), verbosity.into());
    }
    let Some(format) = text.object("format")? else {
        if let Some(Value::Object(text)) = echo.get_mut("text") {
            text.insert("format".into(), json!({"type": "text"}));
        }
        return Ok(());
    };
    let written = match format.required_text("type")? {
        kind @ ("text" | "json_object") => json!({"type": kind}),
        "json_schema" => {
            json!({"type": "json_schema", "json_schema": {"name": format.text("name")?, "schema": format.required("schema")?}})
        }
        other => {
            let must = format!("must be \"text\", \"json_object\" or \"json_schema\", but is \"{other}\"");
            return Err(ApiError::field(format.path("type"), must));
        }
    };
    chat.insert("response_format".into(), written);
    Ok(())
}

#[cfg(test)]
mod tests;
