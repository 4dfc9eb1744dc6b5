//! What the rows of the tables say: the form in which a family of models writes thoughts and calls.

use crate::families;

/// The form in which a model writes thoughts and calls of tools.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    pub(crate) thoughts: Option<&'static ThoughtForm>,
    pub(crate) calls: Option<&'static CallForm>,
    pub(crate) channels: Option<&'static Channels>,
    /// Markup around an answer, which is no part of it.
    pub(crate) ignored: &'static [&'static str],
}

/// What of a message a text continues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// It begins the message.
    #[default]
    Message,
    /// It is within a thought: the prompt ends with the opening of one, or a thought is continued.
    Thought,
    /// It is within an answer: one is continued.
    Content,
}

impl Format {
    /// The form that a chat template shows, by its source text. A template that shows none gives a form without thoughts
    /// and calls, where all is content.
    pub fn detect(template: &str) -> Self {
        families::detect(template)
    }

    /// The same with calls in the form of Hermes, a JSON object within `<tool_call>` tags: for models that were told so in
    /// their instructions.
    #[must_use]
    pub fn with_described_calls(self) -> Self {
        Self { calls: Some(&families::HERMES), ..self }
    }

    /// The name of the form of calls, such as `hermes` or `glm`; for messages and statistics.
    pub fn call_form(&self) -> Option<&'static str> {
        self.channels
            .filter(|channels| channels.calls)
            .map(|channels| channels.name)
            .or(self.calls.map(|calls| calls.name))
    }

    /// The name of the form of thoughts.
    pub fn thought_form(&self) -> Option<&'static str> {
        self.channels
            .filter(|channels| channels.thoughts)
            .map(|channels| channels.name)
            .or(self.thoughts.map(|form| form.name))
    }

    /// Where a text behind this prompt begins. Say [`Start`] yourself where a message of the assistant is continued.
    pub fn start_after(&self, prompt: &str) -> Start {
        let prompt = prompt.trim_end();
        let is_open = |opening: &&str| prompt.ends_with(opening.trim_end());
        match self.thoughts {
            Some(form) if form.open.iter().chain(form.prompted).any(is_open) => Start::Thought,
            _ => match self.channels.and_then(|channels| channels.thought_opening()) {
                Some(opening) if prompt.ends_with(opening) => Start::Thought,
                _ => Start::Message,
            },
        }
    }

    /// What closes a thought in the model's own form. Append it when a budget of tokens is spent, with special tokens read as
    /// such; the model goes on from there with an answer or a call.
    pub fn thought_closing(&self) -> Option<&'static str> {
        match self.channels.and_then(|channels| channels.thought_closing()) {
            Some(closing) => Some(closing),
            None => self.thoughts.map(|form| form.closing),
        }
    }

    /// What opens a thought, where the model writes that itself.
    pub fn thought_opening(&self) -> Option<&'static str> {
        match self.channels.and_then(|channels| channels.thought_opening()) {
            Some(opening) => Some(opening),
            None => self.thoughts.and_then(|form| form.open.first().copied()),
        }
    }

    /// Texts that must reach the parser as they are: their tokens are written out even where special tokens are not.
    pub fn markup(&self) -> Vec<&'static str> {
        let mut all: Vec<&'static str> = self.ignored.to_vec();
        if let Some(form) = self.thoughts {
            all.extend(form.open.iter().chain(form.close));
        }
        if let Some(calls) = self.calls {
            let lists = [calls.section, calls.open, calls.close, calls.section_close];
            all.extend(lists.into_iter().flatten());
            match calls.shape {
                Shape::Tagged { heads, notation } => {
                    all.extend(heads);
                    if let Notation::Parameters(parameters) = notation {
                        all.extend([parameters.open, parameters.key_end, parameters.value_open, parameters.close]);
                    }
                }
                Shape::Object { .. } | Shape::NameAsKey | Shape::Python => {}
            }
        }
        if let Some(channels) = self.channels {
            all.extend(channels.starts.iter().chain(channels.ends).chain([&channels.header_end]));
        }
        all
    }
}

/// How thoughts are written.
#[derive(Debug)]
pub(crate) struct ThoughtForm {
    pub(crate) name: &'static str,
    pub(crate) open: &'static [&'static str],
    pub(crate) close: &'static [&'static str],
    /// Ends of prompts within a thought that open it in other words.
    pub(crate) prompted: &'static [&'static str],
    /// They come between answers too, not only before the first.
    pub(crate) is_anywhere: bool,
    /// What a budget that is spent appends.
    pub(crate) closing: &'static str,
}

