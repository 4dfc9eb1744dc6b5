//! Drafts: guesses of what a sequence goes on with, computed as further rows of its decode call.
//!
//! A single row leaves most of the machine's arithmetic idle, as the call waits for memory. Behind each row of a draft the
//! sampler chooses a token as ever, as long as it has chosen what was drafted: so the text is the same with and without, and
//! what was not chosen is cut out of the KV again.
//!
//! Guesses come from what the sequence or others have written before ([`ngrams`]), from its constraint, or from a draft model,
//! which is asked by a call of its own. How long drafts are follows from how often such guesses were right ([`rates`]) and what
//! rows cost ([`DecodeCost`](super::cost::DecodeCost)).

mod ngrams;
mod planning;
mod rates;

use llama_concurrent_types::{SamplingParams, Speculation, Token};

pub(super) use self::{
    ngrams::Memory,
    planning::{Ahead, Seats},
    rates::Rates,
};
use self::{
    ngrams::{MAX_MATCH, Ngrams},
    rates::Source,
};
use crate::backend::Drafted;

/// A draft has to promise so much more tokens per second: what is learned of costs and chances is not exact.
const WORTHWHILE: f64 = 1.05;
/// No sequence of a call may expect less than this share of its tokens per second, for the drafts of the others.
const FAIR_SHARE: f64 = 0.9;

/// One guess, made for when all those before it are right.
#[derive(Clone, Copy, Debug)]
struct Guess {
    token: Token,
    source: Source,
}

/// The KV stream of a sequence in the draft model's context.
#[derive(Clone, Copy, Debug)]
struct Seat {
    index: usize,
    /// Leading tokens of the sequence that it holds.
    held: usize,
    /// Guesses that it holds behind them, which may be wrong.
    guessed: usize,
}

/// How a sequence drafts.
#[derive(Debug)]
pub(super) struct Drafts {
    /// As many as there is room for, whatever they cost, as long as that is so for all that run.
    always: bool,
    /// What was written before is looked up.
    looks_up: bool,
    /// The draft model may be asked.
    asks: bool,
    /// Tokens of a draft at most.
    most: usize,
    ngrams: Ngrams,
    /// What the constraint says has to follow.
    forced: Vec<Token>,
    rates: Rates,
    guesses: Vec<Guess>,
    /// So many of the guesses are rows of the call that is carried out.
    n_drafted: usize,
    /// So many of them were right.
    n_right: usize,
    seat: Option<Seat>,
    /// The draft model has guessed what follows so many tokens.
    answered_at: Option<usize>,
    /// Tokens at which it was asked last.
    asked_at: usize,
}

impl Drafts {
    /// For a sequence with these parameters and so many tokens in its prompt, in an engine that speculates like this where a request does not say.
    pub(super) fn new(
        params: &SamplingParams,
        n_prompt: usize,
        engine: Speculation,
        has_model: bool,
    ) -> Option<Box<Self>> {
        let speculation = match params.speculation {
            Speculation::Auto => engine,
            asked => asked,
        };
        (speculation != Speculation::Off && params.draft_max > 0).then(|| {
            Box::new(Self {
                always: speculation != Speculation::Auto,
                looks_up: speculation != Speculation::Draft,
                asks: speculation != Speculation::Lookup && has_model,
                most: params.draft_max as usize,
                ngrams: Ngrams::default(),
                forced: Vec::new(),
                rates: Rates::of_sequence(),
                guesses: Vec::new(),
                n_drafted: 0,
                n_right: 0,
                seat: None,
                answered_at: None,
                asked_at: n_prompt,
            })
        })
    }

    /// Notes what the constraint lets follow the last token, if it is only one way.
    pub(super) fn set_forced(&mut self, tokens: Vec<Token>) {
        self.forced = tokens;
    }

    /// Guesses how `tokens` go on, by `most` at most.
    fn guess(&mut self, tokens: &[Token], most: usize, memory: &Memory) {
        let most = most.min(self.most);
        self.clear();
        let forced = std::mem::take(&mut self.forced);
        self.guesses.extend(forced.iter().take(most).map(|&token| Guess { token, source: Source::Forced }));
        let room = most - self.guesses.len();
        if room == 0 || !self.looks_up {
            return;
        }
        self.ngrams.extend(tokens);
        let written = &tokens[tokens.len().saturating_sub(MAX_MATCH)..];
        let tail: Vec<Token> = written.iter().chain(&forced).copied().collect();
        let own = self.ngrams.find(tokens, &tail);
        match memory.find(&tail) {
            Some((length, rest)) if own.is_none_or(|own| length > own.length) => {
                let guess = |(i, token)| Guess { token, source: Source::Memory(length + i) };
                self.guesses.extend(rest.take(room).enumerate().map(guess));
            }
            _ => {
                let Some(own) = own else { return };
                let first = self.guesses.len();
                for i in 0..room {
                    // Where the copy reaches what is being written, it goes on with itself: a repetition repeats.
                    let token = match tokens.get(own.place + i) {
                        Some(&token) => token,
                        None => match self.guesses.get(first + own.place + i - tokens.len()) {
                            Some(guess) => guess.token,
                            None => break,
                        },
                    };
                    self.guesses.push(Guess { token, source: Source::Lookup(own.length + i) });
                }
            }
        }
    }

