//! The results of runs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{record::Record, replay::ReplayResult, setting::Setting, stats::Spread, summary::Summary, usage::Usage};

/// The result of one run.
#[derive(Serialize)]
pub struct Run {
    /// The seed of the load.
    pub seed: u64,
    /// The summary of all requests.
    pub summary: Summary,
    /// The summaries by kind of user.
    pub by_kind: BTreeMap<&'static str, Summary>,
    /// The resource usage of this process; `None` for a server.
    pub usage: Option<Usage>,
    /// Cores used by the load generator.
    pub harness_cpus: Option<f64>,
    /// Every request.
    pub records: Vec<Record>,
}

/// All runs of one system.
#[derive(Serialize)]
pub struct Runs {
    /// The system.
    pub name: String,
    /// In order.
    pub runs: Vec<Run>,
}

impl Run {
    /// Summarises a replay and its resource usage.
    pub fn new(replay: ReplayResult, usage: Option<Usage>, setting: &Setting) -> Self {
        let slo = setting.slo.as_ref();
        Self {
            seed: setting.load.seed,
            summary: Summary::of(&replay.records, slo),
            by_kind: Summary::by_kind(&replay.records, slo),
            usage,
            harness_cpus: replay.harness_cpus,
            records: replay.records,
        }
    }
}

/// A figure over the runs that have it.
pub(crate) fn spread(runs: &Runs, figure: impl Fn(&Summary) -> Option<f64>) -> Option<Spread> {
    let values: Vec<f64> = runs.runs.iter().filter_map(|run| figure(&run.summary)).collect();
    (!values.is_empty()).then(|| Spread::of(&values))
}

/// The median run of the first system; the same run for all, because they had the same requests.
pub(crate) fn middle_run(results: &[Runs]) -> usize {
    let Some(first) = results.first() else { return 0 };
    let mut order: Vec<usize> = (0..first.runs.len()).collect();
    let rate = |index: usize| first.runs[index].summary.tokens_per_s;
    order.sort_by(|a, b| rate(*a).total_cmp(&rate(*b)));
    order.get(order.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}
