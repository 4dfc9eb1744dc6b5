//! The grammar of calls, from the row of a table and the schemas of tools.

use llama_concurrent_constraint::lark;
use llama_concurrent_types::TokenTable;
use serde_json::{Value, json};

use super::lark::{Lark, group, literal};
use super::parameters::{self, Schema};
use super::values::{self, Style};
use super::{Limits, SteeringError, elements, schemas};
use crate::format::{CallForm, ChannelKind, Channels, Format, Notation, Shape};
use crate::tool::Tool;

/// The longest name of a tool that is read where nothing quotes it, in bytes.
const MAX_NAME: usize = 256;

/// A grammar of calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grammar {
    pub(super) text: String,
    /// Openings that a model may write of its own accord, each with the text of the grammar that it stands for.
    pub(super) triggers: Vec<Trigger>,
    /// For messages: the tools, each with the last line that was written for it.
    pub(super) lines: Vec<(usize, String)>,
}

/// What shows that a call has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trigger {
    pub(super) text: String,
    pub(super) place: Place,
    /// The beginning of the grammar's text that is written with it.
    pub(super) written: String,
}

/// Where an opening counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Anywhere,
    /// Where nothing was said but white space.
    Beginning,
    /// In the header of a message. `true`: behind the name of a channel.
    Header(bool),
}

/// The grammar of calls of these tools.
///
/// # Errors
/// [`SteeringError`] for tools that the form cannot express.
pub(super) fn grammar(
    format: &Format,
    tools: &[&Tool],
    limits: Limits,
    is_lazy: bool,
    table: &TokenTable,
) -> Result<Option<Grammar>, SteeringError> {
    let mut writer = Writer { lark: Lark::new(table), limits, lines: Vec::new() };
    let (start, triggers, bounds_digits) = match (format.channels, format.calls) {
        (Some(channels), form) => writer.channels(channels, form, tools, is_lazy)?,
        (None, Some(form)) => writer.form(form, tools)?,
        (None, None) => return Ok(None),
    };
    // A comment stands before the rules then.
    let mut lines = writer.lines;
    lines.iter_mut().for_each(|(line, _)| *line += usize::from(bounds_digits));
    Ok(Some(Grammar { text: writer.lark.finish(&start, bounds_digits), triggers, lines }))
}

struct Writer<'a> {
    lark: Lark<'a>,
    limits: Limits,
    lines: Vec<(usize, String)>,
}

type Parts = (String, Vec<Trigger>, bool);

