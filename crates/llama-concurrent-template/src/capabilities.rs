//! What a template reads of a conversation, found by rendering small ones.

use serde_json::{Map, Value, json};

/// What a template reads. Messages are adapted to it, as llama-server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Contents that are texts are shown.
    pub string_content: bool,
    /// Contents that are lists of parts are shown.
    pub typed_content: bool,
    /// A system message is shown.
    pub system_role: bool,
    /// Tools are shown.
    pub tools: bool,
    /// Calls of tools in the history are shown.
    pub tool_calls: bool,
    /// The arguments of a call are read as an object.
    pub object_arguments: bool,
    /// The arguments of a call are read as a text of JSON.
    pub string_arguments: bool,
    /// What a tool returned is shown.
    pub tool_role: bool,
    /// The variable `enable_thinking` changes the prompt, or reasoning in the history is shown.
    pub thinking: bool,
}

/// Stands for a text that the template must show.
const TEXT: &str = "Qk7vTextZx";
/// Stands for another.
const OTHER: &str = "Jw3nOtherPb";

impl Capabilities {
    /// Finds out with `render`, which takes messages, tools and further variables.
    pub(crate) fn probe(render: impl Fn(Value, Option<Value>, Map<String, Value>) -> Option<String>) -> Self {
        let plain = |messages: Value| render(messages, None, Map::new()).unwrap_or_default();
        let text = json!([{"role": "user", "content": TEXT}]);
        let as_text = plain(text.clone());
        let as_parts = plain(json!([{"role": "user", "content": [{"type": "text", "text": TEXT}]}]));
        let system = plain(json!([{"role": "system", "content": TEXT}, {"role": "user", "content": OTHER}]));
        let system_parts = plain(json!([
            {"role": "system", "content": [{"type": "text", "text": TEXT}]},
            {"role": "user", "content": [{"type": "text", "text": OTHER}]},
        ]));
        let with_object = Call::shown(&render, json!({ "argument": TEXT }));
        let with_string = Call::shown(&render, json!(format!("{{\"argument\": \"{TEXT}\"}}")));
        let tools = render(text.clone(), Some(tools()), Map::new()).unwrap_or_default();
        let thinking = |on: bool| {
            let variables = Map::from_iter([("enable_thinking".to_owned(), json!(on))]);
            render(text.clone(), None, variables).unwrap_or_default()
        };
        let reasoning = plain(json!([
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "", "reasoning_content": TEXT, "thinking": TEXT},
        ]));
        Self {
            string_content: as_text.contains(TEXT),
            typed_content: shows_parts(&as_parts),
            system_role: system.contains(TEXT) || shows_parts(&system_parts),
            tools: tools.contains(OTHER),
            tool_calls: with_object.is_some_and(|call| call.name) || with_string.is_some_and(|call| call.name),
            object_arguments: with_object.is_some_and(|call| call.argument),
            string_arguments: with_string.is_some_and(|call| call.argument),
            tool_role: with_object.is_some_and(|call| call.result) || with_string.is_some_and(|call| call.result),
            thinking: thinking(true) != thinking(false) || reasoning.contains(TEXT),
        }
    }

    /// As llama-server's `chat_template_caps`.
    pub fn to_json(self) -> Value {
        json!({
            "supports_string_content": self.string_content,
            "supports_typed_content": self.typed_content,
            "supports_system_role": self.system_role,
            "supports_tools": self.tools,
            "supports_tool_calls": self.tool_calls,
            "supports_object_arguments": self.object_arguments,
            "supports_tool_role": self.tool_role,
            "supports_thinking": self.thinking,
        })
    }
}

/// Whether the text of a part is shown, and not the list itself as it prints.
fn shows_parts(prompt: &str) -> bool {
    let is_printed = ["'text': '", "\"text\": \"", "'type'", "\"type\""];
    prompt.contains(TEXT) && !is_printed.iter().any(|printed| prompt.contains(printed))
}

/// What is shown of a call of a tool.
#[derive(Clone, Copy)]
struct Call {
    name: bool,
    argument: bool,
    result: bool,
}

impl Call {
    fn shown(
        render: &impl Fn(Value, Option<Value>, Map<String, Value>) -> Option<String>,
        arguments: Value,
    ) -> Option<Self> {
        let is_object = arguments.is_object();
        let messages = json!([
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "", "tool_calls": [
                {"id": "call00001", "type": "function", "function": {"name": OTHER, "arguments": arguments}},
            ]},
            {"role": "tool", "tool_call_id": "call00001", "name": OTHER, "content": "Vr5sResultHm"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ]);
        let prompt = render(messages, Some(tools()), Map::new())?;
        let head = render(json!([{"role": "user", "content": "a"}]), Some(tools()), Map::new()).unwrap_or_default();
        // Python's print of a dict, and a JSON text within another, are no JSON.
        let is_wrong = if is_object {
            prompt.contains(&format!("'argument': '{TEXT}'"))
        } else {
            prompt.contains("\\\"argument\\\"")
        };
        Some(Self {
            name: prompt.matches(OTHER).count() > head.matches(OTHER).count(),
            argument: prompt.contains(TEXT) && !is_wrong,
            result: prompt.contains("Vr5sResultHm"),
        })
    }
}

fn tools() -> Value {
    json!([{"type": "function", "function": {
        "name": OTHER,
        "description": "d",
        "parameters": {"type": "object", "properties": {"argument": {"type": "string", "description": "e"}}, "required": ["argument"]},
    }}])
}
