//! `bench`: named workloads against this engine, its strategies, and servers.

mod capacity;
mod engines;
mod files;
mod neighbours;
mod plan;
mod runs;
mod sweep;
mod system;

use std::{
    io::{Write, stdout},
    path::{Path, PathBuf},
};

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use llama_concurrent::{EngineConfig, Strategy};
use llama_concurrent_bench::{Load, ServerAddress, Setting, Slo, Workload, page, report::Comparison};

use crate::{console, failure::Failure, model, options::EngineOptions};
use system::System;

const EXAMPLES: &str = "\
Workloads:
  chat           prompts of 12 to 400 tokens, median 60, answers of 64 to 256
  rag            prompts of 600 to 1500 tokens, 200 in common, answers around 120
  mixed-stall    steady streams, until a visitor with prompts of 1200 tokens is answered
  shared-prefix  all at once, 512 tokens in common and 32 more, answers of 64
  offline        prompts around 120 tokens, answers around 100, batch class
  agents         several turns with all that was said before, pauses of some 0.5 s
  strategies     every strategy with 1 to 32 users (--sweep), prompts of 16 tokens,
                 answers of 64

Examples:
  llama-concurrent bench chat -m model.gguf --users 16
  llama-concurrent bench chat -m model.gguf --users 16 --strategies round-robin,batched
  llama-concurrent bench chat -m model.gguf --users 16 --beside-ggml
  llama-concurrent bench mixed-stall -m model.gguf \\
      --compare llama-server=http://127.0.0.1:8080
  llama-concurrent bench chat -m model.gguf --rate 0.5 --requests 20 \\
      --slo-ttft-ms 2000 --slo-itl-ms 200
  llama-concurrent bench chat -m model.gguf --find-capacity \\
      --slo-ttft-ms 2000 --slo-itl-ms 200
  llama-concurrent bench rag --scale 0.2 --json report.json
  llama-concurrent bench strategies -m model.gguf --sweep 1,4,16 --html page.html
  llama-concurrent bench chat -m model.gguf --sim 2x16@150 --sweep 20,100,200
  llama-concurrent bench -m model.gguf --sim-check
  llama-concurrent bench -m model.gguf --neighbours 1,2,4,8 --users 8
  llama-concurrent bench -m model.gguf --engines 2 --users 8

All texts, lengths and times follow from --seed; each repeat has a seed of its own, and all systems get the same. They \
take turns, so that a machine that slows down does so for all. Figures are medians over the repeats. Answers have their \
full length: the end that a model would choose is ignored.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    /// Workload, described below [default with --sim: chat, with --sim-check: strategies]
    #[arg(value_parser = workloads(), required_unless_present_any = ["sim", "sim_check", "neighbours", "engines"])]
    workload: Option<Workload>,

    /// Concurrent users [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    users: Option<u32>,

    /// Requests per user [default: 3, and 1 for strategies]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    requests: Option<u32>,

    /// Numbers of concurrent users to sweep over, for the workload strategies [default: 1,2,4,8,16,20,32], --sim
    /// [20,50,100,200] and --sim-check [1,4,8,16]
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', conflicts_with_all = ["users", "rate", "find_capacity"],
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sweep: Vec<u32>,

    /// Open loop: requests arrive at random at this average rate per second, without waiting for responses
    #[arg(long, value_name = "PER_SECOND", value_parser = positive)]
    rate: Option<f64>,

    /// Random seed of all prompts, lengths and arrival times
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Multiply the lengths of prompts and responses by this factor, for small models and quick runs
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = scale)]
    scale: f64,

    /// Runs per configuration
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: u32,

    /// Compare these strategies of the engine, or "all"; implied by the workload strategies
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with_all = ["target", "strategy"])]
    strategies: Vec<String>,

    /// Measure a server instead of an in-process engine. It should serve the model that --model names, whose tokenizer
    /// counts tokens. A path with /v1/ selects OpenAI's protocol, any other path llama-server's; without a path, /completion is
    /// tried first, then /v1/completions
    #[arg(long, value_name = "URL")]
    target: Option<ServerAddress>,

    /// Also measure the engine with ggml's kernels alone
    #[arg(long, conflicts_with_all = ["target", "find_capacity"])]
    beside_ggml: bool,

    /// Also measure this server, alternating with the engine; may be repeated
    #[arg(long, value_name = "NAME=URL", value_parser = name_and_address)]
    compare: Vec<(String, ServerAddress)>,

    /// Target for the time to first token
    #[arg(long, value_name = "MS", requires = "slo_itl_ms", value_parser = positive)]
    slo_ttft_ms: Option<f64>,

    /// Target for the 95th percentile of the inter-token latency
    #[arg(long, value_name = "MS", requires = "slo_ttft_ms", value_parser = positive)]
    slo_itl_ms: Option<f64>,

    /// Find the most users, or with --rate the highest arrival rate, that meets both targets at the 95th percentile
    #[arg(long, requires = "slo_ttft_ms", conflicts_with_all = ["compare", "strategies"])]
    find_capacity: bool,

    /// Write the results of every run as JSON
    #[arg(long, value_name = "FILE", conflicts_with = "find_capacity")]
    json: Option<PathBuf>,

    /// Write a self-contained HTML page with plots
    #[arg(long, value_name = "FILE", conflicts_with = "find_capacity")]
    html: Option<PathBuf>,

    #[command(flatten)]
    sim: plan::SimOptions,

    /// Instead of a workload: so many engines of one process, each with --users streams that decode all the time; what each gets
    /// alone and beside the others
    #[arg(long, value_name = "N", conflicts_with_all = ["workload", "sim", "sim_check", "sweep", "rate", "find_capacity",
        "strategies", "target", "compare", "beside_ggml", "html", "neighbours"],
        value_parser = clap::value_parser!(u32).range(1..=16))]
    engines: Option<u32>,

    /// Seconds of each measurement of --neighbours and --engines
    #[arg(long, value_name = "S", default_value_t = 3.0, conflicts_with = "workload", value_parser = positive)]
    seconds: f64,

    #[command(flatten)]
    beside: neighbours::NeighbourOptions,

    #[command(flatten)]
    engine: EngineOptions,
}