impl Writer<'_> {
    fn form(&mut self, form: &CallForm, tools: &[&Tool]) -> Result<Parts, SteeringError> {
        let written = &form.written;
        let (before, ends) = self.lark.up_to_end(written.before);
        if ends {
            return Err(ends_too_early(form.name));
        }
        let mut options = Vec::new();
        let mut is_last = false;
        for tool in tools {
            let (body, ends) = self.call(form, written.call, tool)?;
            is_last |= ends;
            options.push(self.lark.rule(body));
            self.end_of(tool);
        }
        let call = self.lark.rule(options.join(" | "));
        let (between, between_ends) = self.lark.up_to_end(written.between);
        let between = if between_ends { None } else { Some(self.markup(form, between)) };
        let calls = self.calls(&call, between.filter(|_| !is_last).as_deref());
        let (after, _) = self.lark.up_to_end(if is_last { "" } else { written.after });
        let (before, after) = (self.markup(form, before), self.markup(form, after));
        Ok((format!("{before} {calls} {after}"), triggers(form, tools), is_json(form)))
    }

    /// All rules for a tool are written.
    fn end_of(&mut self, tool: &Tool) {
        self.lines.push((self.lark.n_lines(), tool.name.clone()));
    }

    /// One call, or as many as there may be.
    fn calls(&self, call: &str, between: Option<&str>) -> String {
        let most = self.limits.calls.map_or(String::new(), |most| most.saturating_sub(1).to_string());
        match between {
            Some(between) if self.limits.calls != Some(1) => format!("{call} ({between} {call}){{0,{most}}}"),
            _ => call.to_owned(),
        }
    }

    /// A call of one tool, up to a token that ends the generation, if there is one.
    fn call(&mut self, form: &CallForm, template: &str, tool: &Tool) -> Result<(String, bool), SteeringError> {
        check_name(form, tool)?;
        let (template, ends) = self.lark.up_to_end(template);
        if !template.contains("{arguments}") {
            return Err(ends_too_early(form.name));
        }
        let is_quoted = matches!(form.shape, Shape::Object { .. } | Shape::NameAsKey);
        let name = if is_quoted { Value::from(&*tool.name).to_string() } else { tool.name.clone() };
        let mut body = String::new();
        let mut rest = template;
        while let Some((at, hole)) = first_hole(rest) {
            body += &self.markup(form, &rest[..at]);
            body += &match hole {
                // A text even where a special token is written like it.
                "{name}" => format!(" {} ", literal(&name)),
                "{id}" => format!(" {} ", form.ids),
                _ => format!(" {} ", self.arguments(form, tool).map_err(|why| cannot(form, tool, &why))?),
            };
            rest = &rest[at + hole.len()..];
        }
        body += &self.markup(form, rest);
        Ok((body, ends))
    }

    fn arguments(&mut self, form: &CallForm, tool: &Tool) -> Result<String, String> {
        let any = json!({"type": "object"});
        let original = if tool.parameters.is_null() { &any } else { &tool.parameters };
        let rewritten = lark::rewritten(original)?;
        let schema = Schema { original: &tool.parameters, rewritten: &rewritten };
        match form.shape {
            Shape::Tagged { notation: Notation::Parameters(form), .. } => {
                parameters::arguments(&mut self.lark, form, schema)
            }
            Shape::Tagged { notation: Notation::Elements(prefix), .. } => {
                elements::arguments(&mut self.lark, prefix, schema)
            }
            Shape::Tagged { notation: Notation::Gemma, .. } => {
                values::arguments(&mut self.lark, Style::Gemma, &rewritten)
            }
            Shape::Python => values::arguments(&mut self.lark, Style::Python, &rewritten),
            Shape::Object { .. } | Shape::NameAsKey | Shape::Tagged { notation: Notation::Json, .. } => {
                Ok(self.json(&rewritten))
            }
        }
    }

    /// JSON, an object in any case: others are no arguments.
    fn json(&mut self, rewritten: &Value) -> String {
        let is_object = rewritten.get("type").and_then(Value::as_str) == Some("object");
        let types: Option<&[&str]> = if is_object { None } else { Some(&["object"]) };
        let json = schemas::json(&[rewritten], types, rewritten, None);
        self.lark.rule(json)
    }

    /// Markup of a form. White space behind what opens calls may be left out, as models differ in it.
    fn markup(&self, form: &CallForm, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        loop {
            let found =
                form.section.iter().chain(form.open).filter_map(|marker| Some((rest.find(marker)?, marker.len())));
            let ends = found.map(|(at, length)| at + length);
            let spaced = ends.filter(|&end| rest[end..].starts_with('\n')).min();
            let Some(end) = spaced else { break };
            let line = rest[end..].len() - rest[end..].trim_start_matches('\n').len();
            out += &format!(" {} {} ", self.lark.markup(&rest[..end]), super::space(&rest[end..end + line]));
            rest = &rest[end + line..];
        }
        out + &self.lark.markup(rest)
    }

    // Messages with headers.

    fn channels(
        &mut self,
        channels: &Channels,
        form: Option<&CallForm>,
        tools: &[&Tool],
        is_lazy: bool,
    ) -> Result<Parts, SteeringError> {
        match (channels.kind, form) {
            (ChannelKind::Harmony, _) => self.harmony(channels, tools),
            (ChannelKind::Functionary, _) => self.functionary(channels, tools),
            (ChannelKind::Muse, Some(form)) => self.muse(channels, form, tools, is_lazy),
            (ChannelKind::Muse, None) => Err(SteeringError("the form of calls is missing".into())),
        }
    }

    fn harmony(&mut self, channels: &Channels, tools: &[&Tool]) -> Result<Parts, SteeringError> {
        let (mut with_channel, mut without) = (Vec::new(), Vec::new());
        for tool in tools {
            check_bare_name(channels.name, &tool.name, |c| c.is_whitespace() || c == '<')?;
            let arguments = self.plain_json(channels.name, tool)?;
            let name = literal(&tool.name);
            let tail = self.lark.markup(" <|constrain|>json<|message|>");
            with_channel.push(self.lark.rule(format!("{name} {tail} {arguments}")));
            let tail = self.lark.markup("<|channel|>commentary <|constrain|>json<|message|>");
            without.push(self.lark.rule(format!("{name} {tail} {arguments}")));
            self.end_of(tool);
        }
        let headers = ["<|channel|>commentary to=functions.", " to=functions."];
        let heads = headers.map(|header| self.lark.markup(header));
        let (with_channel, without) = (group(&with_channel), group(&without));
        let call = self.lark.rule(format!("{} {with_channel} | {} {without}", heads[0], heads[1]));
        let (end, ends) = self.lark.up_to_end("<|call|>");
        let next = (!ends).then(|| self.lark.markup("<|call|><|start|>assistant"));
        let calls = self.calls(&call, next.as_deref());
        let trigger = |behind_channel: bool| Trigger {
            text: " to=functions.".into(),
            place: Place::Header(behind_channel),
            written: headers[usize::from(!behind_channel)].into(),
        };
        Ok((format!("{calls} {}", self.lark.markup(end)), vec![trigger(true), trigger(false)], true))
    }

    fn functionary(&mut self, channels: &Channels, tools: &[&Tool]) -> Result<Parts, SteeringError> {
        let mut options = Vec::new();
        let mut triggers = Vec::new();
        for tool in tools {
            check_bare_name(channels.name, &tool.name, |c| c.is_whitespace() || c.is_control() || "{(".contains(c))?;
            if tool.name == "all" {
                return Err(SteeringError(
                    "a tool with the name 'all' cannot be told from an answer; rename it".into(),
                ));
            }
            let arguments = self.plain_json(channels.name, tool)?;
            let header = format!("{}\n", tool.name);
            options.push(self.lark.rule(format!("{} {arguments}", literal(&header))));
            self.end_of(tool);
            let text = format!(">>>{header}");
            triggers.push(Trigger { text: header.clone(), place: Place::Beginning, written: header.clone() });
            triggers.push(Trigger { text, place: Place::Anywhere, written: header });
        }
        let call = self.lark.rule(options.join(" | "));
        let next = self.lark.markup(">>>");
        Ok((self.calls(&call, Some(&next)), triggers, true))
    }

    fn muse(
        &mut self,
        channels: &Channels,
        form: &CallForm,
        tools: &[&Tool],
        is_lazy: bool,
    ) -> Result<Parts, SteeringError> {
        let (mut headed, mut bare) = (Vec::new(), Vec::new());
        for tool in tools {
            check_bare_name(channels.name, &tool.name, |c| c.is_whitespace() || c == '<')?;
            if matches!(tool.name.as_str(), "self" | "user") {
                let why = format!(
                    "a tool with the name '{}' cannot be told from whom a message is for; rename it",
                    tool.name
                );
                return Err(SteeringError(why));
            }
            let (call, _) = self.call(form, form.written.call, tool)?;
            let call = self.lark.rule(call);
            let header =
                format!("{} {} {}", literal(" to="), literal(&tool.name), self.lark.markup(channels.header_end));
            headed.push(self.lark.rule(format!("{header} {call}")));
            bare.push(call);
            self.end_of(tool);
        }
        let call = self.lark.rule(headed.join(" | "));
        let (_, ends) = self.lark.up_to_end("<|eom|>");
        let next = (!ends).then(|| self.lark.markup("<|eom|><|start|>assistant"));
        let mut calls = self.calls(&call, next.as_deref());
        let section = form.section.first().copied().unwrap_or_default();
        let mut triggers = Vec::new();
        if is_lazy {
            // The model has written the header by itself.
            let bare = self.lark.rule(bare.join(" | "));
            let first = self.lark.rule(format!("{bare} | {call}"));
            calls = match next {
                Some(next) if self.limits.calls != Some(1) => {
                    let most = self.limits.calls.map_or(String::new(), |most| most.saturating_sub(1).to_string());
                    format!("{first} ({next} {call}){{0,{most}}}")
                }
                _ => first,
            };
            triggers.push(Trigger { text: section.into(), place: Place::Anywhere, written: section.into() });
        }
        let (end, _) = self.lark.up_to_end("<|eot|>");
        Ok((format!("{calls} {}", self.lark.markup(end)), triggers, false))
    }

    fn plain_json(&mut self, form: &str, tool: &Tool) -> Result<String, SteeringError> {
        let any = json!({"type": "object"});
        let original = if tool.parameters.is_null() { &any } else { &tool.parameters };
        let rewritten = lark::rewritten(original).map_err(|why| cannot_write(form, tool, &why))?;
        Ok(self.json(&rewritten))
    }
}

