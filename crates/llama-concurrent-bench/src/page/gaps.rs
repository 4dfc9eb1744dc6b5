//! Gaps between tokens during one run, to show stalls.

use maud::{Markup, html};

use super::{
    chart::{self, Axis, Chart, WIDE},
    scale::{Scale, duration, number},
};
use crate::record::Record;

/// Number of columns that time is divided into.
const COLUMNS: usize = 240;

/// One chart for each, all with the same axes.
pub fn charts(systems: &[(&str, &[Record])]) -> Markup {
    let end =
        systems.iter().flat_map(|(_, records)| *records).map(|record| record.ended.as_secs_f64()).fold(0.0, f64::max);
    let columns: Vec<_> = systems.iter().map(|(_, records)| columns(records, end)).collect();
    let lengths = columns.iter().flatten().flatten().flat_map(|column| [column.least, column.most]);
    let scale = Scale::log(lengths);
    html! {
        @for (index, ((name, _), columns)) in systems.iter().zip(&columns).enumerate() {
            @let x = Axis::new("time since the start of the run, s", Scale::until(end), number);
            @let y = Axis::new("gap, logarithmic", scale.clone(), duration);
            (one(&Chart::new(WIDE, 210.0, x, y), index, name, columns, end))
        }
        p class="note" {
            "Time is cut into " (COLUMNS) " columns. A bar reaches from the shortest to the longest gap that ended in its column, "
            "the mark on it is the middle one. A gap is the time between two pieces of text of one answer."
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Column {
    least: f64,
    middle: f64,
    most: f64,
}

/// The gaps that ended in each column, in milliseconds.
fn columns(records: &[Record], end: f64) -> Vec<Option<Column>> {
    let mut gaps = vec![Vec::new(); COLUMNS];
    for record in records {
        for (gap, piece) in record.gaps().zip(record.pieces.iter().skip(1)) {
            let column = (piece.as_secs_f64() / end * COLUMNS as f64) as usize;
            gaps[column.min(COLUMNS - 1)].push(gap.as_secs_f64() * 1e3);
        }
    }
    let column = |mut gaps: Vec<f64>| {
        gaps.sort_by(f64::total_cmp);
        Some(Column { least: *gaps.first()?, middle: gaps[(gaps.len() - 1) / 2], most: *gaps.last()? })
    };
    gaps.into_iter().map(column).collect()
}

fn one(chart: &Chart, index: usize, name: &str, columns: &[Option<Column>], end: f64) -> Markup {
    let (mut bars, mut middles) = (String::new(), String::new());
    for (number, column) in columns.iter().enumerate() {
        let Some(column) = column else { continue };
        let time = (number as f64 + 0.5) / COLUMNS as f64 * end;
        let [(x, low), (_, middle), (_, high)] =
            [column.least, column.middle, column.most].map(|gap| chart.at(time, gap));
        let [x, low, middle, high] = [x, low, middle, high].map(chart::place);
        // A bar without length would be invisible.
        bars += &format!("M{x} {}V{}", low.max(high + 1.0), high);
        middles += &format!("M{} {middle}h3.6", chart::place(x - 1.8));
    }
    let inside = html! {
        path class=(format!("bars {}", chart::style(index))) d=(bars) {}
        path class="middles" d=(middles) {}
    };
    chart::figure(chart.draw(&format!("{name}: gaps between tokens over time"), &inside), name, "")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::record::Outcome;

    use super::*;

    #[test]
    fn a_column_holds_what_ended_in_it() {
        let record = Record {
            user: 0,
            kind: "user",
            sent: Duration::ZERO,
            pieces: [0, 10, 40, 1000].map(Duration::from_millis).to_vec(),
            ended: Duration::from_secs(1),
            outcome: Outcome::Done,
            n_prompt_tokens: 1,
            n_cached_tokens: 0,
            n_drafted_tokens: 0,
            n_accepted_tokens: 0,
            n_output_tokens: 4,
            queue: None,
        };
        let columns = columns(&[record], 1.0);
        assert_eq!(columns.iter().flatten().count(), 3);
        assert_eq!(columns[COLUMNS - 1], Some(Column { least: 960.0, middle: 960.0, most: 960.0 }));
    }
}
