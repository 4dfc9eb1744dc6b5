//! Which tokens a text came from, so that both end at the same place.
//!
//! A stop string is cut out of the text, and so are the tokens that it came in: a token whose text may turn out to be of a
//! stop string waits with that text. What a reader sees is always the text of the tokens that he saw.

use std::collections::VecDeque;

use super::detokenizer::TextStream;

/// The text stream of one generation together with its tokens, or whatever stands for them.
#[derive(Debug, Clone)]
pub struct TokenText<T> {
    stream: TextStream,
    /// Without stop strings no token ever waits.
    has_stops: bool,
    /// Tokens not passed on yet, and where their text begins.
    waiting: VecDeque<(usize, T)>,
    /// Bytes of text passed on.
    shown: usize,
}

impl<T> TokenText<T> {
    /// A stream that ends at the first of `stops` to complete.
    pub fn new(stops: &[String]) -> Self {
        Self { stream: TextStream::new(stops), has_stops: !stops.is_empty(), waiting: VecDeque::new(), shown: 0 }
    }

    /// Takes a token and the bytes of its text. Passes on each token that is certain with its part of the text, or text
    /// alone where an earlier token's rest became certain. Returns the stop string that ended the stream, by its place.
    pub fn push(&mut self, token: T, piece: &[u8], pass_on: &mut impl FnMut(Option<T>, String)) -> Option<usize> {
        self.waiting.push_back((self.stream.decoded(), token));
        let step = self.stream.push(piece);
        let all = !self.has_stops || (step.stop.is_none() && !self.stream.is_waiting());
        self.show(&step.text, all, pass_on);
        if step.stop.is_some() {
            self.waiting.clear();
        }
        step.stop
    }

    /// Ends the generation: passes on all that still waited. Nothing after a stop string.
    pub fn finish(&mut self, pass_on: &mut impl FnMut(Option<T>, String)) {
        let text = self.stream.finish();
        self.show(&text, true, pass_on);
    }

    /// Passes on text, with the tokens that begin in it, or with all of them.
    fn show(&mut self, text: &str, all: bool, pass_on: &mut impl FnMut(Option<T>, String)) {
        let first = self.shown;
        self.shown += text.len();
        let mut told = 0;
        while self.waiting.front().is_some_and(|(start, _)| all || *start < self.shown)
            && let Some((start, token)) = self.waiting.pop_front()
        {
            // The text of an earlier token that is certain only now.
            if told == 0 && first < start.min(self.shown) {
                told = start - first;
                pass_on(None, text[..told].to_owned());
            }
            let end = self.waiting.front().map_or(self.shown, |(next, _)| self.shown.min(*next)) - first;
            pass_on(Some(token), text[told..end].to_owned());
            told = end;
        }
        if told < text.len() {
            pass_on(None, text[told..].to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Shown = Vec<(Option<usize>, String)>;

    /// What is passed on of numbered tokens with these texts, and which stop string ended them.
    fn read(stops: &[&str], pieces: &[&[u8]]) -> (Shown, Option<usize>) {
        let stops: Vec<String> = stops.iter().map(|&stop| stop.to_owned()).collect();
        let mut stream = TokenText::new(&stops);
        let mut shown = Vec::new();
        let mut pass_on = |token, text| shown.push((token, text));
        for (number, piece) in pieces.iter().enumerate() {
            if let Some(stop) = stream.push(number, piece, &mut pass_on) {
                stream.finish(&mut pass_on);
                return (shown, Some(stop));
            }
        }
        stream.finish(&mut pass_on);
        (shown, None)
    }

    fn list(shown: &[(Option<usize>, &str)]) -> Shown {
        shown.iter().map(|&(token, text)| (token, text.to_owned())).collect()
    }

    #[test]
    fn tokens_of_a_stop_string_are_cut_with_it() {
        let (shown, stop) = read(&["\nEND"], &[b"one", b" two\n", b"E", b"ND", b"never"]);
        assert_eq!(shown, list(&[(Some(0), "one"), (Some(1), " two")]), "a token that begins before it stays");
        assert_eq!(stop, Some(0));
        let (shown, _) = read(&["abc"], &[b"a", b"b", b"c"]);
        assert_eq!(shown, []);
    }

    #[test]
    fn tokens_that_waited_in_vain_come_each_with_its_text() {
        let (shown, stop) = read(&["abcd"], &[b"x", b"a", b"b", b"c", b"e"]);
        let expected = [(Some(0), "x"), (Some(1), "a"), (Some(2), "b"), (Some(3), "c"), (Some(4), "e")];
        assert_eq!((shown, stop), (list(&expected), None));
        let (shown, _) = read(&["abcd"], &[b"xa", b"b"]);
        assert_eq!(shown, list(&[(Some(0), "x"), (None, "a"), (Some(1), "b")]));
        // The first of three is certain, the other two are not.
        let (shown, _) = read(&["aax"], &[b"a", b"a", b"a"]);
        assert_eq!(shown, list(&[(Some(0), "a"), (Some(1), "a"), (Some(2), "a")]));
    }

    #[test]
    fn tokens_without_text_and_parts_of_characters() {
        let (shown, _) = read(&["stop"], &[b"", b"\xe2\x82", b"\xac", b"s", b"", b"o"]);
        let expected = [(Some(0), ""), (Some(1), ""), (Some(2), "€"), (Some(3), "s"), (Some(4), ""), (Some(5), "o")];
        assert_eq!(shown, list(&expected));
        // Without stop strings nothing waits.
        let mut stream = TokenText::new(&[]);
        let mut shown = Vec::new();
        stream.push('a', b"\xe2\x82", &mut |token, text| shown.push((token, text)));
        assert_eq!(shown, [(Some('a'), String::new())]);
        // A character of which a stop string begins in the middle of a token's bytes.
        let (shown, stop) = read(&["。"], &[b"a\xe3", b"\x80", b"\x82"]);
        assert_eq!((shown, stop), (list(&[(Some(0), "a")]), Some(0)));
    }

    proptest! {
        #![proptest_config(super::super::seeded())]

        #[test]
        fn the_text_is_that_of_the_tokens(
            stops in prop::collection::vec("[aé]{1,3}", 0..3),
            pieces in prop::collection::vec("[abé]{0,3}", 0..20),
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let bytes: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
            let (shown, stop) = read(&stops, &bytes);
            let text: String = shown.iter().map(|(_, text)| &**text).collect();
            let tokens: Vec<usize> = shown.iter().filter_map(|(token, _)| *token).collect();
            prop_assert_eq!(&tokens, &(0..tokens.len()).collect::<Vec<_>>(), "in order, none left out");
            let of_tokens: String = pieces[..tokens.len()].concat();
            prop_assert!(of_tokens.starts_with(&text));
            match stop {
                None => prop_assert_eq!((text, tokens.len()), (pieces.concat(), pieces.len())),
                // Only the last token may reach into the stop string.
                Some(_) => {
                    let before: usize = pieces[..tokens.len().saturating_sub(1)].iter().map(String::len).sum();
                    prop_assert!(tokens.is_empty() || before <= text.len());
                }
            }
        }
    }
}
