//! Writes a grammar: rules and terminals of llguidance's Lark, with special tokens where the vocabulary has them.

use std::collections::HashMap;
use std::fmt::Write;

use llama_concurrent_constraint::lark;
use llama_concurrent_types::{Token, TokenTable};

/// A grammar that is being written.
#[derive(Debug)]
pub(super) struct Lark<'a> {
    table: &'a TokenTable,
    text: String,
    /// Names of what was written, by what it is.
    names: HashMap<String, String>,
    n_names: usize,
    n_lines: usize,
}

/// A part of markup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    Text(&'t str),
    /// A token that is no text by itself.
    Control(Token),
}

impl<'a> Lark<'a> {
    pub(super) fn new(table: &'a TokenTable) -> Self {
        Self { table, text: String::new(), names: HashMap::new(), n_names: 0, n_lines: 0 }
    }

    /// The name of a rule with this body; equal bodies are one rule.
    pub(super) fn rule(&mut self, body: String) -> String {
        self.named('r', body)
    }

    /// The name of a terminal with this body.
    pub(super) fn terminal(&mut self, body: String) -> String {
        self.named('T', body)
    }

    fn named(&mut self, kind: char, body: String) -> String {
        let key = format!("{kind}{body}");
        if let Some(name) = self.names.get(&key) {
            return name.clone();
        }
        let name = self.reserve(kind);
        self.define(&name, &body);
        self.names.insert(key, name.clone());
        name
    }

    /// A name whose body follows by [`define`](Self::define): for rules that refer to themselves.
    pub(super) fn reserve(&mut self, kind: char) -> String {
        self.n_names += 1;
        format!("{kind}{}", self.n_names)
    }

    pub(super) fn define(&mut self, name: &str, body: &str) {
        self.n_lines += 1;
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{name}: {body}");
    }

    /// Lines so far.
    pub(super) fn n_lines(&self) -> usize {
        self.n_lines
    }

    /// The whole grammar, beginning with this rule.
    pub(super) fn finish(mut self, start: &str, bounds_digits: bool) -> String {
        self.define("start", start);
        if bounds_digits { format!("{}{}", lark::BOUNDED_DIGITS, self.text) } else { self.text }
    }

    /// Markup, cut where special tokens stand in it.
    pub(super) fn pieces<'t>(&self, text: &'t str) -> Vec<Piece<'t>> {
        pieces(self.table, text)
    }

    /// The expression for markup.
    pub(super) fn markup(&self, text: &str) -> String {
        let atoms = self.pieces(text).into_iter().map(|piece| match piece {
            Piece::Text(text) => literal(text),
            Piece::Control(token) => format!("<[{token}]>"),
        });
        atoms.collect::<Vec<_>>().join(" ")
    }

    /// What markup begins with as text, and the expression for what follows from the first special token on.
    pub(super) fn led<'t>(&self, text: &'t str) -> (&'t str, String) {
        let pieces = self.pieces(text);
        let lead = match pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        };
        (lead, self.markup(&text[lead.len()..]))
    }

    /// Markup up to the first token that ends a generation, which is the model's to write, and whether there is one.
    pub(super) fn up_to_end<'t>(&self, text: &'t str) -> (&'t str, bool) {
        let mut at = 0;
        for piece in self.pieces(text) {
            match piece {
                Piece::Text(text) => at += text.len(),
                Piece::Control(token) if self.table.is_end_of_generation(token) => return (&text[..at], true),
                Piece::Control(token) => at += self.table.text(token, true).len(),
            }
        }
        (text, false)
    }
}

/// A text cut where special tokens stand in it; the longest counts where several begin.
fn pieces<'t>(table: &TokenTable, text: &'t str) -> Vec<Piece<'t>> {
    let (mut all, mut from, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        match table.special_at(&text.as_bytes()[at..]) {
            Some((token, length)) if text.is_char_boundary(at) && text.is_char_boundary(at + length) => {
                all.extend((from < at).then(|| Piece::Text(&text[from..at])));
                all.push(Piece::Control(token));
                at += length;
                from = at;
            }
            _ => at += 1,
        }
    }
    all.extend((from < text.len()).then(|| Piece::Text(&text[from..])));
    all
}

/// Tokens that write a text, special ones where it has them. `None`: the vocabulary cannot write it.
pub(super) fn tokens(table: &TokenTable, text: &str) -> Option<Vec<Token>> {
    let mut all = Vec::new();
    for piece in pieces(table, text) {
        match piece {
            Piece::Text(text) => all.extend(table.spelled(text.as_bytes())?),
            Piece::Control(token) => all.push(token),
        }
    }
    Some(all)
}

/// The expression for a text as it stands.
pub(super) fn literal(text: &str) -> String {
    // JSON's escapes are Lark's, and DEL may not stand there as it is.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// An expression that is made of several as one.
pub(super) fn group(alternatives: &[String]) -> String {
    match alternatives {
        [one] => one.clone(),
        all => format!("({})", all.join(" | ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_tokens_are_found_in_markup() {
        let table = TokenTable::new(["a", "", "", "<c>"], vec![2]).with_special([
            (1, b"<|a|>"[..].into()),
            (2, b"<|a|>b"[..].into()),
            (3, b"<c>"[..].into()),
        ]);
        let lark = Lark::new(&table);
        assert_eq!(lark.markup("x<|a|>\n<c>"), "\"x\" <[1]> \"\\n<c>\"");
        assert_eq!(lark.markup("<|a|>b"), "<[2]>");
        assert_eq!(lark.led("\n<|a|>d"), ("\n", "<[1]> \"d\"".into()));
        assert_eq!(lark.up_to_end("x<|a|>bc"), ("x", true));
        assert_eq!(lark.up_to_end("x<|a|>c"), ("x<|a|>c", false));
        assert_eq!(literal("\"\\\u{7f}é\n"), r#""\"\\\u007fé\n""#);
    }
}
