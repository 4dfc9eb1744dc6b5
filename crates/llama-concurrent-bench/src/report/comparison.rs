//! Systems side by side, all with the same load.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use super::{
    document::{document, verdict},
    resources,
    table::{markdown, medians},
};
use crate::{
    numbers::{count, rate, short_millis},
    runs::{Run, Runs},
    setting::Setting,
    stats::Spread,
    summary::Summary,
};

/// All runs of all systems.
pub struct Comparison<'a> {
    /// The workload and the model.
    pub setting: &'a Setting,
    /// The results of each system, in order.
    pub results: Vec<Runs>,
}

/// The columns of the table.
const COLUMNS: [&str; 12] = [
    "",
    "tok/s",
    "",
    "first token p50",
    "p95",
    "between tokens p50",
    "p99",
    "max",
    "whole p50",
    "cached",
    "fair",
    "good/s",
];

impl<'a> Comparison<'a> {
    /// Creates the comparison of these runs.
    pub fn new(setting: &'a Setting, results: Vec<Runs>) -> Self {
        Self { setting, results }
    }

    /// Every figure of every run, and every request.
    pub fn json(&self) -> Value {
        document(self.setting, "contestants", json!(self.results))
    }

    /// # Errors
    /// Requests failed.
    pub fn verdict(&self) -> Result<(), String> {
        verdict(self.results.iter().flat_map(|runs| &runs.runs))
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.results
            .first()
            .and_then(|runs| runs.runs.first())
            .map_or(vec![], |run| run.by_kind.keys().copied().collect())
    }
}

impl Comparison<'_> {
    /// Describes the load and the model.
    pub fn heading(&self) -> Vec<String> {
        let (setting, load) = (self.setting, &self.setting.load);
        let load = match load.rate {
            Some(per_second) => format!("{} requests, {per_second} per second.", load.users * load.requests),
            None => format!("{} at once, {} each.", count(load.users, "user"), count(load.requests, "request")),
        };
        vec![setting.about(), load, format!("{}.", setting.model)]
    }

    /// The table, in the order of its columns.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let kinds = self.kinds();
        let rows = |runs: &Runs| match kinds[..] {
            [_] => vec![row(&runs.name, &runs.runs, |run| &run.summary)],
            _ => {
                let of_kind = |kind| row(&format!("{}, {kind}", runs.name), &runs.runs, |run| &run.by_kind[kind]);
                kinds.iter().map(|&kind| of_kind(kind)).collect()
            }
        };
        self.results.iter().flat_map(rows).collect()
    }

    /// The notes below the table: how to read it, resource usage, and comparisons with the first system.
    pub fn notes(&self) -> Vec<String> {
        let kinds = self.kinds();
        let repeats = self.results.first().map_or(0, |runs| runs.runs.len());
        let mut lines = vec![format!("Times in ms; {}.", medians(repeats))];
        lines.push(
            "cached: share of prompt tokens that were there already. fair: Jain's index of the users' tokens per second, 1 \
             where all are equal."
                .into(),
        );
        if self.setting.slo.is_some() {
            lines.push("good/s: requests per second that met both targets.".into());
        }
        lines.extend(self.results.iter().filter_map(drafts));
        lines.extend(resources::of(&self.results));
        if let Some((first, others)) = self.results.split_first() {
            lines.extend(others.iter().flat_map(|other| ratios(first, other, &kinds)));
        }
        lines
    }
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.heading().iter().try_for_each(|line| writeln!(f, "{line}"))?;
        // The last column is for the targets --slo-ttft-ms and --slo-itl-ms.
        let columns = COLUMNS.len() - usize::from(self.setting.slo.is_none());
        let mut rows = self.rows();
        rows.iter_mut().for_each(|row| row.truncate(columns));
        let table = markdown(COLUMNS.into_iter().take(columns), rows);
        writeln!(f, "\n{table}\n")?;
        self.notes().iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// What came of the drafts of a system, if it had some.
fn drafts(runs: &Runs) -> Option<String> {
    let sum = |of: fn(&Summary) -> usize| runs.runs.iter().map(|run| of(&run.summary)).sum::<usize>();
    let (drafted, accepted) = (sum(|summary| summary.drafted_tokens), sum(|summary| summary.accepted_tokens));
    let share = 100.0 * accepted as f64 / sum(|summary| summary.output_tokens).max(1) as f64;
    (drafted > 0)
        .then(|| format!("{}: {accepted} of {drafted} drafted tokens came, {share:.0} % of the output.", runs.name))
}

fn row(name: &str, runs: &[Run], of: impl Fn(&Run) -> &Summary) -> Vec<String> {
    let spread =
        |figure: &dyn Fn(&Summary) -> f64| Spread::of(&runs.iter().map(|run| figure(of(run))).collect::<Vec<_>>());
    let ms = |figure: &dyn Fn(&Summary) -> f64| short_millis(Duration::from_secs_f64(spread(figure).median / 1e3));
    let throughput = spread(&|summary| summary.tokens_per_s);
    let cached = spread(&|summary| summary.cached_tokens as f64 / summary.prompt_tokens.max(1) as f64);
    let lost: usize = runs.iter().map(|run| of(run).failed + of(run).overloaded).sum();
    let good = of(&runs[0]).goodput_per_s.map(|_| spread(&|summary| summary.goodput_per_s.unwrap_or(0.0)).median);
    vec![
        if lost > 0 { format!("{name} ({lost} lost)") } else { name.to_owned() },
        rate(throughput.median),
        format!("[{} {}]", rate(throughput.min), rate(throughput.max)),
        ms(&|summary| summary.ttft_ms.p50),
        ms(&|summary| summary.ttft_ms.p95),
        ms(&|summary| summary.itl_ms.p50),
        ms(&|summary| summary.itl_ms.p99),
        ms(&|summary| summary.itl_ms.max),
        ms(&|summary| summary.e2e_ms.p50),
        format!("{:.0} %", cached.median * 100.0),
        format!("{:.2}", spread(&|summary| summary.fairness).median),
        good.map_or_else(String::new, |good| format!("{good:.2}")),
    ]
}

/// Compares pairs of runs, because both systems had the same scripts one after the other.
fn ratios(first: &Runs, other: &Runs, kinds: &[&'static str]) -> Vec<String> {
    let line = |&kind: &&'static str| {
        let pairs = || first.runs.iter().zip(&other.runs).map(|(a, b)| (&a.by_kind[kind], &b.by_kind[kind]));
        let ratio = |of: fn(&Summary) -> f64| {
            let ratios: Vec<f64> = pairs().map(|(a, b)| of(a) / of(b)).filter(|ratio| ratio.is_finite()).collect();
            let Spread { median, min, max } = Spread::of(&ratios);
            format!("{median:.2} [{min:.2} {max:.2}]")
        };
        let kind = if kinds.len() > 1 { format!(" ({kind})") } else { String::new() };
        format!(
            "{} / {}{kind}: tok/s {}, first token p95 {}, between tokens p99 {}",
            first.name,
            other.name,
            ratio(|summary| summary.tokens_per_s),
            ratio(|summary| summary.ttft_ms.p95),
            ratio(|summary| summary.itl_ms.p99),
        )
    };
    kinds.iter().map(line).collect()
}
