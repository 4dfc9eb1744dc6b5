//! Chats: messages, and the parameters that only they have.

use std::ffi::c_char;

use llama_concurrent::{Chat, ChatMessage, ChatOptions, Continuation, Tool, ToolChoice, ToolError};
use serde_json::{Map, Value, json};

use crate::{
    infer_params::{count_or_none, llama_infer_params},
    pointers::{self, Versioned},
    status::llama_infer_status as Status,
    types::{Failure, Result},
};

/// Whether the model continues the last message of a chat.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum llama_infer_continuation {
    /// Continue the last message if it is the assistant's; otherwise start a new one.
    Auto = 0,
    /// Always start a new message.
    Never = 1,
    /// Continue the last message of any role: its content, or its reasoning if it has no content.
    Last = 2,
    /// Continue the content of the last message.
    Content = 3,
    /// Continue the reasoning of the last message.
    ReasoningContent = 4,
}

/// A message of a chat.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama_infer_message {
    /// The author: usually "system", "user" or "assistant".
    pub role: *const c_char,
    /// The text.
    pub content: *const c_char,
}

/// A call of a tool: in a message, an event or a result.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct llama_infer_tool_call {
    /// The id that its result refers to.
    pub id: *const c_char,
    /// The name of the tool.
    pub name: *const c_char,
    /// The arguments, as a JSON object. NULL in events, whose text is a piece of them.
    pub arguments: *const c_char,
    /// Its number among the calls of the answer, from 0.
    pub index: usize,
}

/// A message of a chat with all that it may have. Set unused members to NULL, and `size` to
/// `sizeof(llama_infer_chat_message)`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct llama_infer_chat_message {
    /// `sizeof(llama_infer_chat_message)`.
    pub size: usize,
    /// The author: usually "system", "user", "assistant" or "tool".
    pub role: *const c_char,
    /// The text; may be NULL if there are calls.
    pub content: *const c_char,
    /// Of the assistant: its thoughts, as the member `reasoning` of a result has them.
    pub reasoning: *const c_char,
    /// Of the assistant: the tools that it called, as in a result.
    pub tool_calls: *const llama_infer_tool_call,
    /// Number of elements in `tool_calls`.
    pub n_tool_calls: usize,
    /// Of a tool: the id of the call that `content` is the result of.
    pub tool_call_id: *const c_char,
    /// The name of the author or of the tool.
    pub name: *const c_char,
}

crate::assert_no_tail_padding!(llama_infer_chat_message, name: *const c_char);
crate::assert_no_tail_padding!(llama_infer_tool_call, index: usize);

// SAFETY: `#[repr(C)]`, starts with its size; numbers and raw pointers.
unsafe impl Versioned for llama_infer_chat_message {
    const INITIALIZER: &'static str = "set its size to sizeof(llama_infer_chat_message)";
}

impl llama_infer_chat_message {
    const EMPTY: Self = Self {
        size: size_of::<Self>(),
        role: std::ptr::null(),
        content: std::ptr::null(),
        reasoning: std::ptr::null(),
        tool_calls: std::ptr::null(),
        n_tool_calls: 0,
        tool_call_id: std::ptr::null(),
        name: std::ptr::null(),
    };

    /// # Safety
    /// As the header asks.
    unsafe fn read(message: *const Self, place: &str) -> Result<ChatMessage> {
        // SAFETY: the caller's promise.
        unsafe {
            let given = pointers::read_sized(message, Self::EMPTY, place)?;
            let optional = |pointer, name: &str| pointers::optional_text(pointer, &format!("{place}->{name}"));
            let role = pointers::text(given.role, &format!("{place}->role"))?;
            let content = optional(given.content, "content")?.map_or(Value::Null, Value::from);
            let mut message = ChatMessage::new(role, content);
            let fields = [
                ("reasoning_content", optional(given.reasoning, "reasoning")?),
                ("tool_call_id", optional(given.tool_call_id, "tool_call_id")?),
                ("name", optional(given.name, "name")?),
            ];
            for (name, text) in fields {
                if let Some(text) = text {
                    message = message.with(name, text);
                }
            }
            let calls = pointers::slice(given.tool_calls, given.n_tool_calls, &format!("{place}->tool_calls"))?;
            if calls.is_empty() {
                return Ok(message);
            }
            let mut list = Vec::with_capacity(calls.len());
            for (index, call) in calls.iter().enumerate() {
                let text =
                    |pointer, name: &str| pointers::text(pointer, &format!("{place}->tool_calls[{index}].{name}"));
                let function =
                    json!({"name": text(call.name, "name")?, "arguments": text(call.arguments, "arguments")?});
                list.push(json!({"id": text(call.id, "id")?, "type": "function", "function": function}));
            }
            Ok(message.with("tool_calls", list))
        }
    }
}

