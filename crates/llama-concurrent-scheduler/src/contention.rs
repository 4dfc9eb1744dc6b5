//! Whether others want the processors that a worker's threads run on, and what it does about that.
//!
//! Threads that spin until the slowest of them has come are the fastest where each has a core to itself. Beside busy neighbours
//! they waste whole time slices: the one that is waited for waits for a processor, and the spinning ones use up the time that
//! they will need next. So a worker spins while its threads get to run, and shares out its work to whoever runs, and sleeps,
//! while they do not. What the operating system says of the time that its threads waited for a processor decides.

use std::time::Duration;

use crate::turns::Sharing;

/// Computing time that is looked at as one: long enough that a hiccup of the system is none.
const WINDOW: Duration = Duration::from_millis(60);
/// Of its threads' time, the share spent waiting for a processor from which on a worker stops spinning.
const BUSY: f64 = 0.04;
/// And below which its neighbours seem to be gone.
const CALM: f64 = 0.015;
/// Calm computing time after which it spins again; twice that after each time that this was too early, up to the longest.
const PATIENCE: Duration = Duration::from_millis(180);
const LONGEST_PATIENCE: Duration = Duration::from_millis(720);
/// Spinning this long without being disturbed shows that it was not too early.
const PROVEN: Duration = Duration::from_secs(5);

/// How the threads of a worker wait for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Waiting {
    /// They spin, each with an equal share of the work.
    #[default]
    Active,
    /// They take work when they run, and sleep.
    Passive,
}

/// What a worker has seen of its neighbours.
#[derive(Clone, Copy, Debug)]
pub struct Contention {
    waiting: Waiting,
    is_fixed: bool,
    /// Of the present window: computing time, and time that threads waited for a processor, for each of them.
    wall: Duration,
    delayed: Duration,
    /// The share in the last window.
    share: f64,
    /// Computing time without neighbours, or spent spinning since the last change.
    calm: Duration,
    patience: Duration,
    switches: u64,
}

impl Default for Contention {
    fn default() -> Self {
        let zero = Duration::ZERO;
        Self {
            waiting: Waiting::Active,
            is_fixed: false,
            wall: zero,
            delayed: zero,
            share: 0.0,
            calm: zero,
            patience: PATIENCE,
            switches: 0,
        }
    }
}

impl Contention {
    /// One that always waits in this way; what others do is still seen.
    pub fn fixed(waiting: Waiting) -> Self {
        Self { waiting, is_fixed: true, ..Self::default() }
    }

    /// How to wait in the next call.
    pub fn waiting(&self) -> Waiting {
        self.waiting
    }

    /// Whether the next call can run beside those of other workers.
    pub fn sharing(&self) -> Sharing {
        match self.waiting {
            Waiting::Passive => Sharing::Always,
            Waiting::Active if self.is_fixed => Sharing::Never,
            Waiting::Active => Sharing::IfNeeded,
        }
    }

    /// Of the threads' time, the share that they lately waited for a processor.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// How often the way of waiting changed.
    pub fn switches(&self) -> u64 {
        self.switches
    }

    /// Takes what came of some calls: how long they took, and how long each thread waited for a processor, on average.
    pub fn observe(&mut self, wall: Duration, delayed: Duration) {
        self.wall += wall;
        self.delayed += delayed;
        if self.wall < WINDOW {
            return;
        }
        let (wall, delayed) = (std::mem::take(&mut self.wall), std::mem::take(&mut self.delayed));
        self.share = delayed.as_secs_f64() / wall.as_secs_f64();
        match self.waiting {
            _ if self.is_fixed => {}
            Waiting::Active if self.share > BUSY => {
                let too_early = self.switches > 0 && self.calm < PROVEN;
                self.patience = if too_early { (self.patience * 2).min(LONGEST_PATIENCE) } else { PATIENCE };
                self.change(Waiting::Passive);
            }
            Waiting::Active => self.calm = self.calm.saturating_add(wall),
            Waiting::Passive if self.share > CALM => self.calm = Duration::ZERO,
            Waiting::Passive => {
                self.calm += wall;
                if self.calm >= self.patience {
                    self.change(Waiting::Active);
                }
            }
        }
    }

