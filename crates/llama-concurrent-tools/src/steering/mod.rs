//! Steers a model, so that what it writes is a call that can be read and whose arguments are valid.
//!
//! [`Steering`] says what has to be compiled: a grammar of the calls, written in the form of the model's family, and the
//! form of an answer. The matcher made of it lets the model think and talk freely, looks out for the opening of a call, and
//! holds it to the grammar from there on; or from the beginning, where a call or a form is required.

mod calls;
mod elements;
mod kinds;
mod lark;
mod matcher;
mod parameters;
mod schemas;
#[cfg(test)]
mod tests;
mod texts;
mod valid;
mod values;
mod watch;

use std::fmt;
use std::sync::Arc;

use llama_concurrent_types::{Constraint, Error, ErrorKind, Matcher, Result, Token, TokenTable};

use self::calls::Trigger;
use self::matcher::{Plan, Seed, Steered};
use self::watch::{Marks, Watch};
use crate::format::{ChannelKind, Format, Start};
use crate::tool::{Tool, ToolChoice};

/// What is wanted of a message.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SteeringOptions {
    /// Whether the model calls tools. With [`ToolChoice::Auto`] it is held to nothing until it opens a call.
    pub choice: ToolChoice,
    /// It may call several tools in one message.
    pub parallel: bool,
    /// How many calls a message may have at most, if `parallel`.
    pub max_calls: Option<u32>,
    /// The form of the answer, behind the thoughts. With tools and [`ToolChoice::Auto`] the model writes either a call or
    /// such an answer, and where a call is required, a call.
    pub answer: Option<Constraint>,
    /// What the text continues; [`Format::start_after`] finds it for a prompt.
    pub start: Start,
    /// Tokens of thoughts at most. Then they are closed in the model's own form, and it goes on from there; 0 closes them at
    /// once.
    pub thinking_budget: Option<u32>,
}

/// What a message is steered by: a plain value, of which matchers are made.
#[derive(Debug, Clone)]
pub struct Steering {
    calls: Option<Constraint>,
    answer: Option<Constraint>,
    answer_opening: &'static str,
    triggers: Vec<Trigger>,
    lines: Vec<(usize, String)>,
    marks: Arc<Marks>,
    is_eager: bool,
    start: Start,
    budget: Option<u32>,
    closing: &'static str,
    opening: &'static str,
}

/// How many calls a grammar has.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// `None`: any number.
    calls: Option<u32>,
}

impl Steering {
    /// For a message in this form, of a request with these tools, by a model with these tokens. `None`: it is held to nothing.
    ///
    /// # Errors
    /// [`SteeringError`], in words, where a call is required and cannot be steered, and for tools whose names or parameters
    /// the form cannot hold.
    pub fn new(
        format: &Format,
        tools: &[Tool],
        options: &SteeringOptions,
        table: &TokenTable,
    ) -> std::result::Result<Option<Self>, SteeringError> {
        let callable = callable(tools, &options.choice)?;
        let is_required = matches!(options.choice, ToolChoice::Required | ToolChoice::Function(_));
        let is_eager = is_required || options.answer.is_some();
        let limits = Limits { calls: if options.parallel { options.max_calls } else { Some(1) } };
        let grammar = match callable.is_empty() || limits.calls == Some(0) {
            true => None,
            false => calls::grammar(format, &callable, limits, !is_eager, table)?,
        };
        if is_required && grammar.is_none() {
            return Err(SteeringError(match (callable.is_empty(), limits.calls) {
                (true, _) => "a call is required, and there are no tools; give some, or let tool_choice be 'auto'".into(),
                (_, Some(0)) => "a call is required, and no calls are allowed; allow at least one".into(),
                _ => "a call is required, and the model's chat template shows no form of calls; let tool_choice be 'auto', or \
                      ask for JSON with a schema"
                    .into(),
            }));
        }
        let (calls, triggers, lines) = match grammar {
            Some(grammar) => (Some(Constraint::Grammar(grammar.text)), grammar.triggers, grammar.lines),
            None => (None, Vec::new(), Vec::new()),
        };
        let answer = options.answer.clone().filter(|_| !is_required);
        let closing = format.thought_closing().unwrap_or_default();
        let budget = options.thinking_budget.filter(|_| !closing.is_empty());
        if calls.is_none() && answer.is_none() && budget.is_none() {
            return Ok(None);
        }
        let answer_opening = match format.channels.map(|channels| channels.kind) {
            Some(ChannelKind::Harmony) => "<|channel|>final<|message|>",
            Some(ChannelKind::Muse) => " to=user<|message|>",
            Some(ChannelKind::Functionary) => "all\n",
            None => "",
        };
        Ok(Some(Self {
            marks: Arc::new(Marks::new(format, &triggers)),
            calls,
            answer,
            answer_opening,
            triggers,
            lines,
            is_eager,
            start: options.start,
            budget,
            closing,
            opening: match options.start {
                Start::Message => format.thought_opening().unwrap_or_default(),
                Start::Thought | Start::Content => "",
            },
        }))
    }

