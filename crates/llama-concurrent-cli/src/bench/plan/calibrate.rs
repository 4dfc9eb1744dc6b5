//! Loads or measures a calibration, and prints it.

use std::{fs, path::Path};

use llama_concurrent_bench::sim::{Calibration, Rates, measure};

use super::super::{BenchArgs, report};
use crate::{console, failure::Failure, format::rate};

/// From a file, from given figures, or measured; then given figures replace parts of it.
pub fn get(args: &BenchArgs, path: &Path) -> Result<Calibration, Failure> {
    let options = &args.sim;
    let bad = Failure::BadInput;
    let mut calibration = match (&options.sim_calibration, options.sim_bandwidth) {
        (Some(file), _) => {
            let cannot = |error| bad(format!("cannot read {}: {error}", file.display()));
            let text = fs::read_to_string(file).map_err(cannot)?;
            Calibration::from_json(&text).map_err(|why| bad(format!("{}: {why}", file.display())))?
        }
        (None, Some(bandwidth)) if !options.sim_gmacs.is_empty() => {
            Calibration::by_hand(&options.sim_gmacs, bandwidth).map_err(|why| bad(format!("--sim-gmacs: {why}")))?
        }
        _ => measured(args, path)?,
    };
    if !options.sim_gmacs.is_empty() {
        calibration.set_rates(&options.sim_gmacs).map_err(|why| bad(format!("--sim-gmacs: {why}")))?;
    }
    calibration.node_bandwidth = options.sim_bandwidth.unwrap_or(calibration.node_bandwidth);
    calibration.remote = options.sim_remote.unwrap_or(calibration.remote);
    if let Some(file) = &options.sim_save {
        report::write_json(&serde_json::json!(calibration), file)?;
    }
    Ok(calibration)
}

fn measured(args: &BenchArgs, path: &Path) -> Result<Calibration, Failure> {
    let bar = console::progress_bar(0, "calibrating: {msg}");
    let calibration = measure(path, &args.engine.config(), &|what| {
        bar.set_message(what.to_owned());
        bar.tick();
    });
    bar.finish_and_clear();
    Ok(calibration?)
}

/// Describes a calibration in lines.
pub fn lines(calibration: &Calibration) -> Vec<String> {
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
