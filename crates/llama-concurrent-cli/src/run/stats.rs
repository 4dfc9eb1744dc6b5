//! `--stats`: throughput, latencies and memory of a run.

use std::{
    fs,
    io::{Write, stdout},
    time::Duration,
};

use comfy_table::{Table, presets};
use llama_concurrent::{Engine, EngineStats, Figure, FigureValue, ModelSummary, WorkerStats};
use llama_concurrent_bench::numbers::{bytes, count, millis, rate};
use llama_concurrent_topology::format_list;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{console::print_json, failure::Failure, products::Products};

#[derive(Serialize)]
struct Line {
    stats: Stats,
}

/// Every figure of the engine, and what only this run knows.
#[derive(Serialize)]
struct Stats {
    #[serde(flatten)]
    figures: Map<String, Value>,
    total_output_tokens: usize,
    /// From the first submit to the last end.
    wall_ms: f64,
    /// Rows of decode calls by the time in them.
    decode_tok_s: f64,
    /// As above, of prefill calls.
    prefill_tok_s: f64,
    peak_rss_bytes: Option<u64>,
    per_worker: Vec<Worker>,
}

/// The placement of a worker, as reported by the operating system.
#[derive(Serialize)]
struct Worker {
    node: Option<usize>,
    cpus: Vec<usize>,
    slots: usize,
    /// Of each compute thread.
    affinity: Vec<Vec<usize>>,
    affinity_holds: Option<bool>,
    local_weights: Option<f64>,
    local_kv: Option<f64>,
    local_fraction: Option<f64>,
    output_tokens: u64,
    requests: u64,
}

fn worker(stats: &WorkerStats) -> Worker {
    Worker {
        node: stats.node,
        cpus: stats.cpus.clone(),
        slots: stats.slots,
        affinity: stats.affinity.clone(),
        affinity_holds: stats.affinity_holds(),
        local_weights: stats.local_weights,
        local_kv: stats.local_kv,
        local_fraction: stats.local_fraction(),
        output_tokens: stats.totals.output_tokens,
        requests: stats.totals.requests.finished(),
    }
}

pub fn print(engine: &Engine, output_tokens: usize, wall: Duration, as_json: bool) -> Result<(), Failure> {
    let stats = engine.stats();
    if as_json {
        return print_json(&Line { stats: line(&stats, engine.model(), output_tokens, wall) });
    }
    writeln!(stdout(), "\n{}", table(&stats, output_tokens, wall).trim_fmt())?;
    Ok(())
}

fn line(stats: &EngineStats, model: &ModelSummary, output_tokens: usize, wall: Duration) -> Stats {
    let round = |value: f64| (value * 100.0).round() / 100.0;
    let figure = |figure: &Figure| match (figure.get)(stats, model) {
        // In their parts, for programs.
        FigureValue::Text(_) if figure.name == "products" => {
            ("products".into(), json!(stats.products.iter().map(Products::from).collect::<Vec<_>>()))
        }
        FigureValue::Text(text) => (figure.name.into(), text.into()),
        FigureValue::Number(number) => (figure.name.into(), number.into()),
        FigureValue::Time(time) => (format!("{}_ms", figure.name), millis(time).into()),
        FigureValue::Share(share) => (figure.name.into(), share.map(round).into()),
        FigureValue::Cpus(cpus) => (figure.name.into(), cpus.into()),
    };
    Stats {
        figures: EngineStats::FIGURES.iter().map(figure).collect(),
        total_output_tokens: output_tokens,
        wall_ms: millis(wall),
        decode_tok_s: round(stats.totals.decode.rate()),
        prefill_tok_s: round(stats.totals.prefill.rate()),
        peak_rss_bytes: peak_rss_bytes(),
        per_worker: stats.per_worker.iter().map(worker).collect(),
    }
}

fn table(stats: &EngineStats, output_tokens: usize, wall: Duration) -> Table {
    let seconds = wall.as_secs_f64();
    let total = if seconds > 0.0 { output_tokens as f64 / seconds } else { 0.0 };
    let memory = &stats.memory;
    let pool = [
        count(stats.workers, "worker"),
        count(stats.contexts, "context"),
        count(stats.slots, "slot"),
        count(stats.threads, "thread"),
    ];
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.add_row(["pool", &format!("{}: {}, CPUs {}", stats.strategy, pool.join(", "), format_list(&stats.cpus))]);
    table.add_row(["kernels", &stats.describe_products()]);
    if stats.pack_cache != "off" {
        table.add_row(["packed weights", stats.pack_cache]);
    }
    table.add_row(["output", &format!("{output_tokens} tokens in {seconds:.2} s: {} tok/s", rate(total))]);
    table.add_row(["decode calls", &format!("{} tok/s", rate(stats.totals.decode.rate()))]);
    let totals = &stats.totals;
    if totals.drafted_tokens > 0 {
        let per_call = totals.decode.rows as f64 / totals.decode.calls.max(1) as f64;
        let came = format!("{} of {} tokens came", totals.accepted_tokens, totals.drafted_tokens);
        table.add_row(["drafts", &format!("{came}; {per_call:.1} tokens per call")]);
    }
    table.add_row(["prefill calls", &format!("{} tok/s", rate(stats.totals.prefill.rate()))]);
    table.add_row([
        "memory",
        &format!(
            "model {}, repacked {}, KV {}; peak of the process {}",
            bytes(memory.model_bytes as f64),
            bytes(memory.repack_bytes as f64),
            bytes(memory.kv_bytes as f64),
            peak_rss_bytes().map_or("unknown".to_owned(), |peak| bytes(peak as f64))
        ),
    ]);
    if stats.per_worker.len() > 1 {
        for (index, worker) in stats.per_worker.iter().enumerate() {
            table.add_row([format!("worker {index}"), place(worker)]);
        }
    }
    table
}

/// Such as `node 1, CPUs 16-31, 100 % of its memory there: 812 tokens of 13 requests`.
fn place(worker: &WorkerStats) -> String {
    let node = worker.node.map_or(String::new(), |node| format!("node {node}, "));
    let misplaced = if worker.affinity_holds() == Some(false) { ", but not kept on them" } else { "" };
    let local = worker
        .local_fraction()
        .map_or(String::new(), |fraction| format!(", {:.0} % of its memory there", fraction * 100.0));
    let (tokens, requests) = (worker.totals.output_tokens, worker.totals.requests.finished());
    let done = format!("{tokens} tokens of {}", count(requests as usize, "request"));
    format!("{node}CPUs {}{misplaced}{local}: {done}", format_list(&worker.cpus))
}

/// The peak memory of this process. On Linux from /proc, because `getrusage` includes the peak of the program that
/// started this one.
fn peak_rss_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let of_proc = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    of_proc.map(|kib| kib * 1024).or_else(rusage_peak)
}

#[cfg(unix)]
fn rusage_peak() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some(u64::try_from(usage.max_rss()).ok()? * unit)
}

#[cfg(not(unix))]
fn rusage_peak() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_some_mebibytes() {
        let plausible = (1 << 20)..(1 << 40);
        assert!(peak_rss_bytes().is_some_and(|peak| plausible.contains(&peak)));
        assert!(rusage_peak().is_some_and(|peak| plausible.contains(&peak)));
    }
}
