//! Finds special tokens written out in a text, with the same result as llama.cpp but in linear time.
//!
//! llama.cpp takes one special token after the other, the longest first, and cuts each of its occurrences out of the text
//! that earlier tokens have left. The same cuts result from searching for all tokens at once and applying that order
//! only to occurrences that touch each other.

use std::{ops::Range, sync::OnceLock};

use aho_corasick::AhoCorasick;
use llama_concurrent_types::Token;
use memchr::memmem;

/// A token that is searched for before the text goes to the tokenizer proper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpecialToken {
    pub(crate) token: Token,
    /// Never empty.
    pub(crate) text: Vec<u8>,
    /// Matched only with `parse_special`; others, such as runs of spaces in some vocabularies, are always matched.
    pub(crate) control: bool,
    /// Removes the white space before it.
    pub(crate) strip_left: bool,
    /// Removes the white space after it.
    pub(crate) strip_right: bool,
}

/// All special tokens of a vocabulary, in the order in which llama.cpp searches for them.
#[derive(Debug, Default)]
pub(crate) struct SpecialTokens {
    tokens: Vec<SpecialToken>,
    has_uncontrolled: bool,
    automaton: OnceLock<Option<AhoCorasick>>,
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Bytes without special tokens, at least one. They need not begin between characters.
    Text(Range<usize>),
    Token(Token),
}

/// Called now and then during the work; `false` stops it.
pub(crate) type GoOn<'a> = &'a dyn Fn() -> bool;

impl SpecialTokens {
    /// `tokens` in llama.cpp's order.
    pub(crate) fn new(tokens: Vec<SpecialToken>) -> Self {
        let has_uncontrolled = tokens.iter().any(|token| !token.control);
        Self { tokens, has_uncontrolled, automaton: OnceLock::new() }
    }

    /// Splits a text at its special tokens. Control tokens are matched only with `parse_special`, and not if they touch one
    /// of the `plain` ranges, which are in order and do not touch. Other tokens are matched unless they equal a plain range:
    /// runs of spaces inside a range are tokens as in any text. `None` if it was stopped.
    pub(crate) fn split(
        &self,
        text: &[u8],
        parse_special: bool,
        plain: &[Range<usize>],
        go_on: GoOn<'_>,
    ) -> Option<Vec<Part>> {
        let mut parts = Vec::new();
        let mut done = 0;
        if parse_special || self.has_uncontrolled {
            let search = Search { tokens: &self.tokens, text, parse_special, plain };
            let mut cuts = Vec::new();
            for cluster in search.clusters(self.automaton()?, go_on)? {
                cuts.clear();
                search.settle(&cluster, &mut cuts);
                for cut in &cuts {
                    if cut.taken.start > done {
                        parts.push(Part::Text(done..cut.taken.start));
                    }
                    parts.push(Part::Token(cut.token));
                    done = cut.taken.end;
                }
            }
        }
        if done < text.len() {
            parts.push(Part::Text(done..text.len()));
        }
        Some(parts)
    }

    /// Built on first use: with thousands of special tokens that takes some milliseconds.
    fn automaton(&self) -> Option<&AhoCorasick> {
        self.automaton.get_or_init(|| AhoCorasick::new(self.tokens.iter().map(|token| &token.text)).ok()).as_ref()
    }
}

/// Occurrences that touch each other, including the white space that their tokens may remove.
struct Cluster {
    start: usize,
    end: usize,
    /// The tokens of the cluster, by their index in the order. Nearly always one, so there is no allocation.
    first: u32,
    others: Vec<u32>,
}

impl Cluster {
    fn add(&mut self, rank: u32) {
        if rank != self.first
            && let Err(place) = self.others.binary_search(&rank)
        {
            self.others.insert(place, rank);
        }
    }

    fn absorb(&mut self, other: Cluster) {
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
        self.add(other.first);
        other.others.into_iter().for_each(|rank| self.add(rank));
    }
}

