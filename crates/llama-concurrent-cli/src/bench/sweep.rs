//! A sweep over numbers of users, with every strategy.

use std::{fmt, path::Path};

use llama_concurrent_bench::{Load, Spread, Summary};
use serde_json::{Value, json};

use super::{
    BenchArgs, report, resources,
    runs::{self, Run, Runs, Setting},
    systems,
};
use crate::{
    failure::Failure,
    format::{rate, short_millis},
};

/// The numbers of users used in DESIGN.md for the gain of batching.
const USERS: [u32; 7] = [1, 2, 4, 8, 16, 20, 32];

/// The result of a sweep.
pub struct Sweep<'a> {
    pub setting: &'a Setting,
    pub points: Vec<Point>,
}

/// All systems with one number of users.
pub struct Point {
    pub users: usize,
    pub results: Vec<Runs>,
}

/// A table of users by system.
pub struct Figures {
    pub title: &'static str,
    pub cells: fn(&Runs) -> String,
}

/// What the tables show.
pub const FIGURES: [Figures; 3] = [
    Figures { title: "Tokens per second, all users together, prompts and waiting included", cells: total },
    Figures { title: "The same while all users are being answered", cells: steady },
    Figures { title: "Gap between two tokens of a user, p50 / p99, ms", cells: gaps },
];

impl<'a> Sweep<'a> {
    /// Runs it, with the repeats outside and the systems inside, so that changes of the machine affect all systems.
    pub fn play(args: &BenchArgs, path: &Path, setting: &'a Setting) -> Result<Self, Failure> {
        let mut users: Vec<usize> = if args.sweep.is_empty() { &USERS[..] } else { &args.sweep[..] }
            .iter()
            .map(|&users| users as usize)
            .collect();
        users.sort_unstable();
        users.dedup();
        let fields: Vec<_> = users.iter().map(|&users| systems(args, path, users)).collect::<Result<_, _>>()?;
        let mut points: Vec<Point> =
            users.iter().zip(&fields).map(|(&users, field)| Point { users, results: runs::none_yet(field) }).collect();
        for repeat in 0..args.repeats as usize {
            for (point, field) in points.iter_mut().zip(&fields) {
                let load = Load { users: point.users, ..setting.load.repeated(repeat) };
                let what = format!("{} users, run {} of {}", point.users, repeat + 1, args.repeats);
                runs::turn(field, setting, &load, &what, &mut point.results)?;
            }
        }
        Ok(Self { setting, points })
    }

    pub fn heading(&self) -> Vec<String> {
        vec![self.setting.about(), format!("{}.", self.setting.model)]
    }

    /// The systems, in the order of the columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.points.first().into_iter().flat_map(|point| &point.results).map(|runs| runs.name.as_str())
    }

    pub fn header(&self) -> Vec<&str> {
        std::iter::once("users").chain(self.names()).collect()
    }

    pub fn rows(&self, figures: &Figures) -> Vec<Vec<String>> {
        let row = |point: &Point| {
            std::iter::once(point.users.to_string()).chain(point.results.iter().map(figures.cells)).collect()
        };
        self.points.iter().map(row).collect()
    }

    /// How to read it, and the resource usage at the largest number of users.
    pub fn notes(&self) -> Vec<String> {
        let repeats = self.points.first().and_then(|point| point.results.first()).map_or(0, |runs| runs.runs.len());
        let mut lines = vec![format!("Figures: {}.", report::medians(repeats))];
        if let Some(last) = self.points.last() {
            lines.push(format!("At {} users:", last.users));
            lines.extend(resources::of(&last.results));
        }
        lines
    }

    pub fn json(&self) -> Value {
        let point = |point: &Point| json!({"users": point.users, "contestants": point.results});
        let mut document = report::document(self.setting, "points", self.points.iter().map(point).collect());
        document["load"]["users"] = self.points.iter().map(|point| point.users).collect();
        document
    }

    pub fn verdict(&self) -> Result<(), Failure> {
        report::verdict(self.points.iter().flat_map(|point| &point.results).flat_map(|runs| &runs.runs))
    }
}

impl fmt::Display for Sweep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.heading().iter().try_for_each(|line| writeln!(f, "{line}"))?;
        for figures in &FIGURES {
            let table = report::markdown(self.header(), self.rows(figures));
            writeln!(f, "\n{}:\n\n{table}", figures.title)?;
        }
        writeln!(f)?;
        self.notes().iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A figure over the runs that have it.
pub fn spread(runs: &Runs, figure: impl Fn(&Summary) -> Option<f64>) -> Option<Spread> {
    let values: Vec<f64> = runs.runs.iter().filter_map(|run| figure(&run.summary)).collect();
    (!values.is_empty()).then(|| Spread::of(&values))
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
        short_millis(std::time::Duration::from_secs_f64(median / 1e3))
    };
    format!("{} / {}", ms(|summary| summary.itl_ms.p50), ms(|summary| summary.itl_ms.p99))
}
