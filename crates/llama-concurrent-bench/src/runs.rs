//! What runs came to.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{record::Record, replay::Played, setting::Setting, stats::Spread, summary::Summary, usage::Usage};

/// What one run came to.
#[derive(Serialize)]
pub struct Run {
    /// Of the load.
    pub seed: u64,
    /// Of all requests.
    pub summary: Summary,
    /// Of each kind of request in the workload.
    pub by_kind: BTreeMap<&'static str, Summary>,
    /// Of this process; `None` for a server.
    pub usage: Option<Usage>,
    /// Cores that the harness itself took.
    pub harness_cpus: Option<f64>,
    /// Every request.
    pub records: Vec<Record>,
}

/// All runs of one contestant.
#[derive(Serialize)]
pub struct Runs {
    /// The contestant.
    pub name: String,
    /// In order.
    pub runs: Vec<Run>,
}

impl Run {
    /// Sums up what was played, and what it took of this process.
    pub fn new(played: Played, usage: Option<Usage>, setting: &Setting) -> Self {
        let slo = setting.slo.as_ref();
        Self {
            seed: setting.load.seed,
            summary: Summary::of(&played.records, slo),
            by_kind: Summary::by_kind(&played.records, slo),
            usage,
            harness_cpus: played.harness_cpus,
            records: played.records,
        }
    }
}

/// A figure of some runs; of those that have it.
pub(crate) fn spread(runs: &Runs, figure: impl Fn(&Summary) -> Option<f64>) -> Option<Spread> {
    let values: Vec<f64> = runs.runs.iter().filter_map(|run| figure(&run.summary)).collect();
    (!values.is_empty()).then(|| Spread::of(&values))
}

/// The run in the middle of those of the first; the same for all, since its requests are.
pub(crate) fn middle_run(results: &[Runs]) -> usize {
    let Some(first) = results.first() else { return 0 };
    let mut order: Vec<usize> = (0..first.runs.len()).collect();
    let rate = |index: usize| first.runs[index].summary.tokens_per_s;
    order.sort_by(|a, b| rate(*a).total_cmp(&rate(*b)));
    order.get(order.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}
