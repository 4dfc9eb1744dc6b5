//! The beginning of a call: its markup, name and id, up to the arguments. Read from text that is held back, so that what
//! turns out to be none is still there as content.

use crate::chars::{is_space, up_to};
use crate::format::{CallForm, Notation, Shape};

/// The longest beginning of a call, in bytes. What has not come to arguments by then is no call.
pub(crate) const MAX_HEAD: usize = 512;
/// The longest name and the longest id.
const MAX_NAME: usize = 256;

/// Why a text cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// More of it may come.
    More,
    /// It is something else.
    No,
}

pub(crate) type Read<T> = Result<T, Stop>;

/// What arguments are made of, from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArgumentsKind {
    Json,
    /// JSON within a string of JSON.
    Quoted,
    /// There are none.
    Missing,
    Notation,
    Python,
}

/// The beginning of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its bytes.
    pub(crate) len: usize,
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) kind: ArgumentsKind,
    /// Calls stand in a list.
    pub(crate) is_listed: bool,
    /// An object is open around the arguments.
    pub(crate) in_object: bool,
}

/// Where a call may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the beginning of a message, where some families open a call by nothing.
    Beginning,
    /// Anywhere else.
    Inside,
    /// Behind another call, in the same list or not.
    Next { is_listed: bool },
}

/// Reads a text from its beginning.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    pub(crate) text: &'a str,
    pub(crate) at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(crate) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(crate) fn literal(&mut self, literal: &str) -> Read<()> {
        let rest = self.rest();
        if rest.starts_with(literal) {
            self.at += literal.len();
            return Ok(());
        }
        Err(if literal.starts_with(rest) { Stop::More } else { Stop::No })
    }

    /// The longest of them.
    pub(crate) fn one_of<'b>(&mut self, literals: impl IntoIterator<Item = &'b &'b str>) -> Read<&'b str> {
        let (mut best, mut may_come) = (None::<&str>, false);
        for literal in literals {
            match self.clone().literal(literal) {
                Ok(()) if best.is_none_or(|best| best.len() < literal.len()) => best = Some(literal),
                Ok(()) | Err(Stop::No) => {}
                Err(Stop::More) => may_come = true,
            }
        }
        match best {
            _ if may_come => Err(Stop::More),
            Some(best) => {
                self.at += best.len();
                Ok(best)
            }
            None => Err(Stop::No),
        }
    }

    pub(crate) fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches(is_space).len();
    }

    pub(crate) fn peek(&self) -> Read<char> {
        self.rest().chars().next().ok_or(Stop::More)
    }

    /// What stands in front of `end`, which is read too.
    pub(crate) fn until(&mut self, end: &str) -> Read<&'a str> {
        let rest = self.rest();
        let length = rest.find(end).ok_or(Stop::More)?;
        self.at += length + end.len();
        Ok(&rest[..length])
    }

    fn name(&mut self) -> Read<&'a str> {
        let rest = self.rest();
        let is_part = |c: char| !(c.is_whitespace() || c.is_control() || "<>\"'`[](){}=,;\\".contains(c));
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        if length > MAX_NAME {
            return Err(Stop::No);
        }
        if length == rest.len() {
            return Err(Stop::More);
        }
        if length == 0 {
            return Err(Stop::No);
        }
        self.at += length;
        Ok(&rest[..length])
    }

    /// A string of JSON.
    fn string(&mut self) -> Read<String> {
        let rest = self.rest();
        self.literal("\"")?;
        let mut is_escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '"' => {
                    self.at += at;
                    return serde_json::from_str(&rest[..=at]).map_err(|_| Stop::No);
                }
                '\n' => return Err(Stop::No),
                _ => {}
            }
        }
        Err(Stop::More)
    }

    /// A value of JSON that is no list and no object, as a text.
    fn scalar(&mut self) -> Read<String> {
        if self.peek()? == '"' {
            return self.string();
        }
        let rest = self.rest();
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))).ok_or(Stop::More)?;
        if length == 0 {
            return Err(Stop::No);
        }
        self.at += length;
        Ok(rest[..length].to_owned())
    }
}

