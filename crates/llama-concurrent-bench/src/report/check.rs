//! Compares predictions with measurements on this machine.

use std::fmt;

use llama_concurrent::Strategy;
use serde_json::{Value, json};

use super::{calibration, table::markdown, this_machine};
use crate::{
    numbers::{count, rate},
    prediction::Planner,
    summary::Summary,
};

/// The intended accuracy of predictions.
const CLOSE: f64 = 0.15;

/// The results of a check.
pub struct Check<'a> {
    /// The common inputs.
    pub planner: &'a Planner<'a>,
    /// The number of runs of each line.
    pub repeats: usize,
    /// In order.
    pub lines: Vec<Line>,
}

/// One of the comparisons.
pub struct Line {
    /// The number of compute threads.
    pub threads: usize,
    /// The number of users.
    pub users: usize,
    /// The strategy.
    pub strategy: Strategy,
    /// The measurement of each run.
    pub measured: Vec<Summary>,
    /// The prediction for each run.
    pub predicted: Vec<Summary>,
}

impl Line {
    /// The least disturbed run, and its prediction.
    fn best(&self) -> (&Summary, &Summary) {
        let pairs = self.measured.iter().zip(&self.predicted);
        pairs.max_by(|a, b| a.0.tokens_per_s.total_cmp(&b.0.tokens_per_s)).expect("at least one run")
    }

    /// The relative error of the prediction.
    fn deviation(&self, figure: fn(&Summary) -> f64) -> f64 {
        let (measured, predicted) = self.best();
        figure(predicted) / figure(measured) - 1.0
    }
}

const RATE: fn(&Summary) -> f64 = |summary| summary.tokens_per_s;
const FIRST: fn(&Summary) -> f64 = |summary| summary.ttft_ms.p50;
const BETWEEN: fn(&Summary) -> f64 = |summary| summary.itl_ms.p50;

impl Check<'_> {
    /// # Errors
    /// Requests failed.
    pub fn verdict(&self) -> Result<(), String> {
        let failure = self.lines.iter().flat_map(|line| &line.measured).find_map(|summary| summary.failure.as_deref());
        failure.map_or(Ok(()), |why| Err(format!("requests failed; the first: {why}")))
    }

    /// Every figure.
    pub fn json(&self) -> Value {
        let one = |line: &Line| {
            json!({
                "threads": line.threads, "users": line.users, "strategy": line.strategy.as_str(),
                "measured": line.measured, "predicted": line.predicted,
            })
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "workload": self.planner.setting.workload.as_str(),
            "model": self.planner.setting.model,
            "machine": this_machine::describe(),
            "calibration": self.planner.calibration,
            "lines": self.lines.iter().map(one).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Check<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (setting, lines) = (self.planner.setting, &self.lines);
        writeln!(f, "{}\n{}.\n", setting.about(), setting.model)?;
        let signed = |share: f64| format!("{:+.1} %", share * 100.0);
        let row = |line: &Line| {
            vec![
                line.threads.to_string(),
                line.users.to_string(),
                line.strategy.as_str().into(),
                rate(line.best().0.tokens_per_s),
                rate(line.best().1.tokens_per_s),
                signed(line.deviation(RATE)),
                signed(line.deviation(FIRST)),
                signed(line.deviation(BETWEEN)),
            ]
        };
        writeln!(f, "{}", markdown(COLUMNS, lines.iter().map(row).collect()))?;
        let off = |line: &&Line| line.deviation(RATE).abs();
        let close = lines.iter().filter(|line| off(line) <= CLOSE).count();
        if let Some(worst) = lines.iter().max_by(|a, b| off(a).total_cmp(&off(b))) {
            writeln!(
                f,
                "\n{close} of {} predictions of tok/s are within {:.0} %; the farthest is {:.1} % off ({}, {}, {}).",
                lines.len(),
                CLOSE * 100.0,
                off(&worst) * 100.0,
                count(worst.threads, "thread"),
                count(worst.users, "user"),
                worst.strategy
            )?;
        }
        writeln!(f, "Of {} the fastest, as the model knows of no disturbances.", count(self.repeats, "run"))?;
        calibration::lines(&self.planner.calibration).iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

const COLUMNS: [&str; 8] = [
    "threads",
    "users",
    "strategy",
    "tok/s measured",
    "predicted",
    "off by",
    "first token p50 off by",
    "between tokens p50 off by",
];
