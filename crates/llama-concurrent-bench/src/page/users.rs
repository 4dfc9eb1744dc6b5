//! Charts of a figure over the number of users, with a line for each system.

use maud::{Markup, html};

use super::{
    chart::{self, Axis, Chart},
    scale::{Scale, duration, number},
};
use crate::{report::Sweep, runs::spread, summary::Summary};

pub fn charts(sweep: &Sweep<'_>) -> Markup {
    html! {
        (chart::legend(sweep.names()))
        div class="three" {
            (one(sweep, "Tokens per second, all users together", "tok/s", Kind::Rate, |summary| Some(summary.tokens_per_s)))
            (one(sweep, "Gap between tokens, p50", "gap, logarithmic", Kind::Time, |summary| Some(summary.itl_ms.p50)))
            (one(sweep, "Time to the first token, p50", "time, logarithmic", Kind::Time, |summary| Some(summary.ttft_ms.p50)))
            (one(sweep, "Tokens per second while all are answered", "tok/s", Kind::Rate, |summary| summary.steady_tokens_per_s))
            (one(sweep, "Gap between tokens, p99", "gap, logarithmic", Kind::Time, |summary| Some(summary.itl_ms.p99)))
            (one(sweep, "Whole requests, p50", "time, logarithmic", Kind::Time, |summary| Some(summary.e2e_ms.p50)))
        }
        p class="note" { "Medians; thin lines reach from the least to the most. The numbers of users are spaced logarithmically." }
    }
}

enum Kind {
    Rate,
    Time,
}

fn one(sweep: &Sweep<'_>, title: &str, unit: &str, kind: Kind, figure: fn(&Summary) -> Option<f64>) -> Markup {
    let n = sweep.names().count();
    let values = |index: usize| {
        sweep
            .points
            .iter()
            .filter_map(move |point| Some((point.users as f64, spread(point.results.get(index)?, figure)?)))
    };
    let all = || (0..n).flat_map(values).flat_map(|(_, spread)| [spread.min, spread.max]);
    let users = || sweep.points.iter().map(|point| point.users as f64);
    let x = Axis {
        name: "users at once".into(),
        scale: Scale::around(users()),
        ticks: users().map(|users| (users, number(users))).collect(),
    };
    let y = match kind {
        Kind::Rate => Axis::new(unit, Scale::linear(all().fold(0.0, f64::max)), number),
        Kind::Time => Axis::new(unit, Scale::log(all()), duration),
    };
    let chart = Chart::new(390.0, 280.0, x, y);
    let line = |index: usize| {
        let values: Vec<_> = values(index).collect();
        let middle: Vec<_> = values.iter().map(|(users, spread)| chart.at(*users, spread.median)).collect();
        html! {
            @for (users, spread) in &values {
                @let (low, high) = (chart.at(*users, spread.min), chart.at(*users, spread.max));
                @if spread.max > spread.min { (chart::whisker(index, low, high)) }
            }
            (chart::line(index, &middle))
            @for ((users, spread), at) in values.iter().zip(&middle) {
                @let value = match kind { Kind::Rate => number(spread.median), Kind::Time => duration(spread.median) };
                (chart::marker(index, *at, &format!("{}, {users} users: {value}", sweep.names().nth(index).unwrap_or_default())))
            }
        }
    };
    let inside = chart::all((0..n).map(line));
    chart::figure(chart.draw(&format!("{title}, over users at once"), &inside), title, "")
}
