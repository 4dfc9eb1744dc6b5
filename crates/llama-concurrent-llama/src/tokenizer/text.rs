//! Text to tokens: special tokens are found here, what lies between them goes to llama.cpp.

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

/// The tokenizer proper, which knows nothing of special tokens.
pub(crate) trait RawTokenizer: Sync {
    /// Appends the tokens of some bytes of a text.
    fn append(&self, text: &[u8], tokens: &mut Vec<Token>) -> Result<()>;
}

/// What to make of a text.
#[derive(Clone, Copy, Default)]
pub struct Wishes<'a> {
    /// Put the token before the text that the model wants there.
    pub begin: bool,
    /// Put the token behind it that the model wants there.
    pub end: bool,
    /// Read special tokens that are written out, ...
    pub parse_special: bool,
    /// ... but not where they touch one of these ranges.
    pub plain: &'a [Range<usize>],
    /// Give up when this becomes false.
    pub go_on: Option<&'a (dyn Fn() -> bool + Sync)>,
    /// How many tokens can be used.
    pub room: Option<usize>,
}

impl Wishes<'_> {
    fn goes_on(&self) -> bool {
        self.go_on.is_none_or(|go_on| go_on())
    }
}

/// What is in front of a vocabulary's tokenizer.
#[derive(Debug, Default)]
pub(crate) struct TextTokenizer {
    pub(crate) special: SpecialTokens,
    pub(crate) effort: Effort,
    /// What the model wants before a text.
    pub(crate) before: Option<Token>,
    /// And behind it.
    pub(crate) behind: Option<Token>,
    /// Bytes of text that one token stands for at most; `None` where the tokenizer drops some of a text.
    pub(crate) longest_token: Option<usize>,
}

/// Texts with more tokens than there is room for are counted to this multiple of it, so that the caller learns how
/// much too long his text is, and no further.
const COUNTED_BEYOND_ROOM: usize = 4;

/// Stacks beyond this are made one at a time, so that their memory is there once.
const LARGE_STACK: usize = 32 << 20;

static LARGE_STACKS: Mutex<()> = Mutex::new(());

/// Equal parts up to this length are tokenized once for each text: chats repeat what stands between their messages.
const SHORT_PART: usize = 256;

impl TextTokenizer {
    /// Tokens of a text.
    ///
    /// # Errors
    /// [`ErrorKind::PromptTooLong`] if it cannot fit into the room; [`ErrorKind::InvalidRequest`] if the tokenizer cannot
    /// take it, or the plain ranges are none of the text; [`ErrorKind::ShuttingDown`] if it was told to stop.
    pub(crate) fn tokenize(&self, raw: &dyn RawTokenizer, text: &str, wishes: &Wishes<'_>) -> Result<Vec<Token>> {
        check_plain(text, wishes.plain)?;
        if let (Some(room), Some(longest)) = (wishes.room, self.longest_token)
            && text.len() / longest / COUNTED_BEYOND_ROOM > room
        {
            return Err(too_long("at least", text.len().div_ceil(longest), room));
        }
        let bytes = text.as_bytes();
        let go_on = || wishes.goes_on();
        let parts = self.special.split(bytes, wishes.parse_special, wishes.plain, &go_on).ok_or_else(was_stopped)?;
        let work = || {
            let mut job = Job { raw, bytes, wishes, tokens: Vec::new(), short: HashMap::new() };
            job.tokens.extend(self.before.filter(|_| wishes.begin));
            job.run(&parts)?;
            job.tokens.extend(self.behind.filter(|_| wishes.end));
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
    wishes: &'a Wishes<'a>,
    tokens: Vec<Token>,
    /// Where the tokens of a short part are among them.
    short: HashMap<&'a [u8], Range<usize>>,
}

impl Job<'_> {
    fn run(&mut self, parts: &[Part]) -> Result<()> {
        for part in parts {
            if !self.wishes.goes_on() {
                return Err(was_stopped());
            }
            if let Some(room) = self.wishes.room
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
                    "the plain range {range:?} of a prompt of {} bytes is none; give ranges in order, apart from each \
                     other and between characters",
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
    Error::new(ErrorKind::ShuttingDown, "the text was not tokenized: the request was given up before its turn was over")
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

/// Runs work on a thread of its own, with so much stack.
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

    const ALL: Wishes<'_> = Wishes { begin: true, end: true, parse_special: true, plain: &[], go_on: None, room: None };

    #[test]
    fn what_the_model_wants_goes_around_the_text() {
        let raw = Bytes::default();
        let tokens = |wishes: &Wishes<'_>| tokenizer().tokenize(&raw, "a<end>", wishes).unwrap();
        assert_eq!(tokens(&ALL), [301, 97, 300, 302]);
        assert_eq!(tokens(&Wishes { end: false, ..ALL }), [301, 97, 300]);
        assert_eq!(tokens(&Wishes { begin: false, end: false, plain: &[1..2], ..ALL }), b"a<end>".map(Token::from));
        assert_eq!(tokenizer().tokenize(&raw, "", &ALL).unwrap(), [301, 302]);
    }

    #[test]
    fn equal_short_parts_are_tokenized_once() {
        let raw = Bytes::default();
        let got = tokenizer().tokenize(&raw, &"hi<end>".repeat(1000), &Wishes { begin: false, ..ALL }).unwrap();
        assert_eq!(raw.calls.load(Ordering::Relaxed), 1);
        assert_eq!(got.len(), 3001);
        assert_eq!(got[2997..], [104, 105, 300, 302]);
    }

    #[test]
    fn it_stops_between_two_parts() {
        let raw = Bytes::default();
        let text: String = (0..100).map(|n| format!("{n}<end>")).collect();
        let go_on = || raw.calls.load(Ordering::Relaxed) < 3;
        let error = tokenizer().tokenize(&raw, &text, &Wishes { go_on: Some(&go_on), ..ALL }).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::ShuttingDown);
        assert_eq!(raw.calls.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn what_cannot_fit_is_refused_before_it_is_tokenized_and_soon_after() {
        let raw = Bytes::default();
        let refused = |text: &str| {
            let error = tokenizer().tokenize(&raw, text, &Wishes { room: Some(10), ..ALL }).unwrap_err();
            match error.kind() {
                ErrorKind::PromptTooLong { n_prompt, n_ctx: 10, .. } => *n_prompt,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refused(&"a".repeat(1001)), 201);
        assert_eq!(raw.calls.load(Ordering::Relaxed), 0);
        assert_eq!(refused(&format!("{}<end>", "a".repeat(49))), 50);
        // A little too long is for the caller to judge, who knows what else must fit.
        assert_eq!(tokenizer().tokenize(&raw, &"a".repeat(40), &Wishes { room: Some(10), ..ALL }).unwrap().len(), 42);
    }

    #[test]
    fn plain_ranges_that_are_none_are_refused() {
        for plain in [vec![Range { start: 3, end: 1 }], vec![0..3, 2..4], vec![0..9], vec![0..2]] {
            let wishes = Wishes { plain: &plain, ..ALL };
            let error = tokenizer().tokenize(&Bytes::default(), "aéoooo", &wishes).unwrap_err();
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
