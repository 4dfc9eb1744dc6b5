//! Reads a message while it streams.

mod calls;
mod channels;

use std::collections::HashMap;

use serde_json::Value;

use crate::arguments::Arguments;
use crate::chars::{is_space, trailing_space};
use crate::event::{Event, Events};
use crate::format::{CallForm, ChannelKind, Channels, Format, Start};
use crate::head::Place;
use crate::markers::{Found, Markers};
use crate::tool::Tool;

/// White space in front of markup belongs to it, up to so many bytes.
const MAX_SPACE: usize = 64;

/// What becomes of a call of a tool that is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnknownTools {
    /// It is content, as the model wrote it.
    #[default]
    Content,
    /// It is a call, for a caller who answers that there is no such tool.
    Call,
}

/// Where thoughts go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Thoughts {
    /// They are events of their own, without their markup.
    #[default]
    Apart,
    /// They stay in the content with their markup, as `reasoning_format: none` has it.
    InContent,
}

/// How a message is read.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ParserOptions {
    /// Calls of tools that are not among those of the request.
    pub unknown_tools: UnknownTools,
    /// Where thoughts go.
    pub thoughts: Thoughts,
    /// Calls are content: `tool_choice` is `none`. Without tools they are, too, unless unknown ones are calls.
    pub no_calls: bool,
    /// What the text continues; [`Format::start_after`] finds it for a prompt.
    pub start: Start,
}

/// Reads one message of a model from its text, in pieces of any size.
///
/// The events do not depend on where the text is cut, except into how many pieces a text of one kind comes. Nothing is
/// lost: what is neither a thought nor a call is content. Markup, and white space beside it, is left out. So much is held
/// back as may still become markup: some hundred bytes at most, and a value of an argument whose type its end shows, up to
/// 64 KiB. The time is linear in the text, and nothing recurses.
///
/// A call has begun as soon as its name is known. What the model writes wrong after that cannot be taken back: arguments
/// go on as it wrote them, and the call's end says that they are not well-formed.
#[derive(Debug)]
pub struct Parser {
    form: Option<&'static CallForm>,
    channels: Option<&'static Channels>,
    options: ParserOptions,
    tools: HashMap<String, Value>,
    /// Text that is not read yet, from `at` on.
    text: String,
    at: usize,
    state: State,
    in_answer: Watch,
    in_thought: Watch,
    closers: Markers,
    thoughts_anywhere: bool,
    /// Nothing but white space was said yet.
    is_fresh: bool,
    /// White space belongs to the markup that was just read.
    skip_space: bool,
    /// Calls may stand in this message of a channel.
    calls_here: bool,
    n_calls: usize,
    events: Events,
}

#[derive(Debug)]
enum State {
    Header,
    Answer,
    Thought,
    Arguments {
        arguments: Box<Arguments>,
        tool: String,
        is_listed: bool,
        in_object: bool,
    },
    /// Behind the arguments, within their object.
    ObjectRest {
        is_listed: bool,
        complete: bool,
    },
    /// Behind a call.
    Next {
        is_listed: bool,
    },
}

/// What a marker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    OpenThought,
    CloseThought,
    Ignored,
    Call,
    /// It begins the header of a message; whether it belongs to the header.
    Header {
        is_part: bool,
    },
    EndMessage,
}

/// Markers and what they do.
#[derive(Debug, Default)]
struct Watch {
    markers: Markers,
    roles: Vec<Role>,
}

