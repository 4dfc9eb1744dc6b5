//! Messages and what a rendering depends on besides them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One message of a conversation, as OpenAI's chat API writes it. The template sees all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChatMessage {
    /// Who speaks: mostly `system`, `user`, `assistant` or `tool`. What else is allowed, the template decides.
    pub role: String,
    /// What is said: a text, a list of parts (`{"type": "text", "text": ...}`), or null.
    #[serde(default)]
    pub content: Value,
    /// Everything else, such as `name`, `tool_calls`, `tool_call_id` or `reasoning_content`.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

impl ChatMessage {
    /// A message of any role. The content is a text, a list of parts, or null.
    pub fn new(role: impl Into<String>, content: impl Into<Value>) -> Self {
        Self { role: role.into(), content: content.into(), fields: Map::new() }
    }

    /// Instructions that stand above the conversation.
    pub fn system(content: impl Into<Value>) -> Self {
        Self::new("system", content)
    }

    /// What the person says.
    pub fn user(content: impl Into<Value>) -> Self {
        Self::new("user", content)
    }

    /// What the model said.
    pub fn assistant(content: impl Into<Value>) -> Self {
        Self::new("assistant", content)
    }

    /// What a tool returned for the call with this id.
    pub fn tool(call_id: impl Into<String>, content: impl Into<Value>) -> Self {
        Self::new("tool", content).with("tool_call_id", call_id.into())
    }

    /// The same message with a further field.
    pub fn with(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.insert(field.into(), value.into());
        self
    }
}

/// Whether the model continues the last message instead of beginning one of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Continuation {
    /// It continues a last message of the assistant; after any other it begins its own.
    #[default]
    Auto,
    /// It never does: a last message of the assistant is finished.
    Never,
    /// It continues the last message, whoever began it: its content, or its reasoning where it has nothing else.
    Last,
    /// It continues the content of the last message.
    Content,
    /// It continues the reasoning of the last message.
    Reasoning,
}

/// What a rendering depends on besides the messages.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatOptions {
    /// End the prompt with the opening of an assistant's message, so that the model answers. On by default; off to
    /// render a finished conversation. Without effect where a message is continued.
    pub add_generation_prompt: bool,
    /// Whether the last message is continued.
    pub continue_final_message: Continuation,
    /// The tools the model may call, as the list of JSON schemas that the template expects. Where it has no place for them
    /// they are described in the system message.
    pub tools: Option<Value>,
    /// Further variables that the template knows, such as `enable_thinking` or `date_string`. One of the name
    /// `bos_token`, `eos_token` or `documents` replaces that; `messages`, `tools` and `add_generation_prompt` cannot be
    /// replaced.
    pub extra: Map<String, Value>,
    /// Read special tokens also where they are written inside messages, tools and variables. Off by default: a control
    /// token in a message is then plain text, so that nobody can close his message and speak as another.
    pub parse_special: bool,
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self {
            add_generation_prompt: true,
            continue_final_message: Continuation::default(),
            tools: None,
            extra: Map::new(),
            parse_special: false,
        }
    }
}