/// A special token, and the text that it covers.
struct Cut {
    token: Token,
    taken: Range<usize>,
}

struct Search<'a> {
    tokens: &'a [SpecialToken],
    text: &'a [u8],
    parse_special: bool,
    plain: &'a [Range<usize>],
}

/// Number of occurrences between two checks whether to continue.
const PLACES_BETWEEN_LOOKS: usize = 1 << 14;

impl Search<'_> {
    /// All occurrences of special tokens, in order; those that touch form one cluster.
    fn clusters(&self, automaton: &AhoCorasick, go_on: GoOn<'_>) -> Option<Vec<Cluster>> {
        let mut clusters: Vec<Cluster> = Vec::new();
        let mut space = SpaceRun::default();
        for (n, found) in automaton.find_overlapping_iter(self.text).enumerate() {
            if n % PLACES_BETWEEN_LOOKS == 0 && !go_on() {
                return None;
            }
            let rank = found.pattern().as_u32();
            let special = &self.tokens[rank as usize];
            if !self.counts(special, found.range()) {
                continue;
            }
            let start = if special.strip_left { space.start_before(self.text, found.start()) } else { found.start() };
            let end = if special.strip_right { space.end_behind(self.text, found.end()) } else { found.end() };
            let mut cluster = Cluster { start, end, first: rank, others: Vec::new() };
            loop {
                match clusters.last_mut() {
                    Some(last) if last.end > cluster.start && last.start <= cluster.start => {
                        last.absorb(cluster);
                        break;
                    }
                    Some(last) if last.end > cluster.start => {
                        cluster.absorb(clusters.pop().expect("there is a last one"));
                    }
                    _ => {
                        clusters.push(cluster);
                        break;
                    }
                }
            }
        }
        Some(clusters)
    }

    fn counts(&self, special: &SpecialToken, place: Range<usize>) -> bool {
        let plain = &self.plain[self.plain.partition_point(|plain| plain.end <= place.start)..];
        if special.control {
            self.parse_special && plain.first().is_none_or(|plain| plain.start >= place.end)
        } else {
            plain.first() != Some(&place)
        }
    }

    /// The cuts that llama.cpp makes in a cluster, in text order.
    fn settle(&self, cluster: &Cluster, cuts: &mut Vec<Cut>) {
        let only = &self.tokens[cluster.first as usize];
        if cluster.others.is_empty() && cluster.end - cluster.start == only.text.len() {
            cuts.push(Cut { token: only.token, taken: cluster.start..cluster.end });
            return;
        }
        let mut ranks = cluster.others.clone();
        ranks.push(cluster.first);
        ranks.sort_unstable();
        let mut gaps: Vec<_> = std::iter::once(cluster.start..cluster.end).collect();
        for rank in ranks {
            let special = &self.tokens[rank as usize];
            let finder = memmem::Finder::new(&special.text);
            let mut left_over = Vec::with_capacity(gaps.len());
            for gap in gaps {
                let rest = self.cut_all(special, &finder, gap, cuts, &mut left_over);
                if !rest.is_empty() {
                    left_over.push(rest);
                }
            }
            gaps = left_over;
        }
        cuts.sort_unstable_by_key(|cut| cut.taken.start);
    }

    /// Cuts all occurrences of one token out of a gap, from left to right. Returns the text after the last cut; the other
    /// pieces go to `left_over`.
    fn cut_all(
        &self,
        special: &SpecialToken,
        finder: &memmem::Finder<'_>,
        gap: Range<usize>,
        cuts: &mut Vec<Cut>,
        left_over: &mut Vec<Range<usize>>,
    ) -> Range<usize> {
        let (mut base, mut from) = (gap.start, gap.start);
        while let Some(found) = finder.find(&self.text[from..gap.end]) {
            let place = from + found..from + found + special.text.len();
            if !self.counts(special, place.clone()) {
                from = place.start + 1;
                continue;
            }
            let Range { mut start, mut end } = place;
            if special.strip_left {
                start -= self.text[base..start].iter().rev().take_while(|&&byte| is_space(byte)).count();
            }
            if special.strip_right {
                end += self.text[end..gap.end].iter().take_while(|&&byte| is_space(byte)).count();
            }
            if base < start {
                left_over.push(base..start);
            }
            cuts.push(Cut { token: special.token, taken: start..end });
            (base, from) = (end, end);
        }
        base..gap.end
    }
}

