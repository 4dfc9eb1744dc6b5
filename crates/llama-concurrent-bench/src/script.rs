//! What users ask, and when.

use std::time::Duration;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The text to continue.
    pub prompt: String,
    /// Output tokens, exactly: the model's own end is ignored, so that every target computes the same.
    pub max_tokens: u32,
    /// Whether it may wait for others, as lists of prompts do.
    pub batch: bool,
}

/// One request of a user, and how long the user thinks before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Since the answer before it, or since the start of the script.
    pub think: Duration,
    /// What is asked.
    pub ask: Ask,
}

/// What one user does: turns, each after the answer to the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Users of one kind are summed up together.
    pub kind: &'static str,
    /// When the user comes, since the start of the run. It does not depend on how others fare.
    pub arrival: Duration,
    /// In order.
    pub turns: Vec<Turn>,
    /// Whether it begins anew after its last turn for as long as a script without this is not over: company for the
    /// others, on however fast a machine.
    pub company: bool,
}

impl Script {
    /// The turn after `done` of them, counted over all rounds; `others_run` tells whether a script that is no company
    /// is not over.
    pub(crate) fn next(&self, done: usize, others_run: bool) -> Option<&Turn> {
        let again = self.company && others_run && !self.turns.is_empty();
        let index = if again { done % self.turns.len() } else { done };
        self.turns.get(index)
    }
}