pub fn bench(args: &BenchArgs) -> Result<(), Failure> {
    let is_sweep = args.is_sweep()?;
    for file in [&args.json, &args.html, &args.sim.sim_save].into_iter().flatten() {
        files::expect_writable(file)?;
    }
    let path = model::locate(args.engine.model.as_deref())?;
    if args.sim.is_asked() {
        return plan::plan(args, &path);
    }
    if args.beside.is_asked() {
        return neighbours::measure(args, &path);
    }
    if let Some(engines) = args.engines {
        return engines::measure(args, engines as usize, &path);
    }
    let load = args.load();
    let systems = systems(args, &path, load.users)?;
    systems.iter().try_for_each(System::look_for)?;
    let setting = Setting::new(&path, args.workload(), load, args.slo())?;
    if args.find_capacity {
        return capacity::find(&systems[0], &setting, args.repeats);
    }
    if is_sweep {
        let sweep = sweep::play(args, &path, &setting)?;
        return tell(args, &sweep, || sweep.json(), || page::of_sweep(&sweep), || sweep.verdict());
    }
    let results = runs::alternate(&systems, &setting, args.repeats as usize)?;
    let report = Comparison::new(&setting, results);
    tell(args, &report, || report.json(), || page::of_comparison(&report), || report.verdict())
}

/// Prints the results, and writes the requested files.
fn tell(
    args: &BenchArgs,
    screen: &dyn std::fmt::Display,
    json: impl Fn() -> serde_json::Value,
    page: impl Fn() -> String,
    verdict: impl Fn() -> Result<(), String>,
) -> Result<(), Failure> {
    writeln!(stdout(), "{screen}")?;
    if let Some(file) = &args.json {
        files::write_json(&json(), file)?;
    }
    if let Some(file) = &args.html {
        files::write(&page(), file)?;
    }
    verdict().map_err(Failure::Failed)
}

impl BenchArgs {
    /// Whether to sweep over numbers of users; an error if options conflict.
    fn is_sweep(&self) -> Result<bool, Failure> {
        if self.sim.is_asked() {
            return Ok(false);
        }
        let strategies = self.workload() == Workload::Strategies;
        match (strategies, self.sweep.is_empty()) {
            (false, false) => Err(Failure::BadInput(
                "--sweep is for the workload strategies and --sim; for others give --users".into(),
            )),
            (true, _) if self.users.is_some() || self.rate.is_some() => Err(Failure::BadInput(
                "the workload strategies sweeps over numbers of users: give --sweep instead of --users or --rate"
                    .into(),
            )),
            _ => Ok(strategies && !self.find_capacity),
        }
    }

