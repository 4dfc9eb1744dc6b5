//! Planning for a machine that is not here: the real scheduler in virtual time.
//!
//! [`play`] plays scripts as the engine would, with the engine's own [`Scheduler`](llama_concurrent_scheduler::Scheduler), on
//! workers whose calls take the time that a [`Timing`] says. A timing follows from a [`Calibration`], which is measured on
//! the present machine in some seconds, from what the model's file says, and from the [`Machine`] that is planned for. DESIGN.md
//! states the model and how far it is from the truth.

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
    machine::{Machine, Placement, Seat},
    measure::measure,
    play::{Asked, Pool, play},
    timing::{ModelCost, Timing},
};
