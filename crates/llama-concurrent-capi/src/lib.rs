//! `libllama_concurrent.so`: the engine for C and C++ callers. The contract is in `include/llama_concurrent.h`, which
//! is made from the documentation in this crate (`tests/header.rs`).
//!
//! One file for each group of C functions, and three that are not seen from C: [`handles`] finds what a pointer from
//! outside stands for, [`call`] gives out the events of one `llama_infer_*` call, [`mailbox`] and [`callbacks`] decide
//! which thread does so.
//!
//! All unsafe code of this crate reads what C passed or writes what C asked for. What it relies on is what the header
//! asks of its callers: a pointer is NULL or valid for what the documentation says it is.

#![allow(unsafe_code)]
// The names are those of the header. What a caller has to keep to is in its contract, function by function.
#![allow(non_camel_case_types, clippy::missing_safety_doc)]

mod boundary;
mod call;
mod callbacks;
mod engine;
mod engine_params;
mod event;
mod exit;
mod feeder;
mod handles;
mod infer;
mod infer_params;
mod inside;
mod log;
mod mailbox;
mod pointers;
mod queue;
mod shared;
mod stats;
mod status;
#[cfg(test)]
mod tests;
mod tokenize;
mod types;
mod version;