/// Reads the beginning of a call at the beginning of `text`.
pub(crate) fn read(form: &CallForm, text: &str, place: Place) -> Read<Head> {
    let window = up_to(text, MAX_HEAD);
    match read_window(form, window, place) {
        Err(Stop::More) if window.len() + 4 > MAX_HEAD => Err(Stop::No),
        read => read,
    }
}

fn read_window(form: &CallForm, text: &str, place: Place) -> Read<Head> {
    let mut cursor = Cursor::new(text);
    if let Place::Next { is_listed } = place {
        let next = next_in_section(form, cursor.clone(), is_listed);
        if !matches!(next, Err(Stop::No)) {
            return next;
        }
        cursor.space();
    }
    let mut is_open = false;
    match cursor.one_of(form.section) {
        Ok(_) => {
            is_open = true;
            cursor.space();
        }
        Err(Stop::More) if form.open.is_empty() || starts_none(form, cursor.rest()) => return Err(Stop::More),
        Err(_) => {}
    }
    if !form.open.is_empty() {
        cursor.one_of(form.open)?;
    } else if !(is_open || form.is_bare && place == Place::Beginning) {
        return Err(Stop::No);
    }
    shape(form, cursor, false)
}

/// Whether the text begins with no opening of a call.
fn starts_none(form: &CallForm, text: &str) -> bool {
    Cursor::new(text).one_of(form.open).is_err()
}

/// A call behind another, without the markup that opens the first.
fn next_in_section(form: &CallForm, mut cursor: Cursor<'_>, is_listed: bool) -> Read<Head> {
    let is_separate = !form.open.is_empty() && !is_listed;
    cursor.space();
    if is_listed {
        cursor.literal(",")?;
        cursor.space();
    } else if form.is_bare {
        // Llama separates objects by a semicolon.
        cursor.literal(";")?;
        cursor.space();
    } else if is_separate || !matches!(form.shape, Shape::Object { .. }) || cursor.peek()? != '{' {
        return Err(Stop::No);
    }
    shape(form, cursor, is_listed)
}

fn shape(form: &CallForm, mut cursor: Cursor<'_>, was_listed: bool) -> Read<Head> {
    match form.shape {
        Shape::Object { name, arguments, id } => {
            let is_listed = was_listed || list(&mut cursor)?;
            object(cursor, is_listed, name, arguments, id)
        }
        Shape::NameAsKey => {
            let is_listed = was_listed || list(&mut cursor)?;
            cursor.literal("{")?;
            cursor.space();
            let name = cursor.string()?;
            cursor.space();
            cursor.literal(":")?;
            cursor.space();
            let kind = kind(&mut cursor)?;
            Ok(Head { len: cursor.at, name, id: None, kind, is_listed, in_object: true })
        }
        Shape::Python => {
            let is_listed = was_listed || list(&mut cursor)?;
            let name = cursor.name()?.to_owned();
            cursor.literal("(")?;
            Ok(Head { len: cursor.at, name, id: None, kind: ArgumentsKind::Python, is_listed, in_object: false })
        }
        Shape::Tagged { heads, notation } => {
            let mut may_come = false;
            for head in heads {
                match tagged(head, notation, cursor.clone()) {
                    Ok(read) => return if may_come { Err(Stop::More) } else { Ok(read) },
                    Err(Stop::More) => may_come = true,
                    Err(Stop::No) => {}
                }
            }
            Err(if may_come { Stop::More } else { Stop::No })
        }
    }
}

/// Whether a list begins here.
fn list(cursor: &mut Cursor<'_>) -> Read<bool> {
    cursor.space();
    let is_list = cursor.peek()? == '[';
    if is_list {
        cursor.at += 1;
        cursor.space();
    }
    Ok(is_list)
}

