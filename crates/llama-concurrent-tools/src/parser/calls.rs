//! Calls, from their opening to what may follow them.

use serde_json::Value;

use super::{MAX_SPACE, Parser, State, UnknownTools};
use crate::arguments::{Arguments, Around};
use crate::chars::is_space;
use crate::event::Event;
use crate::format::CallForm;
use crate::head::{self, Cursor, Head, Place, Read, Stop};
use crate::markers::Found;

/// The calls of channels, whose arguments are JSON.
const CHANNELS_CALL: CallForm = crate::families::PLAIN;

impl Parser {
    /// A message that begins with a call that nothing opens. `None`: it does not.
    pub(super) fn bare_call(&mut self, is_last: bool) -> Option<bool> {
        let form = self.form?;
        let space = self.rest().len() - self.rest().trim_start_matches(is_space).len();
        if space > MAX_SPACE {
            return None;
        }
        let text = &self.rest()[space..];
        if text.is_empty() {
            return (!is_last).then_some(false);
        }
        if !text.starts_with(['{', '[']) {
            return None;
        }
        match self.checked(head::read(form, text, Place::Beginning)) {
            Ok(head) => {
                self.at += space;
                self.begin_call(head);
                Some(true)
            }
            Err(Stop::More) if !is_last => Some(false),
            Err(_) => {
                // No later part of the text is at its beginning.
                self.is_fresh = false;
                None
            }
        }
    }

    /// Markup of a call at `at`: the call begins, or its markup is text.
    pub(super) fn call(&mut self, at: usize, length: usize, place: Place, is_last: bool) -> bool {
        let Some(form) = self.form else { return false };
        match self.checked(head::read(form, &self.rest()[at..], place)) {
            Ok(head) => {
                self.say_before_markup(at);
                self.begin_call(head);
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

    /// Only tools that are there are called, if so wished.
    fn checked(&self, head: Read<Head>) -> Read<Head> {
        match head {
            Ok(head) if self.is_callable(&head.name) => Ok(head),
            Ok(_) => Err(Stop::No),
            stop => stop,
        }
    }

    pub(super) fn is_callable(&self, name: &str) -> bool {
        self.options.unknown_tools == UnknownTools::Call || self.tools.contains_key(name)
    }

    pub(super) fn begin_call(&mut self, head: Head) {
        let Some(form) = self.form.or(Some(&CHANNELS_CALL)) else { return };
        self.at += head.len;
        self.is_fresh = false;
        self.events.push(Event::CallStart { index: self.n_calls, id: head.id, name: head.name.clone() });
        self.n_calls += 1;
        self.state = State::Arguments {
            arguments: Box::new(Arguments::new(form, head.kind)),
            tool: head.name,
            is_listed: head.is_listed,
            in_object: head.in_object,
        };
    }

    pub(super) fn arguments(&mut self, is_last: bool) -> bool {
        let State::Arguments { arguments, tool, is_listed, in_object } = &mut self.state else { return false };
        let schema = self.tools.get(tool).unwrap_or(&Value::Null);
        let around = Around { schema, closers: &self.closers, is_last };
        let mut json = String::new();
        let fed = arguments.feed(&self.text[self.at..], around, &mut json);
        let index = self.n_calls - 1;
        self.events.arguments(index, &json);
        self.at += fed.used;
        let Some(complete) = fed.end else { return false };
        let (is_listed, in_object) = (*is_listed, *in_object);
        if is_last && !complete {
            // What is left may have become markup of an argument.
            self.at = self.text.len();
        }
        if complete && in_object {
            self.state = State::ObjectRest { is_listed, complete };
        } else {
            self.end_call(None, complete, is_listed);
        }
        true
    }

    fn end_call(&mut self, id: Option<String>, complete: bool, is_listed: bool) {
        self.events.push(Event::CallEnd { index: self.n_calls - 1, id, complete });
        self.state = State::Next { is_listed };
    }

    pub(super) fn object_rest(&mut self, is_listed: bool, complete: bool, is_last: bool) -> bool {
        let Some(form) = self.form else { return false };
        match head::object_rest(form, self.rest()) {
            Ok((length, id)) => {
                self.at += length;
                self.end_call(id, complete, is_listed);
            }
            Err(Stop::More) if !is_last => return false,
            // The object is not closed; its arguments are.
            Err(stop) => {
                if matches!(stop, Stop::More) {
                    self.at = self.text.len();
                }
                self.end_call(None, complete, is_listed);
            }
        }
        true
    }

    /// Behind a call: what closes it, another, or an answer.
    pub(super) fn next(&mut self, is_listed: bool, is_last: bool) -> bool {
        let mut cursor = Cursor::new(self.rest());
        cursor.space();
        let space = cursor.at;
        if cursor.rest().is_empty() && !is_last && space <= MAX_SPACE {
            return false;
        }
        let mut may_come = false;
        match self.closers.at(cursor.rest().as_bytes(), is_last) {
            Found::At(_, index) => {
                self.at += space + self.closers.text(index).len();
                return true;
            }
            Found::Maybe(_) => may_come = true,
            Found::Nowhere => {}
        }
        if is_listed && cursor.rest().starts_with(']') {
            self.at += space + 1;
            self.state = State::Next { is_listed: false };
            return true;
        }
        if let Some(form) = self.form {
            match self.checked(head::read(form, cursor.rest(), Place::Next { is_listed })) {
                Ok(head) => {
                    self.at += space;
                    self.begin_call(head);
                    return true;
                }
                Err(Stop::More) => may_come = true,
                Err(Stop::No) => {}
            }
        }
        if may_come && !is_last {
            return false;
        }
        if is_last && (may_come || self.closers.may_begin_with(cursor.rest())) {
            // The text was cut within what closes the call, or before the name of another.
            self.at = self.text.len();
            return false;
        }
        self.state = State::Answer;
        self.calls_here = true;
        self.skip_space = true;
        true
    }
}
