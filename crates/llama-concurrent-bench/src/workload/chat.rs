//! `chat`: people with short questions.
//!
//! Prompts: log-normal, median 60 tokens, sigma 0.7, from 12 to 400. Answers: 64 to 256 tokens, evenly.

use super::{Author, log_normal, uniform};
use crate::script::Script;

pub(super) const ABOUT: &str = "short questions (12 to 400 tokens, median 60), answers of 64 to 256 tokens";
pub(super) const N_CTX: usize = 1024;

pub(super) fn scripts(author: &Author<'_>) -> Vec<Script> {
    author.users("chat", |writer| {
        let (asked, answered) = (log_normal(writer, 60.0, 0.7, 12..=400), uniform(writer, 64..=256));
        let prompt = author.passage(writer, asked) + writer.question();
        author.turn(prompt, answered)
    })
}
