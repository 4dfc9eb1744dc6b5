//! What an output has to look like.

use crate::error::{Error, ErrorKind, Result};

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
    Lark(String),
}

impl Constraint {
    /// The constraint of a caller who has a field for each form, of which one may be given.
    pub fn one_of(json_schema: Option<&str>, regex: Option<&str>, grammar: Option<&str>) -> Result<Option<Self>> {
        let schema = json_schema.map(|schema| Self::JsonSchema(schema.to_owned()));
        let regex = regex.map(|regex| Self::Regex(regex.to_owned()));
        let grammar = grammar.map(|grammar| Self::Lark(grammar.to_owned()));
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
            Constraint::Lark(_) => "grammar",
        }
    }
}
