//! What a simulated slot holds, and what follows a text.

use llama_concurrent_types::Token;

/// A sliding window as llama.cpp keeps it.
#[derive(Clone, Copy, Debug)]
pub struct SimWindow {
    /// Positions that a token attends to, its own included.
    pub positions: usize,
    /// Positions before these that are kept.
    pub spare: usize,
}

/// What a slot holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    /// What stands for all tokens up to each position.
    pub(super) hashes: Vec<u64>,
    pub(super) tokens: Vec<Token>,
    /// Positions before this one have been dropped from the window.
    pub(super) first: usize,
}

impl Stream {
    pub(super) fn truncate(&mut self, keep: usize) {
        assert!(keep <= self.hashes.len(), "only what is there can be kept");
        assert!(keep == 0 || keep >= self.first, "the window still holds what is kept");
        self.hashes.truncate(keep);
        self.tokens.truncate(keep);
        if keep == 0 {
            self.first = 0;
        }
    }

    pub(super) fn keep_last(&mut self, positions: usize) {
        self.first = self.first.max(self.hashes.len().saturating_sub(positions));
    }
}

/// What stands for no tokens at all.
pub(super) const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

pub(super) fn followed_by(hash: u64, token: Token) -> u64 {
    (hash ^ (token as u64).wrapping_add(1)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
}

fn token_of(hash: u64, n_vocab: Token) -> Token {
    ((hash >> 17) % n_vocab as u64) as Token
}

pub(super) fn hash_of(tokens: &[Token]) -> u64 {
    tokens.iter().fold(EMPTY, |hash, &token| followed_by(hash, token))
}

/// What follows a text whose last tokens are `last` and whose whole stands behind `hash`.
pub(super) fn next_of(hash: u64, last: &[Token], repeats: Option<usize>, n_vocab: Token) -> Token {
    match repeats {
        // Now and then all that was before decides.
        Some(n) if !(hash >> 40).is_multiple_of(8) => token_of(hash_of(&last[last.len().saturating_sub(n)..]), n_vocab),
        _ => token_of(hash, n_vocab),
    }
}
