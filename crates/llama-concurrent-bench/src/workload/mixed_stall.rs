//! `mixed-stall`: what a long prompt does to those who are being answered.
//!
//! Every user but one streams answers of 200 tokens to prompts of 20. One visitor sends prompts of 1200 tokens, with answers of
//! 16, and thinks for two seconds before each. The streams go on, with the same prompts again, until the visitor has all answers, so
//! that there are streams to be stalled on a fast model too. Both kinds are summed up by themselves.

use std::time::Duration;

use super::Author;
use crate::script::Script;

pub(super) const ABOUT: &str =
    "steady streams of 200 tokens each time, until one visitor with prompts of 1200 tokens has its answers";
pub(super) const N_CTX: usize = 2048;
const PAUSE: Duration = Duration::from_secs(2);

pub(super) fn scripts(author: &Author<'_>) -> Vec<Script> {
    let mut scripts = author.users("steady", |writer| {
        let prompt = author.passage(writer, 20);
        author.turn(prompt, 200)
    });
    scripts.iter_mut().for_each(|script| script.background = true);
    scripts.truncate(author.load.users.saturating_sub(1).max(1));
    let visits = (0..author.load.requests).map(|visit| {
        let mut turn = author.turn(author.passage(&mut author.writer(usize::MAX, visit), 1200), 16);
        turn.think = PAUSE.mul_f64(author.load.scale.min(1.0));
        turn
    });
    scripts.push(Script { kind: "visitor", arrival: Duration::ZERO, turns: visits.collect(), background: false });
    scripts
}
