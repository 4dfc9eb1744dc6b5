//! Messages with headers, which say whom they are for.

use super::{Parser, State, Thoughts};
use crate::chars::{is_space, up_to};
use crate::format::{ChannelKind, Channels};
use crate::head::{ArgumentsKind, Cursor, Head, MAX_HEAD, Read, Stop};

/// What a header says.
enum Recipient {
    Thought,
    Answer { calls: bool },
    Call(Head),
}

impl Parser {
    /// A header begins at `at`, if it is one.
    pub(super) fn next_header(&mut self, at: usize, length: usize, is_part: bool, is_last: bool) -> bool {
        let Some(channels) = self.channels else { return false };
        let skipped = if is_part { at } else { at + length };
        match self.read_header(channels, &self.rest()[skipped..]) {
            Ok((used, recipient)) => {
                if self.options.thoughts == Thoughts::Apart || !matches!(self.state, State::Thought) {
                    self.say_before_markup(at);
                } else {
                    self.say(at);
                }
                self.at += skipped - at;
                self.begin_message(used, recipient);
                true
            }
            Err(Stop::More) if !is_last => {
                self.say_up_to(at, false);
                false
            }
            Err(_) => {
                self.say(at + length);
                true
            }
        }
    }

    pub(super) fn header(&mut self, is_last: bool) -> bool {
        let Some(channels) = self.channels else {
            self.state = State::Answer;
            return true;
        };
        let Some(opening) = self.header_opening(channels, is_last) else { return false };
        match self.read_header(channels, &self.rest()[opening..]) {
            Ok((used, recipient)) => {
                self.at += opening;
                self.begin_message(used, recipient);
            }
            Err(Stop::More) if !is_last => return false,
            Err(_) => self.state = State::Answer,
        }
        true
    }

    /// The length of what opens a header that the prompt did not open. `None`: it cannot be told yet.
    fn header_opening(&self, channels: &Channels, is_last: bool) -> Option<usize> {
        let openings = match channels.kind {
            ChannelKind::Harmony => &channels.starts[..channels.starts.len() - 1],
            _ => channels.starts,
        };
        match Cursor::new(self.rest()).one_of(openings) {
            Ok(opening) => Some(opening.len()),
            Err(Stop::More) if !is_last => None,
            Err(_) => Some(0),
        }
    }

    fn read_header(&self, channels: &Channels, text: &str) -> Read<(usize, Recipient)> {
        let window = up_to(text, MAX_HEAD);
        let mut cursor = Cursor::new(window);
        let header = match cursor.until(channels.header_end) {
            Err(Stop::More) if window.len() + 4 > MAX_HEAD || !may_be_header(channels.kind, window) => Err(Stop::No),
            read => read,
        }?;
        let recipient = match channels.kind {
            ChannelKind::Harmony => self.harmony(header, &mut cursor)?,
            ChannelKind::Muse => match header.strip_prefix(" to=") {
                Some("self") => Recipient::Thought,
                Some("user") => Recipient::Answer { calls: false },
                None if header.is_empty() => Recipient::Answer { calls: false },
                Some(_) => Recipient::Answer { calls: true },
                None => return Err(Stop::No),
            },
            ChannelKind::Functionary => match header {
                "all" => Recipient::Answer { calls: true },
                name => self.called(name.trim(), &mut cursor)?,
            },
        };
        Ok((cursor.at, recipient))
    }

    fn harmony(&self, header: &str, cursor: &mut Cursor<'_>) -> Read<Recipient> {
        let channel = header.rsplit_once("<|channel|>").map(|(_, channel)| channel.trim_start());
        let addressee = |text: &str| {
            let (_, name) = text.split_once(" to=")?;
            let end = name.find(|c: char| is_space(c) || c == '<').unwrap_or(name.len());
            Some(name[..end].to_owned())
        };
        let recipient = match channel {
            Some(channel) => addressee(channel).or_else(|| addressee(header)),
            None => addressee(header),
        };
        match (recipient.as_deref(), channel) {
            (Some("assistant") | None, Some(channel)) if channel.starts_with("analysis") => Ok(Recipient::Thought),
            (Some("assistant") | None, Some(_)) => Ok(Recipient::Answer { calls: true }),
            (Some("assistant") | None, None) => Err(Stop::No),
            (Some(name), _) => match self.called(name.strip_prefix("functions.").unwrap_or(name), cursor) {
                // Such as tools that the model knows from its training: what it sends them is said.
                Err(Stop::No) => Ok(Recipient::Answer { calls: true }),
                read => read,
            },
        }
    }

    /// A message to a tool. What is not for one of this request, or has no arguments, is no call.
    fn called(&self, name: &str, cursor: &mut Cursor<'_>) -> Read<Recipient> {
        let is_call = !self.options.no_calls && self.is_callable(name);
        if !is_call {
            return Err(Stop::No);
        }
        cursor.space();
        if cursor.peek()? != '{' {
            return Err(Stop::No);
        }
        let name = name.to_owned();
        let kind = ArgumentsKind::Json;
        Ok(Recipient::Call(Head { len: 0, name, id: None, kind, is_listed: false, in_object: false }))
    }

    fn begin_message(&mut self, used: usize, recipient: Recipient) {
        let markup = self.at;
        self.at += used;
        self.is_fresh = true;
        match recipient {
            Recipient::Thought => {
                if self.options.thoughts == Thoughts::InContent {
                    let markup = self.text[markup..self.at].to_owned();
                    self.events.content(&markup);
                }
                self.state = State::Thought;
                self.skip_space = false;
            }
            Recipient::Answer { calls } => {
                self.state = State::Answer;
                self.skip_space = false;
                self.calls_here = calls;
            }
            Recipient::Call(head) => self.begin_call(head),
        }
    }
}

/// Whether a text without the end of a header may be the beginning of one.
fn may_be_header(kind: ChannelKind, text: &str) -> bool {
    let begins = |with: &str| with.starts_with(text) || text.starts_with(with);
    match kind {
        ChannelKind::Harmony => begins("<|channel|>") || begins(" to="),
        ChannelKind::Muse => begins(" to=") || begins("<|message|>"),
        ChannelKind::Functionary => !text.contains([' ', '{', '(']),
    }
}
