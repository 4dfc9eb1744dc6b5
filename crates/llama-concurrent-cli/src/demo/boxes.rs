//! The view as lines of text: a grid of boxes that fits a terminal, or the whole texts.

use std::fmt::Write;

use crossterm::style::{StyledContent, Stylize};
use llama_concurrent_bench::numbers::rate;
use textwrap::{Options, WordSplitter, WrapAlgorithm};
use unicode_width::UnicodeWidthStr;

/// Boxes stand side by side from this width on.
const WIDE: usize = 100;
/// They do so in narrower terminals too where they would have fewer lines of text than this one below the other.
const FEW_LINES: usize = 3;
const NARROWEST_PAIR: usize = 60;
/// Longer lines are hard to read.
const WIDEST_BOX: usize = 90;
const GAP: usize = 2;

/// The state of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// For a slot.
    Waiting,
    Prefill,
    Decoding,
    Done,
}

/// A text and its state.
pub struct Pane<'a> {
    pub state: State,
    pub prompt: &'a str,
    pub output: &'a str,
    pub tokens: usize,
    pub rate: Option<f64>,
}

/// The whole view.
pub struct Page<'a> {
    pub title: &'a str,
    pub panes: Vec<Pane<'a>>,
    pub summary: String,
}

impl Page<'_> {
    /// Lines for a terminal of this size, with one row left free for the cursor. Texts that are too long are cut at the
    /// start.
    pub fn fit(&self, width: usize, height: usize) -> Vec<String> {
        let height = height.saturating_sub(1);
        // Without the title, the summary and a blank line above it.
        let available = height.saturating_sub(3);
        let one_column = available / self.panes.len().max(1);
        let columns = columns(width, one_column.saturating_sub(1) < FEW_LINES);
        let rows = self.panes.len().div_ceil(columns).max(1);
        let heights = (0..rows).map(|row| available / rows + usize::from(row < available % rows));
        let mut lines = self.lines(width, columns, heights.map(Some));
        lines.truncate(height);
        lines
    }

    /// Lines with the whole texts, for a terminal of this width.
    pub fn whole(&self, width: usize) -> Vec<String> {
        let columns = columns(width, false);
        self.lines(width, columns, std::iter::repeat(None))
    }

    fn lines(&self, width: usize, columns: usize, heights: impl Iterator<Item = Option<usize>>) -> Vec<String> {
        // The last cell of a line stays empty: a terminal that is about to wrap behaves in its own way.
        let box_width = (width.saturating_sub(1 + GAP * (columns - 1)) / columns).clamp(1, WIDEST_BOX);
        let mut lines = vec![cut(self.title, width.saturating_sub(1)).bold().to_string()];
        for ((row, panes), height) in self.panes.chunks(columns).enumerate().zip(heights) {
            let texts: Vec<_> = panes.iter().map(|pane| pane.wrap(box_width)).collect();
            let whole = texts.iter().map(Vec::len).max().unwrap_or(0) + 2;
            let height = height.unwrap_or(whole);
            // Room for a blank line below is taken first from boxes that are high enough.
            let text_lines = height.saturating_sub(if height > FEW_LINES + 1 { 2 } else { 1 });
            let boxes: Vec<Vec<String>> = (panes.iter().zip(&texts).enumerate())
                .map(|(i, (pane, text))| pane.draw(row * columns + i + 1, text, box_width, text_lines))
                .collect();
            lines.extend((0..height).map(|line| {
                let cells = boxes.iter().map(|cells| cells.get(line).cloned().unwrap_or_else(|| " ".repeat(box_width)));
                cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
            }));
        }
        if lines.last().is_some_and(|line| !line.is_empty()) {
            lines.push(String::new());
        }
        lines.push(cut(&self.summary, width.saturating_sub(1)).bold().to_string());
        lines
    }
}

fn columns(width: usize, is_low: bool) -> usize {
    if width >= WIDE || (is_low && width >= NARROWEST_PAIR) { 2 } else { 1 }
}

