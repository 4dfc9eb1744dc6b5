//! `strategies`: what more users at once bring, for each strategy.
//!
//! Prompts of 16 tokens, or a few fewer where the next word would be too much, and answers of 64, all at once: nearly everything is
//! decoding. `llama-concurrent bench strategies` plays it for a list of numbers of users.

use super::Author;
use crate::script::Script;

pub(super) const ABOUT: &str = "all at once, prompts of 16 tokens, answers of 64, for more and more users";
pub(super) const N_CTX: usize = 128;

pub(super) fn scripts(author: &Author<'_>) -> Vec<Script> {
    author.users("strategies", |writer| {
        let prompt = author.cut(author.passage(writer, 16), 16);
        author.turn(prompt, 64)
    })
}
