//! Simulation of another machine: the real scheduler in virtual time.
//!
//! [`play`] replays scripts as the engine would, with the engine's own [`Scheduler`](llama_concurrent_scheduler::Scheduler),
//! on workers whose calls take the time given by a [`Timing`]. A timing is derived from a [`Calibration`], which is measured
//! on this machine in some seconds, from the model's file, and from the [`MachineSpec`] to simulate. DESIGN.md describes the
//! model and its accuracy.

mod calibration;
mod machine;
mod measure;
mod play;
mod probe;
#[cfg(test)]
mod tests;
mod timing;

pub use self::{
    calibration::{Calibration, Rates},
    machine::{MachineSpec, WorkerLayout, WorkerResources},
    measure::measure,
    play::{Pool, ReplayedLoad, play},
    timing::{ModelCost, Timing},
};
