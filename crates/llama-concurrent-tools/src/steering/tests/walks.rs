//! Random texts under random schemas, in every form of calls.

use std::fmt::Write;

use fastrand::Rng;
use llama_concurrent_types::{Allowed, Matcher, Token};
use serde_json::Value;

use super::{Vocabulary, schemas};
use crate::event::Message;
use crate::families;
use crate::format::{ChannelKind, Format, Start};
use crate::parser::{Parser, ParserOptions};
use crate::steering::calls::Place;
use crate::steering::{Steering, SteeringOptions};
use crate::tool::{Tool, ToolChoice};

/// Tokens of a text at most, and from where on it is brought to its end.
const MAX_STEPS: usize = 1500;
const LONG: usize = 250;

/// What became of many texts.
#[derive(Debug, Default)]
struct Count {
    refused: usize,
    whole: usize,
    endless: usize,
    thoughts: usize,
}

/// A text that is being written, token by token.
struct Walk<'v> {
    vocabulary: &'v Vocabulary,
    matcher: Box<dyn Matcher>,
    text: Vec<u8>,
    is_done: bool,
}

impl Walk<'_> {
    /// Writes a text that the matcher has to allow, by random tokens.
    fn write(&mut self, text: &str, rng: &mut Rng) -> Result<(), String> {
        let table = &self.vocabulary.table;
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let fit =
                |token: &Token| !table.text(*token, true).is_empty() && rest.starts_with(table.text(*token, true));
            let fitting: Vec<Token> = (0..table.len() as Token).filter(fit).collect();
            let token = *rng.choice(fitting.iter()).ok_or("no token")?;
            rest = &rest[table.text(token, true).len()..];
            self.accept(token)?;
        }
        Ok(())
    }

    fn accept(&mut self, token: Token) -> Result<(), String> {
        self.text.extend(self.vocabulary.table.text(token, true));
        self.is_done = self.matcher.accept(token).map_err(|why| format!("{why} at {:?}", self.so_far()))?;
        Ok(())
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    /// Goes on at random; whether the text came to its end in time.
    fn finish(&mut self, rng: &mut Rng, close: &str) -> Result<bool, String> {
        let table = &self.vocabulary.table;
        for step in 0..MAX_STEPS {
            if self.is_done {
                return Ok(true);
            }
            let allowed = self.matcher.allowed().map_err(|why| format!("{why} after {:?}", self.so_far()))?;
            let (mask, may_end) = match allowed {
                Allowed::Nothing => return Ok(true),
                Allowed::Anything { may_end: true } => return Err(format!("no call after {:?}", self.so_far())),
                Allowed::Anything { may_end: false } => {
                    // A thought.
                    let words = ["a", "so ", "\n", "é", "{\"", "</", "(x)"];
                    let word = if rng.u8(..3) == 0 { close } else { rng.choice(words.iter()).ok_or("no words")? };
                    self.write(word, rng)?;
                    continue;
                }
                Allowed::Tokens { mask, may_end } => (mask, may_end),
            };
            if may_end && (step > LONG || rng.u8(..3) == 0) {
                return Ok(true);
            }
            let all: Vec<Token> = (0..table.len() as Token).filter(|&token| mask.allows(token)).collect();
            // What ends something is taken more often, so that texts end, and what goes on, so that they hold something.
            let is_end =
                |token: &Token| self.vocabulary.ends.contains(token) || b"\"}])".contains(&table.text(*token, true)[0]);
            let ends: Vec<Token> = all.iter().copied().filter(is_end).collect();
            let goes_on: Vec<Token> = all.iter().copied().filter(|&token| table.text(token, true) == b",").collect();
            let from = match rng.u8(..4) {
                0 | 1 if !ends.is_empty() && (step > LONG || rng.bool()) => &ends,
                2 if !goes_on.is_empty() && step < LONG => &goes_on,
                _ => &all,
            };
            let token = *rng.choice(from.iter()).ok_or_else(|| format!("nothing may follow {:?}", self.so_far()))?;
            self.accept(token)?;
        }
        Ok(false)
    }
}

fn read(format: &Format, tools: &[Tool], start: Start, text: &str) -> Message {
    let options = ParserOptions { start, ..ParserOptions::default() };
    let mut parser = Parser::new(format, tools, options);
    let mut message: Message = parser.push(text).into_iter().collect();
    message.extend(parser.finish());
    message
}

