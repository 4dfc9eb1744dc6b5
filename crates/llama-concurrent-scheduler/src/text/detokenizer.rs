//! From token pieces to the text that a caller may see.

use super::{
    stop::{StopMatcher, StopStatus},
    utf8::Utf8Decoder,
};

/// The text stream of one generation: whole characters, up to the first stop string.
#[derive(Debug, Clone)]
pub struct TextStream {
    decoder: Utf8Decoder,
    matcher: StopMatcher,
    /// Bytes of text so far, shown or not.
    total: usize,
    /// Reused between pushes, so that a token without text costs no allocation.
    decoded: String,
}

/// What one token piece added to the stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "the text of a step is not repeated"]
pub struct Step {
    /// Text that may be shown now; often empty, as when a character or a possible stop string is incomplete.
    pub text: String,
    /// The stop string that ended the stream, as an index into the list given to [`TextStream::new`].
    pub stop: Option<usize>,
}

impl TextStream {
    /// A stream that ends at the first of `stops` to complete (see [`StopMatcher`]); none are needed, none may be empty.
    pub fn new(stops: &[String]) -> Self {
        Self { decoder: Utf8Decoder::new(), matcher: StopMatcher::new(stops), total: 0, decoded: String::new() }
    }

    /// Takes the bytes of one token. After a stop string, further pieces are ignored: their steps have no text and report
    /// the same stop.
    pub fn push(&mut self, piece: &[u8]) -> Step {
        self.decoded.clear();
        self.decoder.push(piece, &mut self.decoded);
        self.total += self.decoded.len();
        self.match_decoded()
    }

    /// Ends the generation and returns the text that still waited: an incomplete character as U+FFFD, and the start of a
    /// stop string that did not come. Empty after a stop string.
    pub fn finish(&mut self) -> String {
        self.decoded.clear();
        self.decoder.finish(&mut self.decoded);
        self.total += self.decoded.len();
        let mut text = self.match_decoded().text;
        self.matcher.finish(&mut text);
        text
    }

    /// Bytes of text so far, those that wait included.
    pub(super) fn decoded(&self) -> usize {
        self.total
    }

    /// Whether an incomplete character or the beginning of a stop string waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.decoder.has_pending() || self.matcher.has_pending()
    }

    fn match_decoded(&mut self) -> Step {
        let mut text = String::new();
        let stop = match self.matcher.push(&self.decoded, &mut text) {
            StopStatus::Continue => None,
            StopStatus::Matched { which } => Some(which),
        };
        Step { text, stop }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn step(text: &str, stop: Option<usize>) -> Step {
        Step { text: text.into(), stop }
    }

    #[test]
    fn characters_and_stop_strings_may_be_split_anywhere() {
        let mut stream = TextStream::new(&["。終".into()]);
        assert_eq!(stream.push(b"ok \xe3\x80"), step("ok ", None));
        assert_eq!(stream.push(b"\x82\xe7"), step("", None));
        assert_eq!(stream.push(b"\xb5\x82 tail"), step("", Some(0)));
        assert_eq!(stream.finish(), "");
    }

    #[test]
    fn the_end_releases_what_waited() {
        let mut stream = TextStream::new(&["END".into()]);
        assert_eq!(stream.push(b"the EN\xf0\x9f"), step("the ", None));
        assert_eq!(stream.finish(), "EN\u{fffd}");
        assert_eq!(stream.finish(), "");
    }

    #[test]
    fn pieces_after_a_stop_are_ignored() {
        let mut stream = TextStream::new(&["!".into(), "?".into()]);
        assert_eq!(stream.push(b"what?no"), step("what", Some(1)));
        assert_eq!(stream.push(b"more!"), step("", Some(1)));
        assert_eq!(stream.push(b"\xf0"), step("", Some(1)));
        assert_eq!(stream.finish(), "");
    }

    proptest! {
        #![proptest_config(super::super::seeded())]

        #[test]
        fn the_text_does_not_depend_on_the_pieces(
            stops in prop::collection::vec("[aé\u{fffd}]{1,3}", 0..3),
            bytes in prop::collection::vec(prop::sample::select(vec![b'a', b'b', 0xc3, 0xa9, 0xe2, 0x82]), 0..40),
            piece_len in 1usize..7,
        ) {
            let read = |piece_len: usize| {
                let mut stream = TextStream::new(&stops);
                let mut text = String::new();
                let mut stop = None;
                for piece in bytes.chunks(piece_len) {
                    let step = stream.push(piece);
                    text.push_str(&step.text);
                    stop = step.stop;
                }
                text.push_str(&stream.finish());
                (text, stop)
            };
            let (text, stop) = read(piece_len);
            let (whole_text, _) = read(bytes.len().max(1));
            prop_assert_eq!(&text, &whole_text);
            if stop.is_none() && !stops.iter().any(|s| String::from_utf8_lossy(&bytes).contains(s.as_str())) {
                prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
            }
        }
    }
}
