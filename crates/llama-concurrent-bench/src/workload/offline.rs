//! `offline`: a list to work through, where only the throughput counts.
//!
//! Prompts: log-normal, median 120 tokens, sigma 0.8, from 16 to 800. Answers: log-normal, median 100 tokens, sigma 0.5, from
//! 16 to 256. In the batch class, each user at once with its next.

use super::{Author, log_normal};
use crate::script::Script;

pub(super) const ABOUT: &str = "prompts around 120 tokens, answers around 100, in the batch class";
pub(super) const N_CTX: usize = 1280;

pub(super) fn scripts(author: &Author<'_>) -> Vec<Script> {
    author.users("offline", |writer| {
        let (asked, answered) = (log_normal(writer, 120.0, 0.8, 16..=800), log_normal(writer, 100.0, 0.5, 16..=256));
        let mut turn = author.turn(author.passage(writer, asked), answered);
        turn.request.batch = true;
        turn
    })
}
