//! A calibration as text.

use crate::{
    numbers::rate,
    sim::{Calibration, Rates},
};

/// Describes a calibration in lines.
pub(super) fn lines(calibration: &Calibration) -> Vec<String> {
    let points = |rates: &Rates| {
        let points: Vec<_> = rates.weights.iter().map(|&(rows, gmacs)| format!("{rows}:{}", rate(gmacs))).collect();
        format!("{}; attention {}", points.join(" "), rate(rates.attention))
    };
    vec![
        format!("Calibration: {}.", calibration.source),
        format!(
            "GMAC/s of a core by rows of a call: decode {}; prefill {}.",
            points(&calibration.decode),
            points(&calibration.prefill)
        ),
        format!(
            "Memory: {} GB/s for one core, {} for a node ({} cores); {} times slower from another node.",
            rate(calibration.core_bandwidth),
            rate(calibration.node_bandwidth),
            calibration.cores,
            rate(calibration.remote)
        ),
        format!(
            "A barrier of two threads {:.2} us, sampling a token {:.1} us, {:.1} % slower with each doubling of threads.",
            calibration.barrier_us,
            calibration.sampling_us,
            calibration.loss_per_doubling * 100.0
        ),
    ]
}
