//! Log probabilities in the three forms that clients read. They are written straight into an answer: with 1000 for each
//! token, values in between would take a hundred times their memory.

use llama_concurrent::{Engine, Token, TokenLogprobs};
use llama_concurrent_scheduler::text::Utf8Decoder;
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeStruct},
};
use serde_json::{Map, Value};

/// A token of an answer, with what was asked about it.
pub(crate) type Scored = (Token, TokenLogprobs);

/// What stands for an impossible token, as JSON has no infinity; OpenAI's number.
const IMPOSSIBLE: f32 = -9999.0;

fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { IMPOSSIBLE }
}

fn text(engine: &Engine, token: Token) -> String {
    String::from_utf8_lossy(engine.token_bytes(token, true)).into_owned()
}

/// A token as text and bytes: the text of a part of a character alone is no text.
struct Entry<'a> {
    engine: &'a Engine,
    token: Token,
    logprob: f32,
    /// The likeliest tokens of its place, for an entry of the answer itself.
    top: Option<&'a TokenLogprobs>,
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.engine.token_bytes(self.token, true);
        let mut entry = serializer.serialize_struct("Entry", 5)?;
        entry.serialize_field("id", &self.token)?;
        entry.serialize_field("token", &String::from_utf8_lossy(bytes))?;
        entry.serialize_field("logprob", &finite(self.logprob))?;
        entry.serialize_field("bytes", &bytes)?;
        if let Some(found) = self.top {
            let engine = self.engine;
            let top = found.top.iter();
            let top = top.map(|other| Entry { engine, token: other.token, logprob: other.logprob, top: None });
            entry.serialize_field("top_logprobs", &List(top))?;
        }
        entry.end()
    }
}

/// What an iterator gives, as a list.
struct List<I>(I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for List<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

/// `logprobs.content` of a chat, and llama-server's `completion_probabilities`.
pub(crate) struct Entries<'a>(pub(crate) &'a Engine, pub(crate) &'a [Scored]);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(engine, scored) = *self;
        serializer.collect_seq(scored.iter().map(|(token, found)| Entry {
            engine,
            token: *token,
            logprob: found.logprob,
            top: Some(found),
        }))
    }
}

/// `logprobs` of a chat's choice.
pub(crate) struct OfChat<'a>(pub(crate) Entries<'a>);

impl Serialize for OfChat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut logprobs = serializer.serialize_struct("Logprobs", 2)?;
        logprobs.serialize_field("content", &self.0)?;
        logprobs.serialize_field("refusal", &())?;
        logprobs.end()
    }
}

/// How much of an answer's text is behind us.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offset {
    /// Whether special tokens are part of the text.
    special: bool,
    characters: usize,
    decoder: Utf8Decoder,
}

impl Offset {
    /// The beginning of an answer.
    pub(crate) fn start(special: bool) -> Self {
        Self { special, ..Self::default() }
    }
}

/// `logprobs` of a text completion's choice, and where in the answer its first token begins.
pub(crate) struct OfText<'a>(pub(crate) Entries<'a>, pub(crate) Offset);

impl OfText<'_> {
    /// Where in the answer each token begins, in characters, and the end of the last one. A token in the middle of a
    /// character begins where that does.
    pub(crate) fn offsets(&self) -> (Vec<usize>, Offset) {
        let Entries(engine, scored) = self.0;
        let mut offset = self.1.clone();
        let mut text = String::new();
        let each = scored.iter().map(|(token, _)| {
            let start = offset.characters;
            text.clear();
            offset.decoder.push(engine.token_bytes(*token, offset.special), &mut text);
            offset.characters += text.chars().count();
            start
        });
        (each.collect(), offset)
    }
}

impl Serialize for OfText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Entries(engine, scored) = self.0;
        // Tokens of the same text share an entry.
        let top = scored.iter().map(|(_, found)| {
            let each = found.top.iter().map(|other| (text(engine, other.token), finite(other.logprob).into()));
            each.collect::<Map<String, Value>>()
        });
        let mut logprobs = serializer.serialize_map(Some(4))?;
        logprobs.serialize_entry("tokens", &List(scored.iter().map(|(token, _)| text(engine, *token))))?;
        logprobs.serialize_entry("token_logprobs", &List(scored.iter().map(|(_, found)| finite(found.logprob))))?;
        logprobs.serialize_entry("top_logprobs", &List(top))?;
        logprobs.serialize_entry("text_offset", &self.offsets().0)?;
        logprobs.end()
    }
}
