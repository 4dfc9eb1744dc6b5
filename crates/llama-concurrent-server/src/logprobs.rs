//! Log probabilities in the three formats of the APIs. They are written directly into a response: with 1000 per token, JSON
//! values would take a hundred times their memory.

use llama_concurrent::{Engine, Token, TokenLogprobs};
use llama_concurrent_scheduler::text::Utf8Decoder;
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeStruct},
};
use serde_json::{Map, Value};

/// A token of an output, with its log probabilities.
pub(crate) type Scored = (Token, TokenLogprobs);

/// The value for an impossible token, because JSON has no infinity; as in OpenAI's API.
const IMPOSSIBLE: f32 = -9999.0;

fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { IMPOSSIBLE }
}

fn text(engine: &Engine, token: Token) -> String {
    String::from_utf8_lossy(engine.token_bytes(token, true)).into_owned()
}

/// A token as text and bytes: a part of a character alone has no text.
struct Entry<'a> {
    engine: &'a Engine,
    token: Token,
    logprob: f32,
    /// The most likely tokens at its position, for an entry of the output itself.
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

/// Serialises an iterator as a list.
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

/// The position in the output text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offset {
    /// Whether special tokens are part of the text.
    special: bool,
    characters: usize,
    decoder: Utf8Decoder,
}

impl Offset {
    /// The start of an output.
    pub(crate) fn start(special: bool) -> Self {
        Self { special, ..Self::default() }
    }
}

/// `logprobs` of a text completion's choice, and the offset of its first token.
pub(crate) struct OfText<'a>(pub(crate) Entries<'a>, pub(crate) Offset);

impl OfText<'_> {
    /// The offset of each token in characters, and the end of the last one. A token inside a character has the offset of
    /// that character.
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
