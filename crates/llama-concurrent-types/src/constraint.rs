//! What an output has to look like, and the boundary to what holds it to that.

use std::fmt::Debug;

use crate::{
    Token,
    error::{Error, ErrorKind, Result},
};

/// What an output has to look like. Tokens that would break it are made impossible before one is chosen.
///
/// The model may end its text only where it is complete; where nothing more can follow, the generation ends by itself with
/// [`FinishReason::Stop`](crate::FinishReason::Stop). One that ends for another reason (`max_tokens`, a stop string, a
/// cancel) gives the beginning of such a text.
///
/// The tokens are limited, not the model's mind: tell it in the prompt what it should write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Constraint {
    /// Any JSON object.
    JsonObject,
    /// JSON that is valid under this JSON schema, itself written in JSON. Properties come in the order of the schema; an
    /// object that lists properties or patterns of names and does not mention `additionalProperties` has no others, so
    /// that no model goes on inventing some. Keywords that cannot be held to are refused. Three are followed only in part:
    /// `oneOf` as `anyOf`, `uniqueItems` where the items are an `enum` (up to four values exactly, more by the number of
    /// items), and `format` where it is one of JSON Schema's own for dates, times, addresses, URIs and UUIDs.
    ///
    /// White space is one space, or one or two ends of line and an indentation of up to 20 characters, and a number has up
    /// to 16 digits before and after its point unless its bounds want more, so that no model gets lost in them;
    /// `x-guidance` in the schema can change the white space, see llguidance.
    JsonSchema(String),
    /// A text that this regular expression matches as a whole, in the syntax of the crate `regex`, without look-around,
    /// anchors and groups that capture.
    Regex(String),
    /// A text of this grammar: in llguidance's form of Lark, where the rule `start` is the whole text, or in llama.cpp's GBNF,
    /// where it is `root`. Which one it is shows at the first rule, `name:` or `name ::=`. Where rules of GBNF are recursive,
    /// what stands between the recursive references is read as far as it goes, as Lark's terminals are.
    Grammar(String),
}

impl Constraint {
    /// The constraint of a caller who has a field for each form, of which one may be given.
    pub fn one_of(json_schema: Option<&str>, regex: Option<&str>, grammar: Option<&str>) -> Result<Option<Self>> {
        let schema = json_schema.map(|schema| Self::JsonSchema(schema.to_owned()));
        let regex = regex.map(|regex| Self::Regex(regex.to_owned()));
        let grammar = grammar.map(|grammar| Self::Grammar(grammar.to_owned()));
        let mut given = [schema, regex, grammar].into_iter().flatten();
        match (given.next(), given.next()) {
            (one, None) => Ok(one),
            _ => Err(Error::new(
                ErrorKind::InvalidRequest,
                "more than one of json_schema, regex and grammar is given; use one of them",
            )),
        }
    }

    /// What it is, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Constraint::JsonObject => "JSON object",
            Constraint::JsonSchema(_) => "JSON schema",
            Constraint::Regex(_) => "regular expression",
            Constraint::Grammar(_) => "grammar",
        }
    }
}

/// A set of tokens, one bit for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenMask(Vec<u32>);

impl TokenMask {
    /// Token `t` is bit `t % 32` of word `t / 32`.
    pub fn new(words: Vec<u32>) -> Self {
        Self(words)
    }

    /// None of so many tokens.
    pub fn none(n_tokens: usize) -> Self {
        Self(vec![0; n_tokens.div_ceil(32)])
    }

    /// Takes in all tokens of another set.
    pub fn unite(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(own, others)| *own |= others);
    }

    /// Whether the token is in the set.
    pub fn allows(&self, token: Token) -> bool {
        self.0[token as usize / 32] >> (token % 32) & 1 == 1
    }

    /// Takes a token into the set or out of it.
    pub fn set(&mut self, token: Token, allowed: bool) {
        let (word, bit) = (&mut self.0[token as usize / 32], 1 << (token % 32));
        *word = if allowed { *word | bit } else { *word & !bit };
    }

    /// The logits of all other tokens become minus infinity.
    pub fn apply(&self, logits: &mut [f32]) {
        for (logits, &bits) in logits.chunks_mut(32).zip(&self.0) {
            if bits == u32::MAX {
                continue;
            }
            for (bit, logit) in logits.iter_mut().enumerate() {
                *logit = if bits >> bit & 1 == 1 { *logit } else { f32::NEG_INFINITY };
            }
        }
    }
}

/// What may follow a text so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Every token, and the end if `may_end`. Costs nothing, where a mask is computed and applied.
    Anything {
        /// Whether the text is complete.
        may_end: bool,
    },
    /// These tokens, or the end if `may_end`.
    Tokens {
        /// The tokens.
        mask: TokenMask,
        /// Whether the text is complete.
        may_end: bool,
    },
    /// Nothing: the text is complete.
    Nothing,
}

/// A constraint that was compiled for a vocabulary, and how far a text has come in it.
pub trait Matcher: Debug + Send {
    /// What may follow the tokens so far.
    ///
    /// # Errors
    /// A message: the constraint turned out too complex, or no token of the vocabulary fits it.
    fn allowed(&mut self) -> Result<Allowed, String>;

    /// Takes the next token of the text; whether the text is complete with it, so that nothing can follow.
    ///
    /// # Errors
    /// As [`allowed`](Self::allowed).
    fn accept(&mut self, token: Token) -> Result<bool, String>;

    /// The bytes that follow in any case: a guess for drafts, so one that knows nothing says nothing.
    fn forced(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Another matcher at the same place of the text, independent from here on.
    fn boxed_clone(&self) -> Box<dyn Matcher>;
}

impl Clone for Box<dyn Matcher> {
    fn clone(&self) -> Self {
        (**self).boxed_clone()
    }
}
