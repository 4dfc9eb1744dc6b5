//! Compiling a template, and rendering messages with it.

use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};

use minijinja::value::Serde;
use minijinja::{Environment, Value};
use serde_json::{Map, Value as Json};

use crate::adapt::{self, Form, REASONING};
use crate::contents::{Rendered, SpecialTokens, unused_characters};
use crate::{
    Capabilities, ChatError, ChatMessage, ChatOptions, Continuation, described, dialect, generation_tag, limits, lists,
    percent,
};

/// The name of the one template in its environment. No file ending, as that could turn HTML escaping on.
const TEMPLATE: &str = "chat template";

type Message = Map<String, Json>;

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
/// Messages are adapted to what the template reads ([`Capabilities`]), as llama-server does: parts become one text or texts
/// become parts, a system message is put in front of the next message where there is no such role, a content that is null
/// is empty, arguments of calls become objects or texts, `developer` becomes `system`. Tools, their calls and results that a
/// template has no place for are described in the system message and written into the others. Where the text of a user would not be
/// in the prompt, that is an error.
///
/// A template comes with a file from anywhere, so it has limits, and beyond each it is an error: 256 KiB of source, 8 KiB for one
/// expression or tag, several dozen nested calls of macros, and 100,000 steps of the template engine and 5,000 more for
/// each value in the chat, up to 5 million (a fraction of a second). What a template prints and keeps has no limit: one that doubles a
/// text again and again takes all memory.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos_token: String,
    eos_token: String,
    capabilities: Capabilities,
    special: SpecialTokens,
}

/// What is rendered, and how its end is made.
struct Job<'a> {
    environment: &'a Environment<'static>,
    messages: Vec<Message>,
    options: &'a ChatOptions,
    /// The field of the last message that the model continues.
    continued: Option<Field>,
}