impl Watch {
    fn new(pairs: Vec<(&'static str, Role)>) -> Self {
        Self {
            roles: pairs.iter().map(|(_, role)| *role).collect(),
            markers: Markers::new(pairs.iter().map(|(text, _)| *text)),
        }
    }
}

impl Parser {
    /// For a message in this form, of a request with these tools.
    pub fn new(format: &Format, tools: &[Tool], options: ParserOptions) -> Self {
        let with_calls = !options.no_calls && (!tools.is_empty() || options.unknown_tools == UnknownTools::Call);
        let form = format.calls.filter(|_| with_calls);
        let channels = format.channels;
        let thoughts = format.thoughts;
        let mut in_answer: Vec<(&'static str, Role)> = Vec::new();
        let mut in_thought = Vec::new();
        let openings = form.map_or(&[][..], |form| if form.section.is_empty() { form.open } else { form.section });
        let inner = form.filter(|form| !form.section.is_empty()).map_or(&[][..], |form| form.open);
        let calls = || openings.iter().chain(inner).map(|text| (*text, Role::Call));
        in_answer.extend(calls());
        if let Some(thoughts) = thoughts {
            in_answer.extend(thoughts.open.iter().map(|text| (*text, Role::OpenThought)));
            let is_ignored = |text: &&str| format.ignored.contains(text);
            in_answer
                .extend(thoughts.close.iter().filter(|text| !is_ignored(text)).map(|text| (*text, Role::CloseThought)));
            // An answer's markup ends a thought too, and is no part of it.
            let is_answers = |text: &str| format.ignored.contains(&text) && !thoughts.closing.contains(text);
            let closing = |text| if is_answers(text) { Role::Ignored } else { Role::CloseThought };
            in_thought.extend(thoughts.close.iter().map(|text| (*text, closing(text))));
            if form.is_some_and(|form| form.ends_thought) {
                in_thought.extend(calls());
            }
        }
        if let Some(channels) = channels {
            let last = channels.starts.len() - 1;
            let starts = channels.starts.iter().enumerate();
            let is_part = |index| channels.kind == ChannelKind::Harmony && index == last;
            let both = starts.map(|(index, text)| (*text, Role::Header { is_part: is_part(index) }));
            let both: Vec<_> = both.chain(channels.ends.iter().map(|text| (*text, Role::EndMessage))).collect();
            in_answer.extend(both.iter().copied());
            in_thought.extend(both);
        }
        let is_known = |text: &str| in_answer.iter().any(|(other, _)| *other == text);
        let ignored: Vec<_> =
            format.ignored.iter().filter(|text| !is_known(text)).map(|text| (*text, Role::Ignored)).collect();
        in_answer.extend(ignored);
        let closers = form.map_or(&[][..], |form| form.close).iter();
        let closers = closers.chain(form.map_or(&[][..], |form| form.section_close));
        let closers = Markers::new(closers.chain(channels.map_or(&[][..], |channels| channels.ends)).copied());
        let state = match (options.start, channels) {
            (Start::Thought, _) => State::Thought,
            (Start::Message, Some(_)) => State::Header,
            _ => State::Answer,
        };
        Self {
            form,
            channels,
            tools: tools.iter().map(|tool| (tool.name.clone(), tool.parameters.clone())).collect(),
            text: String::new(),
            at: 0,
            is_fresh: options.start != Start::Content,
            skip_space: matches!(state, State::Thought),
            state,
            in_answer: Watch::new(in_answer),
            in_thought: Watch::new(in_thought),
            closers,
            thoughts_anywhere: thoughts.is_some_and(|form| form.is_anywhere),
            calls_here: channels.is_none_or(|channels| channels.kind != ChannelKind::Muse),
            n_calls: 0,
            events: Events::default(),
            options,
        }
    }

    /// Reads on. The text may be empty, and need not end with a word or a line.
    pub fn push(&mut self, text: &str) -> Vec<Event> {
        self.text.push_str(text);
        self.run(false);
        self.text.drain(..self.at);
        self.at = 0;
        self.events.take()
    }

    /// No more text comes. What was held back is said, and a call that is open ends.
    pub fn finish(&mut self) -> Vec<Event> {
        self.run(true);
        self.text.clear();
        self.at = 0;
        self.events.take()
    }

    /// How many calls began so far.
    pub fn n_calls(&self) -> usize {
        self.n_calls
    }

    /// Whether the text is within a thought: what a budget of thinking tokens counts.
    pub fn in_thought(&self) -> bool {
        matches!(self.state, State::Thought)
    }

    /// Whether the text is within a call, or between two.
    pub fn in_call(&self) -> bool {
        matches!(self.state, State::Arguments { .. } | State::ObjectRest { .. } | State::Next { .. })
    }

    fn run(&mut self, is_last: bool) {
        while self.step(is_last) {}
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// Whether anything was done.
    fn step(&mut self, is_last: bool) -> bool {
        match self.state {
            State::Header => self.header(is_last),
            State::Answer => self.answer(is_last),
            State::Thought => self.thought(is_last),
            State::Arguments { .. } => self.arguments(is_last),
            State::ObjectRest { is_listed, complete } => self.object_rest(is_listed, complete, is_last),
            State::Next { is_listed } => self.next(is_listed, is_last),
        }
    }

    fn skip_space(&mut self) {
        if self.skip_space {
            self.at = self.text.len() - self.rest().trim_start_matches(is_space).len();
            self.skip_space = self.at == self.text.len();
        }
    }

    /// Says the next `length` bytes.
    fn say(&mut self, length: usize) {
        let said = &self.text[self.at..self.at + length];
        match self.state {
            State::Thought if self.options.thoughts == Thoughts::Apart => self.events.reasoning(said),
            _ => self.events.content(said),
        }
        if !matches!(self.state, State::Thought) && !said.trim_matches(is_space).is_empty() {
            self.is_fresh = false;
        }
        self.at += length;
    }

    /// Says what comes before `end`, but for white space that belongs to markup there.
    fn say_before_markup(&mut self, end: usize) {
        let text = &self.rest()[..end];
        let space = trailing_space(text).min(MAX_SPACE);
        self.say(end - space);
        self.at += space;
    }

    /// Says what is certain to be no markup, where it may begin at `end`.
    fn say_up_to(&mut self, end: usize, is_last: bool) {
        let space = if is_last { 0 } else { trailing_space(&self.rest()[..end]).min(MAX_SPACE) };
        self.say(end - space);
    }

    fn answer(&mut self, is_last: bool) -> bool {
        self.skip_space();
        if self.rest().is_empty() {
            return false;
        }
        if self.is_fresh
            && self.calls_here
            && self.form.is_some_and(|form| form.is_bare)
            && let Some(done) = self.bare_call(is_last)
        {
            return done;
        }
        match self.in_answer.markers.find(self.rest(), is_last) {
            Found::Nowhere => {
                self.say_up_to(self.rest().len(), is_last);
                false
            }
            Found::Maybe(at) => {
                self.say_up_to(at, false);
                false
            }
            Found::At(at, index) => {
                let length = self.in_answer.markers.text(index).len();
                self.answer_marker(at, length, self.in_answer.roles[index], is_last)
            }
        }
    }

    fn answer_marker(&mut self, at: usize, length: usize, role: Role, is_last: bool) -> bool {
        let is_fresh = self.is_fresh && self.rest()[..at].trim_matches(is_space).is_empty();
        match role {
            Role::Call if self.calls_here => return self.call(at, length, Place::Inside, is_last),
            Role::OpenThought if is_fresh || self.thoughts_anywhere => {
                self.say_before_markup(at);
                self.begin_thought(length);
            }
            // One that the prompt opened, or that closes nothing.
            Role::CloseThought if is_fresh || self.thoughts_anywhere => {
                self.say_before_markup(at);
                self.pass_markup(length);
                self.skip_space = true;
            }
            Role::Ignored => {
                self.say(at);
                self.at += length;
                self.skip_space = self.is_fresh;
            }
            Role::Header { is_part } => return self.next_header(at, length, is_part, is_last),
            Role::EndMessage => {
                self.say(at);
                self.at += length;
                self.is_fresh = true;
            }
            _ => self.say(at + length),
        }
        true
    }

    fn begin_thought(&mut self, length: usize) {
        self.pass_markup(length);
        self.state = State::Thought;
        self.skip_space = self.options.thoughts == Thoughts::Apart;
    }

    /// Markup of a thought, which is content where thoughts are.
    fn pass_markup(&mut self, length: usize) {
        if self.options.thoughts == Thoughts::InContent {
            let markup = &self.text[self.at..self.at + length];
            self.events.content(markup);
        }
        self.at += length;
    }

    fn thought(&mut self, is_last: bool) -> bool {
        self.skip_space();
        if self.rest().is_empty() {
            return false;
        }
        let (at, index) = match self.in_thought.markers.find(self.rest(), is_last) {
            Found::Nowhere => {
                self.say_up_to(self.rest().len(), is_last);
                return false;
            }
            Found::Maybe(at) => {
                self.say_up_to(at, false);
                return false;
            }
            Found::At(at, index) => (at, index),
        };
        let length = self.in_thought.markers.text(index).len();
        match self.in_thought.roles[index] {
            Role::Call => return self.call(at, length, Place::Inside, is_last),
            Role::Header { is_part } => return self.next_header(at, length, is_part, is_last),
            role => {
                if self.options.thoughts == Thoughts::Apart {
                    self.say_before_markup(at);
                } else {
                    self.say(at);
                }
                match role {
                    Role::Ignored => self.at += length,
                    _ => self.pass_markup(length),
                }
                self.end_thought();
                self.is_fresh |= role == Role::EndMessage;
            }
        }
        true
    }

    fn end_thought(&mut self) {
        self.state = State::Answer;
        self.skip_space = self.options.thoughts == Thoughts::Apart;
    }
}
