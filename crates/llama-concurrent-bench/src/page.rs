//! A report as one self-contained HTML page with plots.
//!
//! The file contains the style, and the plots as SVG. Numerous elements (points of curves, gaps, requests) are thinned when
//! they are drawn, and the page says how, so that a page has some hundred KiB for any load. The figures in the table are
//! those of all requests; the JSON report has the complete data.

mod cdf;
mod chart;
mod gaps;
mod scale;
mod timeline;
mod users;

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{
    record::Record,
    report::{Comparison, FIGURES, Sweep, this_machine},
    runs::{Runs, middle_run},
    setting::Setting,
};

/// The columns of the report's table with their units, for which a terminal has no room.
const COLUMNS: [&str; 12] = [
    "",
    "tok/s",
    "least and most",
    "first token p50, ms",
    "first token p95, ms",
    "between tokens p50, ms",
    "between tokens p99, ms",
    "between tokens longest, ms",
    "whole request p50, ms",
    "prompt tokens from cache",
    "fairness (Jain)",
    "good requests/s",
];

const STYLE: &str = include_str!("page/style.css");

/// The page of a comparison.
pub fn of_comparison(report: &Comparison<'_>) -> String {
    let columns = if report.setting.slo.is_some() { COLUMNS.len() } else { COLUMNS.len() - 1 };
    let body = html! {
        h2 { "Figures" }
        (table(&COLUMNS[..columns], &report.rows()))
        @for line in report.notes() { p class="note" { (line) } }
        (plots(&report.results, report.setting.load.rate.is_some(), ""))
    };
    page(report.setting, &report.heading(), body)
}

/// The page of a sweep.
pub fn of_sweep(sweep: &Sweep<'_>) -> String {
    let body = html! {
        h2 { "Users and strategies" }
        (users::charts(sweep))
        h2 { "Figures" }
        div class="tables" {
            @for figures in &FIGURES {
                div { h3 { (figures.title) } (table(&sweep.header(), &sweep.rows(figures))) }
            }
        }
        @for line in sweep.notes() { p class="note" { (line) } }
        @if let Some(last) = sweep.points.last() { (plots(&last.results, false, &format!(", {} users", last.users))) }
    };
    page(sweep.setting, &sweep.heading(), body)
}

fn page(setting: &Setting, heading: &[String], body: Markup) -> String {
    let title = format!("bench {}", setting.workload);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                @for line in heading { p { (line) } }
                p class="note" {
                    (this_machine::describe()) ". llama-concurrent " (env!("CARGO_PKG_VERSION")) ", "
                    (Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string()) "."
                }
                (body)
                h2 { "How llama.cpp was built" }
                pre { (llama_concurrent::system_info()) }
            }
        }
    }
    .into_string()
}

/// Rows are cut or padded to the length of the header.
fn table(header: &[&str], rows: &[Vec<String>]) -> Markup {
    html! {
        div class="scroll" {
            table {
                thead { tr { @for column in header { th { (column) } } } }
                tbody { @for row in rows { tr { @for cell in row.iter().take(header.len()) { td { (cell) } } } } }
            }
        }
    }
}

/// The distributions of times, and one run of each system in detail.
fn plots(results: &[Runs], open_loop: bool, of: &str) -> Markup {
    let index = middle_run(results);
    let shown: Vec<(&str, &[Record])> = results
        .iter()
        .filter_map(|runs| Some((runs.name.as_str(), runs.runs.get(index)?.records.as_slice())))
        .collect();
    html! {
        h2 { "Latencies" (of) }
        (chart::legend(results.iter().map(|runs| runs.name.as_str())))
        (cdf::charts(results))
        h2 { "Requests over time" (of) ", run " (index + 1) }
        (timeline::charts(&shown, open_loop))
        h2 { "Gaps between tokens over time" (of) ", run " (index + 1) }
        (gaps::charts(&shown))
    }
}
