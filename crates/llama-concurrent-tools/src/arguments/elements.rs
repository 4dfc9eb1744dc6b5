//! Arguments as nested elements, whose tags are the names of properties.

use serde_json::Value;

use super::{Around, Fed, value};
use crate::chars::{escape, quote, up_to};
use crate::head::{Cursor, MAX_HEAD, Read, Stop};
use crate::markers::{Found, Markers};
use crate::schema::{Types, items, property};

/// Nesting at most; what is deeper is a text.
const MAX_DEPTH: usize = 32;
/// As for parameters.
const MAX_KEPT: usize = 1 << 16;
/// The tag of the elements of a list.
const ITEM: &str = "item";

#[derive(Debug)]
pub(crate) struct Elements {
    /// What stands in front of each tag.
    prefix: &'static str,
    open: Vec<Element>,
}

#[derive(Debug)]
struct Element {
    tag: String,
    types: Types,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Nothing was seen of it yet.
    Unknown,
    Object {
        count: usize,
    },
    List {
        count: usize,
    },
    /// A text, written as it comes.
    Text(Markers),
    /// Something whose end shows what it is.
    Kept(Markers, String),
}

impl Elements {
    pub(crate) fn new(prefix: &'static str) -> Self {
        let arguments = Element { tag: String::new(), types: Types::ANY, content: Content::Object { count: 0 } };
        Self { prefix, open: vec![arguments] }
    }

    pub(crate) fn feed(&mut self, text: &str, around: Around<'_>, out: &mut String) -> Fed {
        let mut at = 0;
        loop {
            match self.step(&text[at..], around, out) {
                Step::On(used) => at += used,
                Step::Wait(used) => {
                    let used = at + used;
                    if around.is_last {
                        self.cut(&text[used..], out);
                    }
                    return Fed { used, end: around.is_last.then_some(false) };
                }
                Step::End { complete } => return Fed::end(at, complete),
            }
        }
    }

