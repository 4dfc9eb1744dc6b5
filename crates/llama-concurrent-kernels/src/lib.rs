//! Faster kernels for batched decoding and prefill on x86, inside an unmodified llama.cpp.
//!
//! ggml's CPU backend has a list of "extra buffer types", which may claim weights, repack them and compute the operations
//! that use them. [`install`] prepends one to that list. The weights that it claims are packed while a model is loaded;
//! everything else is computed by ggml as before.
//!
//! ```no_run
//! use llama_concurrent_kernels::{Mode, install};
//!
//! let status = install(Mode::Auto); // before the first model is loaded
//! println!("{}", status.reason);
//! ```

#![allow(unsafe_code)] // Kernels are intrinsics on raw pointers, and the hook is an FFI boundary.

#[cfg(target_arch = "x86_64")]
mod activations;
#[cfg(target_arch = "x86_64")]
mod attention;
pub mod cache;
#[cfg(target_arch = "x86_64")]
mod check;
#[cfg(target_arch = "x86_64")]
mod dispatch;
#[cfg(target_arch = "x86_64")]
mod experts;
#[cfg(target_arch = "x86_64")]
mod format;
#[cfg(target_arch = "x86_64")]
mod ggml;
mod heads;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
mod helpers;
#[cfg(target_arch = "x86_64")]
mod hook;
mod install;
#[cfg(target_arch = "x86_64")]
mod isa;
mod isa_level;
#[cfg(target_arch = "x86_64")]
mod matrix;
#[cfg(target_arch = "x86_64")]
mod mul_mat;
#[cfg(target_arch = "x86_64")]
mod pack;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
mod parallel;
#[cfg(target_arch = "x86_64")]
mod product;
#[cfg(target_arch = "x86_64")]
mod state;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tile;
#[cfg(target_arch = "x86_64")]
mod unroll;

pub use heads::computes_heads_of;
pub use helpers::Helpers;
pub use install::{ENVIRONMENT, Mode, Status, WeightFormat, install, set_attention, set_enabled, set_floats, status};
pub use isa_level::IsaLevel;
