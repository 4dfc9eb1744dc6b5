//! Output of a given form: JSON after a schema, a regular expression, a grammar.
//!
//! `llguidance` compiles the form and says after each token which tokens may follow. It knows the model by the bytes of
//! its tokens alone.

mod budget;
mod compile;
mod digits;
mod gbnf;
mod json_schema;
mod message;
mod recent;
#[cfg(test)]
mod walks;

use llguidance::{Matcher, toktrie::SimpleVob};

pub use self::compile::Compiler;
use llama_concurrent_types::{Constraint, Token};

use self::digits::Digits;

/// A constraint that was compiled for a model, and how far a text has come in it.
pub struct Grammar {
    source: Constraint,
    matcher: Matcher,
    /// The id behind the vocabulary that stands for the end.
    end: Token,
    /// Where the text is JSON.
    digits: Option<Digits>,
}

/// What may follow.
pub enum Allowed {
    /// These tokens; whether the text may also end here.
    Tokens {
        /// One bit for each token.
        mask: SimpleVob,
        /// Whether the text is complete.
        may_end: bool,
    },
    /// Nothing: the text is complete.
    Nothing,
}

impl Grammar {
    /// What may follow the tokens so far.
    ///
    /// # Errors
    /// In words: the grammar turned out too complex, or no token of the vocabulary fits it.
    pub fn allowed(&mut self) -> Result<Allowed, String> {
        if self.matcher.is_stopped() && !self.matcher.is_error() {
            return Ok(Allowed::Nothing);
        }
        let mut mask = self.matcher.compute_mask().map_err(|e| self.describe(e))?;
        let may_end = mask.is_allowed(self.end as u32);
        mask.disallow_token(self.end as u32);
        if let Some(digits) = &self.digits {
            digits.limit(&mut mask, may_end);
        }
        Ok(if mask.is_zero() { Allowed::Nothing } else { Allowed::Tokens { mask, may_end } })
    }

    /// Takes the token that was chosen; whether the text is complete with it, so that nothing can follow.
    ///
    /// # Errors
    /// As [`allowed`](Self::allowed).
    pub fn accept(&mut self, token: Token) -> Result<bool, String> {
        self.matcher.consume_token(token as u32).map_err(|e| self.describe(e))?;
        if let Some(digits) = &mut self.digits {
            digits.pass(token);
        }
        Ok(self.matcher.is_stopped())
    }

    /// A copy that shares nothing with this one. Where caches are shared, what is too complex for one copy is so for all.
    fn apart(&self) -> Self {
        Self {
            source: self.source.clone(),
            matcher: self.matcher.deep_clone(),
            end: self.end,
            digits: self.digits.clone(),
        }
    }

    fn describe(&self, error: impl std::fmt::Display) -> String {
        let words = message::first_words(&error.to_string());
        let words = match words.as_str() {
            "NoExtensionBias" => "no token of the vocabulary can follow",
            other => other,
        };
        format!("the {} cannot be held to: {words}", self.source.name())
    }
}

impl Clone for Grammar {
    /// At the same place in the text, and independent from there on; what was learned of the vocabulary is shared.
    fn clone(&self) -> Self {
        Self { source: self.source.clone(), matcher: self.matcher.clone(), end: self.end, digits: self.digits.clone() }
    }
}

impl PartialEq for Grammar {
    /// Whether both were compiled from the same.
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Grammar").field(&self.source).finish()
    }
}
