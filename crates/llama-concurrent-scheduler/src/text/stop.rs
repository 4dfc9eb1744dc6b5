//! Stop strings: text at which a generation ends, and which the caller never sees.
//!
//! A stop string may be spread over many tokens, so text that could be the start of one has to wait. The matcher waits
//! for no more than that: the longest end of the text which is also the start of a stop string.

#[cfg(test)]
mod tests;

/// What a push found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a stop string ends the stream"]
pub enum StopStatus {
    /// No stop string is complete.
    Continue,
    /// A stop string is complete: the stream has ended before it.
    Matched {
        /// The index of the stop string in the list given to [`StopMatcher::new`].
        which: usize,
    },
}

/// Finds the first stop string in a stream of text and passes on the text before it.
///
/// The stop string that completes first in the stream wins, because the text up to there does not depend on what would
/// follow: of `abcd` and `bc`, the text `abcd` stops at `bc` after `a`. When several complete with the same character,
/// the longest wins, which is the one that starts first. The outcome does not depend on how the text is split into pushes.
///
/// Text that waits is always a proper prefix of a stop string, so it is shorter than the longest of them. A push takes
/// time proportional to its length times the number of stop strings.
#[derive(Debug, Clone)]
pub struct StopMatcher {
    patterns: Vec<Pattern>,
    /// Text not yet passed on. Between pushes: the longest partial match.
    held: String,
    matched: Option<usize>,
}

impl StopMatcher {
    /// A matcher at the start of a stream. An empty stop string never matches: refuse it where the request is checked.
    pub fn new(stops: &[String]) -> Self {
        let patterns = stops
            .iter()
            .enumerate()
            .filter(|(_, stop)| !stop.is_empty())
            .map(|(which, stop)| Pattern::new(which, stop))
            .collect();
        Self { patterns, held: String::new(), matched: None }
    }

    /// Appends to `out` all text that can no longer be part of a stop string.
    ///
    /// After a match nothing more is passed on: further text is ignored, and every push reports the same match.
    pub fn push(&mut self, text: &str, out: &mut String) -> StopStatus {
        if let Some(which) = self.matched {
            return StopStatus::Matched { which };
        }
        let searched = self.held.len();
        self.held.push_str(text);
        for (offset, &byte) in text.as_bytes().iter().enumerate() {
            if let Some(stop) = advance(&mut self.patterns, byte) {
                let which = stop.which;
                let before = searched + offset + 1 - stop.text.len();
                out.push_str(&self.held[..before]);
                self.held.clear();
                self.matched = Some(which);
                return StopStatus::Matched { which };
            }
        }
        let partial = self.patterns.iter().map(|p| p.progress).max().unwrap_or(0);
        // Both borders lie between characters: a partial match begins with the first byte of a stop string.
        let safe = self.held.len() - partial;
        out.push_str(&self.held[..safe]);
        self.held.drain(..safe);
        StopStatus::Continue
    }

    /// Ends the stream: text that waited for the rest of a stop string is passed on. Without a match, the matcher is
    /// then as new.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
        for pattern in &mut self.patterns {
            pattern.progress = 0;
        }
    }

    /// True while text waits for the rest of a stop string.
    pub fn has_pending(&self) -> bool {
        !self.held.is_empty()
    }
}

/// Feeds one byte to every pattern and returns the longest that it completes (of equal ones the first).
fn advance(patterns: &mut [Pattern], byte: u8) -> Option<&Pattern> {
    let mut longest: Option<&Pattern> = None;
    for pattern in patterns {
        if pattern.advance(byte) && longest.is_none_or(|best| best.text.len() < pattern.text.len()) {
            longest = Some(pattern);
        }
    }
    longest
}

/// One stop string with the failure function of Knuth, Morris and Pratt, which keeps the search linear.
///
/// Matching bytes instead of characters is exact, as no UTF-8 character contains another one's encoding.
#[derive(Debug, Clone)]
struct Pattern {
    which: usize,
    text: Box<[u8]>,
    /// `borders[n]`: the length of the longest proper prefix of `text[..=n]` that is also its suffix.
    borders: Box<[usize]>,
    /// How many bytes of `text` the stream ends with.
    progress: usize,
}

impl Pattern {
    fn new(which: usize, stop: &str) -> Self {
        let mut pattern =
            Self { which, text: stop.as_bytes().into(), borders: vec![0; stop.len()].into(), progress: 0 };
        // Matching the text against itself, one byte late, yields its borders.
        for n in 1..stop.len() {
            pattern.advance(pattern.text[n]);
            pattern.borders[n] = pattern.progress;
        }
        pattern.progress = 0;
        pattern
    }

    /// True if `byte` completes the pattern. Not to be called again after that.
    fn advance(&mut self, byte: u8) -> bool {
        while self.progress > 0 && self.text[self.progress] != byte {
            self.progress = self.borders[self.progress - 1];
        }
        if self.text[self.progress] == byte {
            self.progress += 1;
        }
        self.progress == self.text.len()
    }
}
