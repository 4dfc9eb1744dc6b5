//! Load generation and measurement: named workloads, open and closed loops, and their results.
//!
//! A [`Workload`] generates [`Script`]s: the requests of each user, and their times. [`play`] replays them against a
//! [`Target`], an engine in this process or a server, and returns a [`Record`] for each request with the time of every
//! token. [`Summary`] condenses records to comparable figures.
//!
//! [`sim`] plays the same scripts on simulated machines. [`report`] and [`page`] tell what came of it.
//!
//! All load is derived from a seed, so that two targets get the same.

mod corpus;
pub mod engines;
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
mod streams;
mod summary;
mod target;
pub mod usage;
pub mod workload;

pub use prediction::{Planner, Prediction};
pub use record::{Outcome, Record};
pub use replay::{ReplayResult, play};
pub use runs::{Run, Runs};
pub use script::{RequestSpec, Script, Turn};
pub use setting::Setting;
pub use stats::{Spread, jain, quantile};
pub use summary::{Latency, Slo, Summary};
pub use target::{EngineTarget, Observer, ServerAddress, ServerTarget, Target};
pub use workload::{Load, Workload};
