//! Where a calibration comes from.

use std::{fs, path::Path};

use llama_concurrent_bench::sim::{Calibration, measure};

use super::super::{BenchArgs, files};
use crate::{console, failure::Failure};

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
        files::write_json(&serde_json::json!(calibration), file)?;
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
