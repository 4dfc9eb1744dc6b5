//! Tools for templates that have no place for them: described in the system message, and calls and results as texts.
//!
//! The words and tags are those that many models were trained on (Hermes and Qwen among them), and that most others follow
//! once they have read them.

use serde_json::{Map, Value, json};

use crate::{Capabilities, ChatMessage, json::dumps};

const CALL: (&str, &str) = ("<tool_call>", "</tool_call>");
const RESULT: (&str, &str) = ("<tool_response>", "</tool_response>");

/// The messages with tools in the system message, and with their calls and results as plain texts. `None` where there are no
/// tools, or the template shows them itself.
pub(crate) fn tools(
    messages: &[ChatMessage],
    tools: Option<&Value>,
    capabilities: &Capabilities,
) -> Option<Vec<ChatMessage>> {
    let tools = tools.and_then(Value::as_array).filter(|list| !list.is_empty() && !capabilities.tools)?;
    let mut described = history(messages, capabilities).unwrap_or_else(|| messages.to_vec());
    instruct(&mut described, &instructions(tools));
    Some(described)
}

/// Whether there are calls that the template does not show.
pub(crate) fn has_lost_calls(messages: &[ChatMessage], capabilities: &Capabilities) -> bool {
    !capabilities.tool_calls && messages.iter().any(|message| calls(message).is_some())
}

/// The messages with calls and results as plain texts. `None` where there are none, or the template shows them itself.
pub(crate) fn history(messages: &[ChatMessage], capabilities: &Capabilities) -> Option<Vec<ChatMessage>> {
    let is_used = |message: &ChatMessage| message.role == "tool" || calls(message).is_some();
    if capabilities.tool_calls && capabilities.tool_role || !messages.iter().any(is_used) {
        return None;
    }
    let mut described: Vec<ChatMessage> = Vec::with_capacity(messages.len() + 1);
    let mut after_result = false;
    for message in messages {
        let is_result = message.role == "tool";
        let text = match is_result {
            true => Some(result(message)),
            // What the user says next belongs to the same message.
            false => (after_result && message.role == "user").then(|| text_of(&message.content)),
        };
        match (text, calls(message)) {
            (Some(text), _) => match described.last_mut().filter(|_| after_result) {
                // Results of one turn are one message, as roles alternate in many templates.
                Some(last) => last.content = format!("{}\n{text}", text_of(&last.content)).into(),
                None => described.push(ChatMessage::user(text)),
            },
            (None, Some(calls)) => described.push(written(message, calls)),
            (None, None) => described.push(message.clone()),
        }
        after_result = is_result;
    }
    Some(described)
}

fn calls(message: &ChatMessage) -> Option<&Vec<Value>> {
    message.fields.get("tool_calls").and_then(Value::as_array).filter(|calls| !calls.is_empty())
}

/// A message with its calls written into its content.
fn written(message: &ChatMessage, calls: &[Value]) -> ChatMessage {
    let mut text = text_of(&message.content);
    for call in calls {
        let function = call.get("function").unwrap_or(call);
        let arguments = match function.get("arguments") {
            Some(Value::String(json)) => serde_json::from_str(json).unwrap_or_else(|_| json.clone().into()),
            Some(other) => other.clone(),
            None => Value::Object(Map::new()),
        };
        let call = json!({"name": function.get("name"), "arguments": arguments});
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("{}\n{}\n{}", CALL.0, dumps(&call), CALL.1));
    }
    let mut written = ChatMessage::new(message.role.clone(), text);
    for (name, value) in message.fields.iter().filter(|(name, _)| *name != "tool_calls") {
        written = written.with(name.clone(), value.clone());
    }
    written
}

fn result(message: &ChatMessage) -> String {
    format!("{}\n{}\n{}", RESULT.0, text_of(&message.content), RESULT.1)
}

fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

fn instructions(tools: &[Value]) -> String {
    let mut text =
        "You may call one or more functions to assist with the user's request. These are the functions, as JSON \
                    within <tools></tools> tags:\n<tools>\n"
            .to_owned();
    for tool in tools {
        text.push_str(&dumps(tool));
        text.push('\n');
    }
    text.push_str(
        "</tools>\n\nFor each call, return a JSON object with the function's name and arguments within \
         <tool_call></tool_call> tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <arguments-object>}\n\
         </tool_call>\nThe results of your calls are given to you within <tool_response></tool_response> tags.",
    );
    text
}

/// Appends instructions to the system message, or puts one in front.
fn instruct(messages: &mut Vec<ChatMessage>, instructions: &str) {
    match messages.first_mut().filter(|first| first.role == "system" || first.role == "developer") {
        Some(system) => {
            let text = text_of(&system.content);
            let gap = if text.is_empty() { "" } else { "\n\n" };
            system.content = format!("{text}{gap}{instructions}").into();
        }
        None => messages.insert(0, ChatMessage::system(instructions.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CHATML, ChatOptions, ChatTemplate};

    fn weather() -> Value {
        json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}])
    }

    #[test]
    fn a_template_without_tools_gets_them_as_text() {
        let template = ChatTemplate::compile(CHATML, "", "").unwrap();
        let call = json!([{"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Rome\"}"}}]);
        let messages = [
            ChatMessage::system("Be brief."),
            ChatMessage::user("Weather in Rome and Oslo?"),
            ChatMessage::assistant("I look.").with("tool_calls", call),
            ChatMessage::tool("a", "sunny"),
            ChatMessage::tool("b", "rain"),
            ChatMessage::user("Thanks."),
        ];
        let options = ChatOptions { tools: Some(weather()), ..ChatOptions::default() };
        let prompt = template.render(&messages, &options).unwrap();
        for part in [
            "<|im_start|>system\nBe brief.\n\nYou may call",
            "<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"weather\"",
            "I look.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Rome\"}}\n</tool_call><|im_end|>",
            "<|im_start|>user\n<tool_response>\nsunny\n</tool_response>\n<tool_response>\nrain\n</tool_response>\nThanks.<|im_end|>",
        ] {
            assert!(prompt.contains(part), "{part}\n---\n{prompt}");
        }
        let plain = [ChatMessage::user("Hi")];
        let without = template.render(&plain, &ChatOptions::default()).unwrap();
        assert!(!without.contains("tools"), "{without}");
        let first = template.render(&plain, &options).unwrap();
        assert!(first.starts_with("<|im_start|>system\nYou may call"), "{first}");
    }

    #[test]
    fn a_template_with_a_place_for_tools_is_left_alone() {
        let source = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% for c in m.tool_calls %}({{ c.function.name }} \
                      {{ c.function.arguments }}){% endfor %}{% endfor %}{{ tools }}";
        let template = ChatTemplate::compile(source, "", "").unwrap();
        let options = ChatOptions { tools: Some(weather()), ..ChatOptions::default() };
        assert!(tools(&[ChatMessage::user("Hi")], options.tools.as_ref(), &template.capabilities()).is_none());
    }
}