fn object(mut cursor: Cursor<'_>, is_listed: bool, name: &str, arguments: &[&str], id: &str) -> Read<Head> {
    cursor.space();
    cursor.literal("{")?;
    let (mut named, mut identified) = (None, None);
    loop {
        cursor.space();
        let key = cursor.string()?;
        cursor.space();
        cursor.literal(":")?;
        cursor.space();
        if arguments.contains(&key.as_str()) {
            let Some(name) = named else { return Err(Stop::No) };
            let kind = kind(&mut cursor)?;
            return Ok(Head { len: cursor.at, name, id: identified, kind, is_listed, in_object: true });
        }
        let value = cursor.scalar()?;
        if key == name || (key == "function" && named.is_none()) {
            named = Some(value).filter(|name| !name.is_empty() && name.len() <= MAX_NAME);
        } else if key == id {
            identified = Some(value);
        }
        cursor.space();
        match cursor.peek()? {
            ',' => cursor.at += 1,
            '}' => {
                let Some(name) = named else { return Err(Stop::No) };
                // The end of the object is read by whoever reads on.
                let kind = ArgumentsKind::Missing;
                return Ok(Head { len: cursor.at, name, id: identified, kind, is_listed, in_object: true });
            }
            _ => return Err(Stop::No),
        }
    }
}

/// What kind of arguments begins here.
fn kind(cursor: &mut Cursor<'_>) -> Read<ArgumentsKind> {
    match cursor.peek()? {
        '{' => Ok(ArgumentsKind::Json),
        '"' => {
            cursor.at += 1;
            Ok(ArgumentsKind::Quoted)
        }
        'n' => {
            cursor.literal("null")?;
            Ok(ArgumentsKind::Missing)
        }
        _ => Err(Stop::No),
    }
}

fn tagged(head: &str, notation: Notation, mut cursor: Cursor<'_>) -> Read<Head> {
    let (mut name, mut id) = (String::new(), None);
    let mut rest = head;
    // White space in front of a name is the model's.
    cursor.space();
    while let Some(open) = rest.find('{') {
        cursor.literal(&rest[..open])?;
        let close = open + rest[open..].find('}').unwrap_or(0);
        let behind = &rest[close + 1..];
        match &rest[open..=close] {
            "{id}" => id = Some(cursor.name()?.to_owned()),
            "{kimi}" => {
                let whole = cursor.name()?;
                let bare = whole.strip_prefix("functions.").unwrap_or(whole);
                let numbered = bare.rsplit_once(':').filter(|(_, number)| number.bytes().all(|b| b.is_ascii_digit()));
                name = numbered.map_or(bare, |(name, _)| name).to_owned();
                id = Some(whole.to_owned());
            }
            "{*}" => {
                // Up to the literal behind, which is then read.
                let ahead = cursor.clone().until(behind)?;
                if ahead.contains('\n') {
                    return Err(Stop::No);
                }
                cursor.at += ahead.len();
            }
            _ => name = cursor.name()?.to_owned(),
        }
        rest = behind;
    }
    cursor.literal(rest)?;
    let kind = match notation {
        Notation::Json => {
            cursor.space();
            match cursor.peek()? {
                '{' => ArgumentsKind::Json,
                _ => return Err(Stop::No),
            }
        }
        Notation::Gemma => match cursor.peek()? {
            '{' => ArgumentsKind::Notation,
            _ => return Err(Stop::No),
        },
        Notation::Parameters(_) | Notation::Elements(_) => ArgumentsKind::Notation,
    };
    Ok(Head { len: cursor.at, name, id, kind, is_listed: false, in_object: false })
}

/// What follows the arguments within an object: its id, and its end.
pub(crate) fn object_rest(form: &CallForm, text: &str) -> Read<(usize, Option<String>)> {
    let key_of_id = match form.shape {
        Shape::Object { id, .. } => id,
        _ => "",
    };
    let window = up_to(text, MAX_HEAD);
    let mut cursor = Cursor::new(window);
    let mut read = || -> Read<(usize, Option<String>)> {
        let mut id = None;
        loop {
            cursor.space();
            match cursor.peek()? {
                '}' => return Ok((cursor.at + 1, id)),
                ',' => cursor.at += 1,
                _ => return Err(Stop::No),
            }
            cursor.space();
            let key = cursor.string()?;
            cursor.space();
            cursor.literal(":")?;
            cursor.space();
            let value = cursor.scalar()?;
            if key == key_of_id {
                id = Some(value);
            }
        }
    };
    match read() {
        Err(Stop::More) if window.len() + 4 > MAX_HEAD => Err(Stop::No),
        read => read,
    }
}