    /// The same of calls that shared the processors with other workers of the process, by which nothing is decided.
    pub fn observe_shared(&mut self, wall: Duration, delayed: Duration) {
        if !wall.is_zero() {
            self.share = delayed.as_secs_f64() / wall.as_secs_f64();
        }
    }

    /// Others want the processors before anything was computed: a first call of spinning threads could take seconds.
    pub fn expect_neighbours(&mut self) {
        if !self.is_fixed && self.waiting == Waiting::Active {
            self.change(Waiting::Passive);
        }
    }

    fn change(&mut self, waiting: Waiting) {
        self.waiting = waiting;
        self.calm = Duration::ZERO;
        self.switches += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Duration = Duration::from_millis(20);

    /// Calls beside neighbours that take this share of the threads' time; how long until the way of waiting is another.
    fn until_change(contention: &mut Contention, share: f64) -> Duration {
        let before = contention.waiting();
        let calls = (1..1000).find(|_| {
            contention.observe(CALL, CALL.mul_f64(share));
            contention.waiting() != before
        });
        CALL * calls.expect("it changes within 20 seconds")
    }

    #[test]
    fn it_reacts_within_half_a_second_in_both_directions() {
        let mut contention = Contention::default();
        for _ in 0..500 {
            contention.observe(CALL, CALL / 100);
        }
        assert_eq!((contention.waiting(), contention.switches()), (Waiting::Active, 0), "a hiccup changes nothing");
        assert!(until_change(&mut contention, 0.3) < Duration::from_millis(500));
        assert!(until_change(&mut contention, 0.0) < Duration::from_millis(500));
    }

    #[test]
    fn it_does_not_try_again_and_again_beside_neighbours_that_come_back() {
        let mut contention = Contention::default();
        until_change(&mut contention, 0.3);
        // Neighbours that are seen only while threads spin.
        for _ in 0..500 {
            let share = if contention.waiting() == Waiting::Active { 0.3 } else { 0.0 };
            contention.observe(CALL, CALL.mul_f64(share));
        }
        assert!(contention.switches() <= 30, "{} switches in ten seconds", contention.switches());
        // After some quiet seconds it is as quick as at first.
        for _ in 0..500 {
            contention.observe(CALL, Duration::ZERO);
        }
        until_change(&mut contention, 0.3);
        assert!(until_change(&mut contention, 0.0) < Duration::from_millis(300));
    }

    #[test]
    fn neighbours_that_are_expected_and_do_not_come_cost_little() {
        let mut contention = Contention::default();
        contention.expect_neighbours();
        assert_eq!(contention.waiting(), Waiting::Passive);
        assert!(until_change(&mut contention, 0.0) < Duration::from_millis(300));
        let mut fixed = Contention::fixed(Waiting::Active);
        fixed.expect_neighbours();
        assert_eq!((fixed.waiting(), fixed.switches()), (Waiting::Active, 0));
        assert_eq!((fixed.sharing(), contention.sharing()), (Sharing::Never, Sharing::IfNeeded));
    }

    #[test]
    fn one_long_call_is_enough_to_see_them() {
        let mut contention = Contention::default();
        contention.observe(Duration::from_secs(1), Duration::from_millis(300));
        assert_eq!(contention.waiting(), Waiting::Passive);
        assert!((contention.share() - 0.3).abs() < 1e-9);
        let mut shared = Contention::default();
        shared.observe_shared(Duration::from_secs(1), Duration::from_millis(300));
        assert_eq!((shared.waiting(), shared.switches()), (Waiting::Active, 0));
        assert!((shared.share() - 0.3).abs() < 1e-9);
    }
}
