//! `bench --neighbours`: the engine beside threads that keep the processors busy.

use std::{
    io::{Write, stdout},
    path::Path,
    time::Duration,
};

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use llama_concurrent::EngineConfig;
use llama_concurrent_bench::neighbours::{BesideNeighbours, Neighbours, NeighboursSetting, beside_neighbours};
use serde_json::json;

use super::{BenchArgs, files};
use crate::failure::Failure;

#[derive(Args)]
pub struct NeighbourOptions {
    /// Instead of a workload: --users streams that decode all the time beside so many busy threads of the same process, with
    /// each wait policy; both sides are measured
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', conflicts_with_all = ["workload", "sim", "sim_check",
        "sweep", "rate", "find_capacity", "strategies", "target", "compare", "beside_ggml", "html", "wait_policy"],
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    neighbours: Vec<u32>,

    /// How those threads are busy: always, or for 50 ms with pauses of 50 ms
    #[arg(long, value_name = "HOW", default_value = "always", requires = "neighbours")]
    busy: Busy,

    /// Bind each of those threads to a processor
    #[arg(long, requires = "neighbours")]
    pin_neighbours: bool,

    /// Their nice value
    #[arg(long, value_name = "N", default_value_t = 0, requires = "neighbours",
        value_parser = clap::value_parser!(i32).range(0..=19))]
    nice: i32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Busy {
    Always,
    Bursts,
}

impl NeighbourOptions {
    pub fn is_asked(&self) -> bool {
        !self.neighbours.is_empty()
    }
}

pub fn measure(args: &BenchArgs, path: &Path) -> Result<(), Failure> {
    let NeighbourOptions { neighbours, busy, pin_neighbours, nice } = &args.beside;
    let streams = args.streams();
    let beside = |&count: &u32| Neighbours {
        count: count as usize,
        bursts: matches!(busy, Busy::Bursts),
        pinned: *pin_neighbours,
        nice: *nice,
    };
    let setting = NeighboursSetting {
        streams,
        time: Duration::from_secs_f64(args.seconds),
        repeats: args.repeats as usize,
        neighbours: neighbours.iter().map(beside).collect(),
    };
    let config = args.config_for(streams);
    let lines = super::with_progress(|progress| beside_neighbours(path, &config, &setting, progress))?;
    writeln!(stdout(), "{}", table(&lines, &config, &setting))?;
    if let Some(file) = &args.json {
        files::write_json(&json!({"setting": setting, "lines": lines}), file)?;
    }
    Ok(())
}

fn table(lines: &[BesideNeighbours], config: &EngineConfig, setting: &NeighboursSetting) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "neighbours",
        "wait policy",
        "tok/s",
        "of fair share",
        "longest gap",
        "neighbours get",
        "back after",
    ]);
    for line in lines {
        let count = line.neighbours.count;
        table.add_row([
            if count == 0 { "none".to_owned() } else { count.to_string() },
            line.wait_policy.to_owned(),
            format!(
                "{:.1} ({:.1} to {:.1})",
                line.tokens_per_second.median, line.tokens_per_second.min, line.tokens_per_second.max
            ),
            format!("{:.0} %", 100.0 * line.tokens_per_second.median / line.fair_share),
            format!("{:.0} ms", line.longest_gap_ms),
            if count == 0 { String::new() } else { format!("{:.0} %", 100.0 * line.neighbours_share) },
            match line.back_after_ms {
                _ if count == 0 => String::new(),
                Some(ms) => format!("{ms:.0} ms"),
                None => "not in 2.25 s".to_owned(),
            },
        ]);
    }
    let threads = config.threads.map_or("as many threads as cores".to_owned(), |n| format!("{n} threads"));
    format!(
        "{} streams, {threads}; medians of {} measurements of {:.1} s\n{table}\nFair share: what it gets alone, by the number of \
         threads that want the processors.\nNeighbours get: of what they get done without the engine. Back after: from their end until it has nine tenths of its \
         speed alone for a quarter of a second.",
        setting.streams,
        setting.repeats,
        setting.time.as_secs_f64()
    )
}
