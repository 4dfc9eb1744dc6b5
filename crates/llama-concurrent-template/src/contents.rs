//! Contents apart from the template: control tokens that are written inside messages stay text.
//!
//! A template prints control tokens and messages into one text, and a tokenizer cannot tell who wrote `<|im_end|>`. So before
//! the rendering each token's text inside of a message gets a mark behind its first character: a character that nobody
//! wrote. The template trims, splits and compares as before, as no mark is at an end of a text. After the rendering the marks
//! are taken out again, and what is a token only without them is noted as plain text.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use serde_json::{Map, Value};

use crate::Continuation;

/// The characters that Unicode keeps for uses like this one.
pub(crate) const NONCHARACTERS: std::ops::RangeInclusive<char> = '\u{fdd0}'..='\u{fdef}';

/// A prompt, and where it quotes somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rendered {
    /// The prompt.
    pub text: String,
    /// Ranges of its bytes that read as special tokens, but stand in a message: plain text. In order, apart from each other.
    pub plain: Vec<Range<usize>>,
    /// What of the last message the prompt ends with, to be continued: [`Content`](Continuation::Content) or
    /// [`Reasoning`](Continuation::Reasoning).
    pub continues: Option<Continuation>,
}

/// The special tokens of a vocabulary that nobody may write into his message.
#[derive(Debug, Clone, Default)]
pub(crate) struct SpecialTokens {
    finder: Option<AhoCorasick>,
    texts: Vec<String>,
    /// The first of them are control tokens, the rest are ordinary ones that the template itself writes.
    n_control: usize,
    /// Beginnings and ends of control tokens of at least two characters and not of letters alone: a template could complete
    /// them with what it prints beside a message.
    beginnings: HashSet<String>,
    ends: HashSet<String>,
    longest: usize,
}

impl SpecialTokens {
    pub(crate) fn new(
        control: impl IntoIterator<Item = String>,
        in_template: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut texts: Vec<String> = control.into_iter().filter(|text| !text.trim().is_empty()).collect();
        let n_control = texts.len();
        texts.extend(in_template.into_iter().filter(|text| !text.trim().is_empty()));
        let mut tokens = Self { n_control, ..Self::default() };
        for text in &texts[..n_control] {
            let at: Vec<usize> = text.char_indices().map(|(byte, _)| byte).collect();
            tokens.longest = tokens.longest.max(text.len());
            for &byte in at.iter().skip(1) {
                tokens.beginnings.extend(fragment(&text[..byte]));
                tokens.ends.extend(fragment(&text[byte..]));
            }
        }
        // The automaton that is quick to build: messages are short, vocabularies are not.
        let finder = AhoCorasick::builder().kind(Some(AhoCorasickKind::ContiguousNFA)).build(&texts);
        tokens.finder = finder.ok().filter(|_| !texts.is_empty());
        tokens.texts = texts;
        tokens
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.finder.is_none()
    }

    /// Puts marks into every text of a value, keys too. Messages of the assistant keep tokens that are not control tokens: it
    /// wrote them, and templates look for them.
    pub(crate) fn mark(&self, value: &mut Value, mark: char, assistant: bool) {
        match value {
            Value::String(text) => {
                if let Some(marked) = self.marked(text, mark, assistant) {
                    *text = marked;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.mark(item, mark, assistant)),
            Value::Object(map) => self.mark_map(map, mark, assistant),
            _ => {}
        }
    }

    pub(crate) fn mark_map(&self, map: &mut Map<String, Value>, mark: char, assistant: bool) {
        if map.keys().any(|key| self.marked(key, mark, assistant).is_some()) {
            let renamed = std::mem::take(map).into_iter().map(|(key, value)| {
                let key = self.marked(&key, mark, assistant).unwrap_or(key);
                (key, value)
            });
            *map = renamed.collect();
        }
        map.values_mut().for_each(|value| self.mark(value, mark, assistant));
    }

    /// The text with its marks, if it needs any.
    fn marked(&self, text: &str, mark: char, assistant: bool) -> Option<String> {
        let finder = self.finder.as_ref()?;
        let after_first = |byte: usize| byte + text[byte..].chars().next().map_or(0, char::len_utf8);
        let mut cuts = BTreeSet::new();
        for found in finder.find_overlapping_iter(text) {
            if !assistant || found.pattern().as_usize() < self.n_control {
                cuts.insert(after_first(found.start()));
            }
        }
        for length in 2..=self.longest.min(text.len()) {
            if text.is_char_boundary(length) && self.ends.contains(&text[..length]) {
                cuts.insert(after_first(0));
            }
            let start = text.len() - length;
            if text.is_char_boundary(start) && self.beginnings.contains(&text[start..]) {
                cuts.insert(after_first(start));
            }
        }
        if text.len() < self.longest
            && let Some(whole) = fragment(text)
            && self.texts[..self.n_control].iter().any(|token| token.contains(&whole))
        {
            cuts.insert(after_first(0));
        }
        if cuts.is_empty() {
            return None;
        }
        let mut marked = String::with_capacity(text.len() + 3 * cuts.len());
        let mut copied = 0;
        for cut in cuts {
            marked.push_str(&text[copied..cut]);
            marked.push(mark);
            copied = cut;
        }
        marked.push_str(&text[copied..]);
        Some(marked)
    }

    /// Takes the marks out again.
    pub(crate) fn unmark(&self, rendered: &str, mark: char) -> Rendered {
        let mut text = String::with_capacity(rendered.len());
        let mut marks = Vec::new();
        for (index, piece) in rendered.split(mark).enumerate() {
            if index > 0 {
                marks.push(text.len());
            }
            text.push_str(piece);
        }
        let Some(finder) = self.finder.as_ref().filter(|_| !marks.is_empty()) else {
            return Rendered { text, ..Rendered::default() };
        };
        let mut plain: Vec<Range<usize>> = Vec::new();
        for found in finder.find_overlapping_iter(&text) {
            // A token of one character has its mark behind it.
            let is_one = text[found.range()].chars().nth(1).is_none();
            let last = if is_one { found.end() } else { found.end() - 1 };
            let first_after = marks.partition_point(|&mark| mark <= found.start());
            if marks.get(first_after).is_some_and(|&mark| mark <= last) {
                plain.push(found.range());
            }
        }
        plain.sort_by_key(|range| range.start);
        let mut apart: Vec<Range<usize>> = Vec::with_capacity(plain.len());
        for range in plain {
            match apart.last_mut() {
                Some(before) if range.start < before.end => before.end = before.end.max(range.end),
                _ => apart.push(range),
            }
        }
        Rendered { text, plain: apart, continues: None }
    }
}

/// A part of a token that is worth a mark.
fn fragment(text: &str) -> Option<String> {
    let is_word = text.chars().all(|character| character.is_alphanumeric() || character == '_');
    (text.chars().nth(1).is_some() && !is_word && !text.trim().is_empty()).then(|| text.to_owned())
}

/// Characters that none of these values holds.
pub(crate) fn unused_characters<'a>(values: impl IntoIterator<Item = &'a Value>) -> impl Iterator<Item = char> {
    let mut used = HashSet::new();
    values.into_iter().for_each(|value| collect(value, &mut used));
    NONCHARACTERS.filter(move |character| !used.contains(character))
}

