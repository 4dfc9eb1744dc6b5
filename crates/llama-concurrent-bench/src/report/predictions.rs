//! The table of predictions.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use super::{calibration, table::markdown, this_machine};
use crate::{
    numbers::{bytes, count, rate, short_millis},
    prediction::{Planner, Prediction},
    sim::MachineSpec,
};

/// Predictions for every number of users, machine, placement and strategy.
pub struct Predictions<'a> {
    /// The common inputs.
    pub planner: &'a Planner<'a>,
    /// In the order of their tables.
    pub machines: &'a [MachineSpec],
    /// In order.
    pub predictions: Vec<Prediction>,
}

impl Predictions<'_> {
    /// # Errors
    /// Requests would be refused.
    pub fn verdict(&self) -> Result<(), String> {
        let failed = self.predictions.iter().find_map(|prediction| prediction.summary.failure.as_deref());
        failed.map_or(Ok(()), |why| Err(format!("requests would be refused; the first: {why}")))
    }

    /// Every figure.
    pub fn json(&self) -> Value {
        let one = |prediction: &Prediction| {
            json!({
                "machine": prediction.machine.to_string(),
                "users": prediction.users,
                "placement": prediction.placement.as_str(),
                "strategy": prediction.strategy.as_str(),
                "kv_bytes": prediction.kv_bytes,
                "summary": prediction.summary,
            })
        };
        let (setting, load) = (self.planner.setting, &self.planner.setting.load);
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "workload": setting.workload.as_str(),
            "model": setting.model,
            "load": { "requests": load.requests, "rate": load.rate, "seed": load.seed, "scale": load.scale },
            "calibrated_on": this_machine::describe(),
            "calibration": self.planner.calibration,
            "predictions": self.predictions.iter().map(one).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Predictions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (setting, load) = (self.planner.setting, &self.planner.setting.load);
        writeln!(f, "{}", setting.about())?;
        match load.rate {
            Some(per_second) => {
                writeln!(f, "{} requests of each user, {per_second} arrivals per second.", load.requests)?
            }
            None => writeln!(f, "All users at once, {} requests each.", load.requests)?,
        }
        writeln!(f, "{}. Predicted, not measured:", setting.model)?;
        for machine in self.machines {
            let (nodes, cores) = (machine.nodes, machine.cores);
            let bandwidth = rate(machine.bandwidth(&self.planner.calibration));
            let said = machine.bandwidth.is_some();
            let hint =
                if said { String::new() } else { format!(" (assumed; if known, say it: --sim {nodes}x{cores}@GB/s)") };
            let (of_nodes, of_cores) = (count(nodes, "node"), count(cores, "core"));
            writeln!(f, "\n{of_nodes} of {of_cores}, {bandwidth} GB/s each{hint}:\n")?;
            let rows = self.predictions.iter().filter(|prediction| prediction.machine == *machine).map(row).collect();
            writeln!(f, "{}", markdown(COLUMNS, rows))?;
        }
        writeln!(f, "\nTimes in ms. KV is the memory of all slots, of which each user has one, but for sequential.")?;
        calibration::lines(&self.planner.calibration).iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

const COLUMNS: [&str; 9] =
    ["users", "placement", "strategy", "tok/s", "first token p50", "p95", "between tokens p50", "p99", "KV"];

fn row(prediction: &Prediction) -> Vec<String> {
    let ms = |ms: f64| short_millis(Duration::from_secs_f64(ms / 1e3));
    let summary = &prediction.summary;
    vec![
        prediction.users.to_string(),
        prediction.placement.as_str().into(),
        prediction.strategy.as_str().into(),
        rate(summary.tokens_per_s),
        ms(summary.ttft_ms.p50),
        ms(summary.ttft_ms.p95),
        ms(summary.itl_ms.p50),
        ms(summary.itl_ms.p99),
        bytes(prediction.kv_bytes),
    ]
}
