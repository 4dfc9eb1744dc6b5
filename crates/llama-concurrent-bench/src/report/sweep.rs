//! A sweep over numbers of users, with every strategy.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use super::{
    document::{document, verdict},
    resources,
    table::{markdown, medians},
};
use crate::{
    numbers::{rate, short_millis},
    runs::{Run, Runs, spread},
    setting::Setting,
    stats::Spread,
    summary::Summary,
};

/// The result of a sweep.
pub struct Sweep<'a> {
    /// The workload and the model.
    pub setting: &'a Setting,
    /// In ascending order of users.
    pub points: Vec<Point>,
}

/// All systems with one number of users.
pub struct Point {
    /// Their number.
    pub users: usize,
    /// The results of each system, in order.
    pub results: Vec<Runs>,
}

/// A table of users by system.
pub struct Figures {
    /// What the cells show.
    pub title: &'static str,
    /// The cell of a system with one number of users.
    pub cells: fn(&Runs) -> String,
}

/// What the tables show.
pub const FIGURES: [Figures; 3] = [
    Figures { title: "Tokens per second, all users together, prompts and waiting included", cells: total },
    Figures { title: "The same while all users are being answered", cells: steady },
    Figures { title: "Gap between two tokens of a user, p50 / p99, ms", cells: gaps },
];

impl<'a> Sweep<'a> {
    /// Describes the load and the model.
    pub fn heading(&self) -> Vec<String> {
        vec![self.setting.about(), format!("{}.", self.setting.model)]
    }

    /// The systems, in the order of the columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.points.first().into_iter().flat_map(|point| &point.results).map(|runs| runs.name.as_str())
    }

    /// The names of the columns.
    pub fn header(&self) -> Vec<&str> {
        std::iter::once("users").chain(self.names()).collect()
    }

    /// A row for each number of users.
    pub fn rows(&self, figures: &Figures) -> Vec<Vec<String>> {
        let row = |point: &Point| {
            std::iter::once(point.users.to_string()).chain(point.results.iter().map(figures.cells)).collect()
        };
        self.points.iter().map(row).collect()
    }

    /// How to read it, and the resource usage at the largest number of users.
    pub fn notes(&self) -> Vec<String> {
        let repeats = self.points.first().and_then(|point| point.results.first()).map_or(0, |runs| runs.runs.len());
        let mut lines = vec![format!("Figures: {}.", medians(repeats))];
        if let Some(last) = self.points.last() {
            lines.push(format!("At {} users:", last.users));
            lines.extend(resources::of(&last.results));
        }
        lines
    }

    /// Every figure of every run, and every request.
    pub fn json(&self) -> Value {
        let point = |point: &Point| json!({"users": point.users, "contestants": point.results});
        let mut document = document(self.setting, "points", self.points.iter().map(point).collect());
        document["load"]["users"] = self.points.iter().map(|point| point.users).collect();
        document
    }

    /// # Errors
    /// Requests failed.
    pub fn verdict(&self) -> Result<(), String> {
        verdict(self.points.iter().flat_map(|point| &point.results).flat_map(|runs| &runs.runs))
    }
}

impl fmt::Display for Sweep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.heading().iter().try_for_each(|line| writeln!(f, "{line}"))?;
        for figures in &FIGURES {
            let table = markdown(self.header(), self.rows(figures));
            writeln!(f, "\n{}:\n\n{table}", figures.title)?;
        }
        writeln!(f)?;
        self.notes().iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

fn with_ends(spread: Option<Spread>) -> String {
    match spread {
        None => "-".into(),
        Some(Spread { median, min, max }) if min == max => rate(median),
        Some(Spread { median, min, max }) => format!("{} [{} {}]", rate(median), rate(min), rate(max)),
    }
}

fn total(runs: &Runs) -> String {
    let lost: usize = runs.runs.iter().map(|Run { summary, .. }| summary.failed + summary.overloaded).sum();
    let rate = with_ends(spread(runs, |summary| Some(summary.tokens_per_s)));
    if lost > 0 { format!("{rate} ({lost} lost)") } else { rate }
}

fn steady(runs: &Runs) -> String {
    with_ends(spread(runs, |summary| summary.steady_tokens_per_s))
}

fn gaps(runs: &Runs) -> String {
    let ms = |figure: fn(&Summary) -> f64| {
        let median = spread(runs, |summary| Some(figure(summary))).map_or(0.0, |spread| spread.median);
        short_millis(Duration::from_secs_f64(median / 1e3))
    };
    format!("{} / {}", ms(|summary| summary.itl_ms.p50), ms(|summary| summary.itl_ms.p99))
}
