//! Requests of the Messages API, written as requests of the chat API.

use serde_json::{Map, Value, json};

use crate::{
    chat::history::{Call, History},
    error::{ApiError, ApiResult},
    fields::{Fields, wrong},
    work::Job,
};

/// Fields of the chat API, and what clients know them as.
pub(super) const NAMES: &[(&str, &str)] = &[
    ("prompt", "messages"),
    ("stop", "stop_sequences"),
    ("thinking_budget_tokens", "thinking.budget_tokens"),
    ("reasoning_effort", "output_config.effort"),
    ("response_format.json_schema", "output_config.format"),
    ("response_format", "output_config.format"),
    ("parallel_tool_calls", "tool_choice.disable_parallel_tool_use"),
];

/// Fields that are read here. All others are those of the other generating routes.
const OWN: [&str; 9] = [
    "messages",
    "system",
    "stop_sequences",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "output_format",
    "chat_template_kwargs",
];

pub(super) fn to_chat(fields: &Fields<'_>, job: &Job) -> ApiResult<Value> {
    let mut chat = Map::new();
    for (name, value) in fields.entries().filter(|(name, _)| !OWN.contains(name)) {
        chat.insert(name.to_owned(), value.clone());
    }
    chat.insert("messages".into(), history(fields, job)?.into_messages());
    if let Some(stop) = fields.get("stop_sequences") {
        chat.insert("stop".into(), stop.clone());
    }
    if let Some(tools) = fields.list("tools")? {
        let tools = tools.iter().enumerate();
        let tools = tools.map(|(index, value)| tool(Fields::at(format!("{}[{index}]", fields.path("tools")), value)?));
        chat.insert("tools".into(), tools.collect::<ApiResult<Value>>()?);
    }
    tool_choice(fields, &mut chat)?;
    thinking(fields, &mut chat)?;
    output(fields, &mut chat)?;
    Ok(chat.into())
}

fn history(fields: &Fields<'_>, job: &Job) -> ApiResult<History> {
    let mut history = History::default();
    match fields.get("system") {
        None => {}
        Some(Value::String(text)) => system(&mut history, text),
        Some(Value::Array(blocks)) => {
            for (index, block) in blocks.iter().enumerate() {
                system(&mut history, text(&Fields::at(format!("{}[{index}]", fields.path("system")), block)?)?);
            }
        }
        Some(other) => return Err(wrong(&fields.path("system"), "a string or a list of blocks", other)),
    }
    fields.required("messages")?;
    let list = fields.list("messages")?.map_or(&[][..], Vec::as_slice);
    if list.is_empty() {
        return Err(ApiError::field(fields.path("messages"), "must have at least one message"));
    }
    for (index, value) in list.iter().enumerate() {
        job.check()?;
        message(&Fields::at(format!("{}[{index}]", fields.path("messages")), value)?, &mut history)?;
    }
    Ok(history)
}

fn system(history: &mut History, text: &str) {
    let text = without_billing(text);
    if !text.is_empty() {
        history.say("system", text);
    }
}

/// Claude Code begins with figures for Anthropic's bills, `x-anthropic-billing-header: a=b; c=d;`. One changes with each request,
/// so that no request could start from the cache of another.
fn without_billing(text: &str) -> &str {
    let Some(mut rest) = text.strip_prefix("x-anthropic-billing-header:") else { return text };
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    while let Some((pair, behind)) = rest.split_once(';') {
        match pair.trim_start().split_once('=') {
            Some((name, value)) if is_name(name) && !value.contains(char::is_whitespace) => rest = behind,
            _ => break,
        }
    }
    rest.trim_start()
}

fn message(message: &Fields<'_>, history: &mut History) -> ApiResult<()> {
    let role = message.required_text("role")?;
    if !["user", "assistant", "system"].contains(&role) {
        let must = format!("must be \"user\", \"assistant\" or \"system\", but is \"{role}\"");
        return Err(ApiError::field(message.path("role"), must));
    }
    match message.required("content")? {
        Value::String(text) => history.say(role, text.as_str()),
        Value::Array(blocks) => {
            for (index, value) in blocks.iter().enumerate() {
                block(role, &Fields::at(format!("{}[{index}]", message.path("content")), value)?, history)?;
            }
        }
        other => return Err(wrong(&message.path("content"), "a string or a list of blocks", other)),
    }
    Ok(())
}

fn block(role: &str, block: &Fields<'_>, history: &mut History) -> ApiResult<()> {
    match (role, block.required_text("type")?) {
        ("assistant", "thinking") => history.think(block.required_text("thinking")?),
        // What only Anthropic can read.
        ("assistant", "redacted_thinking") => {}
        ("assistant", "tool_use") => history.call(call(block)?),
        ("user", "tool_result") => {
            let texts = result(block)?;
            history.result(block.required_text("tool_use_id")?, texts);
        }
        (_, kind @ ("thinking" | "redacted_thinking" | "tool_use" | "tool_result")) => {
            let must = format!("is '{kind}', which a message of the role \"{role}\" cannot have");
            return Err(ApiError::field(block.path("type"), must));
        }
        _ => history.say(role, text(block)?),
    }
    Ok(())
}

/// A block of text.
fn text<'a>(block: &Fields<'a>) -> ApiResult<&'a str> {
    match block.required_text("type")? {
        "text" => block.required_text("text"),
        other => {
            Err(ApiError::field(block.path("type"), format!("is '{other}', but this server reads only text here")))
        }
    }
}