/// What of a message is continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Content,
    Reasoning,
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
        limits::check(source)?;
        limits::compiling(|| Self::compile_here(source, bos_token, eos_token))?
    }

    fn compile_here(source: &str, bos_token: &str, eos_token: &str) -> Result<Self, ChatError> {
        let mut environment = dialect::environment();
        // As Jinja does; a template edited on Windows must not put carriage returns into prompts.
        let source = source.replace("\r\n", "\n").replace('\r', "\n");
        let rewritten = generation_tag::as_plain_blocks(&source);
        let rewritten = lists::as_sums(&percent::as_filter(&rewritten)).into_owned();
        environment.add_template_owned(TEMPLATE, rewritten).map_err(ChatError::compiling)?;
        let (bos_token, eos_token) = (bos_token.to_owned(), eos_token.to_owned());
        let render = |messages: Json, tools: Option<Json>, variables: Map<String, Json>| {
            let messages = messages.as_array().cloned().unwrap_or_default();
            let tokens = (bos_token.as_str(), eos_token.as_str());
            let render =
                |extra: &Map<String, Json>| raw(&environment, tokens, &messages, tools.as_ref(), extra, true).ok();
            render(&variables).or_else(|| {
                let further = dialect::further_variables(tools.as_ref());
                let mut extra = variables.clone();
                extra.extend(further.map(|(name, value)| (name, value.into())));
                render(&extra)
            })
        };
        let capabilities = Capabilities::probe(render);
        let special = SpecialTokens::default();
        Ok(Self { environment, source, bos_token, eos_token, capabilities, special })
    }

    /// The same template for a vocabulary with these special tokens. In messages the texts of `control` tokens are plain text
    /// ([`Rendered::plain`]), and so are, but for messages of the assistant, those of `user_defined` tokens that the template
    /// itself writes.
    pub fn with_special_tokens(
        mut self,
        control: impl IntoIterator<Item = String>,
        user_defined: impl IntoIterator<Item = String>,
    ) -> Self {
        let source = &self.source;
        let in_template = user_defined.into_iter().filter(|text| source.contains(text.as_str()));
        self.special = SpecialTokens::new(control, in_template);
        self
    }

    /// What the template reads of a conversation.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// The source that was compiled.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders the prompt for `messages`.
    ///
    /// Most templates print the BOS token themselves: tokenize the result with special tokens parsed, and without adding
    /// another BOS.
    ///
    /// # Errors
    ///
    /// [`ChatError::Raised`] when the template refuses the messages, [`ChatError::Render`] when it fails on them,
    /// [`ChatError::Lost`] when it leaves out what a user or a tool said, [`ChatError::Messages`] when nothing could be
    /// rendered whatever the template is.
    pub fn render(&self, messages: &[ChatMessage], options: &ChatOptions) -> Result<String, ChatError> {
        Ok(self.render_marked(messages, options)?.text)
    }

    /// As [`render`](Self::render), and says where the prompt quotes special tokens that somebody wrote.
    ///
    /// # Errors
    ///
    /// As [`render`](Self::render).
    pub fn render_marked(&self, messages: &[ChatMessage], options: &ChatOptions) -> Result<Rendered, ChatError> {
        let of_messages =
            messages.iter().flat_map(|message| iter::once(&message.content).chain(message.fields.values()));
        let steps = limits::steps(of_messages.chain(&options.tools).chain(options.extra.values()));
        limits::rendering(steps, |steps| {
            let mut environment = self.environment.clone();
            environment.set_fuel(Some(steps));
            self.render_in(&environment, messages, options)
        })?
    }

    fn render_in(
        &self,
        environment: &Environment<'static>,
        messages: &[ChatMessage],
        options: &ChatOptions,
    ) -> Result<Rendered, ChatError> {
        let continued = continued(messages, options.continue_final_message)?;
        let described = described::tools(messages, options.tools.as_ref(), &self.capabilities);
        // A template that shows no calls would leave them out in silence.
        let described = described.or_else(|| match described::has_lost_calls(messages, &self.capabilities) {
            true => described::history(messages, &self.capabilities),
            false => None,
        });
        if let Some(described) = described {
            return self.render_adapted(environment, &described, options, continued);
        }
        let own = match self.render_adapted(environment, messages, options, continued) {
            Err(error) if !matches!(error, ChatError::Messages { .. }) => error,
            done => return done,
        };
        match described::history(messages, &self.capabilities) {
            Some(described) => self.render_adapted(environment, &described, options, continued).map_err(|_| own),
            None => Err(own),
        }
    }

    fn render_adapted(
        &self,
        environment: &Environment<'static>,
        messages: &[ChatMessage],
        options: &ChatOptions,
        continued: Option<Field>,
    ) -> Result<Rendered, ChatError> {
        // The one role that gpt-oss knows and others do not.
        let has_developer = self.source.contains("<|channel|>");
        let form = Form::of(&self.capabilities);
        let attempt = |form| {
            let messages = adapt::adapt(messages, form, &self.capabilities, has_developer)?;
            self.attempt(&Job { environment, messages, options, continued })
        };
        let first = match attempt(form) {
            Ok(rendered) => return Ok(rendered),
            Err(error @ ChatError::Messages { .. }) => return Err(error),
            Err(error) => error,
        };
        // A template may take lists from some roles only, and trip over an empty text where it would not over none.
        let has_parts = messages.iter().any(|message| message.content.is_array());
        let has_null = messages.iter().any(|message| message.content.is_null());
        let others = [
            (has_parts && self.capabilities.string_content).then_some(Form { join_parts: true, ..form }),
            has_null.then_some(Form { drop_null: true, ..form }),
        ];
        if let Some(rendered) = others.into_iter().flatten().find_map(|form| attempt(form).ok()) {
            return Ok(rendered);
        }
        // Variables that llama-server gives to every template, and that few read.
        let mut options = options.clone();
        for (name, value) in dialect::further_variables(options.tools.as_ref()) {
            options.extra.entry(name).or_insert(value.into());
        }
        let messages = adapt::adapt(messages, form, &self.capabilities, has_developer)?;
        self.attempt(&Job { environment, messages, options: &options, continued }).map_err(|_| first)
    }

    /// A rendering of messages as they are: nothing is adapted, kept apart, continued or checked.
    #[cfg(test)]
    pub(crate) fn render_as_it_is(&self, messages: &[ChatMessage], options: &ChatOptions) -> Result<String, ChatError> {
        let tokens = (self.bos_token.as_str(), self.eos_token.as_str());
        let (tools, extra) = (options.tools.as_ref(), &options.extra);
        let render = |_| raw(&self.environment, tokens, messages, tools, extra, options.add_generation_prompt);
        limits::rendering(limits::STEPS, render)?
    }

    fn attempt(&self, job: &Job<'_>) -> Result<Rendered, ChatError> {
        let (mut messages, options) = (job.messages.clone(), job.options);
        let (mut tools, mut extra) = (options.tools.clone(), options.extra.clone());
        let every = messages.iter().flat_map(Map::values).chain(&tools).chain(extra.values());
        let mut unused = unused_characters(every);
        let (Some(mark), Some(cut), Some(probe)) = (unused.next(), unused.next(), unused.next()) else {
            return Err(ChatError::Messages { message: "the chat holds every noncharacter of Unicode".into() });
        };
        drop(unused);
        let apart = !options.parse_special && !self.special.is_empty();
        if apart {
            for message in &mut messages {
                let assistant = message.get("role").is_some_and(|role| role == "assistant");
                self.special.mark_map(message, mark, assistant);
            }
            tools.iter_mut().for_each(|tools| self.special.mark(tools, mark, false));
            for (name, value) in &mut extra {
                if name != "bos_token" && name != "eos_token" {
                    self.special.mark(value, mark, false);
                }
            }
        }
        let render = |messages: &[Message], generate: bool| {
            let tokens = (self.bos_token.as_str(), self.eos_token.as_str());
            raw(job.environment, tokens, messages, tools.as_ref(), &extra, generate)
        };
        let text = match job.continued {
            None => render(&messages, options.add_generation_prompt)?,
            Some(field) => continue_last(&mut messages, field, cut, render)?,
        };
        let mut rendered =
            if apart { self.special.unmark(&text, mark) } else { Rendered { text, ..Rendered::default() } };
        self.check_nothing_is_lost(job, &rendered.text, probe, |messages| {
            render(messages, job.continued.is_none() && options.add_generation_prompt)
        })?;
        rendered.continues = job.continued.map(|field| match field {
            Field::Content => Continuation::Content,
            Field::Reasoning => Continuation::Reasoning,
        });
        Ok(rendered)
    }

    /// What a user or a tool said must be in the prompt. A template may change it, so what is not found is asked for again,
    /// with something in it that no template knows.
    fn check_nothing_is_lost(
        &self,
        job: &Job<'_>,
        prompt: &str,
        probe: char,
        render: impl Fn(&[Message]) -> Result<String, ChatError>,
    ) -> Result<(), ChatError> {
        // Shorter ones may be found by chance.
        let is_shown = |text: &str| text.len() > 3 && prompt.contains(text);
        let mut messages = job.messages.clone();
        let mut missing = Vec::new();
        for (index, message) in messages.iter_mut().enumerate() {
            if !message.get("role").is_some_and(|role| role == "user" || role == "tool") {
                continue;
            }
            let texts: Vec<&mut String> = match message.get_mut("content") {
                Some(Json::String(text)) => vec![text],
                Some(Json::Array(parts)) => parts.iter_mut().filter_map(text_of_part).collect(),
                _ => Vec::new(),
            };
            for text in texts {
                if !text.trim().is_empty() && !is_shown(text.trim()) {
                    let mark = format!("{probe}{};", missing.len());
                    text.push_str(&mark);
                    missing.push((index, mark));
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        // What fails now failed because of the probe.
        let Ok(probed) = render(&messages) else { return Ok(()) };
        match missing.into_iter().find(|(_, mark)| !probed.contains(mark.as_str())) {
            None => Ok(()),
            Some((index, _)) => {
                let role = job.messages[index].get("role").and_then(Json::as_str).unwrap_or_default().to_owned();
                Err(ChatError::Lost { index, role })
            }
        }
    }
}

fn text_of_part(part: &mut Json) -> Option<&mut String> {
    match part.get_mut("text") {
        Some(Json::String(text)) => Some(text),
        _ => None,
    }
}

/// What of the last message is continued, if it is.
fn continued(messages: &[ChatMessage], wish: Continuation) -> Result<Option<Field>, ChatError> {
    let is_assistant = |message: Option<&ChatMessage>| message.is_some_and(|message| message.role == "assistant");
    let wrong = |message: &str| Err(ChatError::Messages { message: message.into() });
    let Some(last) = messages.last() else { return Ok(None) };
    match wish {
        Continuation::Never => return Ok(None),
        Continuation::Auto if !is_assistant(Some(last)) => return Ok(None),
        Continuation::Auto if is_assistant(messages.iter().rev().nth(1)) => {
            return wrong(
                "the last two messages are both the assistant's, and only one can be continued; join them, or set \
                 continue_final_message to false",
            );
        }
        _ => {}
    }
    let has_calls = last.fields.get("tool_calls").and_then(Json::as_array).is_some_and(|calls| !calls.is_empty());
    if has_calls {
        return match wish {
            Continuation::Auto => wrong(
                "the last message is the assistant's and has tool calls, so it cannot be continued; add the results of the \
                 calls, or set continue_final_message to false",
            ),
            _ => wrong("a message with tool calls cannot be continued"),
        };
    }
    let has_reasoning = REASONING.iter().any(|name| last.fields.get(*name).is_some_and(|value| value.is_string()));
    let has_content = match &last.content {
        Json::String(text) => !text.is_empty(),
        Json::Array(parts) => !parts.is_empty(),
        _ => false,
    };
    match wish {
        Continuation::Content => Ok(Some(Field::Content)),
        Continuation::Reasoning if has_reasoning => Ok(Some(Field::Reasoning)),
        Continuation::Reasoning => wrong("the last message has no reasoning_content to continue"),
        _ if has_reasoning && !has_content => Ok(Some(Field::Reasoning)),
        _ => Ok(Some(Field::Content)),
    }
}

/// Renders all messages with `cut` at the end of the last one, and keeps what is in front of that: so the message reads as
/// the model has seen messages of its own.
fn continue_last(
    messages: &mut Vec<Message>,
    field: Field,
    cut: char,
    render: impl Fn(&[Message], bool) -> Result<String, ChatError>,
) -> Result<String, ChatError> {
    // The space tells whether the template trims.
    let ending = format!("{cut} ");
    let Some(last) = messages.last_mut() else { return render(messages, true) };
    let original = last.clone();
    let begun = match field {
        Field::Reasoning => {
            let mut begun = String::new();
            for name in REASONING {
                if let Some(Json::String(text)) = last.get_mut(name) {
                    begun.clone_from(text);
                    text.push_str(&ending);
                }
            }
            begun
        }
        Field::Content => match last.entry("content").or_insert_with(|| "".into()) {
            Json::String(text) => {
                let begun = text.clone();
                text.push_str(&ending);
                begun
            }
            Json::Array(parts) => match parts.iter_mut().rev().find_map(text_of_part) {
                Some(text) => {
                    let begun = text.clone();
                    text.push_str(&ending);
                    begun
                }
                None => String::new(),
            },
            _ => String::new(),
        },
    };
    let rendered = render(messages, false);
    if let Ok(text) = &rendered
        && let Some(end) = text.rfind(cut)
    {
        let kept = &text[..end];
        let is_trimmed = !text[end..].starts_with(&ending);
        return Ok(if is_trimmed { kept.trim_end() } else { kept }.replace(cut, ""));
    }
    if field == Field::Reasoning {
        rendered?;
        return Err(ChatError::Messages {
            message: "the chat template does not show the reasoning of the last message, so it cannot be continued"
                .into(),
        });
    }
    // A template that does not show the message as it is: the opening of an answer, then what was begun.
    messages.pop();
    let opened = if messages.is_empty() { rendered } else { render(messages, true) };
    messages.push(original);
    Ok(opened? + &begun)
}

/// Later variables replace earlier ones of the same name.
fn raw<M: serde::Serialize>(
    environment: &Environment<'static>,
    (bos_token, eos_token): (&str, &str),
    messages: &[M],
    tools: Option<&Json>,
    extra: &Map<String, Json>,
    add_generation_prompt: bool,
) -> Result<String, ChatError> {
    let render = || {
        let replaceable = [
            ("bos_token", Value::from(bos_token)),
            ("eos_token", Value::from(eos_token)),
            ("documents", Value::from(())),
        ];
        let extra = extra.iter().map(|(name, value)| (name.as_str(), Value::from(Serde(value))));
        let fixed = [
            ("messages", Value::from(Serde(messages))),
            ("tools", Value::from(Serde(&tools))),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
        ];
        let variables = Value::from_pairs(replaceable.into_iter().chain(extra).chain(fixed));
        environment.get_template(TEMPLATE)?.render(variables)
    };
    // minijinja 3.0.5 panics on some slices, such as `messages[::-1]` of no messages. Nothing here changes while it
    // renders, so nothing is left half done.
    match catch_unwind(AssertUnwindSafe(render)) {
        Ok(rendered) => rendered.map_err(ChatError::rendering),
        Err(panic) => Err(ChatError::panicking(&*panic)),
    }
}
