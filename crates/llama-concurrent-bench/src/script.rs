//! Scripts: the requests of simulated users, and their times.

use std::time::Duration;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestSpec {
    /// The text to continue.
    pub prompt: String,
    /// The exact number of output tokens: end-of-generation tokens are ignored, so that every target computes the same.
    pub max_tokens: u32,
    /// Whether it has batch priority.
    pub batch: bool,
}

/// One request of a user, and how long the user thinks before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Time since the previous response, or since the start of the script.
    pub think: Duration,
    /// The request.
    pub request: RequestSpec,
}

/// The turns of one user, each sent after the response to the previous one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Users of one kind are summarised together.
    pub kind: &'static str,
    /// When the user arrives, since the start of the run, independently of other users.
    pub arrival: Duration,
    /// In order.
    pub turns: Vec<Turn>,
    /// Background load: the script repeats until all scripts that are not background load have finished, so that the load
    /// lasts on a machine of any speed.
    pub background: bool,
}

impl Script {
    /// The turn after `done` turns, counted over all repetitions. `others_run` says whether a script that is not background
    /// load is unfinished.
    pub(crate) fn next(&self, done: usize, others_run: bool) -> Option<&Turn> {
        let again = self.background && others_run && !self.turns.is_empty();
        let index = if again { done % self.turns.len() } else { done };
        self.turns.get(index)
    }
}
