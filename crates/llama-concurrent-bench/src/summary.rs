//! Condenses records to comparable figures.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Serialize;

use crate::{
    record::{Outcome, Record},
    stats::{jain, quantile},
};

/// Quantiles of times, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Half of them are at most this.
    pub p50: f64,
    /// 19 of 20.
    pub p95: f64,
    /// 99 of 100.
    pub p99: f64,
    /// All.
    pub max: f64,
}

impl Latency {
    fn of(times: impl Iterator<Item = Duration>) -> Self {
        let ms: Vec<f64> = times.map(|time| time.as_secs_f64() * 1e3).collect();
        Self { p50: quantile(&ms, 0.5), p95: quantile(&ms, 0.95), p99: quantile(&ms, 0.99), max: quantile(&ms, 1.0) }
    }
}

/// A service-level objective: a request is good if its first token and 95 % of its gaps are in time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Slo {
    /// Time to the first token, in milliseconds.
    pub ttft_ms: f64,
    /// Gap between two tokens, in milliseconds.
    pub itl_ms: f64,
}

impl Slo {
    /// Whether a request was good.
    pub fn is_kept_by(&self, record: &Record) -> bool {
        let in_ms = |time: Duration| time.as_secs_f64() * 1e3;
        let gaps: Vec<f64> = record.gaps().map(in_ms).collect();
        record.outcome == Outcome::Done
            && record.ttft().is_some_and(|ttft| in_ms(ttft) <= self.ttft_ms)
            && quantile(&gaps, 0.95) <= self.itl_ms
    }
}

/// The summary of a run. Rates are per second from the first request to the last end.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Requests that were sent.
    pub requests: usize,
    /// Of these, refused because of overload.
    pub overloaded: usize,
    /// Of these, failed otherwise.
    pub failed: usize,
    /// Why the first of them failed.
    pub failure: Option<String>,
    /// Seconds from the first request to the last end.
    pub wall_s: f64,
    /// Prompt tokens, if the target reports them.
    pub prompt_tokens: usize,
    /// Of these, reused from a cache.
    pub cached_tokens: usize,
    /// Drafted tokens, if the target reports them.
    pub drafted_tokens: usize,
    /// Of these, the ones that came.
    pub accepted_tokens: usize,
    /// Output tokens.
    pub output_tokens: usize,
    /// Output tokens per second.
    pub tokens_per_s: f64,
    /// The same while all users were being served; `None` if there was no such time, as with fewer slots than users.
    pub steady_tokens_per_s: Option<f64>,
    /// Completed requests per second.
    pub requests_per_s: f64,
    /// Tokens per second of one request after its first token: half of the requests have more.
    pub per_request_tokens_per_s: f64,
    /// Time to the first token.
    pub ttft_ms: Latency,
    /// Gaps between the pieces of an output.
    pub itl_ms: Latency,
    /// The whole time of requests.
    pub e2e_ms: Latency,
    /// Queue time, if the target reports it.
    pub queue_ms: Option<Latency>,
    /// Jain's index over users of tokens per second of waiting: 1 is fair.
    pub fairness: f64,
    /// Requests per second that met the objective, if there is one.
    pub goodput_per_s: Option<f64>,
}

impl Summary {
    /// Summarises records. Failed requests are excluded from times.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a Record>, slo: Option<&Slo>) -> Self {
        let all: Vec<&Record> = records.into_iter().collect();
        let done: Vec<&Record> = all.iter().copied().filter(|record| record.outcome == Outcome::Done).collect();
        let begin = all.iter().map(|record| record.sent).min().unwrap_or_default();
        let end = all.iter().map(|record| record.ended).max().unwrap_or_default();
        let wall_s = end.saturating_sub(begin).as_secs_f64();
        let per_second = |count: usize| if wall_s > 0.0 { count as f64 / wall_s } else { 0.0 };
        let failures = || all.iter().filter_map(|record| failure(record));
        let output_tokens = done.iter().map(|record| record.n_output_tokens).sum();
        let rates: Vec<f64> = done.iter().filter_map(|record| record.decode_rate()).collect();
        let queued: Option<Vec<Duration>> = done.iter().map(|record| record.queue).collect();
        Self {
            requests: all.len(),
            overloaded: all.iter().filter(|record| record.outcome == Outcome::Overloaded).count(),
            failed: failures().count(),
            failure: failures().next().map(str::to_owned),
            wall_s,
            prompt_tokens: done.iter().map(|record| record.n_prompt_tokens).sum(),
            cached_tokens: done.iter().map(|record| record.n_cached_tokens).sum(),
            drafted_tokens: done.iter().map(|record| record.n_drafted_tokens).sum(),
            accepted_tokens: done.iter().map(|record| record.n_accepted_tokens).sum(),
            output_tokens,
            tokens_per_s: per_second(output_tokens),
            steady_tokens_per_s: steady_rate(&done),
            requests_per_s: per_second(done.len()),
            per_request_tokens_per_s: quantile(&rates, 0.5),
            ttft_ms: Latency::of(done.iter().filter_map(|record| record.ttft())),
            itl_ms: Latency::of(done.iter().flat_map(|record| record.gaps())),
            e2e_ms: Latency::of(done.iter().map(|record| record.e2e())),
            queue_ms: queued.filter(|times| !times.is_empty()).map(|times| Latency::of(times.into_iter())),
            fairness: jain(&shares(&all)),
            goodput_per_s: slo.map(|slo| per_second(done.iter().filter(|record| slo.is_kept_by(record)).count())),
        }
    }

    /// One for each kind of user, by name.
    pub fn by_kind(records: &[Record], slo: Option<&Slo>) -> BTreeMap<&'static str, Self> {
        let mut kinds: BTreeMap<&'static str, Vec<&Record>> = BTreeMap::new();
        for record in records {
            kinds.entry(record.kind).or_default().push(record);
        }
        kinds.into_iter().map(|(kind, records)| (kind, Self::of(records, slo))).collect()
    }
}

