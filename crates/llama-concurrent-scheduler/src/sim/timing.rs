//! What simulated calls and copies cost.

use std::time::Duration;

use crate::backend::Call;

/// What simulated work takes.
pub trait SimTiming {
    /// One `llama_decode`. llama.cpp splits it into `parts`, each of which reads all weights.
    fn call(&self, call: &Call, parts: usize) -> Duration;

    /// One copy of a KV stream.
    fn copy(&self) -> Duration;

    /// An exchange of two slots that hold so many positions together.
    fn swap(&self, positions: usize) -> Duration;

    /// A call of the draft model that reads so many tokens and guesses so many for each sequence.
    fn draft(&self, n_read: usize, n_guessed: usize) -> Duration {
        Duration::from_millis((n_read + 8 * n_guessed) as u64)
    }
}

/// The simplest timing: a share for reading the weights, and a share for each row.
#[derive(Clone, Copy, Debug)]
pub struct SimCost {
    /// Once for each part into which llama.cpp would split the call.
    pub per_part: Duration,
    /// For each row.
    pub per_row: Duration,
    /// For each copy of a KV stream.
    pub per_copy: Duration,
}

impl Default for SimCost {
    /// About a 1.1B model on two cores.
    fn default() -> Self {
        Self {
            per_part: Duration::from_millis(60),
            per_row: Duration::from_millis(15),
            per_copy: Duration::from_millis(8),
        }
    }
}

impl SimTiming for SimCost {
    fn call(&self, call: &Call, parts: usize) -> Duration {
        self.per_part * parts as u32 + self.per_row * call.rows.len() as u32
    }

    fn copy(&self) -> Duration {
        self.per_copy
    }

    fn swap(&self, _positions: usize) -> Duration {
        self.per_copy
    }
}
