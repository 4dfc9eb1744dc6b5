//! Resource usage in sentences.

use crate::{
    numbers::{bytes, short_count},
    runs::{Run, Runs},
    stats::Spread,
    usage::Usage,
};

/// A line for each system, and one for each figure that this machine does not report.
pub(super) fn of(results: &[Runs]) -> Vec<String> {
    let mut lines: Vec<String> = results.iter().filter_map(line).collect();
    let usages = || results.iter().flat_map(|runs| &runs.runs).filter_map(|run| run.usage.as_ref());
    if let Some(why) = usages().find_map(|usage| usage.no_counters.as_deref()) {
        lines.push(format!("Instructions and cache misses are not counted: {why}."));
    }
    if usages().any(|usage| usage.joules.is_none()) {
        lines.push("Energy is not measured: there is no RAPL, or no permission to read /sys/class/powercap.".into());
    }
    lines
}

fn line(runs: &Runs) -> Option<String> {
    let median = |of: &dyn Fn(&Run) -> Option<f64>| {
        let values: Vec<f64> = runs.runs.iter().filter_map(of).collect();
        (!values.is_empty()).then(|| Spread::of(&values).median)
    };
    let used = |of: fn(&Usage) -> Option<f64>| median(&|run| of(run.usage.as_ref()?));
    let per_token = |of: fn(&Usage) -> Option<f64>| {
        median(&|run| Some(of(run.usage.as_ref()?)? / run.summary.output_tokens.max(1) as f64))
    };
    let parts = [
        used(|usage| usage.cpus).map(|cpus| format!("{cpus:.2} processors")),
        used(|usage| Some(usage.peak_rss_bytes? as f64)).map(|peak| format!("{} resident at most", bytes(peak))),
        used(|usage| Some(usage.major_faults? as f64)).map(|faults| format!("{faults:.0} page faults from disk")),
        per_token(|usage| Some(usage.counters?.instructions as f64))
            .map(|count| format!("{} instructions per token", short_count(count))),
        used(|usage| Some(usage.counters?.instructions as f64 / usage.counters?.cycles.max(1) as f64))
            .map(|count| format!("{count:.2} per cycle")),
        per_token(|usage| Some(usage.counters?.cache_misses as f64))
            .map(|count| format!("{} cache misses per token", short_count(count))),
        per_token(|usage| usage.joules).map(|joules| format!("{:.2} tokens per joule", 1.0 / joules)),
        median(&|run| run.harness_cpus).map(|cpus| format!("{:.2} % of a core for the load generator", cpus * 100.0)),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("{}: {}.", runs.name, parts.join(", ")))
}
