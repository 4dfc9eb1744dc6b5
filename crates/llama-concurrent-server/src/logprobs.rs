//! Log probabilities in the three formats of the APIs. They are written directly into a response: with 1000 per token, JSON
//! values would take a hundred times their memory.

use llama_concurrent::{Engine, PromptToken, Token, TokenLogprobs};
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
    /// Whether probabilities are shown, and not their logarithms.
    linear: bool,
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.engine.token_bytes(self.token, true);
        let mut entry = serializer.serialize_struct("Entry", 5)?;
        entry.serialize_field("id", &self.token)?;
        entry.serialize_field("token", &String::from_utf8_lossy(bytes))?;
        let Self { engine, linear, .. } = *self;
        match linear {
            true => entry.serialize_field("prob", &self.logprob.exp())?,
            false => entry.serialize_field("logprob", &finite(self.logprob))?,
        }
        entry.serialize_field("bytes", &bytes)?;
        if let Some(found) = self.top {
            let top = found.top.iter();
            let top = top.map(|other| Entry { engine, token: other.token, logprob: other.logprob, top: None, linear });
            entry.serialize_field(if linear { "top_probs" } else { "top_logprobs" }, &List(top))?;
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

/// The latter with `post_sampling_probs`.
pub(crate) struct Probabilities<'a>(pub(crate) &'a Engine, pub(crate) &'a [Scored]);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        entries(serializer, self.0, self.1, false)
    }
}

impl Serialize for Probabilities<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        entries(serializer, self.0, self.1, true)
    }
}

fn entries<S: Serializer>(to: S, engine: &Engine, scored: &[Scored], linear: bool) -> Result<S::Ok, S::Error> {
    to.collect_seq(scored.iter().map(|(token, found)| Entry {
        engine,
        token: *token,
        logprob: found.logprob,
        top: Some(found),
        linear,
    }))
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
    /// Characters of the first tokens that are no part of the text.
    hidden: usize,
    characters: usize,
    decoder: Utf8Decoder,
}

impl Offset {
    /// The start of an output.
    pub(crate) fn start(special: bool) -> Self {
        Self { special, ..Self::default() }
    }

    /// The start of a prompt that the output follows.
    pub(crate) fn of_prompt(special: bool, engine: &Engine, prompt: &[PromptToken], text: &str) -> Self {
        let tokens: Vec<Token> = prompt.iter().map(|one| one.token).collect();
        let written = |tokens: &[Token]| engine.detokenize_with(tokens, true);
        let bos = tokens.split_first().filter(|(first, _)| engine.token_bytes(**first, false).is_empty());
        // Written tokens begin with a BOS that the model adds, and with the space that some put before a text.
        let begins = |rest: &str| text.starts_with(rest.trim_end_matches(char::REPLACEMENT_CHARACTER));
        let whole = written(&tokens);
        let hidden = match bos {
            _ if begins(&whole) => String::new(),
            Some((first, rest)) => {
                let space = written(rest).strip_prefix(' ').is_some_and(begins);
                written(&[*first]) + if space { " " } else { "" }
            }
            None if whole.strip_prefix(' ').is_some_and(begins) => " ".into(),
            None => String::new(),
        };
        Self { hidden: hidden.chars().count(), ..Self::start(special) }
    }
}

/// `logprobs` of a text completion's choice: of its prompt's tokens, where they are asked for, and of those behind it.
pub(crate) struct OfText<'a> {
    pub(crate) prompt: &'a [PromptToken],
    pub(crate) output: Entries<'a>,
    /// Where the first of the tokens is.
    pub(crate) start: Offset,
}

impl OfText<'_> {
    /// The offset of each token in characters, and the end of the last one. A token inside a character has the offset of
    /// that character.
    pub(crate) fn offsets(&self) -> (Vec<usize>, Offset) {
        let engine = self.output.0;
        let mut offset = self.start.clone();
        let mut text = String::new();
        let of_prompt = self.prompt.iter().map(|one| (one.token, true));
        let of_output = self.output.1.iter().map(|&(token, _)| (token, self.start.special));
        let each = of_prompt.chain(of_output).map(|(token, special)| {
            let start = offset.characters.saturating_sub(offset.hidden);
            text.clear();
            offset.decoder.push(engine.token_bytes(token, special), &mut text);
            offset.characters += text.chars().count();
            start
        });
        (each.collect(), offset)
    }

    /// Each token, with what was found of it, of which there is nothing for the first one of a prompt.
    fn tokens(&self) -> impl Iterator<Item = (Token, Option<&TokenLogprobs>)> + Clone {
        let prompt = self.prompt.iter().map(|one| (one.token, one.logprobs.as_ref()));
        prompt.chain(self.output.1.iter().map(|(token, found)| (*token, Some(found))))
    }
}

impl Serialize for OfText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let engine = self.output.0;
        // Tokens of the same text share an entry.
        let top_of = |found: &TokenLogprobs| {
            let each = found.top.iter().map(|other| (text(engine, other.token), finite(other.logprob).into()));
            each.collect::<Map<String, Value>>()
        };
        let tokens = self.tokens().map(|(token, _)| text(engine, token));
        let chosen = self.tokens().map(|(_, found)| found.map(|found| finite(found.logprob)));
        let top = self.tokens().map(|(_, found)| found.map(top_of));
        let mut logprobs = serializer.serialize_map(Some(4))?;
        logprobs.serialize_entry("tokens", &List(tokens))?;
        logprobs.serialize_entry("token_logprobs", &List(chosen))?;
        logprobs.serialize_entry("top_logprobs", &List(top))?;
        logprobs.serialize_entry("text_offset", &self.offsets().0)?;
        logprobs.end()
    }
}
