//! Chats: which template an engine renders them with, and the prompts that come of it.

use llama_concurrent_llama::Model;
use llama_concurrent_template::{
    BUILTIN_NAMES, CHATML, Capabilities, ChatMessage, ChatOptions, ChatTemplate, Continuation, Rendered, builtin, today,
};
use llama_concurrent_tools::{Format, Start};
use llama_concurrent_types::{EngineConfig, Error, ErrorKind, MarkedText, Prompt, Result, TokenTable};
use serde_json::Value;

use crate::chat::{Chat, PreparedChat, ReplyForm};

/// The variable of templates that tell the model what day it is.
const DATE: &str = "date_string";

/// The templates of an engine.
pub(super) struct Templates {
    /// An error where the file's own cannot be compiled: an engine is of use without chats.
    template: Result<ChatTemplate>,
    /// Some files have a second one for chats with tools.
    with_tools: Option<ChatTemplate>,
    variables: serde_json::Map<String, Value>,
}

impl Templates {
    /// Compiles the templates of a model, or the one that was configured.
    ///
    /// # Errors
    /// A configured template that does not compile.
    pub(super) fn new(model: &Model, config: &EngineConfig) -> Result<Self> {
        let (bos, eos) = model.bos_and_eos_text();
        let (control, user_defined) = model.special_texts();
        let compile = |source: &str| -> Result<ChatTemplate> {
            let template = ChatTemplate::compile(source, &bos, &eos)?;
            Ok(template.with_special_tokens(control.clone(), user_defined.clone()))
        };
        let variables = config.chat_template_kwargs.clone();
        if let Some(wished) = &config.chat_template {
            let source = builtin(wished.trim()).unwrap_or(wished);
            if !source.contains('{') {
                let names = BUILTIN_NAMES.join(", ");
                let said =
                    format!("chat_template is '{wished}', which is neither a template nor one of the names {names}");
                return Err(Error::new(ErrorKind::InvalidConfig, said));
            }
            let invalid = |error: Error| Error::new(ErrorKind::InvalidConfig, format!("chat_template: {error}"));
            return Ok(Self { template: Ok(compile(source).map_err(invalid)?), with_tools: None, variables });
        }
        let own = |name| model.chat_template(name).filter(|source| !source.trim().is_empty());
        let with_tools = own(Some(c"tool_use")).and_then(|source| compile(&source).ok());
        let template = match own(None) {
            Some(source) => compile(&source),
            None => match &with_tools {
                Some(template) => Ok(template.clone()),
                None => {
                    tracing::warn!(
                        "the model's file has no chat template; chats are rendered as ChatML, which this model may not have \
                         been trained on. Give the right one as chat_template"
                    );
                    compile(CHATML)
                }
            },
        };
        if let Err(error) = &template {
            tracing::warn!("chats are refused: {error}");
        }
        Ok(Self { template, with_tools, variables })
    }

    /// What the template reads; `None` where it does not compile.
    pub(super) fn capabilities(&self) -> Option<Capabilities> {
        self.template.as_ref().ok().map(ChatTemplate::capabilities)
    }

    /// The source of the template.
    pub(super) fn source(&self) -> Option<&str> {
        self.template.as_ref().ok().map(ChatTemplate::source)
    }

    /// The prompt of a conversation.
    pub(super) fn prompt(&self, messages: &[ChatMessage], options: &ChatOptions) -> Result<Prompt> {
        self.render(self.of(options)?, messages, options).map(prompt)
    }

    /// The prompt of a chat, and the form of its answer.
    pub(super) fn prepare(&self, chat: &Chat, table: &TokenTable) -> Result<PreparedChat> {
        let mut options = chat.options.clone();
        if !chat.shows_tools() {
            options.tools = None;
        } else if options.tools.is_none() {
            options.tools = Some(chat.tools.iter().map(|tool| tool.to_json()).collect());
        }
        let template = self.of(&options)?;
        let rendered = self.render(template, &chat.messages, &options)?;
        let mut format = Format::detect(template.source());
        if chat.shows_tools() && (format.call_form().is_none() || !template.capabilities().tools) {
            if template.capabilities().tools {
                tracing::warn!(
                    "the chat template shows tools, but not in which form they are called; JSON within <tool_call> is read"
                );
            }
            format = format.with_described_calls();
        }
        let start = match rendered.continues {
            Some(Continuation::Reasoning) => Start::Thought,
            Some(_) => Start::Content,
            None => format.start_after(&rendered.text),
        };
        Ok(PreparedChat { form: ReplyForm::new(format, chat, start, table), prompt: prompt(rendered) })
    }

    /// The template for a chat with these options.
    fn of(&self, options: &ChatOptions) -> Result<&ChatTemplate> {
        match &self.with_tools {
            Some(template) if options.tools.is_some() => Ok(template),
            _ => self.template.as_ref().map_err(Error::clone),
        }
    }

    fn render(&self, template: &ChatTemplate, messages: &[ChatMessage], options: &ChatOptions) -> Result<Rendered> {
        if messages.is_empty() {
            return Err(Error::new(ErrorKind::InvalidRequest, "the chat has no messages; give at least one"));
        }
        let mut more = self.variables.clone();
        // Llama 3 believes itself in 2024 where it is told no other date.
        if template.source().contains(DATE) && !more.contains_key(DATE) {
            more.insert(DATE.into(), today().into());
        }
        more.retain(|name, _| !options.extra.contains_key(name));
        if more.is_empty() {
            return Ok(template.render_marked(messages, options)?);
        }
        let mut options = options.clone();
        options.extra.extend(more);
        Ok(template.render_marked(messages, &options)?)
    }
}

fn prompt(rendered: Rendered) -> Prompt {
    if rendered.plain.is_empty() {
        return Prompt::Text(rendered.text);
    }
    Prompt::Marked(MarkedText::new(rendered.text, rendered.plain))
}
