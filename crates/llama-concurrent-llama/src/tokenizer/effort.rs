//! The cost of llama.cpp's pre-tokenizers beyond linear time: stack, and quadratic time.
//!
//! A pre-tokenizer splits text into words with regular expressions. llama.cpp implements some of them as loops; the others
//! use `std::regex`, whose matcher recurses for each character of a match. The stack must therefore suffice for the
//! longest text that one match attempt can span. This module computes an upper bound of that for all expressions of the
//! pinned llama.cpp.

use llama_concurrent_types::{Error, ErrorKind, Result};

/// The properties of a vocabulary's pre-tokenizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effort {
    recursion: Recursion,
    squared: Option<Squared>,
    /// White space reaches the merges unchanged, and llama.cpp asserts that no merge contains a space.
    asserts_on_spaces: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Recursion {
    /// Loops only.
    #[default]
    None,
    /// A match ends with a word, or with white space.
    Words,
    /// A match may span many words separated by single spaces.
    Lines,
}

/// Characters of which a run takes quadratic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Squared {
    /// `\s+$` is tried at each of them.
    Space,
    /// `(?=(\d{3})+(?!\d))` is.
    Digits,
}

/// Pre-tokenizers whose expressions are all implemented as loops or match one character at a time.
#[rustfmt::skip]
pub(crate) const WITHOUT_RECURSION: &[&str] = &[
    "a.x-4.0", "chatglm-bpe", "codeshell", "command-r", "dbrx", "deepseek-r1-qwen", "exaone", "exaone4", "f2llmv2",
    "falcon-h1", "falcon3", "gemma4", "gigachat", "glm4", "glm5", "gpt-2", "granite-docling",
    "granite-embed-multi-311m", "grok-2", "hunyuan", "jais", "jina-de", "jina-es", "jina-v1-en", "jina-v2-code",
    "jina-v2-de", "jina-v2-es", "jina-v5-nano", "kimi-k2", "kormo", "laguna", "lfm2", "llama-bpe", "llama-v3", "llama3",
    "megrez", "mellum", "mellum2", "midm-2.0", "minerva-7b", "mmbert", "modern-bert", "mpt", "olmo", "phi-2", "pixtral",
    "qwen2", "qwen35", "refact", "roberta-bpe", "sarvam-moe", "smaug-bpe", "smollm", "solar-open", "stablelm2",
    "starcoder", "trillion",
];

/// Stack for one character of a match. 321 bytes were measured for every expression with GCC's library on x86-64;
/// other compilers and unoptimised builds take more, and memory that is not touched costs nothing.
pub(super) const STACK_PER_CHARACTER: usize = 1024;

/// Stack for everything else: compiling an expression, and the tokenizer's own frames.
pub(super) const STACK_BASE: usize = 256 << 10;

/// The longest match span for which a thread with its own stack is started: 256 MiB of address space, of which about 80 are
/// used.
pub(crate) const LONGEST_REACH: usize = (256 << 20) / STACK_PER_CHARACTER;

/// A match span that fits into the remaining stack of any caller: about 30 KiB.
const SHORT_REACH: usize = 96;

/// The maximum steps of all runs with quadratic cost: two to four seconds.
const MOST_SQUARED_STEPS: usize = 100_000_000;

impl Effort {
    /// The properties of the pre-tokenizer with this name, in a vocabulary of this kind (`tokenizer.ggml.pre` and `.model`).
    pub(crate) fn of(tokenizer: &str, pre_tokenizer: Option<&str>) -> Self {
        let none = Self::default();
        if !matches!(tokenizer, "gpt2" | "hybriddna" | "whitespace") {
            return none;
        }
        match pre_tokenizer.unwrap_or_default() {
            name if WITHOUT_RECURSION.contains(&name) => none,
            "exaone-moe" => Self { recursion: Recursion::Lines, ..none },
            "deepseek-llm" => Self { recursion: Recursion::Words, squared: Some(Squared::Space), ..none },
            "superbpe" => Self { recursion: Recursion::Words, squared: Some(Squared::Digits), ..none },
            // The tokenizer of that name removes white space first.
            "whitespace" => Self { recursion: Recursion::Words, asserts_on_spaces: tokenizer != "whitespace", ..none },
            _ => Self { recursion: Recursion::Words, ..none },
        }
    }

    /// Whether all texts of a length cost the same.
    pub(crate) fn is_even(self) -> bool {
        self.recursion == Recursion::None && self.squared.is_none()
    }

