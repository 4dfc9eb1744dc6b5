//! How often guesses were right.

/// Where a guess comes from, as far as that tells how likely it is right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Source {
    /// The sequence's own tokens, with so many that agree before it.
    Lookup(usize),
    /// What ended requests wrote, with so many that agree before it.
    Memory(usize),
    /// The constraint lets nothing else follow.
    Forced,
    /// The draft model, which finds it so likely.
    Model(f32),
    /// The draft model, which has not been asked yet.
    AnyModel,
}

/// Numbers of tokens that agree, from which on guesses are counted together.
const LENGTHS: [usize; 6] = [2, 3, 4, 6, 10, 20];
/// What is expected of guesses before any was tried, by the same numbers.
const EXPECTED: [f64; LENGTHS.len()] = [0.1, 0.2, 0.35, 0.55, 0.8, 0.9];
const EXPECTED_OF_FORCED: f64 = 0.9;
/// Chances, by the draft model, from which on its guesses are counted together, and what is expected of them.
const CHANCES: [f32; 6] = [0.0, 0.2, 0.4, 0.6, 0.8, 0.95];
const EXPECTED_OF_CHANCES: [f64; CHANCES.len()] = [0.15, 0.3, 0.5, 0.7, 0.85, 0.95];
const EXPECTED_OF_MODEL: f64 = 0.65;
const N_KINDS: usize = 2 * LENGTHS.len() + 1 + CHANCES.len() + 1;

/// Guesses of its own that weigh as much for a sequence as all that is known of others'.
const WEIGHT_OF_OTHERS: f64 = 4.0;
/// Guesses that an expectation counts for.
const WEIGHT_OF_EXPECTED: f64 = 8.0;

impl Source {
    fn kind(self) -> usize {
        let of_length = |length: usize| LENGTHS.iter().rposition(|&least| length >= least).unwrap_or(0);
        match self {
            Source::Lookup(length) => of_length(length),
            Source::Memory(length) => LENGTHS.len() + of_length(length),
            Source::Forced => 2 * LENGTHS.len(),
            Source::Model(chance) => {
                2 * LENGTHS.len() + 1 + CHANCES.iter().rposition(|&least| chance >= least).unwrap_or(0)
            }
            Source::AnyModel => N_KINDS - 1,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Rate {
    right: f64,
    tried: f64,
}

/// Counts of guesses, by where they came from; old ones fade.
#[derive(Clone, Debug)]
pub(in super::super) struct Rates {
    kinds: [Rate; N_KINDS],
    /// What is left of a count when another one comes.
    keep: f64,
}

impl Rates {
    /// Of one sequence: some thirty guesses of each kind count.
    pub(super) fn of_sequence() -> Self {
        Self { kinds: [Rate { right: 0.0, tried: 0.0 }; N_KINDS], keep: 0.97 }
    }

    /// Of all sequences: some thousand guesses count, and at first what is expected.
    pub(in super::super) fn of_all() -> Self {
        let of_model = EXPECTED_OF_CHANCES.iter().chain([&EXPECTED_OF_MODEL]);
        let expected = EXPECTED.iter().chain(&EXPECTED).chain([&EXPECTED_OF_FORCED]).chain(of_model);
        let mut rates = Self { keep: 0.999, ..Self::of_sequence() };
        for (rate, expected) in rates.kinds.iter_mut().zip(expected) {
            *rate = Rate { right: expected * WEIGHT_OF_EXPECTED, tried: WEIGHT_OF_EXPECTED };
        }
        rates
    }

    /// Counts a guess.
    pub(super) fn count(&mut self, source: Source, is_right: bool) {
        if let Source::Model(_) = source {
            self.count(Source::AnyModel, is_right);
        }
        let rate = &mut self.kinds[source.kind()];
        rate.right = rate.right * self.keep + f64::from(u8::from(is_right));
        rate.tried = rate.tried * self.keep + 1.0;
    }

    /// How likely a guess of a sequence with these rates is right, where those of all sequences are `others`.
    pub(super) fn chance(&self, source: Source, others: &Rates) -> f64 {
        let (own, all) = (self.kinds[source.kind()], others.kinds[source.kind()]);
        (own.right + WEIGHT_OF_OTHERS * all.right / all.tried) / (own.tried + WEIGHT_OF_OTHERS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_follow_the_sequence_and_begin_with_what_others_had() {
        let (mut own, mut others) = (Rates::of_sequence(), Rates::of_all());
        let source = Source::Lookup(3);
        assert_eq!(own.chance(source, &others), 0.2, "what is expected");
        (0..2000).for_each(|i| others.count(source, i % 10 == 0));
        let fresh = own.chance(source, &others);
        assert!((0.08..0.12).contains(&fresh), "{fresh}");
        (0..50).for_each(|_| own.count(source, true));
        assert!(own.chance(source, &others) > 0.8);
        assert_eq!(own.chance(Source::Memory(3), &others), 0.2, "each source by itself");
        (0..50).for_each(|_| own.count(source, false));
        assert!(own.chance(source, &others) < 0.3, "what was is forgotten");
    }

    #[test]
    fn more_that_agrees_promises_more() {
        let (own, others) = (Rates::of_sequence(), Rates::of_all());
        let chances: Vec<f64> = (0..40).map(|n| own.chance(Source::Lookup(n), &others)).collect();
        assert!(chances.is_sorted() && chances[39] > chances[2]);
        assert!(own.chance(Source::Forced, &others) >= 0.9);
        let chances = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0].map(|p| own.chance(Source::Model(p), &others));
        assert!(chances.is_sorted() && chances[6] > chances[0]);
        let mut own = own;
        (0..50).for_each(|_| own.count(Source::Model(0.9), false));
        assert!(own.chance(Source::AnyModel, &others) < 0.2, "what it is worth before it is asked follows");
    }
}
