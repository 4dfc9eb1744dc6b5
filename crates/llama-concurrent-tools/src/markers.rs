//! Finding the texts that end what is being read, in text that comes piece by piece.

/// Where a marker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// This one, at this byte.
    At(usize, usize),
    /// From this byte on the text may become one.
    Maybe(usize),
    /// There is none, nor the beginning of one.
    Nowhere,
}

/// A small set of texts to look for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Markers {
    texts: Vec<String>,
    /// Their first bytes, each once.
    first: Vec<u8>,
}

impl Markers {
    pub(crate) fn new<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        let texts: Vec<String> = texts.into_iter().map(Into::into).collect();
        let mut first: Vec<u8> = texts.iter().filter_map(|text| text.bytes().next()).collect();
        first.sort_unstable();
        first.dedup();
        Self { texts, first }
    }

    /// The first of them in `text`, and the longest where several begin there.
    ///
    /// A text is compared at most twice per byte and marker, however it is cut: what may become a marker is the end of
    /// the text alone, and shorter than the longest.
    pub(crate) fn find(&self, text: &str, is_last: bool) -> Found {
        let bytes = text.as_bytes();
        let mut from = 0;
        while let Some(offset) = self.candidate(&bytes[from..]) {
            let at = from + offset;
            match self.at(&bytes[at..], is_last) {
                Found::At(_, index) => return Found::At(at, index),
                Found::Maybe(_) => return Found::Maybe(at),
                Found::Nowhere => from = at + 1,
            }
        }
        Found::Nowhere
    }

    /// Which one the text begins with.
    pub(crate) fn at(&self, text: &[u8], is_last: bool) -> Found {
        let mut best: Option<usize> = None;
        for (index, marker) in self.texts.iter().enumerate() {
            let marker = marker.as_bytes();
            if text.starts_with(marker) {
                if best.is_none_or(|best| self.texts[best].len() < marker.len()) {
                    best = Some(index);
                }
            } else if !is_last && marker.starts_with(text) {
                return Found::Maybe(0);
            }
        }
        best.map_or(Found::Nowhere, |index| Found::At(0, index))
    }

    /// Whether one of them may follow a text that ends here.
    pub(crate) fn may_begin_with(&self, text: &str) -> bool {
        !text.is_empty() && self.texts.iter().any(|marker| marker.starts_with(text))
    }

    pub(crate) fn text(&self, index: usize) -> &str {
        &self.texts[index]
    }

    fn candidate(&self, bytes: &[u8]) -> Option<usize> {
        match *self.first.as_slice() {
            [] => None,
            [a] => memchr::memchr(a, bytes),
            [a, b] => memchr::memchr2(a, b, bytes),
            [a, b, c] => memchr::memchr3(a, b, c, bytes),
            ref more => bytes.iter().position(|byte| more.contains(byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_longest_counts_and_the_beginning_of_one_is_waited_for() {
        let markers = Markers::new(["<a>", "<a>b", "]"]);
        for (text, is_last, expected) in [
            ("x<a>c", false, Found::At(1, 0)),
            ("x<a>b", false, Found::At(1, 1)),
            ("x<a>", false, Found::Maybe(1)),
            ("x<a>", true, Found::At(1, 0)),
            ("<<a]", false, Found::At(3, 2)),
            ("<<", false, Found::Maybe(1)),
            ("<<", true, Found::Nowhere),
            ("é", false, Found::Nowhere),
            ("", false, Found::Nowhere),
        ] {
            assert_eq!(markers.find(text, is_last), expected, "{text}");
        }
    }
}