    /// Forgets the guesses, and which of those of the draft model were right.
    fn clear(&mut self) {
        if let Some(seat) = &mut self.seat {
            seat.held += self.n_right.min(seat.guessed);
            seat.guessed = 0;
        }
        self.guesses.clear();
        self.answered_at = None;
        (self.n_drafted, self.n_right) = (0, 0);
    }

    /// Takes what the draft model guesses to follow `n_tokens` tokens, which it holds now together with all guesses but the
    /// last.
    fn answer(&mut self, n_tokens: usize, guesses: &[Drafted]) {
        self.clear();
        if let Some(seat) = &mut self.seat {
            (seat.held, seat.guessed) = (n_tokens, guesses.len().saturating_sub(1));
        }
        let guess = |&Drafted { token, chance }| Guess { token, source: Source::Model(chance) };
        self.guesses.extend(guesses.iter().map(guess));
        self.answered_at = (!guesses.is_empty()).then_some(n_tokens);
    }

    /// Whether the draft model holds KV of it.
    pub(super) fn has_seat(&self) -> bool {
        self.seat.is_some()
    }

    /// How likely each guess is right if all before it are.
    fn chances(&self, others: &Rates) -> Vec<f64> {
        self.guesses.iter().map(|guess| self.rates.chance(guess.source, others)).collect()
    }

    /// Takes the first `n` guesses for the draft, as far as there are some.
    pub(super) fn draft(&mut self, n: usize) -> impl Iterator<Item = Token> {
        self.n_drafted = n.min(self.guesses.len());
        self.guesses[..self.n_drafted].iter().map(|guess| guess.token)
    }

    pub(super) fn n_drafted(&self) -> usize {
        self.n_drafted
    }

    /// Takes the token that was chosen behind the right guesses so far; whether it is the next one of the draft. Guesses that
    /// were not drafted tell as much of how good they are.
    pub(super) fn chosen(&mut self, token: Token, all: &mut Rates) -> bool {
        let Some(guess) = self.guesses.get(self.n_right) else { return false };
        let is_right = guess.token == token;
        self.rates.count(guess.source, is_right);
        all.count(guess.source, is_right);
        if !is_right {
            self.guesses.truncate(self.n_right);
        }
        let goes_on = is_right && self.n_right < self.n_drafted;
        self.n_right += usize::from(goes_on);
        goes_on
    }
}

/// How many tokens to draft for each of some sequences that are decoded together, `most` at most: so many that the most tokens
/// per second are expected of all. llama.cpp computes them in one part only if all have equally many rows.
///
/// `chances` are those of the guesses of each sequence, and `seconds` is what drafts of a length take, guessing included.
fn best_length(chances: &[Vec<f64>], most: usize, seconds: impl Fn(usize) -> f64) -> Best {
    let plain = 1.0 / seconds(0);
    let mut best = Best { length: 0, rate: plain * chances.len() as f64 };
    let mut least = best.rate * WORTHWHILE;
    // Of each sequence: how likely all guesses so far are right, and how many tokens are expected.
    let mut expected = vec![(1.0, 1.0); chances.len()];
    for length in 1..=most {
        let mut goes_on = false;
        for (chances, (right, tokens)) in chances.iter().zip(&mut expected) {
            *right *= chances.get(length - 1).copied().unwrap_or(0.0);
            *tokens += *right;
            goes_on |= *right > 0.0;
        }
        if !goes_on {
            break;
        }
        let per_second = 1.0 / seconds(length);
        let of_all: f64 = expected.iter().map(|(_, tokens)| tokens * per_second).sum();
        let is_fair = expected.iter().all(|(_, tokens)| tokens * per_second >= FAIR_SHARE * plain);
        if is_fair && of_all > least {
            best = Best { length, rate: of_all };
            least = of_all;
        }
    }
    best
}

/// What the best drafts promise.
#[derive(Clone, Copy, Debug)]
struct Best {
    /// Tokens of each draft.
    length: usize,
    /// Tokens per second of all sequences.
    rate: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drafts(speculation: Speculation) -> Box<Drafts> {
        Drafts::new(&SamplingParams::default().speculation(speculation), 0, Speculation::Off, true).expect("it is on")
    }

    fn guessed(drafts: &Drafts) -> Vec<Token> {
        drafts.guesses.iter().map(|guess| guess.token).collect()
    }

