//! Tokenizing: special tokens are found here, and the text between them goes to llama.cpp.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Mutex, PoisonError, TryLockError},
    thread,
    time::Duration,
};

use llama_concurrent_types::{Error, ErrorKind, Result, Token};

use super::{
    effort::{Effort, Place, place},
    partition::{Part, SpecialTokens},
};

/// The tokenizer proper, without special tokens.
pub(crate) trait RawTokenizer: Sync {
    /// Appends the tokens of a part of a text.
    fn append(&self, text: &[u8], tokens: &mut Vec<Token>) -> Result<()>;
}

/// How to tokenize a text.
#[derive(Clone, Copy, Default)]
pub struct TokenizeOptions<'a> {
    /// Add the token that the vocabulary asks for before the text.
    pub begin: bool,
    /// Add the token that the vocabulary asks for after the text.
    pub end: bool,
    /// Parse special tokens that are written out, ...
    pub parse_special: bool,
    /// ... except those that touch one of these ranges.
    pub plain: &'a [Range<usize>],
    /// Stop when this returns false.
    pub go_on: Option<&'a (dyn Fn() -> bool + Sync)>,
    /// The maximum number of tokens that can be used.
    pub room: Option<usize>,
}

impl TokenizeOptions<'_> {
    fn goes_on(&self) -> bool {
        self.go_on.is_none_or(|go_on| go_on())
    }
}

/// The tokenizer of a vocabulary: special tokens in front of the tokenizer proper.
#[derive(Debug, Default)]
pub(crate) struct TextTokenizer {
    pub(crate) special: SpecialTokens,
    pub(crate) effort: Effort,
    /// The token to add before a text, if any.
    pub(crate) before: Option<Token>,
    /// The token to add after a text, if any.
    pub(crate) behind: Option<Token>,
    /// The maximum bytes of text per token; `None` if the tokenizer drops parts of a text.
    pub(crate) longest_token: Option<usize>,
}

/// Tokens of a text that is too long are counted up to this multiple of the room, so that the error can say by how much.
const COUNTED_BEYOND_ROOM: usize = 4;

/// Larger stacks are allocated one at a time, to bound their memory.
const LARGE_STACK: usize = 32 << 20;

static LARGE_STACKS: Mutex<()> = Mutex::new(());

/// Equal parts up to this length are tokenized once per text: chats repeat the text between their messages.
const SHORT_PART: usize = 256;

impl TextTokenizer {
    /// Tokenizes a text.
    ///
    /// # Errors
    /// [`ErrorKind::PromptTooLong`] if it cannot fit into the room; [`ErrorKind::InvalidRequest`] if the tokenizer cannot
    /// handle it or the plain ranges are invalid; [`ErrorKind::ShuttingDown`] if it was stopped.
    pub(crate) fn tokenize(
        &self,
        raw: &dyn RawTokenizer,
        text: &str,
        options: &TokenizeOptions<'_>,
    ) -> Result<Vec<Token>> {
        check_plain(text, options.plain)?;
        if let (Some(room), Some(longest)) = (options.room, self.longest_token)
            && text.len() / longest / COUNTED_BEYOND_ROOM > room
        {
            return Err(too_long("at least", text.len().div_ceil(longest), room));
        }
        let bytes = text.as_bytes();
        let go_on = || options.goes_on();
        let parts = self.special.split(bytes, options.parse_special, options.plain, &go_on).ok_or_else(was_stopped)?;
        let work = || {
            let mut job = Job { raw, bytes, options, tokens: Vec::new(), short: HashMap::new() };
            job.tokens.extend(self.before.filter(|_| options.begin));
            job.run(&parts)?;
            job.tokens.extend(self.behind.filter(|_| options.end));
            Ok(job.tokens)
        };
        match self.place(bytes, &parts)? {
            Place::Here => work(),
            Place::OnStack(size) => {
                let _one_at_a_time = if size > LARGE_STACK { Some(wait_for_turn(&go_on)?) } else { None };
                on_stack(size, work)?
            }
        }
    }

