//! Load for text generation: named workloads, open and closed loops, and what came of them.
//!
//! A [`Workload`] writes [`Script`]s: what each user asks, and when. [`play`] plays them against a [`Target`], which is an
//! engine in this process or a server, and gives a [`Record`] for each request with the time of every token.
//! [`Summary`] condenses records to the figures that people compare.
//!
//! [`sim`] plays the same scripts on simulated machines. [`report`] and [`page`] tell what came of it.
//!
//! Everything that is asked follows from a seed, so that two targets get the same load.

mod corpus;
pub mod neighbours;
pub mod numbers;
pub mod page;
mod prediction;
mod record;
mod replay;
pub mod report;
mod runs;
mod script;
mod setting;
pub mod sim;
mod stats;
mod summary;
mod target;
pub mod usage;
pub mod workload;

pub use prediction::{Planner, Prediction};
pub use record::{Outcome, Record};
pub use replay::{Played, play};
pub use runs::{Run, Runs};
pub use script::{Ask, Script, Turn};
pub use setting::Setting;
pub use stats::{Spread, jain, quantile};
pub use summary::{Latency, Slo, Summary};
pub use target::{EngineTarget, Observer, ServerAddress, ServerTarget, Target};
pub use workload::{Load, Workload};
