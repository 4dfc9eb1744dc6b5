//! Which sequence decodes next, and what becomes of its tokens.
//!
//! The [`Scheduler`] writes plans, a [`Backend`] carries them out, the scheduler turns the outcome into events.
//! [`sim`] has a backend of costs alone. Nothing here knows llama.cpp, a thread or a clock: time is a value.

mod admission;
mod backend;
mod contention;
mod router;
mod scheduler;
pub mod sim;
pub mod text;
mod turns;

pub use admission::{Admission, Permit};
pub use backend::*;
pub use contention::{Contention, Waiting};
pub use router::{Router, WorkerLoad};
pub use scheduler::*;
pub use turns::{CallClass, Member, Sharing, Turns};
