//! Load for text generation: named workloads, open and closed loops, and what came of them.
//!
//! A [`Workload`] writes [`Script`]s: what each user asks, and when. [`play`] plays them against a [`Target`], which is an
//! engine in this process or a server, and gives a [`Record`] for each request with the time of every token.
//! [`Summary`] condenses records to the figures that people compare.
//!
//! [`sim`] plays the same scripts on simulated machines.
//!
//! Everything that is asked follows from a seed, so that two targets get the same load.

mod play;
mod record;
mod script;
pub mod sim;
mod stats;
mod summary;
mod target;
mod text;
pub mod usage;
pub mod workload;

pub use play::{Played, play};
pub use record::{Outcome, Record};
pub use script::{Ask, Script, Turn};
pub use stats::{Spread, jain, quantile};
pub use summary::{Latency, Slo, Summary};
pub use target::{EngineTarget, Observer, ServerAddress, ServerTarget, Target};
pub use workload::{Load, Workload};