    fn place(&self, bytes: &[u8], parts: &[Part]) -> Result<Place> {
        let (mut reach, mut steps) = (0, 0usize);
        if !self.effort.is_even() {
            for part in parts {
                if let Part::Text(range) = part {
                    let text = String::from_utf8_lossy(&bytes[range.clone()]);
                    self.effort.check(&text)?;
                    reach = reach.max(self.effort.reach(&text));
                    steps = steps.saturating_add(self.effort.squared_steps(&text));
                }
            }
        }
        place(reach, steps)
    }
}

struct Job<'a> {
    raw: &'a dyn RawTokenizer,
    bytes: &'a [u8],
    options: &'a TokenizeOptions<'a>,
    tokens: Vec<Token>,
    /// The range in `tokens` of each short part.
    short: HashMap<&'a [u8], Range<usize>>,
}

impl Job<'_> {
    fn run(&mut self, parts: &[Part]) -> Result<()> {
        for part in parts {
            if !self.options.goes_on() {
                return Err(was_stopped());
            }
            if let Some(room) = self.options.room
                && self.tokens.len() / COUNTED_BEYOND_ROOM > room
            {
                return Err(too_long("more than", self.tokens.len(), room));
            }
            match part {
                Part::Token(token) => self.tokens.push(*token),
                Part::Text(range) => self.append(&self.bytes[range.clone()])?,
            }
        }
        Ok(())
    }
}

impl<'a> Job<'a> {
    fn append(&mut self, text: &'a [u8]) -> Result<()> {
        if text.len() > SHORT_PART {
            return self.raw.append(text, &mut self.tokens);
        }
        if let Some(known) = self.short.get(text) {
            self.tokens.extend_from_within(known.clone());
            return Ok(());
        }
        let start = self.tokens.len();
        self.raw.append(text, &mut self.tokens)?;
        self.short.insert(text, start..self.tokens.len());
        Ok(())
    }
}

fn check_plain(text: &str, plain: &[Range<usize>]) -> Result<()> {
    let mut last = 0;
    for range in plain {
        let in_order = last <= range.start && range.start <= range.end;
        if !in_order || !text.is_char_boundary(range.start) || !text.is_char_boundary(range.end) {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                format!(
                    "the plain range {range:?} of a prompt of {} bytes is invalid; give ranges in order that do not touch, on \
                     character boundaries",
                    text.len()
                ),
            ));
        }
        last = range.end;
    }
    Ok(())
}

fn too_long(how: &str, n_prompt: usize, n_ctx: usize) -> Error {
    Error::new(
        ErrorKind::PromptTooLong { n_prompt, max_tokens: 1, n_ctx },
        format!(
            "the text has {how} {n_prompt} tokens, which exceeds the {n_ctx} tokens of a slot; shorten it or raise n_ctx"
        ),
    )
}

fn was_stopped() -> Error {
    Error::new(ErrorKind::ShuttingDown, "the text was not tokenized: the request was cancelled")
}