impl llama_infer_params {
    /// The chat of these parameters, whose messages may also be the arguments of the function.
    ///
    /// # Safety
    /// As the header asks of `messages`, and as [`request`](Self::request).
    pub unsafe fn chat(&self, messages: *const llama_infer_message, n_messages: usize) -> Result<Chat> {
        // SAFETY: the caller's promise.
        unsafe {
            let json = |text: Option<&str>, field: &str| -> Result<Value> {
                let parsed = text.map_or(Ok(Value::Null), serde_json::from_str);
                parsed.map_err(|error| wrong(field, &error.to_string()))
            };
            let invalid = |field: &'static str| move |error: ToolError| wrong(field, &error.to_string());
            let tools = json(pointers::optional_text(self.chat_tools, "chat_tools")?, "chat_tools")?;
            let choice = match pointers::optional_text(self.chat_tool_choice, "chat_tool_choice")? {
                Some(word) if !word.starts_with('{') => word.into(),
                object => json(object, "chat_tool_choice")?,
            };
            let choice = ToolChoice::from_json(&choice).map_err(invalid("chat_tool_choice"))?;
            Ok(Chat::new(self.messages(messages, n_messages)?)
                .options(self.chat_options()?)
                .tools(Tool::list(&tools).map_err(invalid("chat_tools"))?)
                .tool_choice(choice)
                .parallel_tool_calls(self.chat_parallel_tool_calls != 0)
                .thinking_budget(count_or_none(self.chat_thinking_budget, "chat_thinking_budget")?))
        }
    }

    /// The messages, of which there are three forms.
    ///
    /// # Safety
    /// As [`chat`](Self::chat).
    unsafe fn messages(&self, messages: *const llama_infer_message, n_messages: usize) -> Result<Vec<ChatMessage>> {
        // SAFETY: the caller's promise.
        unsafe {
            let json = pointers::optional_text(self.chat_messages, "chat_messages")?;
            let structs = pointers::slice(self.chat, self.n_chat, "chat")?;
            if usize::from(json.is_some()) + usize::from(n_messages > 0) + usize::from(!structs.is_empty()) > 1 {
                let message = "more than one of chat_messages, chat and the argument messages is set; use one of them";
                return Err(Failure::new(Status::InvalidRequest, message));
            }
            if let Some(json) = json {
                let messages = serde_json::from_str(json);
                return messages.map_err(|error| wrong("chat_messages", &error.to_string()));
            }
            if !structs.is_empty() {
                let each = structs.iter().enumerate();
                return each
                    .map(|(i, message)| llama_infer_chat_message::read(*message, &format!("chat[{i}]")))
                    .collect();
            }
            let each = pointers::slice(messages, n_messages, "messages")?.iter().enumerate();
            each.map(|(i, message)| {
                Ok(ChatMessage::new(
                    pointers::text(message.role, &format!("messages[{i}].role"))?,
                    pointers::text(message.content, &format!("messages[{i}].content"))?,
                ))
            })
            .collect()
        }
    }

    /// # Safety
    /// As [`request`](Self::request).
    unsafe fn chat_options(&self) -> Result<ChatOptions> {
        // SAFETY: the caller's promise.
        let variables = unsafe { pointers::optional_text(self.chat_variables, "chat_variables")? };
        let extra = variables.map_or(Ok(Map::new()), serde_json::from_str);
        Ok(ChatOptions {
            add_generation_prompt: self.add_generation_prompt != 0,
            extra: extra.map_err(|error| wrong("chat_variables", &error.to_string()))?,
            continue_final_message: self.continuation()?,
            parse_special: self.chat_parse_special != 0,
            ..ChatOptions::default()
        })
    }

    fn continuation(&self) -> Result<Continuation> {
        use llama_infer_continuation as Named;
        [
            (Named::Auto, Continuation::Auto),
            (Named::Never, Continuation::Never),
            (Named::Last, Continuation::Last),
            (Named::Content, Continuation::Content),
            (Named::ReasoningContent, Continuation::Reasoning),
        ]
        .into_iter()
        .find_map(|(named, wish)| (named as i32 == self.continue_final_message).then_some(wish))
        .ok_or_else(|| {
            Failure::unknown(
                Status::InvalidRequest,
                "continue_final_message",
                self.continue_final_message,
                "llama_infer_continuation",
            )
        })
    }
}

fn wrong(field: &str, why: &str) -> Failure {
    Failure::new(Status::InvalidRequest, format!("{field} is not the JSON that is expected there: {why}"))
}
