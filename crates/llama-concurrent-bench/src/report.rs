//! Reports of runs and predictions, as text and as JSON.

mod calibration;
mod check;
mod comparison;
mod document;
mod predictions;
mod resources;
mod sweep;
mod table;
pub mod this_machine;

pub use self::{
    check::{Check, Line},
    comparison::Comparison,
    predictions::Predictions,
    sweep::{FIGURES, Figures, Point, Sweep},
};
