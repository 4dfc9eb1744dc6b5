//! Timelines: the phases of each user's requests during one run.

use std::time::Duration;

use maud::{Markup, html};

use super::{
    chart::{self, Axis, Chart, WIDE},
    scale::{Scale, duration, number},
};
use crate::record::{Outcome, Record};

/// The maximum number of readable lanes.
const LANES: usize = 64;
/// The maximum number of bars per system.
const REQUESTS: usize = 1000;
const LANE: f64 = 13.0;

/// One chart per system, all with the same time axis. In an open loop every request is a user, so a lane is reused as soon as
/// it is free.
pub fn charts(systems: &[(&str, &[Record])], open_loop: bool) -> Markup {
    let end =
        systems.iter().flat_map(|(_, records)| *records).map(|record| record.ended.as_secs_f64()).fold(0.0, f64::max);
    html! {
        p class="legend" {
            (key("waiting", "waiting for a slot")) (key("prefill", "prompt, up to the first token"))
            (key("decode", "tokens")) (key("lost", "refused or failed"))
        }
        @for (name, records) in systems {
            (one(name, &lanes(records, open_loop), records, end, open_loop))
        }
        p class="note" {
            "A server does not report how long a request waited for a slot; that time is then part of the prompt's."
        }
    }
}

fn key(class: &str, what: &str) -> Markup {
    html! {
        span {
            svg class="key" viewBox="0 0 44 12" aria-hidden="true" {
                @if class == "lost" { path class="lost" d="M18 2l8 8m0-8l-8 8" {} }
                @else { (bar(class, 1.0, 43.0, 6.0)) }
            }
            (what)
        }
    }
}

/// Each kind of bar has its own height, so that they can be distinguished without colours.
fn bar(class: &str, from: f64, to: f64, y: f64) -> Markup {
    let height = match class {
        "waiting" => 2.0,
        "prefill" => 9.0,
        _ => 5.0,
    };
    html! {
        rect class=(class) x=(chart::place(from)) y=(chart::place(y - height / 2.0))
            width=(chart::place((to - from).max(0.3))) height=(height) {}
    }
}

/// The lane of each record, in the order of the records.
fn lanes(records: &[Record], open_loop: bool) -> Vec<usize> {
    if !open_loop {
        return records.iter().map(|record| record.user).collect();
    }
    let mut order: Vec<usize> = (0..records.len()).collect();
    order.sort_by_key(|&index| records[index].sent);
    let mut free_at: Vec<Duration> = Vec::new();
    let mut lanes = vec![0; records.len()];
    for index in order {
        let record = &records[index];
        let lane = free_at.iter().position(|free| *free <= record.sent).unwrap_or(free_at.len());
        free_at.resize(free_at.len().max(lane + 1), Duration::ZERO);
        free_at[lane] = record.ended;
        lanes[index] = lane;
    }
    lanes
}

fn one(name: &str, lanes: &[usize], records: &[Record], end: f64, open_loop: bool) -> Markup {
    let n_lanes = lanes.iter().max().map_or(1, |lane| lane + 1);
    let shown_lanes = n_lanes.min(LANES);
    let mut shown: Vec<_> = lanes.iter().zip(records).filter(|(lane, _)| **lane < shown_lanes).collect();
    shown.sort_by_key(|(_, record)| record.sent);
    shown.truncate(REQUESTS);
    let what = if open_loop { "requests under way" } else { "user" };
    let x = Axis::new("time since the start of the run, s", Scale::until(end), number);
    let mut y = Axis::new(what, Scale::until(shown_lanes as f64), number);
    // Labels are for lanes, not for the lines between them.
    let every = shown_lanes.div_ceil(16);
    y.ticks = (0..shown_lanes).step_by(every).map(|lane| (lane as f64 + 0.5, (lane + 1).to_string())).collect();
    let chart = Chart::new(WIDE, 60.0 + LANE * shown_lanes.max(3) as f64, x, y);
    let inside = chart::all(shown.iter().map(|(lane, record)| request(&chart, **lane, record)));
    let left_out = records.len() - shown.len();
    let note = if left_out == 0 {
        String::new()
    } else {
        format!(
            "{} of {} requests: the first {REQUESTS} in the first {LANES} lanes at most.",
            shown.len(),
            records.len()
        )
    };
    chart::figure(chart.draw(&format!("{name}: requests over time"), &inside), name, &note)
}

fn request(chart: &Chart, lane: usize, record: &Record) -> Markup {
    let at = |time: Duration| chart.at(time.as_secs_f64(), lane as f64 + 0.5);
    let queued = record.sent + record.queue.unwrap_or_default();
    let first = record.pieces.first().copied().unwrap_or(record.ended);
    let (start, y) = at(record.sent);
    let [queued, first, end] = [queued.min(first), first, record.ended].map(|time| at(time).0);
    if record.outcome != Outcome::Done {
        return html! {
            g {
                title { (tip(record)) }
                (bar("waiting", start, end, y))
                path class="lost" d=(format!("M{} {}l6 6m0-6l-6 6", chart::place(end - 3.0), chart::place(y - 3.0))) {}
            }
        };
    }
    html! {
        g {
            title { (tip(record)) }
            @if queued - start >= 0.5 { (bar("waiting", start, queued, y)) }
            (bar("prefill", queued, first, y))
            (bar("decode", first, end, y))
        }
    }
}

fn tip(record: &Record) -> String {
    let ms = |time: Duration| duration(time.as_secs_f64() * 1e3);
    match &record.outcome {
        Outcome::Done => format!(
            "{}: {} tokens of prompt, first token after {}, {} tokens in {}",
            record.kind,
            record.n_prompt_tokens,
            ms(record.ttft().unwrap_or_default()),
            record.n_output_tokens,
            ms(record.e2e()),
        ),
        Outcome::Overloaded => format!("{}: refused because of overload", record.kind),
        Outcome::Failed(why) => format!("{}: {why}", record.kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(user: usize, sent: u64, ended: u64) -> Record {
        Record {
            user,
            kind: "user",
            sent: Duration::from_secs(sent),
            pieces: vec![Duration::from_secs(ended)],
            ended: Duration::from_secs(ended),
            outcome: Outcome::Done,
            n_prompt_tokens: 1,
            n_cached_tokens: 0,
            n_drafted_tokens: 0,
            n_accepted_tokens: 0,
            n_output_tokens: 1,
            queue: None,
        }
    }

    #[test]
    fn arrivals_take_the_lowest_free_lane() {
        let records = [record(3, 9, 12), record(0, 0, 10), record(1, 1, 5), record(2, 5, 7)];
        assert_eq!(lanes(&records, true), [1, 0, 1, 1]);
        assert_eq!(lanes(&records, false), [3, 0, 1, 2]);
    }

    #[test]
    fn of_very_many_requests_some_are_drawn_and_it_says_so() {
        let records: Vec<_> = (0..5000).map(|i| record(i % 200, i as u64, i as u64 + 1)).collect();
        let drawn = charts(&[("engine", &records)], false).into_string();
        assert!(drawn.matches("class=\"decode\"").count() <= REQUESTS + 1);
        assert!(drawn.contains("1000 of 5000 requests"));
    }
}
