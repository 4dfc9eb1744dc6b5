//! Cumulative distributions of times: first token, gaps and whole requests.

use maud::{Markup, html};

use super::{
    chart::{self, Axis, Chart},
    scale::{Scale, duration, number},
};
use crate::{
    record::{Outcome, Record},
    runs::Runs,
    stats::quantile,
};

/// Number of points of a curve, at even steps of the fraction.
const POINTS: usize = 300;
/// Additional points for the slowest hundredth, which decides how a curve ends.
const TAIL: usize = 50;

/// One chart each, over all runs together.
pub fn charts(results: &[Runs]) -> Markup {
    let gaps = |record: &Record| record.gaps().map(|gap| gap.as_secs_f64() * 1e3).collect();
    html! {
        div class="three" {
            (one(results, "Time to the first token", |record| record.ttft().map(|t| t.as_secs_f64() * 1e3).into_iter().collect()))
            (one(results, "Gaps between tokens", gaps))
            (one(results, "Whole requests", |record| vec![record.e2e().as_secs_f64() * 1e3]))
        }
        p class="note" {
            "All runs together; what failed does not count. Markers: 50, 95 and 99 of 100. "
            "A curve has " (POINTS) " points at most, at even steps of the share, and " (TAIL) " more in its last hundredth."
        }
    }
}

fn one(results: &[Runs], title: &str, times: impl Fn(&Record) -> Vec<f64>) -> Markup {
    let curves: Vec<Vec<f64>> = results.iter().map(|runs| sorted(runs, &times)).collect();
    let ends = curves.iter().flat_map(|curve| [curve.first(), curve.last()]).flatten().copied();
    let x = Axis::new("time, logarithmic", Scale::log(ends), duration);
    let y = Axis::new("share of them, %", Scale::until(100.0), number);
    let chart = Chart::new(390.0, 280.0, x, y);
    let inside =
        chart::all(curves.iter().enumerate().map(|(index, times)| curve(&chart, index, &results[index].name, times)));
    chart::figure(chart.draw(&format!("{title}: share of them over time"), &inside), title, "")
}

fn sorted(runs: &Runs, times: &impl Fn(&Record) -> Vec<f64>) -> Vec<f64> {
    let records = runs.runs.iter().flat_map(|run| &run.records).filter(|record| record.outcome == Outcome::Done);
    let mut times: Vec<f64> = records.flat_map(times).collect();
    times.sort_by(f64::total_cmp);
    times
}

fn curve(chart: &Chart, index: usize, name: &str, times: &[f64]) -> Markup {
    let Some(first) = times.first() else { return html! {} };
    let points: Vec<_> = std::iter::once(chart.at(*first, 0.0))
        .chain(ranks(times.len()).map(|rank| chart.at(times[rank - 1], 100.0 * rank as f64 / times.len() as f64)))
        .collect();
    html! {
        (chart::line(index, &points))
        @for share in [50.0, 95.0, 99.0] {
            @let time = quantile(times, share / 100.0);
            (chart::marker(index, chart.at(time, share), &format!("{name}: {share} % within {}", duration(time))))
        }
    }
}

/// The ranks of the values that are drawn, in order, each once.
fn ranks(n: usize) -> impl Iterator<Item = usize> {
    let tail = n - n / 100;
    let even = |from: usize, to: usize, steps: usize| {
        (1..=steps).map(move |i| from + ((to - from) as f64 * i as f64 / steps as f64).ceil() as usize)
    };
    let mut ranks: Vec<usize> = even(0, tail, POINTS.min(tail)).chain(even(tail, n, TAIL.min(n - tail))).collect();
    ranks.dedup();
    ranks.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_curves_are_thinned_and_short_ones_are_not() {
        assert_eq!(ranks(5).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(ranks(0).count(), 0);
        let many: Vec<_> = ranks(1_000_000).collect();
        assert!(many.len() <= POINTS + TAIL && many.is_sorted() && many.last() == Some(&1_000_000), "{}", many.len());
        assert!(many.iter().filter(|rank| **rank > 990_000).count() >= TAIL);
    }
}
