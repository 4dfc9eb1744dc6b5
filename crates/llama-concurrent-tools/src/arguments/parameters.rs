//! Arguments as a list of names and values within markup.

use serde_json::Value;

use super::{Around, Fed, value};
use crate::chars::{escape, quote, up_to};
use crate::format::Parameters;
use crate::head::{Cursor, MAX_HEAD, Read, Stop};
use crate::markers::{Found, Markers};
use crate::schema::{Types, types_of_property};

const CDATA: &str = "<![CDATA[";
/// The longest value that is kept to see what it is, in bytes. A longer one is a text.
const MAX_KEPT: usize = 1 << 16;

#[derive(Debug)]
pub(crate) struct ParameterList {
    form: &'static Parameters,
    /// What ends a value, and with the last, a text in CDATA.
    ends: Markers,
    cdata_end: Markers,
    state: State,
    count: usize,
}

#[derive(Debug)]
enum State {
    /// In front of a parameter or the end of the call.
    Next,
    /// At the beginning of a value.
    Begin { types: Types },
    /// Within a text, which is written as it comes.
    Text { in_cdata: bool },
    /// Within a value whose end shows what it is.
    Kept { types: Types, value: String },
}

impl ParameterList {
    pub(crate) fn new(form: &'static Parameters) -> Self {
        let on_own_line = form.on_lines.then(|| format!("\n{}", form.close));
        let ends = Markers::new([form.close.to_owned()].into_iter().chain(on_own_line));
        Self { form, ends, cdata_end: Markers::new(["]]>"]), state: State::Next, count: 0 }
    }

    pub(crate) fn feed(&mut self, text: &str, around: Around<'_>, out: &mut String) -> Fed {
        let mut at = 0;
        loop {
            let rest = &text[at..];
            match self.step(rest, around, out) {
                Step::On(used) => at += used,
                Step::Wait(used) => {
                    let used = at + used;
                    return Fed { used, end: around.is_last.then(|| self.cut(&text[used..], out)) };
                }
                Step::End { complete } => {
                    out.push_str(if self.count == 0 { "{}" } else { "}" });
                    return Fed::end(at, complete);
                }
            }
        }
    }

    fn step(&mut self, text: &str, around: Around<'_>, out: &mut String) -> Step {
        match &mut self.state {
            State::Next => match self.parameter(text, around.schema) {
                Ok((used, name, types)) => {
                    out.push_str(if self.count == 0 { "{" } else { ", " });
                    quote(&name, out);
                    out.push_str(": ");
                    self.count += 1;
                    self.state = State::Begin { types };
                    Step::On(used)
                }
                Err(Stop::More) if !around.is_last => Step::Wait(0),
                Err(_) => {
                    let mut cursor = Cursor::new(text);
                    cursor.space();
                    match around.closers.at(cursor.rest().as_bytes(), around.is_last) {
                        Found::Maybe(_) => Step::Wait(0),
                        Found::At(..) => Step::End { complete: true },
                        Found::Nowhere if cursor.rest().is_empty() && !around.is_last => Step::Wait(0),
                        Found::Nowhere => Step::End { complete: false },
                    }
                }
            },
            &mut State::Begin { types } => self.begin(text, types, around, out),
            State::Text { in_cdata } => {
                let ends = if *in_cdata { &self.cdata_end } else { &self.ends };
                match ends.find(text, around.is_last) {
                    Found::At(at, index) => {
                        escape(&text[..at], out);
                        let used = at + ends.text(index).len();
                        if *in_cdata {
                            *in_cdata = false;
                        } else {
                            out.push('"');
                            self.state = State::Next;
                        }
                        Step::On(used)
                    }
                    Found::Maybe(at) => {
                        escape(&text[..at], out);
                        Step::Wait(at)
                    }
                    Found::Nowhere => {
                        escape(text, out);
                        Step::Wait(text.len())
                    }
                }
            }
            State::Kept { types, value } => {
                let found = self.ends.find(text, around.is_last);
                let (end, used) = match found {
                    Found::At(at, index) => (at, Some(at + self.ends.text(index).len())),
                    Found::Maybe(at) => (at, None),
                    Found::Nowhere => (text.len(), None),
                };
                if value.len() + end > MAX_KEPT {
                    let fits = up_to(&text[..end], MAX_KEPT.saturating_sub(value.len())).len();
                    value.push_str(&text[..fits]);
                    out.push('"');
                    escape(value, out);
                    self.state = State::Text { in_cdata: false };
                    return Step::On(fits);
                }
                value.push_str(&text[..end]);
                match used {
                    Some(used) => {
                        value::write(value, *types, out);
                        self.state = State::Next;
                        Step::On(used)
                    }
                    None => Step::Wait(end),
                }
            }
        }
    }

