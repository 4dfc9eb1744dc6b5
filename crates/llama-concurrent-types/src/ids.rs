//! What requests, tokens and ends of generations are called.

/// A token id of the model's vocabulary.
pub type Token = i32;

/// Identifies a request within one engine; never reused.
pub type RequestId = u64;

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FinishReason {
    /// The model ended its text, a stop string appeared, or nothing more can follow under the constraint.
    Stop,
    /// `max_tokens` was reached, or the slot's context is full.
    Length,
    /// The caller cancelled, dropped the handle, or shut the engine down.
    Cancelled,
    /// The queue or the total deadline passed.
    Deadline,
    /// llama.cpp or the engine failed; the error is beside it.
    Error,
}

impl FinishReason {
    /// The name that the command line, the C API and the bindings use.
    pub fn as_str(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::Cancelled => "cancelled",
            FinishReason::Deadline => "deadline",
            FinishReason::Error => "error",
        }
    }
}
