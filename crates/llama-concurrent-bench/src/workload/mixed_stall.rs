//! `mixed-stall`: what a long prompt does to those who are being answered.
//!
//! Every user but one streams answers of 200 tokens to prompts of 20. One visitor sends prompts of 1200 tokens, with answers of
//! 16, and thinks for two seconds between them. Both kinds are summed up by themselves.

use std::time::Duration;

use super::Author;
use crate::script::Script;

pub(super) const ABOUT: &str = "steady streams of 200 tokens, and one visitor with prompts of 1200 tokens";
pub(super) const N_CTX: usize = 2048;
const PAUSE: Duration = Duration::from_secs(2);

pub(super) fn scripts(author: &Author<'_>) -> Vec<Script> {
    let mut scripts = author.users("steady", |writer| {
        let prompt = author.passage(writer, 20);
        author.turn(prompt, 200)
    });
    scripts.truncate(author.load.users.saturating_sub(1).max(1));
    let visits = (0..author.load.requests).map(|visit| {
        let mut turn = author.turn(author.passage(&mut author.writer(usize::MAX, visit), 1200), 16);
        turn.think = PAUSE;
        turn
    });
    scripts.push(Script { kind: "visitor", arrival: Duration::ZERO, turns: visits.collect() });
    scripts
}
