//! The same load under each strategy, measured on the spot.

use std::{
    fmt,
    path::Path,
    time::{Duration, Instant},
};

use comfy_table::{CellAlignment, Table, presets};
use llama_concurrent::{Engine, EngineConfig, Prompt, Request, SamplingParams, Strategy, Token};
use llama_concurrent_bench::numbers::{bytes, count, rate, short_millis};
use llama_concurrent_types::quantile;

use super::prompts::PROMPTS;
use crate::{console, failure::Failure, model};

const STRATEGIES: [Strategy; 3] = [Strategy::Sequential, Strategy::RoundRobin, Strategy::Batched];
const REQUESTS: usize = 16;
const PROMPT_TOKENS: usize = 48;
const OUTPUT_TOKENS: u32 = 64;
/// Of one slot: the request and some.
const N_CTX: usize = 128;
/// The strategies alternate, so that a machine that slows down does so for all.
const REPEATS: usize = 3;

/// The result of one run.
struct Run {
    tokens_per_second: f64,
    ttft_p50: Duration,
    ttft_p95: Duration,
    gap_p50: Duration,
    gap_p99: Duration,
    gap_max: Duration,
}

/// All runs of all strategies, in the order of [`STRATEGIES`].
pub struct Comparison {
    runs: Vec<Vec<Run>>,
    setting: String,
}

/// Loads an engine afresh for each run.
pub fn measure(path: &Path, threads: Option<usize>) -> Result<Comparison, Failure> {
    let bar =
        console::progress_bar((STRATEGIES.len() * REPEATS) as u64, "comparing strategies {bar:20.cyan/dim} {msg}");
    let mut runs: Vec<Vec<Run>> = STRATEGIES.iter().map(|_| Vec::new()).collect();
    let mut setting = String::new();
    for repeat in 1..=REPEATS {
        for (strategy, runs) in STRATEGIES.into_iter().zip(&mut runs) {
            bar.set_message(format!("{strategy}, run {repeat} of {REPEATS}"));
            let slots = (strategy != Strategy::Sequential).then_some(REQUESTS);
            let config = EngineConfig::default().strategy(strategy).slots(slots).threads(threads).n_ctx(N_CTX);
            let engine = model::load_quietly(path, config)?;
            runs.push(run(&engine)?);
            setting = describe(&engine);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(Comparison { runs, setting })
}

fn run(engine: &Engine) -> Result<Run, Failure> {
    let requests = requests(engine)?;
    let start = Instant::now();
    let completions = engine.run_all(requests, |_, _| ()).into_iter().collect::<Result<Vec<_>, _>>()?;
    let wall = start.elapsed();
    let tokens: usize = completions.iter().map(|completion| completion.tokens.len()).sum();
    let timings = || completions.iter().map(|completion| &completion.finish.timings);
    let ttft: Vec<_> = timings().filter_map(|timings| timings.ttft).collect();
    let gaps: Vec<_> = timings().flat_map(|timings| timings.itl.iter().copied()).collect();
    let at = |values: &[Duration], q| quantile(values, q).unwrap_or_default();
    Ok(Run {
        tokens_per_second: tokens as f64 / wall.as_secs_f64(),
        ttft_p50: at(&ttft, 0.5),
        ttft_p95: at(&ttft, 0.95),
        gap_p50: at(&gaps, 0.5),
        gap_p99: at(&gaps, 0.99),
        gap_max: at(&gaps, 1.0),
    })
}

/// Requests of equal length without a common prefix, so that all strategies compute the same.
fn requests(engine: &Engine) -> Result<Vec<Request>, Failure> {
    let params = SamplingParams::default().max_tokens(OUTPUT_TOKENS).ignore_eos(true);
    let words = engine.tokenize(&PROMPTS.join(". "))?;
    let prompt = |i: usize| -> Vec<Token> {
        let shift = i * words.len() / REQUESTS;
        words.iter().copied().cycle().skip(shift).take(PROMPT_TOKENS).collect()
    };
    Ok((0..REQUESTS).map(|i| Request::new(Prompt::Tokens(prompt(i))).params(params.clone())).collect())
}

fn describe(engine: &Engine) -> String {
    let model = engine.model();
    format!(
        "{} ({}, {}), {}",
        model.name.as_deref().unwrap_or("model without a name"),
        model.file_type,
        bytes(model.tensor_bytes as f64),
        count(engine.stats().threads, "thread")
    )
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED.with_rounded_corners()).force_no_tty();
        table.set_header([
            "strategy",
            "tok/s in\ntotal",
            "first token\np50",
            "\np95",
            "between tokens\np50",
            "\np99",
            "\nmax",
        ]);
        for (strategy, runs) in STRATEGIES.into_iter().zip(&self.runs) {
            let time = |of: fn(&Run) -> Duration| short_millis(median(runs.iter().map(of)));
            table.add_row([
                strategy.to_string(),
                rate(median(runs.iter().map(|run| run.tokens_per_second))),
                time(|run| run.ttft_p50),
                time(|run| run.ttft_p95),
                time(|run| run.gap_p50),
                time(|run| run.gap_p99),
                time(|run| run.gap_max),
            ]);
        }
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        writeln!(f, "{table}")?;
        writeln!(f, "Times in ms, medians of {REPEATS} runs, each on a freshly loaded engine.")?;
        writeln!(
            f,
            "Load: {REQUESTS} requests at once, {PROMPT_TOKENS} prompt and {OUTPUT_TOKENS} output tokens each."
        )?;
        write!(f, "{}.", self.setting)
    }
}

fn median<T: PartialOrd + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut sorted: Vec<T> = values.collect();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    sorted[sorted.len() / 2]
}