    fn step(&mut self, text: &str, around: Around<'_>, out: &mut String) -> Step {
        let depth = self.open.len();
        let Some(top) = self.open.last_mut() else { return Step::End { complete: true } };
        match &mut top.content {
            Content::Text(ends) => match ends.find(text, around.is_last) {
                Found::At(at, _) => {
                    escape(&text[..at], out);
                    out.push('"');
                    let used = at + ends.text(0).len();
                    self.open.pop();
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
            },
            Content::Kept(ends, kept) => {
                let (end, used) = match ends.find(text, around.is_last) {
                    Found::At(at, _) => (at, Some(at + ends.text(0).len())),
                    Found::Maybe(at) => (at, None),
                    Found::Nowhere => (text.len(), None),
                };
                if kept.len() + end > MAX_KEPT {
                    let fits = up_to(&text[..end], MAX_KEPT.saturating_sub(kept.len())).len();
                    kept.push_str(&text[..fits]);
                    out.push('"');
                    escape(kept, out);
                    top.content = Content::Text(ends.clone());
                    return Step::On(fits);
                }
                kept.push_str(&text[..end]);
                match used {
                    Some(used) => {
                        value::write(kept, top.types, out);
                        self.open.pop();
                        Step::On(used)
                    }
                    None => Step::Wait(end),
                }
            }
            Content::Unknown | Content::Object { .. } | Content::List { .. } => {
                let (tag, types) = (top.tag.clone(), top.types);
                let is_unknown = matches!(top.content, Content::Unknown);
                let closing = format!("{}</{tag}>", self.prefix);
                if is_unknown && (types.is_text() || depth > MAX_DEPTH) {
                    out.push('"');
                    top.content = Content::Text(Markers::new([closing]));
                    return Step::On(0);
                }
                match self.tag(text, depth == 1) {
                    Ok((used, Some(name))) => self.child(used, name, around.schema, out),
                    Ok((used, None)) => self.close(used, &closing, types, out),
                    Err(Stop::More) if !around.is_last => Step::Wait(0),
                    Err(_) if is_unknown && !text.is_empty() => {
                        self.keep(closing);
                        Step::On(0)
                    }
                    Err(_) if text.is_empty() => Step::Wait(0),
                    Err(_) => {
                        let mut cursor = Cursor::new(text);
                        cursor.space();
                        let found = around.closers.at(cursor.rest().as_bytes(), around.is_last);
                        match (found, depth) {
                            (Found::Maybe(_), _) => Step::Wait(0),
                            (_, 1) => {
                                let Content::Object { count } = self.open[0].content else { return Step::Wait(0) };
                                out.push_str(if count == 0 { "{}" } else { "}" });
                                Step::End { complete: matches!(found, Found::At(..)) }
                            }
                            _ => Step::End { complete: false },
                        }
                    }
                }
            }
        }
    }

    /// A tag behind its prefix: an opening one with its name, or the closing one of what is open.
    fn tag(&self, text: &str, is_outermost: bool) -> Read<(usize, Option<String>)> {
        let window = up_to(text, MAX_HEAD);
        let read = || -> Read<(usize, Option<String>)> {
            let mut cursor = Cursor::new(window);
            cursor.space();
            cursor.literal(self.prefix)?;
            let closing = format!("</{}>", self.open.last().map_or("", |top| &top.tag));
            match cursor.literal(&closing) {
                Ok(()) if !is_outermost => return Ok((cursor.at, None)),
                Err(Stop::More) => return Err(Stop::More),
                _ => {}
            }
            cursor.literal("<")?;
            let name = cursor.until(">")?;
            if name.is_empty() || name.contains(['\n', '<', '/', '"', ' ']) {
                return Err(Stop::No);
            }
            Ok((cursor.at, Some(name.to_owned())))
        };
        match read() {
            Err(Stop::More) if window.len() + 4 > MAX_HEAD => Err(Stop::No),
            read => read,
        }
    }

    fn child(&mut self, used: usize, name: String, schema: &Value, out: &mut String) -> Step {
        let Some(top) = self.open.last_mut() else { return Step::Wait(0) };
        if matches!(top.content, Content::Unknown) {
            let is_list = name == ITEM && top.types.may_be_list();
            if !is_list && !top.types.may_be_object() {
                // No such value may have elements in it.
                let closing = format!("{}</{}>", self.prefix, top.tag);
                self.keep(closing);
                return Step::On(0);
            }
            out.push(if is_list { '[' } else { '{' });
            top.content = if is_list { Content::List { count: 0 } } else { Content::Object { count: 0 } };
        }
        let is_outermost = self.open.len() == 1;
        match self.open.last_mut().map(|top| &mut top.content) {
            Some(Content::Object { count }) => {
                out.push_str(match (*count, is_outermost) {
                    (0, true) => "{",
                    (0, false) => "",
                    _ => ", ",
                });
                *count += 1;
                quote(&name, out);
                out.push_str(": ");
            }
            Some(Content::List { count }) => {
                out.push_str(if *count == 0 { "" } else { ", " });
                *count += 1;
            }
            _ => return Step::Wait(0),
        }
        self.open.push(Element { tag: name, types: Types::ANY, content: Content::Unknown });
        let types = self.schema(schema).map_or(Types::ANY, |of| Types::of(of, schema));
        if let Some(top) = self.open.last_mut() {
            top.types = types;
        }
        Step::On(used)
    }

    /// The schema of the innermost element.
    fn schema<'a>(&self, root: &'a Value) -> Option<&'a Value> {
        self.open.windows(2).try_fold(root, |schema, pair| match pair[0].content {
            Content::List { .. } => items(schema, root),
            _ => property(schema, &pair[1].tag, root),
        })
    }

    fn close(&mut self, used: usize, closing: &str, types: Types, out: &mut String) -> Step {
        match self.open.last().map(|top| &top.content) {
            Some(Content::Object { .. }) => out.push('}'),
            Some(Content::List { .. }) => out.push(']'),
            _ => {
                debug_assert!(closing.ends_with('>'));
                out.push_str(if types.may_be_text() {
                    "\"\""
                } else if types.may_be_list() {
                    "[]"
                } else if types.may_be_object() {
                    "{}"
                } else {
                    "null"
                });
            }
        }
        self.open.pop();
        Step::On(used)
    }

    fn keep(&mut self, closing: String) {
        if let Some(top) = self.open.last_mut() {
            top.content = Content::Kept(Markers::new([closing]), String::new());
        }
    }

    fn cut(&mut self, rest: &str, out: &mut String) {
        let is_outermost = self.open.len() == 1;
        match self.open.last_mut().map(|top| (&mut top.content, top.types)) {
            Some((Content::Text(_), _)) => escape(rest, out),
            Some((Content::Kept(_, kept), types)) => {
                kept.push_str(rest);
                if types.may_be_text() {
                    out.push('"');
                    escape(kept, out);
                } else {
                    out.push_str(kept.trim());
                }
            }
            Some((Content::Object { count: 0 }, _)) if is_outermost => out.push('{'),
            _ => {}
        }
    }
}

enum Step {
    On(usize),
    Wait(usize),
    End { complete: bool },
}
