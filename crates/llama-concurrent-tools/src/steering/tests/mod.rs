//! Steered texts, read back by the parser.

mod detected;
mod matcher;
mod refused;
mod schemas;
mod walks;

use std::sync::Arc;

use llama_concurrent_constraint::Compiler;
use llama_concurrent_types::{Constraint, Matcher, Result, Token, TokenTable};

use crate::format::{Format, Shape};

/// A small vocabulary and what compiles for it.
struct Vocabulary {
    table: Arc<TokenTable>,
    compiler: Compiler,
    /// Tokens that are markup, or end something.
    ends: Vec<Token>,
}

/// Pieces of text that real vocabularies have as one token.
const WORDS: [&str; 28] = [
    "\": ",
    "\", \"",
    "{\"",
    "\"}",
    "}}",
    "},",
    ": ",
    ", ",
    "name",
    "arguments",
    "functions.",
    "tool",
    "true",
    "null",
    "123",
    "00",
    "\n\n",
    ">\n",
    "</",
    "<|",
    "|>",
    "=\"",
    "\">",
    "call",
    "ab",
    "\"name",
    "(",
    "é",
];

/// The end of a generation.
const END: &str = "<|the_end|>";

impl Vocabulary {
    /// `control`: markup is made of tokens that are no text by themselves.
    fn new(format: &Format, control: bool) -> Self {
        Self::with(format, control, &[], &[])
    }

    /// With more tokens, and with some of the markup as ends of a generation.
    fn with(format: &Format, control: bool, more: &[&str], final_ones: &[&str]) -> Self {
        let markup = markup(format);
        let mut pieces: Vec<Vec<u8>> = (0..=255u8).map(|byte| vec![byte]).collect();
        pieces.extend(WORDS.iter().map(|word| word.as_bytes().to_vec()));
        let end = pieces.len() as Token;
        pieces.push(Vec::new());
        let mut special = vec![(end, END.as_bytes().into())];
        pieces.extend(more.iter().map(|text| text.as_bytes().to_vec()));
        let mut ends = Vec::new();
        let mut last = vec![end];
        for text in markup {
            let token = pieces.len() as Token;
            ends.push(token);
            last.extend(final_ones.contains(&&*text).then_some(token));
            if control && is_special(&text) {
                special.push((token, text.as_bytes().into()));
                pieces.push(Vec::new());
            } else {
                pieces.push(text.into_bytes());
            }
        }
        let table = TokenTable::new(pieces, last).with_special(special);
        let compiler = Compiler::new(&table).expect("a vocabulary");
        Self { table: Arc::new(table), compiler, ends }
    }

    fn compile(&self, constraint: &Constraint) -> Result<Box<dyn Matcher>> {
        self.compiler.compile(constraint).map(|grammar| Box::new(grammar) as Box<dyn Matcher>)
    }

    /// Tokens that write a text.
    fn tokens(&self, text: &str) -> Vec<Token> {
        super::lark::tokens(&self.table, text).expect("bytes are tokens")
    }
}

/// Markup of a form, whole and in the parts that vocabularies have.
fn markup(format: &Format) -> Vec<String> {
    let mut all: Vec<String> = format.markup().into_iter().map(str::to_owned).collect();
    if let Some(calls) = format.calls {
        let written = &calls.written;
        for text in [written.before, written.call, written.between, written.after] {
            all.extend(specials(text));
        }
        if let Shape::Tagged { notation: crate::format::Notation::Gemma, .. } = calls.shape {
            all.push("<|\"|>".into());
        }
        if let Shape::Tagged { notation: crate::format::Notation::Elements(prefix), .. } = calls.shape {
            all.push(prefix.into());
        }
        if let Shape::Tagged { notation: crate::format::Notation::Parameters(form), .. } = calls.shape {
            all.push(format!("\n{}", form.close));
        }
    }
    let parts: Vec<String> = all.iter().flat_map(|text| specials(text)).collect();
    all.extend(parts);
    all.extend(["<|constrain|>".into(), "<|start|>".into()]);
    all.retain(|text| !text.is_empty() && !text.contains('{'));
    all.sort();
    all.dedup();
    all
}

/// What in a text looks like a special token.
fn specials(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (open, close) in [("<|", "|>"), ("<｜", "｜>"), ("[", "]")] {
        let mut rest = text;
        while let Some(at) = rest.find(open) {
            let Some(end) = rest[at..].find(close) else { break };
            let one = &rest[at..at + end + close.len()];
            if !one.contains([' ', '\n', '{', '"']) && one.len() > 4 {
                found.push(one.to_owned());
            }
            rest = &rest[at + open.len()..];
        }
    }
    found
}

fn is_special(text: &str) -> bool {
    specials(text) == [text] || text == "<|\"|>" || text == "]<]minimax[>["
}
