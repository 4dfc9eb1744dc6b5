//! Chats: a conversation with tools goes in, an answer comes out as thoughts, content and calls.
//!
//! [`Engine::chat`](crate::Engine::chat) does all of it. Its parts are there for those who bring their own streams, such as
//! servers: [`Engine::prepare_chat`](crate::Engine::prepare_chat) makes the prompt and the [`ReplyForm`], which makes a
//! [`ReplyReader`] for each output.

mod generation;
mod reply;

pub use generation::{ChatCompletion, ChatEvent, ChatGeneration};
pub use reply::{ReplyForm, ReplyReader};

use llama_concurrent_template::{ChatMessage, ChatOptions};
use llama_concurrent_tools::{Thoughts, Tool, ToolChoice};
use llama_concurrent_types::{Prompt, parameters::IntoField};

/// A conversation that the model answers. Each field but the messages has a builder method of its name.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Chat {
    /// What was said so far.
    pub messages: Vec<ChatMessage>,
    /// What the chat template is told besides.
    pub options: ChatOptions,
    /// The tools that the model may call.
    pub tools: Vec<Tool>,
    /// Whether it calls them.
    pub tool_choice: ToolChoice,
    /// Whether it may make more than one call in its answer.
    pub parallel_tool_calls: bool,
    /// Tokens of thoughts at most. When they are spent, the thought is closed in the model's own form, and it answers. `None`
    /// is no limit.
    pub thinking_budget: Option<u32>,
    /// Where thoughts go.
    pub thoughts: Thoughts,
}

impl Chat {
    /// A conversation without tools.
    pub fn new(messages: impl Into<Vec<ChatMessage>>) -> Self {
        Self {
            messages: messages.into(),
            options: ChatOptions::default(),
            tools: Vec::new(),
            tool_choice: ToolChoice::default(),
            parallel_tool_calls: true,
            thinking_budget: None,
            thoughts: Thoughts::default(),
        }
    }

    /// Sets [`options`](Self::options).
    #[must_use]
    pub fn options(mut self, options: ChatOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets [`tools`](Self::tools).
    #[must_use]
    pub fn tools(mut self, tools: impl Into<Vec<Tool>>) -> Self {
        self.tools = tools.into();
        self
    }

    /// Sets [`tool_choice`](Self::tool_choice).
    #[must_use]
    pub fn tool_choice(mut self, choice: ToolChoice) -> Self {
        self.tool_choice = choice;
        self
    }

    /// Sets [`parallel_tool_calls`](Self::parallel_tool_calls).
    #[must_use]
    pub fn parallel_tool_calls(mut self, parallel: bool) -> Self {
        self.parallel_tool_calls = parallel;
        self
    }

    /// Sets [`thinking_budget`](Self::thinking_budget).
    #[must_use]
    pub fn thinking_budget(mut self, tokens: impl IntoField<Option<u32>>) -> Self {
        self.thinking_budget = tokens.into_field();
        self
    }

    /// Sets [`thoughts`](Self::thoughts).
    #[must_use]
    pub fn thoughts(mut self, thoughts: Thoughts) -> Self {
        self.thoughts = thoughts;
        self
    }

    /// Whether the model sees the tools.
    pub(crate) fn shows_tools(&self) -> bool {
        !self.tools.is_empty() && self.tool_choice != ToolChoice::None
    }
}

/// A chat as a prompt, and how its answer is read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PreparedChat {
    /// What the model continues.
    pub prompt: Prompt,
    /// The form of its answer.
    pub form: ReplyForm,
}
