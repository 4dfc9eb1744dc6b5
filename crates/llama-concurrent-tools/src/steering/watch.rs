//! Follows a text as it comes, for what matters to whoever steers it: thoughts that open and close, and calls that begin.

use std::sync::Arc;

use super::calls::{Place, Trigger};
use crate::format::{ChannelKind, Channels, Format, Start};

/// The longest beginning of a message that may still become a call that nothing opens, in bytes.
const MAX_BEGINNING: usize = 600;
/// The longest header, in bytes.
const MAX_HEADER: usize = 512;

/// What a text in the markup does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    OpenThought,
    CloseThought,
    /// The call that this trigger begins.
    Call(usize),
    /// Whether the header includes it.
    Header {
        is_part: bool,
    },
    HeaderEnd,
    EndMessage,
    /// It is no part of what is said.
    Ignored,
}

#[derive(Debug)]
struct Mark {
    text: Vec<u8>,
    role: Role,
    in_thought: bool,
    in_answer: bool,
}

/// Texts to look for, by a form and its calls.
#[derive(Debug)]
pub(super) struct Marks {
    all: Vec<Mark>,
    /// Calls that may begin a message, by their triggers.
    beginnings: Vec<(usize, Vec<u8>)>,
    /// In headers: a trigger, its text, and whether the name of a channel stands before it.
    in_headers: Vec<(usize, Vec<u8>, bool)>,
    thoughts_anywhere: bool,
    channels: Option<&'static Channels>,
}

impl Marks {
    pub(super) fn new(format: &Format, triggers: &[Trigger]) -> Self {
        let mut all = Vec::new();
        let mut push = |text: &str, role, in_thought, in_answer| {
            all.push(Mark { text: text.into(), role, in_thought, in_answer });
        };
        let ends_thought = format.calls.is_some_and(|form| form.ends_thought);
        let (mut beginnings, mut in_headers) = (Vec::new(), Vec::new());
        for (index, trigger) in triggers.iter().enumerate() {
            match trigger.place {
                Place::Anywhere => push(&trigger.text, Role::Call(index), ends_thought, true),
                Place::Beginning => beginnings.push((index, trigger.text.clone().into_bytes())),
                Place::Header(channel) => in_headers.push((index, trigger.text.clone().into_bytes(), channel)),
            }
        }
        if let Some(form) = format.thoughts {
            form.open.iter().for_each(|text| push(text, Role::OpenThought, false, true));
            form.close.iter().for_each(|text| push(text, Role::CloseThought, true, false));
        }
        if let Some(channels) = format.channels.filter(|channels| channels.kind != ChannelKind::Functionary) {
            for (index, text) in channels.starts.iter().enumerate() {
                let is_part = channels.kind == ChannelKind::Harmony && index + 1 == channels.starts.len();
                push(text, Role::Header { is_part }, true, true);
            }
            channels.ends.iter().for_each(|text| push(text, Role::EndMessage, true, true));
            push(channels.header_end, Role::HeaderEnd, true, true);
        }
        format.ignored.iter().for_each(|text| push(text, Role::Ignored, false, true));
        let thoughts_anywhere = format.thoughts.is_some_and(|form| form.is_anywhere);
        Self { all, beginnings, in_headers, thoughts_anywhere, channels: format.channels }
    }
}

/// What has happened in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    OpenThought,
    /// By the mark with this number.
    CloseThought(usize),
    Call(usize),
}

/// A text as far as it has come.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    marks: Arc<Marks>,
    /// What came last, from where a mark may still begin.
    text: Vec<u8>,
    in_thought: bool,
    /// Nothing but white space was said.
    is_fresh: bool,
    /// The beginning of a message, where it may still become a call.
    beginning: Option<Vec<u8>>,
    /// The header of a message, while it is open.
    header: Option<Vec<u8>>,
    /// Calls may stand in this message.
    calls_here: bool,
}

impl Watch {
    pub(super) fn new(marks: Arc<Marks>, start: Start) -> Self {
        let mut watch = Self {
            text: Vec::new(),
            in_thought: start == Start::Thought,
            is_fresh: start != Start::Content,
            beginning: None,
            header: None,
            calls_here: true,
            marks,
        };
        if start == Start::Message {
            watch.begin_message();
        }
        watch
    }

    pub(super) fn in_thought(&self) -> bool {
        self.in_thought
    }

    /// A thought begins here, or ends.
    pub(super) fn set_in_thought(&mut self, in_thought: bool) {
        self.in_thought = in_thought;
    }

    /// The text of a mark that closed a thought.
    pub(super) fn mark(&self, index: usize) -> &[u8] {
        &self.marks.all[index].text
    }

    /// What of the text behind the last event is not read yet.
    pub(super) fn rest(&self) -> &[u8] {
        &self.text
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
    }

    fn begin_message(&mut self) {
        let has_headers = self.marks.channels.is_some_and(|channels| channels.kind != ChannelKind::Functionary);
        self.header = has_headers.then(Vec::new);
        self.beginning = (!self.marks.beginnings.is_empty()).then(Vec::new);
        self.is_fresh = true;
    }