fn call(block: &Fields<'_>) -> ApiResult<Call> {
    block.object("input")?;
    Ok(Call {
        id: block.required_text("id")?.to_owned(),
        name: block.required_text("name")?.to_owned(),
        arguments: block.get("input").cloned().unwrap_or_else(|| json!({})),
    })
}

/// The texts of a tool's result. Templates know no errors, so the text says that it is one.
fn result(block: &Fields<'_>) -> ApiResult<Vec<String>> {
    let mut texts = match block.get("content") {
        None => Vec::new(),
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(blocks)) => {
            let each = blocks.iter().enumerate().map(|(index, value)| {
                text(&Fields::at(format!("{}[{index}]", block.path("content")), value)?).map(str::to_owned)
            });
            each.collect::<ApiResult<_>>()?
        }
        Some(other) => return Err(wrong(&block.path("content"), "a string or a list of blocks", other)),
    };
    if block.boolean("is_error")? == Some(true) {
        let says_so = |text: &String| text.get(..5).is_some_and(|begin| begin.eq_ignore_ascii_case("error"));
        match texts.first_mut() {
            Some(first) if !says_so(first) => first.insert_str(0, "Error: "),
            Some(_) => {}
            None => texts.push("Error".into()),
        }
    }
    Ok(texts)
}

fn tool(tool: Fields<'_>) -> ApiResult<Value> {
    if let Some(kind) = tool.text("type")?.filter(|kind| *kind != "custom") {
        let must = format!(
            "is '{kind}', which Anthropic defines; this server knows only tools that have a 'name', a 'description' and an \
             'input_schema'"
        );
        return Err(ApiError::field(tool.path("type"), must));
    }
    let schema = tool.required("input_schema")?;
    tool.object("input_schema")?;
    let mut function = json!({"name": tool.required_text("name")?, "parameters": schema});
    if let Some(description) = tool.text("description")? {
        function["description"] = description.into();
    }
    if let Some(strict) = tool.boolean("strict")? {
        function["strict"] = strict.into();
    }
    Ok(json!({"type": "function", "function": function}))
}

fn tool_choice(fields: &Fields<'_>, chat: &mut Map<String, Value>) -> ApiResult<()> {
    let Some(choice) = fields.object("tool_choice")? else { return Ok(()) };
    let written = match choice.required_text("type")? {
        "auto" => "auto".into(),
        "any" => "required".into(),
        "none" => "none".into(),
        "tool" => json!({"type": "function", "function": {"name": choice.required_text("name")?}}),
        other => {
            let must = format!("must be \"auto\", \"any\", \"tool\" or \"none\", but is \"{other}\"");
            return Err(ApiError::field(choice.path("type"), must));
        }
    };
    chat.insert("tool_choice".into(), written);
    if let Some(one) = choice.boolean("disable_parallel_tool_use")? {
        chat.insert("parallel_tool_calls".into(), (!one).into());
    }
    Ok(())
}

/// Whether the model thinks is a variable of its template; what the client says of that variable itself comes first.
fn thinking(fields: &Fields<'_>, chat: &mut Map<String, Value>) -> ApiResult<()> {
    fields.object("chat_template_kwargs")?;
    let mut variables = match fields.get("chat_template_kwargs") {
        Some(Value::Object(variables)) => variables.clone(),
        _ => Map::new(),
    };
    if let Some(thinking) = fields.object("thinking")? {
        let enable = match thinking.required_text("type")? {
            "enabled" => Some(true),
            "disabled" => Some(false),
            "adaptive" => None,
            other => {
                let must = format!("must be \"enabled\", \"disabled\" or \"adaptive\", but is \"{other}\"");
                return Err(ApiError::field(thinking.path("type"), must));
            }
        };
        if let Some(enable) = enable {
            variables.entry("enable_thinking").or_insert(enable.into());
        }
        if let Some(budget) = thinking.integer(&["budget_tokens"], 0..=i64::from(u32::MAX))? {
            chat.insert("thinking_budget_tokens".into(), budget.into());
        }
    }
    if !variables.is_empty() {
        chat.insert("chat_template_kwargs".into(), variables.into());
    }
    Ok(())
}

/// The form of the answer, and how much effort it is worth.
fn output(fields: &Fields<'_>, chat: &mut Map<String, Value>) -> ApiResult<()> {
    let config = fields.object("output_config")?;
    if let Some(effort) = config.as_ref().map(|config| config.text("effort")).transpose()?.flatten() {
        chat.insert("reasoning_effort".into(), effort.into());
    }
    let format = config.as_ref().map(|config| config.object("format")).transpose()?.flatten();
    // The name that it had at first.
    let Some(format) = format.map_or_else(|| fields.object("output_format"), |format| Ok(Some(format)))? else {
        return Ok(());
    };
    match format.required_text("type")? {
        "json_schema" => {
            let schema = format.required("schema")?;
            let written = json!({"type": "json_schema", "json_schema": {"schema": schema}});
            chat.insert("response_format".into(), written);
            Ok(())
        }
        other => Err(ApiError::field(format.path("type"), format!("must be \"json_schema\", but is \"{other}\""))),
    }
}

#[cfg(test)]
mod tests;
