//! Messages in the form that a template reads, as llama-server adapts them.

use serde_json::{Map, Value, json};

use crate::{Capabilities, ChatError, ChatMessage};

type Message = Map<String, Value>;

/// The names under which reasoning is known; the first is the one that most templates read, the second gpt-oss's.
pub(crate) const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// How contents and calls are given to the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    /// Lists of parts become one text.
    pub(crate) join_parts: bool,
    /// Texts become lists of one part.
    pub(crate) wrap_texts: bool,
    /// A content that is null is left out; otherwise it is the empty text.
    pub(crate) drop_null: bool,
    /// Arguments of calls are objects; otherwise they are texts of JSON.
    pub(crate) object_arguments: bool,
}

impl Form {
    pub(crate) fn of(capabilities: &Capabilities) -> Self {
        Self {
            join_parts: capabilities.string_content && !capabilities.typed_content,
            wrap_texts: capabilities.typed_content && !capabilities.string_content,
            drop_null: false,
            object_arguments: capabilities.object_arguments,
        }
    }
}

pub(crate) fn adapt(
    messages: &[ChatMessage],
    form: Form,
    capabilities: &Capabilities,
    has_developer: bool,
) -> Result<Vec<Message>, ChatError> {
    let mut adapted = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        adapted.push(one(index, message, form, capabilities, has_developer)?);
    }
    if !capabilities.system_role {
        merge_system(&mut adapted);
    }
    Ok(adapted)
}

fn one(
    index: usize,
    message: &ChatMessage,
    form: Form,
    capabilities: &Capabilities,
    has_developer: bool,
) -> Result<Message, ChatError> {
    let mut adapted = Message::new();
    let role = if message.role == "developer" && !has_developer { "system" } else { &message.role };
    adapted.insert("role".into(), role.into());
    match content(index, &message.content, form)? {
        Value::Null => {}
        content => drop(adapted.insert("content".into(), content)),
    }
    // What a template finds by one name, it should find by the others.
    if let Some(reasoning) =
        REASONING.iter().find_map(|name| message.fields.get(*name).filter(|value| !value.is_null()))
    {
        adapted.insert("reasoning_content".into(), reasoning.clone());
        adapted.insert("thinking".into(), reasoning.clone());
    }
    for (name, value) in &message.fields {
        if value.is_null() || name == "role" || name == "content" || adapted.contains_key(name) {
            continue;
        }
        adapted.insert(name.clone(), value.clone());
    }
    if let Some(calls) = adapted.get_mut("tool_calls") {
        self::calls(index, calls, form, capabilities)?;
    }
    Ok(adapted)
}

fn content(index: usize, content: &Value, form: Form) -> Result<Value, ChatError> {
    match content {
        Value::Null if form.drop_null => Ok(Value::Null),
        Value::Null => Ok("".into()),
        Value::String(text) if form.wrap_texts => Ok(json!([{"type": "text", "text": text}])),
        Value::Array(parts) if form.join_parts => join(index, parts).map(Value::from),
        Value::String(_) | Value::Array(_) => Ok(content.clone()),
        _ => Err(ChatError::Messages {
            message: format!("the content of message {index} must be a text, a list of parts, or null"),
        }),
    }
}

/// Texts on lines of their own.
fn join(index: usize, parts: &[Value]) -> Result<String, ChatError> {
    let mut texts = Vec::with_capacity(parts.len());
    for part in parts {
        match part.get("text").and_then(Value::as_str) {
            Some(text) => texts.push(text),
            None => {
                let kind = part.get("type").and_then(Value::as_str).unwrap_or("unknown");
                return Err(ChatError::Messages {
                    message: format!(
                        "message {index} has a part of type '{kind}', but the model's chat template shows texts only"
                    ),
                });
            }
        }
    }
    Ok(texts.join("\n"))
}

fn calls(index: usize, calls: &mut Value, form: Form, capabilities: &Capabilities) -> Result<(), ChatError> {
    for call in calls.as_array_mut().into_iter().flatten() {
        let Some(arguments) = call.get_mut("function").and_then(|function| function.get_mut("arguments")) else {
            continue;
        };
        match arguments {
            Value::String(text) if form.object_arguments => match serde_json::from_str(text) {
                Ok(read) => *arguments = read,
                Err(_) if text.trim().is_empty() => *arguments = json!({}),
                // The template can show what the model wrote, even where that is no JSON.
                Err(_) if capabilities.string_arguments => {}
                Err(error) => {
                    return Err(ChatError::Messages {
                        message: format!(
                            "the arguments of a tool call in message {index} are no JSON, but the model's chat template \
                             reads them: {error}"
                        ),
                    });
                }
            },
            Value::Object(_) | Value::Array(_) if !form.object_arguments => {
                *arguments = arguments.to_string().into();
            }
            _ => {}
        }
    }
    Ok(())
}

/// Puts each system message in front of the message behind it, where the template has no such role.
fn merge_system(messages: &mut Vec<Message>) {
    let is_system = |message: &Message| message.get("role").is_some_and(|role| role == "system");
    while let Some(index) = messages.iter().position(is_system) {
        if index + 1 == messages.len() {
            // Nothing follows, and nothing said may be lost.
            messages[index].insert("role".into(), "user".into());
            return;
        }
        let system = messages.remove(index).remove("content").unwrap_or_default();
        let next = &mut messages[index];
        let content = next.get("content").cloned().unwrap_or_default();
        next.insert("content".into(), in_front(system, content));
    }
}

fn in_front(first: Value, second: Value) -> Value {
    match (first, second) {
        (Value::String(first), Value::String(second)) => format!("{first}\n{second}").into(),
        (first, second) => {
            let parts = |value: Value| match value {
                Value::Array(parts) => parts,
                Value::String(text) => vec![json!({"type": "text", "text": text})],
                _ => Vec::new(),
            };
            let mut all = parts(first);
            all.extend(parts(second));
            all.into()
        }
    }
}
