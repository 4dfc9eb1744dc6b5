//! Whether tokens are drafted.

use crate::named::named;

/// Whether the next tokens of a request are guessed and computed beforehand. What is generated is the same in any case.
///
/// `Lookup` and `Draft` weigh no costs, unless requests run beside them that did not ask for that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Speculation {
    /// Where that is expected to be faster: by how often such guesses were right, and what computing them costs.
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// Whenever there is a guess and room in the call: what followed when the last tokens stood somewhere before.
    Lookup,
    /// Whenever there is room in the call: what the draft model guesses.
    Draft,
}

named!(Speculation, "way to speculate", Auto = "auto", Off = "off", Lookup = "lookup", Draft = "draft");