/// Whether calls are JSON and little else, so that quotation marks come in pairs.
fn is_json(form: &CallForm) -> bool {
    matches!(form.shape, Shape::Object { .. } | Shape::NameAsKey | Shape::Tagged { notation: Notation::Json, .. })
}

fn first_hole(text: &str) -> Option<(usize, &'static str)> {
    ["{name}", "{id}", "{arguments}"].into_iter().filter_map(|hole| Some((text.find(hole)?, hole))).min()
}

/// What opens calls, as the model writes it.
fn triggers(form: &CallForm, tools: &[&Tool]) -> Vec<Trigger> {
    let whole = format!("{}{}", form.written.before, form.written.call);
    let fixed = &whole[..first_hole(&whole).map_or(whole.len(), |(at, _)| at)];
    let mut all = Vec::new();
    for list in [form.section, form.open] {
        // In what is written one of them stands; others open a call as well.
        let known = list.iter().find_map(|marker| Some((fixed.find(marker)?, marker.len())));
        let end = match known {
            Some((at, length)) => at + length,
            // What nothing has to open begins behind them.
            None if form.is_bare => 0,
            None => continue,
        };
        for marker in list {
            let (mut text, mut written) = ((*marker).to_owned(), fixed[..end].to_owned());
            // A mere word counts with the bracket behind it.
            if text.ends_with(char::is_alphanumeric)
                && let Some(next) = fixed[end..].chars().next()
            {
                text.push(next);
                written.push(next);
            }
            all.push(Trigger { text, place: Place::Anywhere, written });
        }
    }
    if form.is_bare {
        let beginnings = match form.shape {
            Shape::Python => tools.iter().map(|tool| format!("[{}(", tool.name)).collect(),
            _ => vec![fixed.trim_end().trim_end_matches(':').to_owned()],
        };
        let at_beginning = |text: String| Trigger { written: text.clone(), text, place: Place::Beginning };
        all.extend(beginnings.into_iter().map(at_beginning));
    }
    all
}

