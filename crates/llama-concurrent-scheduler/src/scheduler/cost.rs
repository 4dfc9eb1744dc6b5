//! What prefill costs on this machine, learned from the steps themselves.

use std::time::Duration;

/// Share of the past that survives each observation: the last five or so calls decide.
const DECAY: f64 = 0.8;

/// Prefill cost per token as a ratio of two decayed sums, so that long chunks count more than short ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PrefillCost {
    seconds: f64,
    tokens: f64,
}

impl PrefillCost {
    /// Learns from one prefill call.
    pub(super) fn observe(&mut self, tokens: usize, elapsed: Duration) {
        self.seconds = self.seconds * DECAY + elapsed.as_secs_f64();
        self.tokens = self.tokens * DECAY + tokens as f64;
    }

    /// Prompt tokens that fit into `budget`; `None` before the first observation.
    pub(super) fn tokens_within(&self, budget: Duration) -> Option<usize> {
        (self.tokens > 0.0).then(|| {
            let per_token = (self.seconds / self.tokens).max(1e-9);
            (budget.as_secs_f64() / per_token) as usize
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_a_change_of_speed_within_a_few_calls() {
        let mut cost = PrefillCost::default();
        let budget = Duration::from_millis(200);
        assert_eq!(cost.tokens_within(budget), None);
        for _ in 0..10 {
            cost.observe(64, Duration::from_millis(640));
        }
        assert!((19..=20).contains(&cost.tokens_within(budget).unwrap()));
        for _ in 0..10 {
            cost.observe(64, Duration::from_millis(1280));
        }
        assert!((10..=11).contains(&cost.tokens_within(budget).unwrap()));
        assert!(cost.tokens_within(Duration::MAX).unwrap() > 1_000_000);
    }
}