fn failure(record: &Record) -> Option<&str> {
    match &record.outcome {
        Outcome::Failed(why) => Some(why),
        Outcome::Done | Outcome::Overloaded => None,
    }
}

/// Pieces per second between the last of all first pieces and the first of all ends, if every user had one request.
///
/// If users have several requests, there are gaps between them in which not all users are served.
fn steady_rate(done: &[&Record]) -> Option<f64> {
    let users: BTreeSet<usize> = done.iter().map(|record| record.user).collect();
    if users.len() < done.len() {
        return None;
    }
    let from = done.iter().map(|record| record.pieces.first().copied()).max()??;
    let to = done.iter().map(|record| record.pieces.last().copied()).min()??;
    let pieces = done.iter().flat_map(|record| &record.pieces).filter(|piece| (from..to).contains(piece)).count();
    (to > from).then(|| pieces as f64 / (to - from).as_secs_f64())
}

/// Tokens per second of waiting, for each user.
fn shares(records: &[&Record]) -> Vec<f64> {
    let mut users: BTreeMap<usize, (usize, f64)> = BTreeMap::new();
    for record in records {
        let (tokens, waited) = users.entry(record.user).or_default();
        *tokens += if record.outcome == Outcome::Done { record.n_output_tokens } else { 0 };
        *waited += record.e2e().as_secs_f64();
    }
    users.into_values().filter(|(_, waited)| *waited > 0.0).map(|(tokens, waited)| tokens as f64 / waited).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(user: usize, sent: u64, pieces: &[u64], outcome: Outcome) -> Record {
        let ms = Duration::from_millis;
        Record {
            user,
            kind: if user == 9 { "visitor" } else { "steady" },
            sent: ms(sent),
            pieces: pieces.iter().copied().map(ms).collect(),
            ended: ms(pieces.last().copied().unwrap_or(sent)),
            outcome,
            n_prompt_tokens: 5,
            n_cached_tokens: 2,
            n_drafted_tokens: 3,
            n_accepted_tokens: 1,
            n_output_tokens: pieces.len(),
            queue: Some(ms(1)),
        }
    }

    fn records() -> Vec<Record> {
        vec![
            record(0, 0, &[100, 110, 130], Outcome::Done),
            record(1, 0, &[200, 240, 1000], Outcome::Done),
            record(9, 500, &[], Outcome::Overloaded),
            record(1, 1000, &[], Outcome::Failed("gone".into())),
        ]
    }

    #[test]
    fn figures_are_of_those_that_were_answered() {
        let summary = Summary::of(&records(), Some(&Slo { ttft_ms: 150.0, itl_ms: 50.0 }));
        assert_eq!((summary.requests, summary.overloaded, summary.failed), (4, 1, 1));
        assert_eq!(summary.failure.as_deref(), Some("gone"));
        assert_eq!((summary.wall_s, summary.output_tokens, summary.tokens_per_s), (1.0, 6, 6.0));
        assert_eq!((summary.ttft_ms.p50, summary.ttft_ms.max), (100.0, 200.0));
        assert_eq!((summary.itl_ms.p50, summary.itl_ms.max), (20.0, 760.0));
        assert_eq!((summary.prompt_tokens, summary.cached_tokens), (10, 4));
        assert_eq!((summary.drafted_tokens, summary.accepted_tokens), (6, 2));
        assert_eq!(summary.goodput_per_s, Some(1.0));
    }

    #[test]
    fn kinds_are_summed_up_by_themselves() {
        let kinds = Summary::by_kind(&records(), None);
        assert_eq!(kinds.keys().copied().collect::<Vec<_>>(), ["steady", "visitor"]);
        assert_eq!((kinds["steady"].requests, kinds["visitor"].requests), (3, 1));
        assert_eq!(kinds["visitor"].tokens_per_s, 0.0);
    }

    #[test]
    fn the_steady_rate_is_of_the_time_when_all_are_answered() {
        let together = [
            record(0, 0, &[100, 200, 300, 400, 500], Outcome::Done),
            record(1, 0, &[200, 300, 400, 500, 600], Outcome::Done),
        ];
        // From 200 to 500: three pieces each.
        assert_eq!(Summary::of(&together, None).steady_tokens_per_s, Some(20.0));
        let one_by_one = [record(0, 0, &[100, 200], Outcome::Done), record(1, 0, &[300, 400], Outcome::Done)];
        assert_eq!(Summary::of(&one_by_one, None).steady_tokens_per_s, None);
    }

    #[test]
    fn nothing_at_all_is_no_failure() {
        assert_eq!(Summary::of(&[], None).tokens_per_s, 0.0);
    }
}
