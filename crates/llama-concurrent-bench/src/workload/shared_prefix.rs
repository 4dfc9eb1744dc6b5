//! `shared-prefix`: many at once, whose prompts begin with the same 512 tokens.
//!
//! Then 32 tokens of their own; answers of 64. The first requests of all arrive together, before any of them could have left
//! something in a cache.

use super::Author;
use crate::script::Script;

pub(super) const ABOUT: &str = "all at once, 512 tokens in common and 32 of their own, answers of 64 tokens";
pub(super) const N_CTX: usize = 1024;

pub(super) fn scripts(author: &Author<'_>) -> Vec<Script> {
    let common = author.passage(&mut author.writer(usize::MAX, 0), 512);
    author.users("shared-prefix", |writer| {
        let prompt = common.clone() + &author.passage(writer, 32);
        author.turn(prompt, 64)
    })
}