    #[test]
    fn a_request_decides_and_otherwise_the_engine() {
        let is_on =
            |request, engine| Drafts::new(&SamplingParams::default().speculation(request), 0, engine, false).is_some();
        assert!(is_on(Speculation::Auto, Speculation::Auto));
        assert!(is_on(Speculation::Lookup, Speculation::Off));
        assert!(!is_on(Speculation::Auto, Speculation::Off));
        assert!(!is_on(Speculation::Off, Speculation::Lookup));
        let none = SamplingParams::default().draft_max(0u32);
        assert!(Drafts::new(&none, 0, Speculation::Lookup, true).is_none());
    }

    #[test]
    fn guesses_come_from_the_constraint_then_from_what_was_written() {
        let guess = |forced: &[Token], tokens: &[Token], most, memory: &Memory| {
            let mut drafts = drafts(Speculation::Lookup);
            drafts.set_forced(forced.to_vec());
            drafts.guess(tokens, most, memory);
            guessed(&drafts)
        };
        let mut memory = Memory::default();
        let repeating = [1, 2, 3, 4, 1, 2];
        assert_eq!(guess(&[], &repeating, 3, &memory), [3, 4, 1]);
        assert_eq!(guess(&[], &repeating, 9, &memory), [3, 4, 1, 2, 3, 4, 1, 2, 3], "it goes on repeating");
        assert_eq!(guess(&[9, 2, 3], &repeating, 5, &memory), [9, 2, 3, 4, 1], "from behind what is forced");
        assert_eq!(guess(&[9, 2, 3], &repeating, 2, &memory), [9, 2]);
        let new = [1, 2, 3, 4, 7, 8];
        assert_eq!(guess(&[], &new, 5, &memory), [] as [Token; 0]);
        memory.add(&[6, 7, 8, 5, 5]);
        assert_eq!(guess(&[], &new, 5, &memory), [5, 5]);
        assert_eq!(guess(&[], &[3, 7, 8, 1, 3, 7, 8], 2, &memory), [1, 3], "the longer match wins");
    }

    #[test]
    fn a_draft_is_right_as_far_as_it_was_chosen() {
        let mut all = Rates::of_all();
        let mut drafts = drafts(Speculation::Lookup);
        drafts.guess(&[1, 2, 3, 4, 1, 2], 4, &Memory::default());
        assert_eq!(drafts.draft(2).collect::<Vec<_>>(), [3, 4]);
        assert!(drafts.chosen(3, &mut all) && drafts.chosen(4, &mut all));
        assert!(!drafts.chosen(1, &mut all), "right, but not drafted");
        drafts.guess(&[1, 2, 3, 4, 1, 2], 4, &Memory::default());
        assert_eq!(drafts.draft(9).count(), 4);
        assert!(!drafts.chosen(7, &mut all) && !drafts.chosen(4, &mut all), "nothing is right behind what is wrong");
    }

    #[test]
    fn a_draft_model_keeps_what_came_of_its_guesses() {
        let mut all = Rates::of_all();
        let mut drafts = drafts(Speculation::Draft);
        drafts.seat = Some(Seat { index: 0, held: 0, guessed: 0 });
        let guesses = [7, 8, 9].map(|token| Drafted { token, chance: 0.9 });
        drafts.answer(10, &guesses);
        assert_eq!(drafts.draft(3).collect::<Vec<_>>(), [7, 8, 9]);
        assert!(drafts.chosen(7, &mut all) && !drafts.chosen(5, &mut all));
        drafts.clear();
        assert_eq!(drafts.seat.map(|seat| seat.held), Some(11), "ten tokens and the first guess");
        drafts.answer(12, &guesses);
        assert_eq!(drafts.draft(3).count(), 3);
        assert!([7, 8, 9].iter().all(|&token| drafts.chosen(token, &mut all)));
        drafts.clear();
        assert_eq!(drafts.seat.map(|seat| seat.held), Some(14), "the last guess was not computed");
    }

    #[test]
    fn drafts_are_as_long_as_they_pay() {
        let line = |n: usize, slope: f64| move |length: usize| 1.0 + slope * (n * (length + 1) - 1) as f64;
        let one = |chances: Vec<f64>, most, slope| best_length(&[chances], most, line(1, slope)).length;
        let sure = |n: usize| vec![0.95; n];
        assert_eq!(one(vec![], 15, 0.0), 0, "nothing to draft");
        assert_eq!(one(sure(8), 15, 0.01), 8, "rows are nearly free");
        assert_eq!(one(sure(8), 5, 0.01), 5);
        assert_eq!(one(vec![0.1; 8], 15, 0.2), 0, "a row costs more than it brings");
        let some = one(vec![0.6; 8], 15, 0.1);
        assert!((1..8).contains(&some), "{some}");
        // One writes what it has read, the other one something new.
        let two = |chances: [Vec<f64>; 2], slope| best_length(&chances, 7, line(2, slope)).length;
        let both = two([sure(8), vec![]], 0.05);
        assert!(line(2, 0.05)(both) <= line(2, 0.05)(0) / FAIR_SHARE + 1e-9, "{both}");
        assert_eq!(two([sure(8), vec![]], 0.5), 0);
        assert_eq!(two([vec![1.0], sure(8)], 0.0), 7);
    }
}
