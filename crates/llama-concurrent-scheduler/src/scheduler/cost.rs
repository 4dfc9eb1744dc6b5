//! What calls cost on this machine, learned from the steps themselves.

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
        self.seconds_per_token().map(|per_token| (budget.as_secs_f64() / per_token) as usize)
    }

    /// What a token costs in seconds; `None` before the first observation.
    pub(super) fn seconds_per_token(&self) -> Option<f64> {
        (self.tokens > 0.0).then(|| (self.seconds / self.tokens).max(1e-9))
    }
}

/// What a row adds to the time of a decode call without rows, before more than one number of rows was seen.
const USUAL_SLOPE: f64 = 0.1;
/// What an observation moves that slope.
const SLOPE_GAIN: f64 = 0.2;
/// What an observation moves the time of its own number of rows, once that is known well.
const GAIN: f64 = 0.2;
/// What it moves the times of other numbers of rows towards what it lets expect of them: what has not been tried for long is
/// forgotten, and tried again.
const FORGET: f64 = 0.01;
/// A call that a busy machine held up counts as if it had taken this much longer than usual.
const MOST_CHANGE: f64 = 1.5;
/// Observations that are enough to know a time well.
const WELL_KNOWN: f64 = 5.0;

/// The time of decode calls by their number of rows: a curve, since at first more rows cost next to nothing.
#[derive(Clone, Debug)]
pub(super) struct DecodeCost {
    /// By rows, ascending.
    points: Vec<Point>,
    /// What a row adds to the time without rows: what is not known follows from what is.
    slope: f64,
}

impl Default for DecodeCost {
    fn default() -> Self {
        Self { points: Vec::new(), slope: USUAL_SLOPE }
    }
}

#[derive(Clone, Copy, Debug)]
struct Point {
    rows: usize,
    seconds: f64,
    /// Observations, of which old ones fade.
    known: f64,
}

impl Point {
    /// What this lets expect of another number of rows.
    fn suggests(&self, rows: usize, slope: f64) -> f64 {
        let usual = |rows: usize| 1.0 + slope * rows as f64;
        self.seconds * usual(rows) / usual(self.rows)
    }

    /// The slope between this one and one with more rows.
    fn slope_to(&self, more: &Point) -> f64 {
        let ratio = more.seconds / self.seconds;
        let rest = more.rows as f64 - ratio * self.rows as f64;
        // As steep as can be told: more rows take as many times as long.
        if rest <= 0.0 { 1.0 } else { ((ratio - 1.0) / rest).clamp(0.0, 1.0) }
    }
}

impl DecodeCost {
    /// Learns from one decode call.
    pub(super) fn observe(&mut self, rows: usize, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        let at = self.points.partition_point(|point| point.rows < rows);
        if self.points.get(at).is_none_or(|point| point.rows != rows) {
            self.points.insert(at, Point { rows, seconds, known: 0.0 });
        }
        let point = &mut self.points[at];
        let change = seconds / point.seconds;
        let change = if point.known < 2.0 { change } else { change.clamp(1.0 / MOST_CHANGE, MOST_CHANGE) };
        point.seconds *= change.powf(GAIN.max(1.0 / (1.0 + point.known)));
        point.known = (point.known + 1.0).min(WELL_KNOWN);
        let now = *point;
        let best_known = |a: &&Point, b: &&Point| a.known.total_cmp(&b.known);
        if let Some(other) = self.points.iter().filter(|other| other.rows != rows).max_by(best_known)
            && other.known.min(now.known) >= 1.0
        {
            let slope = if other.rows < rows { other.slope_to(&now) } else { now.slope_to(other) };
            self.slope += SLOPE_GAIN * (slope - self.slope);
        }
        let slope = self.slope;
        for other in self.points.iter_mut().filter(|other| other.rows != rows) {
            other.known *= 1.0 - FORGET;
            other.seconds *= (now.suggests(other.rows, slope) / other.seconds).powf(FORGET);
        }
    }

    /// Seconds that a call of so many rows takes; `None` before the first observation.
    pub(super) fn seconds(&self, rows: usize) -> Option<f64> {
        let above = self.points.partition_point(|point| point.rows < rows);
        let (after, before) = (self.points.get(above), above.checked_sub(1).map(|below| self.points[below]));
        Some(match (before, after) {
            (_, Some(after)) if after.rows == rows => after.seconds,
            (Some(before), Some(after)) => {
                let share = (rows - before.rows) as f64 / (after.rows - before.rows) as f64;
                before.seconds + share * (after.seconds - before.seconds)
            }
            (Some(nearest), None) => nearest.suggests(rows, self.slope),
            (None, nearest) => nearest?.suggests(rows, self.slope),
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

    fn close(found: Option<f64>, expected: f64) {
        assert!(found.is_some_and(|found| (found / expected - 1.0).abs() < 0.1), "{found:?}, not {expected}");
    }

    #[test]
    fn the_curve_goes_through_what_was_seen() {
        let ms = Duration::from_millis;
        let mut cost = DecodeCost::default();
        assert_eq!(cost.seconds(1), None);
        cost.observe(1, ms(100));
        close(cost.seconds(1), 0.1);
        assert!(cost.seconds(5) > cost.seconds(2) && cost.seconds(2) > cost.seconds(1), "more rows cost more");
        for _ in 0..20 {
            cost.observe(1, ms(100));
            cost.observe(9, ms(300));
        }
        close(cost.seconds(1), 0.1);
        close(cost.seconds(5), 0.2);
        close(cost.seconds(9), 0.3);
        assert!(cost.seconds(16) > cost.seconds(9));
    }

    #[test]
    fn what_was_not_seen_is_as_steep_as_what_was() {
        let ms = |n| Duration::from_millis(n);
        let mut cost = DecodeCost::default();
        // A call takes 80 ms, and 40 for each row.
        for _ in 0..20 {
            cost.observe(1, ms(120));
            cost.observe(4, ms(240));
        }
        close(cost.seconds(9), 0.44);
        (0..500).for_each(|_| cost.observe(1, ms(120)));
        close(cost.seconds(4), 0.24);
        close(cost.seconds(9), 0.44);
    }

    #[test]
    fn a_stall_counts_little_and_a_slower_machine_soon() {
        let ms = Duration::from_millis;
        let mut cost = DecodeCost::default();
        (0..20).for_each(|_| cost.observe(1, ms(100)));
        cost.observe(1, ms(5000));
        close(cost.seconds(1), 0.1);
        (0..40).for_each(|_| cost.observe(1, ms(200)));
        close(cost.seconds(1), 0.2);
    }

    #[test]
    fn what_was_seen_once_under_bad_luck_is_tried_again() {
        let ms = Duration::from_millis;
        let mut cost = DecodeCost::default();
        (0..20).for_each(|_| cost.observe(1, ms(100)));
        cost.observe(4, ms(2000));
        close(cost.seconds(4), 2.0);
        (0..400).for_each(|_| cost.observe(1, ms(100)));
        assert!(cost.seconds(4).is_some_and(|seconds| seconds < 0.2), "{:?}", cost.seconds(4));
        cost.observe(4, ms(130));
        close(cost.seconds(4), 0.13);
    }
}