/// `isspace` of C.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Caches the last runs of white space, so that a long run with many tokens in it is scanned once. The first begins where
/// its run begins, the second ends where its run ends.
#[derive(Default)]
struct SpaceRun(Range<usize>, Range<usize>);

impl SpaceRun {
    fn start_before(&mut self, text: &[u8], at: usize) -> usize {
        if !(self.0.start < at && at <= self.0.end) {
            let spaces = text[..at].iter().rev().take_while(|&&byte| is_space(byte)).count();
            self.0 = at - spaces..at;
        }
        self.0.start
    }

    fn end_behind(&mut self, text: &[u8], at: usize) -> usize {
        if !self.1.contains(&at) {
            let spaces = text[at..].iter().take_while(|&&byte| is_space(byte)).count();
            self.1 = at..at + spaces;
        }
        self.1.end
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of one plain range are meant")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The reference implementation: one token after the other, each over all remaining text.
    fn one_by_one(tokens: &[SpecialToken], text: &[u8], parse_special: bool, plain: &[Range<usize>]) -> Vec<Part> {
        let search = Search { tokens, text, parse_special, plain };
        let mut parts = Vec::from_iter((!text.is_empty()).then_some(Part::Text(0..text.len())));
        for special in tokens {
            let mut next = Vec::new();
            for part in parts {
                let Part::Text(range) = part else {
                    next.push(part);
                    continue;
                };
                let (mut base, mut at) = (range.start, range.start);
                while at + special.text.len() <= range.end {
                    let place = at..at + special.text.len();
                    if text[place.clone()] != special.text || !search.counts(special, place.clone()) {
                        at += 1;
                        continue;
                    }
                    let (mut start, mut end) = (place.start, place.end);
                    while special.strip_left && start > base && is_space(text[start - 1]) {
                        start -= 1;
                    }
                    while special.strip_right && end < range.end && is_space(text[end]) {
                        end += 1;
                    }
                    next.extend((base < start).then_some(Part::Text(base..start)));
                    next.push(Part::Token(special.token));
                    (base, at) = (end, end);
                }
                next.extend((base < range.end).then_some(Part::Text(base..range.end)));
            }
            parts = next;
        }
        parts
    }

    fn special(token: Token, text: &str, flags: &str) -> SpecialToken {
        SpecialToken {
            token,
            text: text.into(),
            control: flags.contains('c'),
            strip_left: flags.contains('l'),
            strip_right: flags.contains('r'),
        }
    }

    fn split(tokens: &[SpecialToken], text: &str, plain: &[Range<usize>]) -> Vec<Part> {
        SpecialTokens::new(tokens.to_vec()).split(text.as_bytes(), true, plain, &|| true).unwrap()
    }

    #[test]
    fn the_longest_goes_first_over_the_whole_text() {
        let tokens = [special(0, "cdefg", "c"), special(1, "abc", "c")];
        assert_eq!(split(&tokens, "abcdefg", &[]), [Part::Text(0..2), Part::Token(0)], "not the first from the left");
        assert_eq!(split(&tokens, "abcabcdefg", &[]), [Part::Token(1), Part::Text(3..5), Part::Token(0)]);
        assert_eq!(split(&tokens, "", &[]), []);
    }

    #[test]
    fn white_space_is_taken_up_to_the_next_cut() {
        let tokens = [special(0, "<m>", "cl"), special(1, "<e>", "cr"), special(2, "  ", "")];
        assert_eq!(split(&tokens, "a  <m> b", &[]), [Part::Text(0..1), Part::Token(0), Part::Text(6..8)]);
        assert_eq!(split(&tokens, "<e>  \n<m>", &[]), [Part::Token(1), Part::Token(0)]);
        assert_eq!(split(&tokens, "a  b", &[]), [Part::Text(0..1), Part::Token(2), Part::Text(3..4)]);
    }

    #[test]
    fn nothing_that_touches_a_plain_range_is_a_control_token() {
        let tokens = [special(0, "<|end|>", "c"), special(1, "  ", "")];
        let text = "<|end|>x<|end|>  <|end|>";
        assert_eq!(split(&tokens, text, &[7..17]), [Part::Token(0), Part::Text(7..15), Part::Token(1), Part::Token(0)]);
        // A token written partly by the template and partly by the user is not matched either.
        assert_eq!(split(&tokens, "<|end|>", &[4..7]), [Part::Text(0..7)]);
        assert_eq!(split(&tokens, "<|end|>", &[0..0, 7..7]), [Part::Token(0)]);
    }

    #[test]
    fn a_plain_range_that_is_a_user_defined_token_is_none() {
        let tokens = [special(0, "<turn>", ""), special(1, "  ", "")];
        assert_eq!(split(&tokens, "<turn>a<turn>", &[7..13]), [Part::Token(0), Part::Text(6..13)]);
        assert_eq!(split(&tokens, "<turn><turn>", &[0..6, 6..12]), [Part::Text(0..12)]);
        assert_eq!(split(&tokens, "<turn>  ", &[0..8]), [Part::Token(0), Part::Token(1)], "a whole message");
    }

    #[test]
    fn it_ends_when_it_is_told_to() {
        let tokens = SpecialTokens::new(vec![special(0, "x", "c")]);
        assert_eq!(tokens.split(b"xxx", true, &[], &|| false), None);
    }

    #[test]
    fn a_long_run_of_tokens_within_tokens_takes_linear_time() {
        let mut tokens: Vec<_> = (2..30).rev().map(|n| special(n, &" ".repeat(n as usize), "")).collect();
        tokens.push(special(1, "<s>", "clr"));
        let spaces = " ".repeat(200_000);
        let parts = split(&tokens, &format!("{spaces}<s>{spaces}"), &[]);
        assert_eq!(parts, split(&tokens, &format!("{spaces}<s>{spaces}"), &[]));
        assert!(parts.contains(&Part::Token(1)));
    }

    /// The cases are deterministic, and a failure prints its case, so no regression file is needed.
    fn seeded() -> proptest::test_runner::Config {
        let rng_seed = proptest::test_runner::RngSeed::Fixed(1);
        proptest::test_runner::Config { rng_seed, failure_persistence: None, ..Default::default() }
    }

    proptest! {
        #![proptest_config(proptest::test_runner::Config { cases: 4000, ..seeded() })]

        #[test]
        fn all_at_once_is_the_same_as_one_by_one(
            tokens in prop::collection::vec(("[ab \n]{1,4}", "c?l?r?"), 0..6),
            text in "[ab \n]{0,24}",
            parse_special: bool,
            cuts in prop::collection::vec(0usize..25, 0..5),
        ) {
            let mut tokens: Vec<_> =
                tokens.iter().enumerate().map(|(id, (text, flags))| special(id as Token, text, flags)).collect();
            tokens.sort_by_key(|token| std::cmp::Reverse(token.text.len()));
            let mut cuts: Vec<_> = cuts.into_iter().map(|at| at.min(text.len())).collect();
            cuts.sort_unstable();
            let plain: Vec<_> = cuts.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
            let expected = one_by_one(&tokens, text.as_bytes(), parse_special, &plain);
            let got = SpecialTokens::new(tokens).split(text.as_bytes(), parse_special, &plain, &|| true);
            prop_assert_eq!(got.unwrap(), expected);
        }
    }
}