    /// What has to be compiled: the grammar of calls and the form of an answer, as far as there are any.
    pub fn constraints(&self) -> impl Iterator<Item = &Constraint> {
        self.calls.iter().chain(&self.answer)
    }

    /// A matcher at the beginning of the message.
    ///
    /// `closing_tokens` are those of [`Format::thought_closing`], as the model's tokenizer reads it with special tokens. They
    /// are needed for a budget of thinking tokens only.
    ///
    /// # Errors
    /// Those of `compile`, and [`ErrorKind::InvalidRequest`] where a budget of thinking tokens has nothing that closes a
    /// thought.
    pub fn matcher(
        &self,
        compile: impl Fn(&Constraint) -> Result<Box<dyn Matcher>>,
        table: Arc<TokenTable>,
        closing_tokens: Vec<Token>,
    ) -> Result<Box<dyn Matcher>> {
        let invalid = |why: &str| Error::new(ErrorKind::InvalidRequest, why.to_owned());
        if self.budget.is_some() && closing_tokens.is_empty() {
            return Err(invalid("a budget of thinking tokens needs the tokens of what closes a thought"));
        }
        if self.budget.is_some() && closing_tokens.iter().any(|&token| table.is_end_of_generation(token)) {
            return Err(invalid(
                "thoughts of this model are closed by a token that ends its generation, so they cannot have a budget",
            ));
        }
        let spelled = |text: &str| lark::tokens(&table, text);
        let triggers = self.triggers.iter().map(|trigger| {
            spelled(&trigger.written).ok_or_else(|| invalid("the vocabulary cannot write what opens a call"))
        });
        let triggers = triggers.collect::<Result<_>>()?;
        let opening = spelled(self.opening).unwrap_or_default();
        let spaces = ["\n", "\n\n"].iter().filter_map(|space| spelled(space)).filter(|space| space.len() == 1);
        let answer = match &self.answer {
            None => None,
            Some(answer) => {
                let opening = spelled(self.answer_opening).unwrap_or_default();
                Some((opening.into(), Seed::new(compile(answer)?)))
            }
        };
        let calls = self.calls.as_ref().map(&compile).transpose().map_err(|why| self.of_tool(&why))?;
        let plan = Plan {
            is_eager: self.is_eager,
            budget: self.budget,
            closing: closing_tokens.into(),
            closing_text: self.closing,
            opening: opening.into(),
            spaces: spaces.map(Into::into).collect(),
            calls: calls.map(Seed::new),
            triggers,
            answer,
            table,
        };
        Ok(Box::new(Steered::new(plan, Watch::new(self.marks.clone(), self.start))))
    }

    /// What is wrong with the grammar of calls, with the tool that it is about where the message names a line.
    fn of_tool(&self, why: &Error) -> Error {
        let text = why.to_string();
        let line = text.split_once("at ").and_then(|(_, rest)| rest.split_once('(')?.0.parse::<usize>().ok());
        let tool = line.and_then(|line| self.lines.iter().find(|(last, _)| *last >= line));
        let of = tool.map_or("a tool".into(), |(_, name)| format!("the tool '{name}'"));
        Error::new(why.kind().clone(), format!("calls of {of} cannot be held to its parameters: {text}"))
    }
}

/// The tools that may be called.
fn callable<'t>(tools: &'t [Tool], choice: &ToolChoice) -> std::result::Result<Vec<&'t Tool>, SteeringError> {
    match choice {
        ToolChoice::Auto | ToolChoice::Required => Ok(tools.iter().collect()),
        ToolChoice::None => Ok(Vec::new()),
        ToolChoice::Function(name) => match tools.iter().find(|tool| tool.name == *name) {
            Some(tool) => Ok(vec![tool]),
            None => {
                let names: Vec<&str> = tools.iter().take(10).map(|tool| tool.name.as_str()).collect();
                let known =
                    if names.is_empty() { "there are none".into() } else { format!("there are {}", names.join(", ")) };
                Err(SteeringError(format!("tool_choice names '{name}', which is none of the tools; {known}")))
            }
        },
    }
}

/// White space of markup, which may be left out, as models differ in it.
fn space(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{}?", lark::literal(text)) }
}

/// Why a message cannot be steered, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SteeringError(String);

impl fmt::Display for SteeringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SteeringError {}