impl Pane<'_> {
    /// One line with everything, for files.
    pub fn plain(&self, number: usize) -> String {
        let text: Vec<&str> = self.prompt.split_whitespace().chain(self.output.split_whitespace()).collect();
        let rate = self.rate.map_or(String::new(), |r| format!(", {} tok/s", rate(r)));
        format!("{number} ({} tokens{rate}): {}", self.tokens, text.join(" "))
    }

    fn wrap(&self, width: usize) -> Vec<String> {
        let text = visible(&format!("{}{}", self.prompt, self.output));
        // Words already on the screen must not move when the next one comes.
        let options =
            Options::new(width).wrap_algorithm(WrapAlgorithm::FirstFit).word_splitter(WordSplitter::NoHyphenation);
        textwrap::wrap(&text, options).into_iter().map(|line| line.into_owned()).collect()
    }

    /// A title and the last `n` lines of the text, each of them `width` wide.
    fn draw(&self, number: usize, text: &[String], width: usize, n: usize) -> Vec<String> {
        let hidden = text.len().saturating_sub(n);
        let prompt = visible(self.prompt).chars().filter(|c| !c.is_whitespace()).count();
        let mut prompt_left = prompt;
        let mut lines = vec![self.title(number, width)];
        for (index, line) in text.iter().enumerate() {
            let (of_prompt, of_output) = split(line, &mut prompt_left);
            if index >= hidden {
                let space = " ".repeat(width.saturating_sub(line.width()));
                lines.push(format!("{}{of_output}{space}", of_prompt.bold()));
            }
        }
        lines
    }

    fn title(&self, number: usize, width: usize) -> String {
        let mut label = format!(" {} tokens", self.tokens);
        if let Some(r) = self.rate {
            let _ = write!(label, ", {} tok/s", rate(r));
        }
        let (state, label) = match self.state {
            State::Waiting => ("waiting".dark_grey(), String::new()),
            State::Prefill => ("prefill".yellow(), String::new()),
            State::Decoding => ("decoding".cyan(), label),
            State::Done => ("done".green(), label),
        };
        let taken = format!("─ {number} {}{label} ", state.content()).width();
        if taken > width {
            return cut(&format!("─ {number} {}{label}", state.content()), width);
        }
        format!("{} {number} {state}{label} {}", rule(1), rule(width - taken))
    }
}

fn rule(width: usize) -> StyledContent<String> {
    "─".repeat(width).dark_grey()
}

/// Line breaks become spaces, and what could move the cursor is left out.
fn visible(text: &str) -> String {
    let spaces = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    spaces.filter(|c| !c.is_control()).collect()
}

/// Cuts a line where the prompt ends. `left` counts the prompt's visible characters, as wrapping drops spaces.
fn split<'a>(line: &'a str, left: &mut usize) -> (&'a str, &'a str) {
    let mut end = 0;
    for (at, c) in line.char_indices() {
        if *left == 0 {
            break;
        }
        *left -= usize::from(!c.is_whitespace());
        end = at + c.len_utf8();
    }
    line.split_at(end)
}

fn cut(text: &str, width: usize) -> String {
    let mut taken = 0;
    let fits = |c: &char| {
        taken += c.to_string().width();
        taken <= width
    };
    text.chars().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 4] = [State::Waiting, State::Prefill, State::Decoding, State::Done];

    fn page(output: &str) -> Page<'_> {
        let pane = |i: usize| Pane {
            state: STATES[i % STATES.len()],
            prompt: "Once upon a time",
            output,
            tokens: 96,
            rate: Some(123.4),
        };
        Page { title: "demo", panes: (0..8).map(pane).collect(), summary: "768 tokens".to_owned() }
    }

    /// A line as it looks: without colours.
    fn looks(line: &str) -> String {
        let mut parts = line.split('\u{1b}');
        let first = parts.next().unwrap_or_default().to_owned();
        first + &parts.map(|part| part.split_once('m').expect("a colour").1).collect::<String>()
    }

    #[test]
    fn a_page_never_exceeds_its_terminal() {
        let long =
            " there was a small 🦊 who lived in a house\n\tand\u{1b}[2J a wordofmorethanonelineinanarrowbox".repeat(9);
        for output in ["", " there", &long] {
            for width in (2..140).step_by(6) {
                for height in 1..50 {
                    let lines = page(output).fit(width, height);
                    assert!(lines.len() < height.max(1), "{} lines in {width}x{height}", lines.len());
                    for line in lines.iter().map(|line| looks(line)) {
                        assert!(line.width() < width, "{line:?} in {width}x{height}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_low_box_shows_the_end_and_a_whole_page_everything() {
        let output = (1..=90).map(|i| format!(" word{i}")).collect::<String>();
        let seen = |lines: Vec<String>| lines.iter().map(|line| looks(line)).collect::<Vec<_>>().join("\n");
        let low = seen(page(&output).fit(80, 24));
        assert!(low.contains("word90") && !low.contains("Once upon a time"), "{low}");
        let whole = seen(page(&output).whole(80));
        assert!(whole.contains("Once upon a time word1 ") && whole.contains("word90"), "{whole}");
        for word in ["1 waiting", "2 prefill", "3 decoding 96 tokens, 123 tok/s", "8 done 96 tokens"] {
            assert!(whole.contains(word), "'{word}' is missing in: {whole}");
        }
    }

    #[test]
    fn the_prompt_is_told_from_the_output_after_wrapping() {
        let mut left = "Once upon".chars().filter(|c| !c.is_whitespace()).count();
        assert_eq!(split("Once", &mut left), ("Once", ""));
        assert_eq!(split("upon a time", &mut left), ("upon", " a time"));
        assert_eq!(split("there", &mut left), ("", "there"));
    }
}