/// A request and the message that it may have.
struct Case<'c> {
    format: &'c Format,
    tools: &'c [Tool],
    options: &'c SteeringOptions,
    /// What was said before a call.
    said: &'c str,
}

impl Case<'_> {
    /// What is wrong with a text, in words.
    fn check(&self, text: &str) -> Result<Message, String> {
        let message = read(self.format, self.tools, self.options.start, text);
        let wrong = |why: String| {
            let mut out = why;
            let _ = write!(out, "\n{text:?}\n{message:?}");
            for tool in self.tools.iter().filter(|tool| message.calls.iter().any(|call| call.name == tool.name)) {
                let _ = write!(out, "\n{} {}", tool.name, tool.parameters);
            }
            out
        };
        let most = if self.options.parallel { 3 } else { 1 };
        if message.calls.is_empty() || message.calls.len() > most {
            return Err(wrong(format!("{} calls", message.calls.len())));
        }
        if message.content.trim() != self.said.trim() {
            return Err(wrong(format!("said {:?} instead of {:?}", message.content, self.said)));
        }
        for call in &message.calls {
            let tool = self.tools.iter().find(|tool| tool.name == call.name);
            let (Some(tool), true) = (tool, call.complete) else { return Err(wrong("a call is not complete".into())) };
            let value: Value = serde_json::from_str(&call.arguments).map_err(|e| wrong(e.to_string()))?;
            let validator = jsonschema::draft202012::new(&tool.parameters).map_err(|e| wrong(e.to_string()))?;
            if !validator.is_valid(&value) {
                return Err(wrong(format!("{value} is not valid")));
            }
            if matches!(&self.options.choice, ToolChoice::Function(name) if *name != call.name) {
                return Err(wrong("another tool".into()));
            }
        }
        Ok(message)
    }
}

/// Tools with random parameters.
fn tools(rng: &mut Rng) -> Vec<Tool> {
    ["do_it", "do_it_2", "x.y-z"].map(|name| Tool::new(name, schemas::arguments(rng))).into()
}

/// Steers for these tools, or says that their random parameters allow nothing.
fn steered(
    format: &Format,
    tools: &[Tool],
    options: &SteeringOptions,
    vocabulary: &Vocabulary,
) -> Option<(Steering, Box<dyn Matcher>)> {
    let steering = Steering::new(format, tools, options, &vocabulary.table).ok()?.expect("calls may come");
    let closing = vocabulary.tokens(format.thought_closing().unwrap_or_default());
    let matcher = steering.matcher(|constraint| vocabulary.compile(constraint), vocabulary.table.clone(), closing);
    match matcher {
        Ok(matcher) => Some((steering, matcher)),
        Err(why) => {
            let why = why.to_string();
            let is_known = ["parts when", "nsatisfiable", "satisfies", "intersection", "only supported"]
                .iter()
                .any(|known| why.contains(known));
            assert!(is_known, "{why}\n{:?}", steering.constraints().collect::<Vec<_>>());
            None
        }
    }
}

/// Random schemas in each form, and texts of each; `STEERING_SCHEMAS` and `STEERING_WALKS` say how many, `STEERING_FORM` names
/// one form.
fn for_each(default: (u64, usize), mut each: impl FnMut(&Format, bool, u64, usize, &mut Count)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let n_schemas = number("STEERING_SCHEMAS").unwrap_or(default.0);
    let n_walks = number("STEERING_WALKS").map_or(default.1, |n| n as usize);
    for format in families::all() {
        let form = format.call_form().expect("a form of calls");
        if std::env::var("STEERING_FORM").is_ok_and(|only| only != form) {
            continue;
        }
        let mut count = Count::default();
        let first = number("STEERING_FIRST").unwrap_or(0);
        for seed in first..first + n_schemas {
            for control in [false, true] {
                each(&format, control, seed, n_walks, &mut count);
            }
        }
        println!("{form:18} {count:?}");
        assert!(count.whole > 2 * count.endless && count.whole > 0, "{form}: {count:?}");
    }
}

