//! Chat templates: messages become the prompt that the model was trained on.
//!
//! A model carries its template as Jinja source, written for the renderer of Hugging Face transformers. Guessing the
//! format from known names instead fails quietly, with a model that answers worse; so the model's own template is
//! rendered, in the same dialect (see [`ChatTemplate`]).

mod dialect;
mod error;
#[cfg(test)]
mod families;
mod filters;
mod generation;
mod json;
mod percent;
mod predicates;
mod printer;
mod python;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};

use minijinja::value::Serde;
use minijinja::{Environment, Value};
use serde::{Deserialize, Serialize};

pub use error::ChatError;

/// The name of the one template in its environment. No file ending, as that could turn HTML escaping on.
const TEMPLATE: &str = "chat template";

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who speaks: mostly `system`, `user` or `assistant`. What else is allowed, the template decides.
    pub role: String,
    /// What is said, as plain text.
    pub content: String,
}

impl ChatMessage {
    /// A message of any role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }

    /// Instructions that stand above the conversation. Some templates refuse them.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }

    /// What the person says.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// What the model said.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }
}

/// What a rendering depends on besides the messages.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatOptions {
    /// End the prompt with the opening of an assistant's message, so that the model answers. On by default; off to
    /// render a finished conversation.
    pub add_generation_prompt: bool,
    /// The tools the model may call, as the list of JSON schemas that the template expects. Templates without a tools
    /// branch ignore them.
    pub tools: Option<serde_json::Value>,
    /// Further variables that the template knows, such as `enable_thinking` or `date_string`. One of the name
    /// `bos_token`, `eos_token` or `documents` replaces that; `messages`, `tools` and `add_generation_prompt` cannot be
    /// replaced.
    pub extra: serde_json::Map<String, serde_json::Value>,
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self { add_generation_prompt: true, tools: None, extra: serde_json::Map::new() }
    }
}

/// A compiled chat template. Rendering needs no exclusive access: share one among all requests to a model.
///
/// The dialect is the one that Hugging Face transformers renders:
///
/// - Whitespace: `trim_blocks` and `lstrip_blocks` are on, the newline at the end of the template is dropped, nothing is
///   HTML-escaped.
/// - Variables: `messages`, `tools` and `documents` (none unless given), `add_generation_prompt`, `bos_token`,
///   `eos_token`, and whatever [`ChatOptions::extra`] holds. An undefined variable prints as nothing and counts as false;
///   looking into one is an error.
/// - Functions, filters and tests: those of Jinja, as they behave in Python on undefined, none and empty values;
///   `raise_exception(message)`, `strftime_now(format)`, `tojson` as `json.dumps` writes it, `fromjson`, `break` and
///   `continue`, the methods of Python's strings, lists and dicts, the operator `%` behind a string.
/// - `{% generation %}` blocks, which mark text to train on, print their content.
/// - Missing: `include` and `import`, `varargs` and `kwargs` in macros, `lipsum`. An unknown filter or test is an error
///   only when a rendering gets to it.
///
/// A rendering runs at most 5 million steps of the template engine (a fraction of a second, and enough for ten thousand
/// messages) and nests several dozen macro calls at most; beyond either it is a [`ChatError::Render`]. These limits turn
/// mistakes into errors. They are no sandbox: a template made to do harm can still take memory, or overflow the stack
/// with a value nested without end. Load templates only from where you would load a program.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

impl ChatTemplate {
    /// Compiles Jinja `source`. The tokens are the texts of the model's special tokens, empty where it has none.
    ///
    /// # Errors
    ///
    /// [`ChatError::NoTemplate`] for a source without text, [`ChatError::Syntax`] for one that is no Jinja.
    pub fn compile(source: &str, bos_token: &str, eos_token: &str) -> Result<Self, ChatError> {
        if source.trim().is_empty() {
            return Err(ChatError::NoTemplate);
        }
        let mut environment = dialect::environment();
        // As Jinja does; a template edited on Windows must not put carriage returns into prompts.
        let source = source.replace("\r\n", "\n").replace('\r', "\n");
        let source = percent::as_filter(&generation::as_plain_blocks(&source)).into_owned();
        environment.add_template_owned(TEMPLATE, source).map_err(ChatError::compiling)?;
        Ok(Self { environment, bos_token: bos_token.to_owned(), eos_token: eos_token.to_owned() })
    }

    /// Renders the prompt for `messages`.
    ///
    /// Most templates print the BOS token themselves: tokenize the result with special tokens parsed, and without adding
    /// another BOS.
    ///
    /// # Errors
    ///
    /// [`ChatError::Raised`] when the template refuses the messages, [`ChatError::Render`] when it fails on them.
    pub fn render(&self, messages: &[ChatMessage], options: &ChatOptions) -> Result<String, ChatError> {
        let render = || {
            let template = self.environment.get_template(TEMPLATE)?;
            template.render(self.variables(messages, options))
        };
        // minijinja 3.0.5 panics on some slices, such as `messages[::-1]` of no messages. Nothing here changes while it
        // renders, so nothing is left half done.
        match catch_unwind(AssertUnwindSafe(render)) {
            Ok(rendered) => rendered.map_err(ChatError::rendering),
            Err(panic) => Err(ChatError::panicking(&*panic)),
        }
    }

    /// Later variables replace earlier ones of the same name.
    fn variables(&self, messages: &[ChatMessage], options: &ChatOptions) -> Value {
        let replaceable = [
            ("bos_token", Value::from(self.bos_token.as_str())),
            ("eos_token", Value::from(self.eos_token.as_str())),
            ("documents", Value::from(())),
        ];
        let extra = options.extra.iter().map(|(name, value)| (name.as_str(), Value::from(Serde(value))));
        let fixed = [
            ("messages", Value::from(Serde(messages))),
            ("tools", Value::from(Serde(&options.tools))),
            ("add_generation_prompt", Value::from(options.add_generation_prompt)),
        ];
        Value::from_pairs(replaceable.into_iter().chain(extra).chain(fixed))
    }
}
