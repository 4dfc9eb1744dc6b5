//! `libllama_concurrent.so`: the engine for C and C++ callers. The contract is in `include/llama_concurrent.h`, which
//! is generated from the documentation in this crate (`tests/header.rs`).
//!
//! There is one file per group of C functions, and four modules are internal: [`handles`] resolves handles, [`call`]
//! delivers the events of one `llama_infer_*` call, and [`ready_queue`] and [`callbacks`] are a small task scheduler that
//! decides which thread does so.
//!
//! All unsafe code of this crate reads arguments or writes results. It relies on the contract in the header: a pointer
//! is NULL or valid for what its documentation says.

#![allow(unsafe_code)]
// The names are those of the header, whose contract states the safety requirements of each function.
#![allow(non_camel_case_types, clippy::missing_safety_doc)]

mod batch_submitter;
mod boundary;
mod call;
mod callbacks;
mod chat;
mod engine;
mod engine_params;
mod engine_state;
mod event;
mod exit;
mod handles;
mod infer;
mod infer_params;
mod log;
mod pointers;
mod queue;
mod ready_queue;
mod reentrancy;
mod stats;
mod status;
#[cfg(test)]
mod tests;
mod tokenize;
mod types;
mod version;
