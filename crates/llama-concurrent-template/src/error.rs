//! Why there is no prompt.

use std::any::Any;
use std::error::Error;

use llama_concurrent_types::ErrorKind;

use super::dialect::Raised;

/// Why there is no prompt. Each text tells what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The model carries no template, or an empty one.
    #[error("this model has no chat template; pass plain prompts to generate, or give a template")]
    NoTemplate,
    /// The template is no valid Jinja.
    #[error("the chat template does not compile at its line {line}: {message}; correct that, or give another template")]
    Syntax {
        /// The line of the template, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// The template itself refused the messages, with its function `raise_exception`.
    #[error("the chat template refuses these messages: {message}")]
    Raised {
        /// What the template says.
        message: String,
    },
    /// These messages cannot be a chat, whatever the template is.
    #[error("{message}")]
    Messages {
        /// What is wrong with which message.
        message: String,
    },
    /// The template leaves out what somebody said.
    #[error(
        "the chat template does not show the text of message {index} ({role}): the model would not see it. Give the \
         message another role or another place, or give another template"
    )]
    Lost {
        /// Which message, from 0.
        index: usize,
        /// Who said it.
        role: String,
    },
    /// The template failed on these messages, tools or extra variables.
    #[error(
        "the chat template fails on this input{}: {message}; give the messages, tools and extra variables the form that \
         the template reads, or give another template",
        line.map(|line| format!(" at its line {line}")).unwrap_or_default()
    )]
    Render {
        /// The line of the template, from 1, where it is known.
        line: Option<usize>,
        /// What failed there.
        message: String,
    },
}

impl ChatError {
    pub(super) fn compiling(error: minijinja::Error) -> Self {
        Self::Syntax { line: error.line().unwrap_or(0), message: describe(&error) }
    }

    pub(super) fn rendering(error: minijinja::Error) -> Self {
        if let Some(Raised(message)) = causes(&error).find_map(|cause| cause.downcast_ref()) {
            return Self::Raised { message: message.clone() };
        }
        Self::Render { line: error.line(), message: describe(&error) }
    }

    pub(super) fn panicking(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied());
        Self::Render {
            line: None,
            message: format!("the template engine panicked: {}", text.unwrap_or("unknown cause")),
        }
    }
}

/// The engine's message without the place, which our own errors carry, and with its causes.
fn describe(error: &minijinja::Error) -> String {
    let mut message = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    for cause in causes(error) {
        message.push_str(&format!(": {cause}"));
    }
    message
}

fn causes(error: &minijinja::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

impl From<ChatError> for llama_concurrent_types::Error {
    fn from(error: ChatError) -> Self {
        let kind = match error {
            ChatError::NoTemplate => ErrorKind::NoChatTemplate,
            ChatError::Messages { .. } => ErrorKind::InvalidRequest,
            _ => ErrorKind::ChatTemplate,
        };
        Self::new(kind, error.to_string())
    }
}