    /// What happens next in the text so far. It is to be asked until nothing does.
    pub(super) fn next(&mut self) -> Option<Event> {
        loop {
            let (at, index) = match self.find() {
                Some(found) => found,
                None => {
                    let keep = (0..self.text.len()).find(|&at| self.may_begin(at)).unwrap_or(self.text.len());
                    return self.pass(keep);
                }
            };
            if let Some(event) = self.pass(at) {
                return Some(event);
            }
            let mark = &self.marks.all[index];
            let (role, length) = (mark.role, mark.text.len());
            let event = self.act(role, index, length);
            if event.is_some() {
                return event;
            }
        }
    }

    /// The first mark in the text, and the longest there.
    fn find(&self) -> Option<(usize, usize)> {
        (0..self.text.len()).find_map(|at| {
            let here = self.here().filter(|(_, mark)| self.text[at..].starts_with(&mark.text));
            here.max_by_key(|(_, mark)| mark.text.len()).map(|(index, _)| (at, index))
        })
    }

    fn may_begin(&self, at: usize) -> bool {
        self.here().any(|(_, mark)| mark.text.starts_with(&self.text[at..]))
    }

    /// Marks that count where the text is.
    fn here(&self) -> impl Iterator<Item = (usize, &Mark)> {
        let (in_thought, in_header) = (self.in_thought, self.header.is_some());
        self.marks.all.iter().enumerate().filter(move |(_, mark)| match mark.role {
            Role::HeaderEnd => in_header,
            _ if in_thought => mark.in_thought,
            _ => mark.in_answer,
        })
    }

    /// Takes so many bytes off, which are no marks.
    fn pass(&mut self, length: usize) -> Option<Event> {
        let passed: Vec<u8> = self.text.drain(..length).collect();
        if let Some(header) = &mut self.header {
            header.extend_from_slice(&passed);
            if header.len() > MAX_HEADER {
                self.header = None;
                return None;
            }
            let found = self.header_call();
            if found.is_some() {
                self.header = None;
            }
            return found;
        }
        if self.in_thought {
            return None;
        }
        self.is_fresh &= passed.iter().all(u8::is_ascii_whitespace);
        let beginning = self.beginning.as_mut()?;
        beginning.extend_from_slice(&passed);
        let said = beginning.trim_ascii_start();
        let found = self.marks.beginnings.iter().find(|(_, text)| said.starts_with(text));
        if let Some((index, text)) = found {
            // What came behind it is read by the grammar.
            let behind = said[text.len()..].to_vec();
            self.text.splice(0..0, behind);
            let index = *index;
            self.beginning = None;
            return Some(Event::Call(index));
        }
        let may_come = self.marks.beginnings.iter().any(|(_, text)| text.starts_with(said));
        if !may_come || beginning.len() > MAX_BEGINNING {
            self.beginning = None;
        }
        None
    }

    /// A call that the header names. What came behind its opening goes back into the text.
    fn header_call(&mut self) -> Option<Event> {
        let header = self.header.as_ref()?;
        let has_channel = contains(header, b"<|channel|>").is_some();
        let found = self.marks.in_headers.iter().find_map(|(index, text, channel)| {
            let at = contains(header, text).filter(|_| *channel == has_channel)?;
            Some((*index, at + text.len()))
        });
        let (index, end) = found?;
        let behind = header[end..].to_vec();
        self.text.splice(0..0, behind);
        Some(Event::Call(index))
    }

    fn act(&mut self, role: Role, index: usize, length: usize) -> Option<Event> {
        let mark: Vec<u8> = self.text.drain(..length).collect();
        match role {
            Role::OpenThought if self.is_fresh || self.marks.thoughts_anywhere => {
                self.in_thought = true;
                return Some(Event::OpenThought);
            }
            Role::OpenThought => self.is_fresh = false,
            Role::CloseThought => {
                self.in_thought = false;
                return Some(Event::CloseThought(index));
            }
            Role::Call(trigger) if self.calls_here => return Some(Event::Call(trigger)),
            Role::Call(_) => self.is_fresh = false,
            Role::Header { is_part } => {
                let was_thought = std::mem::replace(&mut self.in_thought, false);
                let header = self.header.take();
                self.begin_message();
                if is_part {
                    self.header = Some([header.unwrap_or_default(), mark].concat());
                }
                return was_thought.then_some(Event::CloseThought(index));
            }
            Role::HeaderEnd => return self.end_header(),
            Role::EndMessage => {
                let was_thought = std::mem::replace(&mut self.in_thought, false);
                self.begin_message();
                self.header = None;
                return was_thought.then_some(Event::CloseThought(index));
            }
            Role::Ignored => {}
        }
        None
    }

    fn end_header(&mut self) -> Option<Event> {
        let header = self.header.take()?;
        self.is_fresh = true;
        let channel = contains(&header, b"<|channel|>").map(|at| header[at + 11..].trim_ascii_start());
        let is_thought = match self.marks.channels.map(|channels| channels.kind) {
            Some(ChannelKind::Harmony) => channel.is_some_and(|channel| channel.starts_with(b"analysis")),
            Some(ChannelKind::Muse) => header == b" to=self",
            _ => false,
        };
        if self.marks.channels.is_some_and(|channels| channels.kind == ChannelKind::Muse) {
            self.calls_here = !matches!(&header[..], b"" | b" to=user" | b" to=self");
        }
        self.in_thought = is_thought;
        is_thought.then_some(Event::OpenThought)
    }
}

fn contains(text: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, what)
}
