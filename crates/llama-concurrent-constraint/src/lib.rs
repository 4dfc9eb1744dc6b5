//! Output of a given form: JSON after a schema, a regular expression, a grammar.
//!
//! `llguidance` compiles the form and says after each token which tokens may follow. It knows the model by the bytes of
//! its tokens alone.

mod budget;
mod compile;
mod digits;
mod gbnf;
mod json_schema;
pub mod lark;
mod message;
mod recent;
#[cfg(test)]
mod walks;

pub use self::compile::Compiler;
use llama_concurrent_types::{Allowed, Constraint, Matcher, Token, TokenMask};

use self::digits::Digits;

/// A constraint that was compiled for a model, and how far a text has come in it.
pub struct Grammar {
    source: Constraint,
    matcher: llguidance::Matcher,
    /// The id behind the vocabulary that stands for the end.
    end: Token,
    /// Where the text is JSON.
    digits: Option<Digits>,
}

impl Matcher for Grammar {
    fn allowed(&mut self) -> Result<Allowed, String> {
        if self.matcher.is_stopped() && !self.matcher.is_error() {
            return Ok(Allowed::Nothing);
        }
        let mut mask = self.matcher.compute_mask().map_err(|e| self.describe(e))?;
        let may_end = mask.is_allowed(self.end as u32);
        mask.disallow_token(self.end as u32);
        if let Some(digits) = &self.digits {
            digits.limit(&mut mask, may_end);
        }
        if mask.is_zero() {
            return Ok(Allowed::Nothing);
        }
        Ok(Allowed::Tokens { mask: TokenMask::new(mask.as_slice().to_vec()), may_end })
    }

    fn accept(&mut self, token: Token) -> Result<bool, String> {
        self.matcher.consume_token(token as u32).map_err(|e| self.describe(e))?;
        if let Some(digits) = &mut self.digits {
            digits.pass(token);
        }
        Ok(self.matcher.is_stopped())
    }

    fn forced(&self) -> Vec<u8> {
        // It would go on as if these bytes had come, so that a copy is asked.
        self.matcher.clone().compute_ff_bytes()
    }

    fn boxed_clone(&self) -> Box<dyn Matcher> {
        Box::new(self.clone())
    }
}

impl Grammar {
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