fn wait_for_turn(go_on: &dyn Fn() -> bool) -> Result<std::sync::MutexGuard<'static, ()>> {
    loop {
        match LARGE_STACKS.try_lock() {
            Ok(turn) => return Ok(turn),
            Err(TryLockError::Poisoned(poisoned)) => return Ok(PoisonError::into_inner(poisoned)),
            Err(TryLockError::WouldBlock) if !go_on() => return Err(was_stopped()),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Runs work on a new thread with this stack size.
pub(super) fn on_stack<T: Send>(size: usize, work: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("tokenizer".into()).stack_size(size);
        match builder.spawn_scoped(scope, work) {
            Ok(thread) => Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
            Err(error) => Err(Error::new(
                ErrorKind::InvalidRequest,
                format!(
                    "the text has so long a run without spaces that its tokenizer needs {} MiB of stack, which the \
                     system does not give ({error}); break the run up, or raise the limits of memory and threads",
                    size >> 20
                ),
            )),
        }
    })
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of one plain range are meant")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::tokenizer::partition::SpecialToken;

    /// One token for each byte; counts its calls.
    #[derive(Default)]
    struct Bytes {
        calls: AtomicUsize,
    }

    impl RawTokenizer for Bytes {
        fn append(&self, text: &[u8], tokens: &mut Vec<Token>) -> Result<()> {
            tokens.extend(text.iter().map(|&byte| Token::from(byte)));
            self.calls.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    fn tokenizer() -> TextTokenizer {
        let end =
            SpecialToken { token: 300, text: b"<end>".into(), control: true, strip_left: false, strip_right: false };
        TextTokenizer {
            special: SpecialTokens::new(vec![end]),
            effort: Effort::of("gpt2", Some("tekken")),
            before: Some(301),
            behind: Some(302),
            longest_token: Some(5),
        }
    }

    const ALL: TokenizeOptions<'_> =
        TokenizeOptions { begin: true, end: true, parse_special: true, plain: &[], go_on: None, room: None };

    #[test]
    fn what_the_model_wants_goes_around_the_text() {
        let raw = Bytes::default();
        let tokens = |options: &TokenizeOptions<'_>| tokenizer().tokenize(&raw, "a<end>", options).unwrap();
        assert_eq!(tokens(&ALL), [301, 97, 300, 302]);
        assert_eq!(tokens(&TokenizeOptions { end: false, ..ALL }), [301, 97, 300]);
        assert_eq!(
            tokens(&TokenizeOptions { begin: false, end: false, plain: &[1..2], ..ALL }),
            b"a<end>".map(Token::from)
        );
        assert_eq!(tokenizer().tokenize(&raw, "", &ALL).unwrap(), [301, 302]);
    }

    #[test]
    fn equal_short_parts_are_tokenized_once() {
        let raw = Bytes::default();
        let got =
            tokenizer().tokenize(&raw, &"hi<end>".repeat(1000), &TokenizeOptions { begin: false, ..ALL }).unwrap();
        assert_eq!(raw.calls.load(Ordering::Relaxed), 1);
        assert_eq!(got.len(), 3001);
        assert_eq!(got[2997..], [104, 105, 300, 302]);
    }

    #[test]
    fn it_stops_between_two_parts() {
        let raw = Bytes::default();
        let text: String = (0..100).map(|n| format!("{n}<end>")).collect();
        let go_on = || raw.calls.load(Ordering::Relaxed) < 3;
        let error = tokenizer().tokenize(&raw, &text, &TokenizeOptions { go_on: Some(&go_on), ..ALL }).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::ShuttingDown);
        assert_eq!(raw.calls.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn what_cannot_fit_is_refused_before_it_is_tokenized_and_soon_after() {
        let raw = Bytes::default();
        let refused = |text: &str| {
            let error = tokenizer().tokenize(&raw, text, &TokenizeOptions { room: Some(10), ..ALL }).unwrap_err();
            match error.kind() {
                ErrorKind::PromptTooLong { n_prompt, n_ctx: 10, .. } => *n_prompt,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refused(&"a".repeat(1001)), 201);
        assert_eq!(raw.calls.load(Ordering::Relaxed), 0);
        assert_eq!(refused(&format!("{}<end>", "a".repeat(49))), 50);
        // A slightly too long text is refused by the caller, which knows what else must fit.
        assert_eq!(
            tokenizer().tokenize(&raw, &"a".repeat(40), &TokenizeOptions { room: Some(10), ..ALL }).unwrap().len(),
            42
        );
    }

    #[test]
    fn plain_ranges_that_are_none_are_refused() {
        for plain in [vec![Range { start: 3, end: 1 }], vec![0..3, 2..4], vec![0..9], vec![0..2]] {
            let options = TokenizeOptions { plain: &plain, ..ALL };
            let error = tokenizer().tokenize(&Bytes::default(), "aéoooo", &options).unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::InvalidRequest, "{plain:?}");
        }
    }

    #[test]
    fn long_runs_are_refused_and_others_get_a_stack() {
        let raw = Bytes::default();
        let whole = |n: usize| tokenizer().tokenize(&raw, &"x".repeat(n), &ALL);
        assert_eq!(whole(200_000).unwrap().len(), 200_002);
        assert!(whole(1_000_000).unwrap_err().to_string().contains("1000001 characters"));
    }
}
