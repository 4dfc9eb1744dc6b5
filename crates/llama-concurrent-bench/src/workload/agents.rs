//! `agents`: programs that call a model again and again, with all that was said before.
//!
//! A beginning of 300 tokens; each turn adds what the agent did (40 to 120 tokens, evenly) and asks for 48. Between turns it works
//! for a time that is exponentially distributed around half a second. What the model answers is not put into the next prompt, but a
//! text of the same kind: so the load is the same for every target.

use std::time::Duration;

use rand_distr::{Distribution, Exp1};

use super::{Author, uniform};
use crate::script::Script;

pub(super) const ABOUT: &str = "several turns with all that was said before, pauses around half a second";
pub(super) const N_CTX: usize = 2048;
/// Beyond that a conversation would outgrow its slot.
const MAX_TURNS: usize = 10;

pub(super) fn scripts(author: &Author<'_>) -> Vec<Script> {
    let script = |user| {
        let mut writer = author.writer(user, 0);
        let mut said = author.passage(&mut writer, 300);
        let turns = (0..author.load.requests.min(MAX_TURNS)).map(|_| {
            let done = uniform(&mut writer, 40..=120);
            said += &author.passage(&mut writer, done);
            let mut turn = author.turn(said.clone(), 48);
            let pause: f64 = Exp1.sample(writer.random());
            turn.think = Duration::from_secs_f64(0.5 * pause);
            turn
        });
        Script { kind: "agents", arrival: Duration::ZERO, turns: turns.collect(), background: false }
    };
    (0..author.load.users).map(script).collect()
}
