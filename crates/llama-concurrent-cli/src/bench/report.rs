//! What is printed and written.

use std::{fmt, fs, path::Path, time::Duration};

use comfy_table::{CellAlignment, Table, presets};
use llama_concurrent_bench::{Spread, Summary};
use serde_json::json;

use super::runs::{Run, Runs, Setting};
use crate::{
    failure::Failure,
    format::{bytes, rate, short_millis},
};

/// All runs of all contestants.
pub struct Report<'a> {
    setting: &'a Setting,
    results: Vec<Runs>,
}

impl<'a> Report<'a> {
    pub fn new(setting: &'a Setting, results: Vec<Runs>) -> Self {
        Self { setting, results }
    }

    /// Every figure of every run, and every request.
    pub fn write_json(&self, file: &Path) -> Result<(), Failure> {
        let load = &self.setting.load;
        let contestants: Vec<_> =
            self.results.iter().map(|runs| json!({"name": runs.name, "runs": runs.runs})).collect();
        let report = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "workload": self.setting.workload.as_str(),
            "model": self.setting.model,
            "load": {
                "users": load.users, "requests": load.requests, "rate": load.rate, "seed": load.seed,
                "scale": load.scale,
            },
            "slo": self.setting.slo,
            "system_info": llama_concurrent::system_info(),
            "contestants": contestants,
        });
        let text = serde_json::to_string_pretty(&report).map_err(|error| Failure::Failed(error.to_string()))?;
        fs::write(file, text + "\n")
            .map_err(|error| Failure::Failed(format!("cannot write {}: {error}", file.display())))
    }

    /// An error if requests failed.
    pub fn verdict(&self) -> Result<(), Failure> {
        let runs = || self.results.iter().flat_map(|runs| &runs.runs);
        let failed: usize = runs().map(|run| run.summary.failed).sum();
        match runs().find_map(|run| run.summary.failure.as_deref()) {
            Some(why) => Err(Failure::Failed(format!("{failed} requests failed; the first: {why}"))),
            None => Ok(()),
        }
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.results
            .first()
            .and_then(|runs| runs.runs.first())
            .map_or(vec![], |run| run.by_kind.keys().copied().collect())
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (setting, load) = (self.setting, &self.setting.load);
        writeln!(f, "{}: {}.", setting.workload, setting.workload.about())?;
        match load.rate {
            Some(per_second) => writeln!(f, "{} requests, {per_second} per second.", load.users * load.requests)?,
            None => writeln!(f, "{} users at once, {} requests each.", load.users, load.requests)?,
        }
        if load.scale != 1.0 {
            writeln!(f, "All lengths times {}.", load.scale)?;
        }
        writeln!(f, "{}.\n", setting.model)?;
        let kinds = self.kinds();
        let mut table = table();
        for runs in &self.results {
            if kinds.len() == 1 {
                table.add_row(row(&runs.name, &runs.runs, |run| &run.summary));
            } else {
                for &kind in &kinds {
                    table.add_row(row(&format!("{}, {kind}", runs.name), &runs.runs, |run| &run.by_kind[kind]));
                }
            }
        }
        writeln!(f, "{table}")?;
        let repeats = self.results.first().map_or(0, |runs| runs.runs.len());
        writeln!(f, "\nTimes in ms; medians of {repeats} runs, the least and the most in brackets.")?;
        for runs in &self.results {
            resources(f, runs)?;
        }
        if let Some((first, others)) = self.results.split_first() {
            others.iter().try_for_each(|other| ratios(f, first, other, &kinds))?;
        }
        Ok(())
    }
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).force_no_tty();
    table.set_header([
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
    ]);
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
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

/// What the machine gave, where it can be told.
fn resources(f: &mut fmt::Formatter<'_>, runs: &Runs) -> fmt::Result {
    let usages: Vec<_> = runs.runs.iter().filter_map(|run| Some((run.usage.as_ref()?, &run.summary))).collect();
    if usages.is_empty() {
        return Ok(());
    }
    let median = |values: Vec<f64>| (!values.is_empty()).then(|| Spread::of(&values).median);
    let cpus = median(usages.iter().filter_map(|(usage, _)| usage.cpus).collect());
    let peak = median(usages.iter().filter_map(|(usage, _)| usage.peak_rss_bytes).map(|bytes| bytes as f64).collect());
    let faults =
        median(usages.iter().filter_map(|(usage, _)| usage.major_faults).map(|faults| faults as f64).collect());
    let per_joule = median(
        usages.iter().filter_map(|(usage, summary)| Some(summary.output_tokens as f64 / usage.joules?)).collect(),
    );
    write!(f, "{}:", runs.name)?;
    cpus.map_or(Ok(()), |cpus| write!(f, " {cpus:.2} processors,"))?;
    peak.map_or(Ok(()), |peak| write!(f, " {} resident at most,", bytes(peak)))?;
    faults.map_or(Ok(()), |faults| write!(f, " {faults:.0} page faults from disk,"))?;
    match per_joule {
        Some(per_joule) => writeln!(f, " {per_joule:.2} tokens per joule."),
        None => writeln!(f, " energy is not told here (no RAPL, or no right to read it)."),
    }
}

/// Pair by pair, since both had the same scripts one after the other.
fn ratios(f: &mut fmt::Formatter<'_>, first: &Runs, other: &Runs, kinds: &[&'static str]) -> fmt::Result {
    for &kind in kinds {
        let pairs = || first.runs.iter().zip(&other.runs).map(|(a, b)| (&a.by_kind[kind], &b.by_kind[kind]));
        let ratio = |of: fn(&Summary) -> f64| {
            let ratios: Vec<f64> = pairs().map(|(a, b)| of(a) / of(b)).filter(|ratio| ratio.is_finite()).collect();
            let Spread { median, min, max } = Spread::of(&ratios);
            format!("{median:.2} [{min:.2} {max:.2}]")
        };
        let kind = if kinds.len() > 1 { format!(" ({kind})") } else { String::new() };
        writeln!(
            f,
            "{} / {}{kind}: tok/s {}, first token p95 {}, between tokens p99 {}",
            first.name,
            other.name,
            ratio(|summary| summary.tokens_per_s),
            ratio(|summary| summary.ttft_ms.p95),
            ratio(|summary| summary.itl_ms.p99),
        )?;
    }
    Ok(())
}