    fn workload(&self) -> Workload {
        self.workload.unwrap_or(if self.sim.sim_check { Workload::Strategies } else { Workload::Chat })
    }

    fn load(&self) -> Load {
        Load {
            users: self.users.unwrap_or(8) as usize,
            requests: self.requests.unwrap_or(if self.workload() == Workload::Strategies { 1 } else { 3 }) as usize,
            rate: self.rate,
            seed: self.seed,
            scale: self.scale,
        }
    }

    fn slo(&self) -> Option<Slo> {
        self.slo_ttft_ms.zip(self.slo_itl_ms).map(|(ttft_ms, itl_ms)| Slo { ttft_ms, itl_ms })
    }
}

impl BenchArgs {
    /// Streams that decode all the time, for the measurements that are no workloads.
    fn streams(&self) -> usize {
        self.users.unwrap_or(8) as usize
    }

    /// An engine that decodes so many streams at once.
    fn config_for(&self, streams: usize) -> EngineConfig {
        let mut config = self.engine.config();
        config.slots = config.slots.or(Some(streams));
        config.max_queued_requests = config.max_queued_requests.max(streams);
        config
    }
}

/// Shows how many measurements are done.
fn with_progress<T>(measure: impl FnOnce(&mut dyn FnMut(usize, usize)) -> T) -> T {
    let bar = console::progress_bar(0, "{bar:40} {pos} of {len} measurements");
    let measured = measure(&mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    measured
}

fn systems(args: &BenchArgs, path: &Path, users: usize) -> Result<Vec<System>, Failure> {
    let config = || {
        let mut config = args.engine.config();
        // A run should not fail because of its own size; the queue of a server is not ours to set.
        config.max_queued_requests = usize::MAX;
        config.max_queued_tokens = usize::MAX;
        config.n_ctx = config.n_ctx.or(Some(args.workload().n_ctx(args.scale)));
        if args.rate.is_none() && config.strategy != Strategy::Sequential {
            // The number of users is the result there.
            let users = if args.find_capacity { MAX_SLOTS } else { users };
            config.slots = config.slots.or(Some(users.min(MAX_SLOTS)));
        }
        config
    };
    let mut all = Vec::new();
    match &args.target {
        Some(address) => all.push(System::server("server", address)),
        None if args.strategies.is_empty() && (args.workload() != Workload::Strategies || args.find_capacity) => {
            all.push(System::engine("engine", path, config()))
        }
        None => {
            for strategy in strategies(&args.strategies)? {
                let mut config = config();
                config.strategy = strategy;
                if strategy == Strategy::Sequential {
                    config.slots = None;
                }
                all.push(System::engine(strategy.as_str(), path, config));
            }
        }
    }
    if args.beside_ggml {
        all.push(System::engine("ggml's kernels", path, config().kernels(false)));
    }
    all.extend(args.compare.iter().map(|(name, address)| System::server(name, address)));
    for (index, system) in all.iter().enumerate() {
        if all[..index].iter().any(|other| other.name == system.name) {
            let message = format!("two systems are called '{}'; give each --compare another NAME", system.name);
            return Err(Failure::BadInput(message));
        }
    }
    Ok(all)
}

/// More slots than this are rarely faster, and each costs memory; more must be requested explicitly.
const MAX_SLOTS: usize = 32;

fn strategies(names: &[String]) -> Result<Vec<Strategy>, Failure> {
    if names.is_empty() || names == ["all"] {
        return Ok(vec![Strategy::Sequential, Strategy::RoundRobin, Strategy::Batched]);
    }
    names.iter().map(|name| name.parse::<Strategy>().map_err(Failure::from)).collect()
}

fn workloads() -> impl TypedValueParser<Value = Workload> {
    PossibleValuesParser::new(Workload::ALL.map(Workload::as_str)).try_map(|name| name.parse::<Workload>())
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("must be a number above 0".into()),
    }
}

/// Longer texts than with the greatest one fit into no model.
fn scale(text: &str) -> Result<f64, String> {
    match positive(text)? {
        factor if factor <= 1000.0 => Ok(factor),
        _ => Err("must be a number above 0, at most 1000".into()),
    }
}

fn name_and_address(text: &str) -> Result<(String, ServerAddress), String> {
    match text.split_once('=') {
        Some((name, address)) if !name.is_empty() && !name.contains("://") => Ok((name.into(), address.parse()?)),
        _ => Err("the name is missing; write NAME=http://HOST:PORT, where NAME is for the report".into()),
    }
}