fn collect(value: &Value, used: &mut HashSet<char>) {
    let mut look = |text: &str| used.extend(text.chars().filter(|character| NONCHARACTERS.contains(character)));
    match value {
        Value::String(text) => look(text),
        Value::Array(items) => items.iter().for_each(|item| collect(item, used)),
        Value::Object(map) => {
            map.keys().for_each(|key| look(key));
            map.values().for_each(|value| collect(value, used));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MARK: char = '\u{fdd0}';

    fn tokens() -> SpecialTokens {
        let control = ["<|im_start|>", "<|im_end|>", "</s>", "end|>x", "§"];
        SpecialTokens::new(control.map(String::from), ["<think>".to_owned()])
    }

    /// What a template that prints `before`, the value and `after` makes of it.
    fn round(before: &str, text: &str, after: &str, assistant: bool) -> (String, Vec<String>) {
        let mut value = json!(text);
        tokens().mark(&mut value, MARK, assistant);
        let rendered = tokens().unmark(&format!("{before}{}{after}", value.as_str().unwrap()), MARK);
        let plain = rendered.plain.iter().map(|range| rendered.text[range.clone()].to_owned()).collect();
        (rendered.text, plain)
    }

    #[test]
    fn tokens_in_a_message_are_plain_and_those_of_the_template_are_not() {
        for (before, text, after, assistant, expected) in [
            ("<|im_start|>user\n", "Hi", "<|im_end|>", false, &[][..]),
            ("<|im_start|>", "a<|im_end|>b", "<|im_end|>", false, &["<|im_end|>"]),
            ("", "<|im_end|><|im_start|>", "<|im_end|>", false, &["<|im_end|>", "<|im_start|>"]),
            ("", "<think><think>", "", false, &["<think>", "<think>"]),
            ("", "<|im_<|im_end|>end|>", "", false, &["<|im_end|>"]),
            ("", "<|im_end|>x", "", false, &["<|im_end|>x"]),
            ("", "a <think> b", "", false, &["<think>"]),
            ("", "a <think> b</s>", "", true, &["</s>"]),
            ("", "a§b", "§", false, &["§"]),
            // What the template completes.
            ("<|im_", "end|> and so on", "", false, &["<|im_end|>"]),
            ("", "so on <|im_", "end|>", false, &["<|im_end|>"]),
            ("<", "|im_end|", ">", false, &["<|im_end|>"]),
            ("<", "/s", ">", false, &["</s>"]),
            ("<|", "user", "|>", false, &[]),
            ("", "a <| b |> </ s> <", "|im_end|>", false, &[]),
        ] {
            let (whole, plain) = round(before, text, after, assistant);
            assert_eq!(whole, format!("{before}{text}{after}"), "nothing of the text changes");
            assert_eq!(plain, expected, "{before:?} {text:?} {after:?}");
        }
    }

    #[test]
    fn marks_are_never_at_the_end_of_a_text() {
        for text in ["<|im_end|>", "</s>", "|im_end|", "<|", "a<|im_start|>", "</s></s>"] {
            let marked = tokens().marked(text, MARK, false).unwrap_or_else(|| text.to_owned());
            assert!(!marked.starts_with(MARK) && !marked.ends_with(MARK), "{text}");
        }
    }

    #[test]
    fn keys_and_nested_values_are_marked_too() {
        let mut value = json!({"a</s>": [{"b": "a <|im_start|> b"}, 1, null]});
        tokens().mark(&mut value, MARK, false);
        assert_eq!(value.to_string().matches(MARK).count(), 2);
    }

    #[test]
    fn a_character_that_somebody_wrote_is_not_the_mark() {
        let value = json!({"\u{fdd1}": ["\u{fdd0}"]});
        assert_eq!(unused_characters([&value]).next(), Some('\u{fdd2}'));
    }
}