    /// # Errors
    /// If the text would make llama.cpp abort.
    pub(crate) fn check(self, text: &str) -> Result<()> {
        let mut last = 'x';
        let mut is_bad = |c: char| {
            let pair = [std::mem::replace(&mut last, c), c];
            pair.contains(&' ') && pair.iter().all(|c| c.is_whitespace())
        };
        if self.asserts_on_spaces && text.chars().any(&mut is_bad) {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "the text has two characters of white space in a row, which the tokenizer of this model's file cannot \
                 take: its pre-tokenizer is 'whitespace', and its tokenizer is not; write single spaces, or convert the \
                 model again",
            ));
        }
        Ok(())
    }

    /// The most characters that one match attempt spans in this text.
    pub(crate) fn reach(self, text: &str) -> usize {
        match self.recursion {
            Recursion::None => 0,
            Recursion::Words => longest_run(text, false),
            Recursion::Lines => longest_run(text, true),
        }
    }

    /// Steps of expressions with quadratic cost.
    pub(crate) fn squared_steps(self, text: &str) -> usize {
        let counts: fn(char) -> bool = match self.squared {
            None => return 0,
            Some(Squared::Space) => char::is_whitespace,
            Some(Squared::Digits) => |c| c.is_ascii_digit(),
        };
        let (mut steps, mut run) = (0usize, 0usize);
        for c in text.chars() {
            run = if counts(c) { run + 1 } else { 0 };
            // The sum of 1 to n is half of the square.
            steps = steps.saturating_add(2 * run);
        }
        steps
    }
}

/// The longest stretch without a place where every match ends.
///
/// A match takes at most one character of white space and then characters that are none, or white space alone; behind
/// what is no white space only line breaks may follow in the same match, and behind these only slashes.
fn longest_run(text: &str, spaces_join: bool) -> usize {
    let is_break = |c: char| matches!(c, '\n' | '\r');
    let (mut longest, mut run) = (0, 0);
    let mut last = None;
    for c in text.chars() {
        let ends = last.is_some_and(|last: char| match (last.is_whitespace(), c.is_whitespace()) {
            (false, true) => !is_break(c) && !spaces_join,
            (true, false) if is_break(last) => c != '/',
            (true, false) => !spaces_join,
            _ => false,
        });
        run = if ends { 1 } else { run + 1 };
        longest = longest.max(run);
        last = Some(c);
    }
    // And the one character of white space before it.
    longest + usize::from(longest > 0)
}

/// The thread on which a text is tokenized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On the calling thread.
    Here,
    /// On a new thread with this stack size.
    OnStack(usize),
}

/// Selects the thread for a text of this span and these steps.
///
/// # Errors
/// If the text exceeds the limits.
pub(super) fn place(reach: usize, steps: usize) -> Result<Place> {
    let refuse = |why: String| Err(Error::new(ErrorKind::InvalidRequest, why));
    if reach > LONGEST_REACH {
        return refuse(format!(
            "the text has a run of {reach} characters without a space that ends a word, and the pre-tokenizer of this \
             model takes {LONGEST_REACH} at most; break the run up with spaces or lines"
        ));
    }
    if steps > MOST_SQUARED_STEPS {
        let longest = (MOST_SQUARED_STEPS as f64).sqrt() as usize;
        return refuse(format!(
            "the text has runs of digits or white space whose tokens would take minutes with the pre-tokenizer of this \
             model; keep each below {longest} characters, and fewer where there are many"
        ));
    }
    Ok(if reach <= SHORT_REACH { Place::Here } else { Place::OnStack(STACK_BASE + reach * STACK_PER_CHARACTER) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_where_every_match_does() {
        let words = |text| longest_run(text, false);
        assert_eq!(words(""), 0);
        assert_eq!(words("a bc def"), 4, "the word and its space");
        assert_eq!(words("aaaa\n\n\nbb"), 8, "line breaks belong to the word before them");
        assert_eq!(words("a\nb\nc\nd"), 3);
        assert_eq!(words("!\n/\n/"), 6, "but slashes go on");
        assert_eq!(words("a      b"), 7, "white space is a run, too");
        assert_eq!(words(&"中".repeat(50)), 51);
        assert_eq!(longest_run("one two three\nfour", true), 15);
    }

    #[test]
    fn what_is_known_of_pre_tokenizers_is_reckoned_with() {
        let digits = Effort::of("gpt2", Some("superbpe"));
        assert_eq!(digits.squared_steps("1234 a 12"), 20 + 6);
        assert_eq!(Effort::of("gpt2", Some("deepseek-llm")).squared_steps(" \u{3000}\n1234"), 12);
        assert_eq!(Effort::of("gpt2", Some("tekken")).squared_steps("1234"), 0);
        assert!(Effort::of("llama", None).is_even() && Effort::of("gpt2", Some("qwen2")).is_even());
        assert!(Effort::of("whitespace", Some("whitespace")).check("a  b").is_ok());
        let raw = Effort::of("gpt2", Some("whitespace"));
        assert!(raw.check("a b\n\nc").is_ok() && raw.check("a \nb").is_err() && raw.check("a  b").is_err());
        assert!(!Effort::of("gpt2", None).is_even() && !Effort::of("gpt2", Some("of tomorrow")).is_even());
    }

    #[test]
    fn what_does_not_fit_is_refused_in_words() {
        assert_eq!(place(90, 0).unwrap(), Place::Here);
        assert_eq!(place(6508, 0).unwrap(), Place::OnStack(STACK_BASE + 6508 * STACK_PER_CHARACTER));
        for (refused, words) in [(place(1_000_001, 0), "1000001 characters"), (place(3, 1 << 40), "below 10000")] {
            let error = refused.unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::InvalidRequest);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
