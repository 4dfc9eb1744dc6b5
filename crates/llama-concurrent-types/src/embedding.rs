//! Embeddings: a text as one vector, from what the model makes of its tokens.

use std::str::FromStr;

use crate::{
    error::{Error, ErrorKind, Result},
    parameters::IntoField,
};

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The vector of the first token.
    Cls,
    /// The vector of the last token.
    Last,
    /// Not at all: the vectors of all tokens are wanted. They are never scaled.
    None,
    /// What the model's rank head makes of the whole text: its score, or one for each label. Never scaled.
    Rank,
}

impl Pooling {
    /// Every way, in the order of the documentation.
    pub const ALL: [Pooling; 5] = [Pooling::Mean, Pooling::Cls, Pooling::Last, Pooling::None, Pooling::Rank];

    /// Its name in every interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Pooling::Mean => "mean",
            Pooling::Cls => "cls",
            Pooling::Last => "last",
            Pooling::None => "none",
            Pooling::Rank => "rank",
        }
    }

    /// The way of this name that makes vectors: all but [`Rank`](Self::Rank).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] for another name.
    pub fn of_vectors(name: &str) -> Result<Self> {
        let ways = || Pooling::ALL.into_iter().filter(|&way| way != Pooling::Rank);
        ways().find(|way| way.as_str() == name).ok_or_else(|| unknown(name, ways()))
    }

    /// Whether the vector of the token at `position`, of `n` tokens, is part of the sum.
    pub fn takes(self, position: usize, n: usize) -> bool {
        match self {
            Pooling::Mean | Pooling::None | Pooling::Rank => true,
            Pooling::Cls => position == 0,
            Pooling::Last => position + 1 == n,
        }
    }

    /// What the sum over `n` tokens is divided by.
    pub fn divisor(self, n: usize) -> f64 {
        match self {
            Pooling::Mean => n as f64,
            Pooling::Cls | Pooling::Last | Pooling::None | Pooling::Rank => 1.0,
        }
    }
}

impl FromStr for Pooling {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Pooling::ALL.into_iter().find(|way| way.as_str() == name).ok_or_else(|| unknown(name, Pooling::ALL))
    }
}

fn unknown(name: &str, known: impl IntoIterator<Item = Pooling>) -> Error {
    let known: Vec<_> = known.into_iter().map(Pooling::as_str).collect();
    Error::new(ErrorKind::InvalidRequest, format!("unknown pooling '{name}'; use one of {}", known.join(", ")))
}

/// How a text is embedded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmbedOptions {
    /// How the vectors of the tokens become one; `None` takes what the model's file says, and the mean where it says nothing.
    pub pooling: Option<Pooling>,
    /// Scale the vector to length 1, so that dot products are cosines.
    pub normalize: bool,
}

impl Default for EmbedOptions {
    fn default() -> Self {
        Self { pooling: None, normalize: true }
    }
}

impl EmbedOptions {
    /// Sets [`pooling`](Self::pooling).
    #[must_use]
    pub fn pooling(mut self, pooling: impl IntoField<Option<Pooling>>) -> Self {
        self.pooling = pooling.into_field();
        self
    }

    /// Sets [`normalize`](Self::normalize).
    #[must_use]
    pub fn normalize(mut self, normalize: bool) -> Self {
        self.normalize = normalize;
        self
    }
}

/// A text as a vector.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Embedding {
    /// The vector; its length is the width of the model. With [`Pooling::None`] the vectors of all tokens, one after the other;
    /// with [`Pooling::Rank`] the score, or one for each label.
    pub values: Vec<f32>,
    /// How many vectors that is: more than one only with [`Pooling::None`].
    pub n_vectors: usize,
    /// Tokens of the text, special ones included.
    pub n_prompt_tokens: usize,
}

impl Embedding {
    /// The vector of a text of so many tokens.
    pub fn new(values: Vec<f32>, n_prompt_tokens: usize) -> Self {
        Self { values, n_vectors: 1, n_prompt_tokens }
    }

    /// The vectors of all tokens of a text, one after the other.
    pub fn of_tokens(values: Vec<f32>, n_prompt_tokens: usize) -> Self {
        Self { values, n_vectors: n_prompt_tokens, n_prompt_tokens }
    }

    /// Each vector.
    pub fn vectors(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact((self.values.len() / self.n_vectors.max(1)).max(1))
    }
}