/// How calls are written.
#[derive(Debug)]
pub(crate) struct CallForm {
    pub(crate) name: &'static str,
    /// What may stand around all calls.
    pub(crate) section: &'static [&'static str],
    pub(crate) section_close: &'static [&'static str],
    /// What stands around each call. Without an opening the calls follow their section's.
    pub(crate) open: &'static [&'static str],
    pub(crate) close: &'static [&'static str],
    pub(crate) shape: Shape,
    /// A message may begin with a call that nothing opens.
    pub(crate) is_bare: bool,
    /// A call within a thought that was never closed ends it.
    pub(crate) ends_thought: bool,
    /// What the grammar writes around calls, and between two.
    pub(crate) written: Written,
    /// What an id looks like: a terminal.
    pub(crate) ids: &'static str,
}

/// How the grammar writes a call. `{name}`, `{id}` and `{arguments}` stand for those.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) before: &'static str,
    pub(crate) call: &'static str,
    pub(crate) between: &'static str,
    pub(crate) after: &'static str,
}

/// What a call is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// A JSON object with the name, the arguments and perhaps an id under these keys; several in a list, or one after the
    /// other.
    Object { name: &'static str, arguments: &'static [&'static str], id: &'static str },
    /// A list of JSON objects whose one key is the name and whose value is the arguments.
    NameAsKey,
    /// Markup with the name, then the arguments. In heads, `{name}` and `{id}` stand for those, `{kimi}` for an id like
    /// `functions.name:0`, `{*}` for anything.
    Tagged { heads: &'static [&'static str], notation: Notation },
    /// A list of calls as in Python.
    Python,
}

/// How arguments are written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Notation {
    Json,
    /// `{key:<|"|>text<|"|>,other:1}`
    Gemma,
    Parameters(&'static Parameters),
    /// An element for each property, nested, each tag behind this prefix.
    Elements(&'static str),
}

/// Arguments as a list of names and values, each within markup. Texts stand there as they are, other values as JSON.
#[derive(Debug)]
pub(crate) struct Parameters {
    pub(crate) open: &'static str,
    pub(crate) key_end: &'static str,
    /// Where attributes follow the key: what ends them.
    pub(crate) attributes_end: &'static str,
    /// Where the value has an opening of its own.
    pub(crate) value_open: &'static str,
    pub(crate) close: &'static str,
    /// Values stand on lines of their own.
    pub(crate) on_lines: bool,
    /// Texts may stand in `<![CDATA[...]]>`.
    pub(crate) has_cdata: bool,
    /// The attribute that says that a value is a text, and the one that says that it is not.
    pub(crate) text_attributes: Option<(&'static str, &'static str)>,
    /// What stands before the first, between two and behind the last, when the grammar writes them.
    pub(crate) between: &'static str,
}

/// Messages with a header each, which says whom they are for.
#[derive(Debug)]
pub(crate) struct Channels {
    pub(crate) name: &'static str,
    /// What begins a header. The last one belongs to it.
    pub(crate) starts: &'static [&'static str],
    pub(crate) header_end: &'static str,
    /// What ends a message.
    pub(crate) ends: &'static [&'static str],
    pub(crate) kind: ChannelKind,
    pub(crate) thoughts: bool,
    pub(crate) calls: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelKind {
    /// `<|channel|>analysis<|message|>`, ` to=functions.name`.
    Harmony,
    /// ` to=self<|message|>`; calls have markup of their own.
    Muse,
    /// `name\n`, `all\n`.
    Functionary,
}

impl Channels {
    fn thought_opening(&self) -> Option<&'static str> {
        match self.kind {
            ChannelKind::Harmony => Some("<|channel|>analysis<|message|>"),
            ChannelKind::Muse => Some(" to=self<|message|>"),
            ChannelKind::Functionary => None,
        }
    }

    fn thought_closing(&self) -> Option<&'static str> {
        match self.kind {
            ChannelKind::Harmony => Some("<|end|><|start|>assistant"),
            ChannelKind::Muse => Some("<|eom|><|start|>assistant"),
            ChannelKind::Functionary => None,
        }
    }
}
