//! Lookup: what followed when the last tokens stood somewhere before.

use llama_concurrent_types::Token;

/// Tokens that agree at least.
pub(super) const MIN_MATCH: usize = 2;
/// More that agree say no more about what follows.
pub(super) const MAX_MATCH: usize = 32;
/// Places that are compared for one lookup.
const MAX_PLACES: usize = 16;

/// An index of all pairs of tokens in a text that grows. A *place* is the index of the token that follows a pair.
#[derive(Clone, Debug, Default)]
pub(super) struct Ngrams {
    /// The last place whose pair has this hash; 0 for none.
    heads: Vec<u32>,
    /// For each place the one before it with the same hash; 0 for none.
    links: Vec<u32>,
}

/// Where the last tokens stood before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    /// The index of the token that followed.
    pub place: usize,
    /// How many tokens agree, [`MAX_MATCH`] at most.
    pub length: usize,
}

impl Ngrams {
    /// Takes in what `tokens` has beyond what was taken in before.
    pub(super) fn extend(&mut self, tokens: &[Token]) {
        if tokens.len() * 2 > self.heads.len() {
            self.heads = vec![0; (tokens.len() * 4).next_power_of_two().max(64)];
            self.links.clear();
        }
        for place in self.links.len()..tokens.len() {
            let before = match place.checked_sub(MIN_MATCH) {
                Some(start) => {
                    let head = self.bucket(&tokens[start..place]);
                    std::mem::replace(&mut self.heads[head], place as u32)
                }
                None => 0,
            };
            self.links.push(before);
        }
    }

    /// The place behind the longest part of `tokens`, all of which were taken in, that is also the end of `tail`; of equally
    /// long ones the last.
    pub(super) fn find(&self, tokens: &[Token], tail: &[Token]) -> Option<Match> {
        if tail.len() < MIN_MATCH || self.heads.is_empty() {
            return None;
        }
        let mut place = self.heads[self.bucket(&tail[tail.len() - MIN_MATCH..])] as usize;
        let mut best: Option<Match> = None;
        for _ in 0..MAX_PLACES {
            if place == 0 {
                break;
            }
            let agreeing = tokens[..place].iter().rev().zip(tail.iter().rev()).take(MAX_MATCH);
            let length = agreeing.take_while(|(a, b)| a == b).count();
            if length >= MIN_MATCH && best.is_none_or(|best| length > best.length) {
                best = Some(Match { place, length });
            }
            if length == MAX_MATCH {
                break;
            }
            place = self.links[place] as usize;
        }
        best
    }

    fn bucket(&self, pair: &[Token]) -> usize {
        let key = (pair[0] as u32 as u64) << 32 | pair[1] as u32 as u64;
        // Fibonacci hashing: the upper bits are well mixed.
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        hash as usize & (self.heads.len() - 1)
    }
}

/// What requests that have ended wrote, as much as fits.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Memory {
    /// Taken in now.
    young: Volume,
    /// Full; dropped when the other one is.
    old: Volume,
}

#[derive(Clone, Debug, Default)]
struct Volume {
    tokens: Vec<Token>,
    ngrams: Ngrams,
}

/// Tokens of each of the two volumes of a memory: together they take about 2 MB.
const VOLUME: usize = 1 << 15;
/// Stands between texts, and is no token.
const GAP: Token = -1;

impl Memory {
    /// Takes in a text.
    pub(in super::super) fn add(&mut self, tokens: &[Token]) {
        let tokens = &tokens[..tokens.len().min(VOLUME)];
        if tokens.len() <= MIN_MATCH {
            return;
        }
        if self.young.tokens.len() + tokens.len() > VOLUME {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.tokens.extend(tokens);
        self.young.tokens.push(GAP);
        self.young.ngrams.extend(&self.young.tokens);
    }

    /// How many tokens agree with the end of `tail` somewhere, and what followed them there.
    pub(super) fn find(&self, tail: &[Token]) -> Option<(usize, impl Iterator<Item = Token>)> {
        let found = [&self.young, &self.old].into_iter().filter_map(|volume| {
            let found = volume.ngrams.find(&volume.tokens, tail)?;
            Some((found.length, &volume.tokens[found.place..]))
        });
        // Of equally long ones the younger.
        let (length, rest) = found.reduce(|a, b| if b.0 > a.0 { b } else { a })?;
        Some((length, rest.iter().copied().take_while(|&token| token != GAP)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<Token> {
        text.bytes().map(Token::from).collect()
    }

    #[test]
    fn the_longest_match_wins_and_of_equals_the_last() {
        let tokens = of("the cat sat. a cat ran. the cat ");
        let mut ngrams = Ngrams::default();
        ngrams.extend(&tokens);
        let follows = |tail: &str| ngrams.find(&tokens, &of(tail)).map(|m| (tokens[m.place] as u8 as char, m.length));
        assert_eq!(follows("the cat "), Some(('s', 8)));
        assert_eq!(follows("a cat "), Some(('r', 6)));
        assert_eq!(follows("my cat "), Some(('r', 5)));
        assert_eq!(follows("zz"), None);
        assert_eq!(follows("t"), None, "less than a pair");
        assert_eq!(Ngrams::default().find(&[], &of("ab")), None);
    }

    #[test]
    fn it_finds_the_same_however_the_text_grew() {
        let tokens: Vec<Token> = (0..5000u64).map(|i| (i * i % 97 * (i % 7) % 50) as Token).collect();
        let (mut whole, mut grown) = (Ngrams::default(), Ngrams::default());
        whole.extend(&tokens);
        for end in (0..tokens.len()).step_by(37).chain([tokens.len()]) {
            grown.extend(&tokens[..end]);
        }
        for end in (40..tokens.len()).step_by(11) {
            let tail = &tokens[end - 40..end];
            let found = whole.find(&tokens, tail);
            assert_eq!(found, grown.find(&tokens, tail));
            let Match { place, length } = found.expect("at least itself");
            assert_eq!(tokens[place - length..place], tail[40 - length..]);
        }
    }

    #[test]
    fn a_memory_is_bounded_and_keeps_texts_apart() {
        let mut memory = Memory::default();
        memory.add(&of("one two"));
        memory.add(&of("six ten"));
        let rest = |memory: &Memory, tail: &str| {
            memory.find(&of(tail)).map(|(_, rest)| rest.map(|t| t as u8 as char).collect::<String>())
        };
        assert_eq!(rest(&memory, "e t").as_deref(), Some("wo"), "no further than the text");
        assert_eq!(rest(&memory, "six").as_deref(), Some(" ten"));
        assert_eq!(rest(&memory, "osi"), Some(String::from("x ten")), "the pair alone agrees");
        assert_eq!(rest(&memory, "os"), None, "not across texts");
        for text in 0..40 {
            memory.add(&(0..5000).map(|i| 1000 + (text * 5000 + i) as Token).collect::<Vec<_>>());
            assert!(memory.young.tokens.len() <= VOLUME + 1 && memory.old.tokens.len() <= VOLUME + 1);
        }
        assert_eq!(rest(&memory, "six"), None, "forgotten");
        memory.add(&vec![7; 3 * VOLUME]);
        assert!(memory.young.tokens.len() <= VOLUME + 1);
    }
}