fn check_name(form: &CallForm, tool: &Tool) -> Result<(), SteeringError> {
    match form.shape {
        Shape::Object { .. } | Shape::NameAsKey if tool.name.len() <= MAX_NAME => Ok(()),
        Shape::Object { .. } | Shape::NameAsKey => Err(too_long(&tool.name)),
        Shape::Tagged { .. } | Shape::Python => check_bare_name(form.name, &tool.name, |c| {
            c.is_whitespace() || c.is_control() || "<>\"'`[](){}=,;\\".contains(c)
        }),
    }
}

fn check_bare_name(form: &str, name: &str, is_wrong: impl Fn(char) -> bool) -> Result<(), SteeringError> {
    if name.len() > MAX_NAME {
        return Err(too_long(name));
    }
    match name.chars().find(|&c| is_wrong(c)) {
        Some(c) => Err(SteeringError(format!(
            "the tool's name {name:?} cannot be written in the form '{form}', where nothing quotes it: it holds {c:?}; use \
             letters, digits, '_', '-' and '.' alone"
        ))),
        None if name.is_empty() => Err(SteeringError("a tool has no name".into())),
        None => Ok(()),
    }
}

fn too_long(name: &str) -> SteeringError {
    SteeringError(format!("a tool's name has {} bytes; at most {MAX_NAME} are read, so shorten it", name.len()))
}

fn cannot(form: &CallForm, tool: &Tool, why: &str) -> SteeringError {
    cannot_write(form.name, tool, why)
}

fn cannot_write(form: &str, tool: &Tool, why: &str) -> SteeringError {
    SteeringError(format!(
        "calls of the tool '{}' cannot be held to its parameters in the form '{form}': {why}",
        tool.name
    ))
}

fn ends_too_early(form: &str) -> SteeringError {
    SteeringError(format!(
        "the vocabulary ends a generation with a token that opens calls in the form '{form}'; they cannot be required"
    ))
}