    /// The opening of a parameter: its length, name and types.
    fn parameter(&self, text: &str, schema: &Value) -> Read<(usize, String, Types)> {
        let form = self.form;
        let window = up_to(text, MAX_HEAD);
        let read = || -> Read<(usize, String, Types)> {
            let mut cursor = Cursor::new(window);
            cursor.space();
            cursor.literal(form.open)?;
            let name = cursor.until(form.key_end)?;
            if name.contains(['\n', '<']) {
                return Err(Stop::No);
            }
            let attributes = match form.attributes_end {
                "" => "",
                end => cursor.until(end)?,
            };
            if !form.value_open.is_empty() {
                cursor.space();
                cursor.literal(form.value_open)?;
            }
            let known = types_of_property(schema, name, schema);
            let types = match form.text_attributes {
                Some((text, _)) if attributes.contains(text.trim()) => Types::TEXT,
                Some((_, other)) if attributes.contains(other.split('"').next().unwrap_or(other).trim()) => {
                    if known.is_text() { known } else { Types::ANY }
                }
                _ => known,
            };
            Ok((cursor.at, name.trim().to_owned(), types))
        };
        match read() {
            Err(Stop::More) if window.len() + 4 > MAX_HEAD => Err(Stop::No),
            read => read,
        }
    }

    fn begin(&mut self, text: &str, types: Types, around: Around<'_>, out: &mut String) -> Step {
        let mut cursor = Cursor::new(text);
        if self.form.on_lines {
            match self.ends.at(text.as_bytes(), around.is_last) {
                // Both the line before and the line behind an empty value are one.
                Found::At(..) => {}
                Found::Maybe(_) => return Step::Wait(0),
                Found::Nowhere => drop(cursor.literal("\n")),
            }
        }
        let mut in_cdata = false;
        if self.form.has_cdata && types.may_be_text() {
            match cursor.literal(CDATA) {
                Ok(()) => in_cdata = true,
                Err(Stop::More) if !around.is_last => return Step::Wait(0),
                Err(_) => {}
            }
        }
        if text.is_empty() {
            return Step::Wait(0);
        }
        self.state = if types.is_text() || in_cdata {
            out.push('"');
            State::Text { in_cdata }
        } else {
            State::Kept { types, value: String::new() }
        };
        Step::On(cursor.at)
    }

    /// The text broke off; what is left of it is written as far as it goes. Never well-formed.
    fn cut(&mut self, rest: &str, out: &mut String) -> bool {
        match &mut self.state {
            State::Next if self.count == 0 => out.push('{'),
            State::Next | State::Begin { .. } => {}
            State::Text { .. } => escape(rest, out),
            State::Kept { types, value } => {
                value.push_str(rest);
                if types.may_be_text() {
                    out.push('"');
                    escape(value, out);
                } else {
                    out.push_str(value.trim());
                }
            }
        }
        false
    }
}

enum Step {
    /// So much was read, and it goes on.
    On(usize),
    /// So much was read, and the rest is to be waited for.
    Wait(usize),
    End {
        complete: bool,
    },
}
