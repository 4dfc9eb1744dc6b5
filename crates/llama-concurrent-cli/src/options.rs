//! Flags that several commands share.

mod engine;
mod sampling;
mod table;

pub use engine::EngineOptions;
pub use sampling::{Chat, Run, SamplingOptions, Serve};

use std::str::FromStr;

/// A parser for counts, with clearer error messages than Rust's own.
pub fn whole<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => "is too large a number".into(),
        false => "must be a whole number, 0 or more".into(),
    })
}
