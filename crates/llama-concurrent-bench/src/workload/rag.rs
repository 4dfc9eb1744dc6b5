//! `rag`: questions about documents that were looked up.
//!
//! A system prompt of 200 tokens that all share, then documents: 400 to 1300 tokens, evenly, so that prompts have 600 to
//! 1500. Answers: log-normal, median 120 tokens, sigma 0.5, from 32 to 300.

use super::{Author, log_normal, uniform};
use crate::script::Script;

pub(super) const ABOUT: &str = "prompts of 600 to 1500 tokens, the first 200 shared, answers around 120 tokens";
pub(super) const N_CTX: usize = 2048;

pub(super) fn scripts(author: &Author<'_>) -> Vec<Script> {
    // Not specific to a user.
    let system = author.passage(&mut author.writer(usize::MAX, 0), 200);
    author.users("rag", |writer| {
        let (documents, answered) = (uniform(writer, 400..=1300), log_normal(writer, 120.0, 0.5, 32..=300));
        let prompt = format!("{system}\n\n{}\n\n{}", author.passage(writer, documents), writer.question());
        author.turn(prompt, answered)
    })
}
