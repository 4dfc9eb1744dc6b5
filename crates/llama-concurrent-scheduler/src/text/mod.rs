//! Token pieces become a stream of text.
//!
//! Nothing here knows a model, a thread or llama.cpp. [`TextStream`] turns the byte pieces of sampled tokens into text
//! that a caller may see: whole characters only, and never any part of a stop string.

mod detokenizer;
mod stop;
mod token_text;
mod utf8;

pub use detokenizer::{Step, TextStream};
pub use stop::{StopMatcher, StopStatus};
pub use token_text::TokenText;
pub use utf8::Utf8Decoder;

/// Property tests run the same cases every time; a failure prints its case, so none needs to be kept in a file.
#[cfg(test)]
pub(crate) fn seeded() -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        rng_seed: proptest::test_runner::RngSeed::Fixed(1),
        failure_persistence: None,
        ..Default::default()
    }
}