#[test]
fn required_calls_are_read_back_and_valid_in_every_form() {
    for_each((2, 3), |format, control, seed, n_walks, count| {
        let vocabulary = Vocabulary::new(format, control);
        let mut rng = Rng::with_seed(seed * 1009 + u64::from(control));
        let tools = tools(&mut rng);
        // Where a message has a header, or nothing opens a call, it is at the beginning.
        let at_beginning = format.channels.is_some() || format.calls.is_some_and(|form| form.is_bare);
        let choice = if seed % 3 == 0 { ToolChoice::Function("do_it_2".into()) } else { ToolChoice::Required };
        let parallel = rng.bool();
        let start = match rng.u8(..3) {
            0 if !at_beginning => Start::Content,
            1 if format.thought_closing().is_some() => Start::Thought,
            _ => Start::Message,
        };
        let options = SteeringOptions { choice, parallel, max_calls: Some(3), start, ..SteeringOptions::default() };
        let Some((steering, matcher)) = steered(format, &tools, &options, &vocabulary) else {
            count.refused += 1;
            return;
        };
        let close = match (format.thoughts, format.channels) {
            (Some(form), _) => form.close[0],
            (None, Some(channels)) => channels.ends.first().copied().unwrap_or_default(),
            (None, None) => "",
        };
        for _ in 0..n_walks {
            let matcher = matcher.boxed_clone();
            let mut walk = Walk { vocabulary: &vocabulary, matcher, text: Vec::new(), is_done: false };
            let case = Case { format, tools: &tools, options: &options, said: "" };
            let came_to_its_end = walk.finish(&mut rng, close);
            let checked = match came_to_its_end {
                Ok(true) => case.check(&walk.so_far()),
                Ok(false) => {
                    count.endless += 1;
                    continue;
                }
                Err(why) => Err(why),
            };
            match checked {
                Ok(message) => {
                    count.whole += 1;
                    count.thoughts += usize::from(!message.reasoning.is_empty());
                }
                Err(why) => panic!(
                    "{:?} control {control} seed {seed} {:?}: {why}\n{:?}",
                    format.call_form(),
                    options.start,
                    steering.constraints().collect::<Vec<_>>()
                ),
            }
        }
    });
}

#[test]
fn calls_that_a_model_opens_by_itself_are_held_to_their_form() {
    for_each((2, 2), |format, control, seed, n_walks, count| {
        let vocabulary = Vocabulary::new(format, control);
        let mut rng = Rng::with_seed(seed * 2003 + u64::from(control));
        let tools = tools(&mut rng);
        let options = SteeringOptions { parallel: rng.bool(), max_calls: Some(3), ..SteeringOptions::default() };
        let Some((steering, matcher)) = steered(format, &tools, &options, &vocabulary) else {
            count.refused += 1;
            return;
        };
        for _ in 0..n_walks {
            let trigger = rng.choice(steering.triggers.iter()).expect("there are some").clone();
            let kind = format.channels.map(|channels| channels.kind);
            let prose = *rng.choice(["", "Well", "A text, with (x) <b> {1}", "\n"].iter()).expect("four");
            let said = if trigger.place == Place::Beginning { "" } else { prose };
            let (before, said) = match (trigger.place, kind) {
                (Place::Header(true), _) => ("<|channel|>commentary".to_owned(), ""),
                (Place::Header(false), _) => (String::new(), ""),
                (_, Some(ChannelKind::Muse)) => (format!(" to=x<|message|>{said}"), said),
                (Place::Anywhere, Some(ChannelKind::Functionary)) => (format!("all\n{said}"), said),
                _ => (said.to_owned(), said),
            };
            let matcher = matcher.boxed_clone();
            let mut walk = Walk { vocabulary: &vocabulary, matcher, text: Vec::new(), is_done: false };
            let case = Case { format, tools: &tools, options: &options, said };
            let mut go = || -> Result<bool, String> {
                walk.write(&before, &mut rng)?;
                if walk.matcher.allowed()? != (Allowed::Anything { may_end: true }) {
                    return Err(format!("not everything is allowed after {before:?}"));
                }
                walk.write(&trigger.text, &mut rng)?;
                if matches!(walk.matcher.allowed()?, Allowed::Anything { .. }) {
                    return Err(format!("{:?} is not noticed", trigger.text));
                }
                walk.finish(&mut rng, "")
            };
            let checked = match go() {
                Ok(true) => case.check(&walk.so_far()),
                Ok(false) => {
                    count.endless += 1;
                    continue;
                }
                Err(why) => Err(why),
            };
            match checked {
                Ok(_) => count.whole += 1,
                Err(why) => panic!(
                    "{:?} control {control} seed {seed} {trigger:?}: {why}\n{:?}",
                    format.call_form(),
                    steering.constraints().collect::<Vec<_>>()
                ),
            }
        }
    });
}
