//! `run`: one or many prompts, all submitted at once, answered in their order.

mod bar;
mod job;
mod json;
mod stats;
mod text;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::{ArgGroup, Args, ValueEnum};
use llama_concurrent::{Engine, EngineConfig, Priority, Request, SamplingParams};

use crate::{
    console,
    failure::Failure,
    model,
    options::{EngineOptions, Run, SamplingOptions, whole},
    prompt_file,
};
use bar::Bar;
use job::{Job, Outcome};

const EXAMPLES: &str = "\
Examples:
  llama-concurrent run -p 'The old lighthouse keeper'
  llama-concurrent run -m model.gguf --prompts-file prompts.txt --slots 16 --json --stats
  llama-concurrent run -p 'One rainy morning' --temp 0.8 --seed 7 --stop . --stop '!'
  llama-concurrent run -p 'A person as JSON:' --json-schema '{\"type\": \"object\"}'
  printf 'A fox\\nA boat\\n' | llama-concurrent run --prompts-file - --json

With --json, each request is one line, in the order of the prompts:
  {index, text, tokens, finish_reason, n_prompt_tokens, n_cached_tokens, n_output_tokens,
   queue_ms, ttft_ms, e2e_ms, itl_ms: {p50, p95, p99, max}}
  or {index, error, finish_reason: \"error\"}. With --logprobs N, also logprobs: [{token, logprob,
  top: [{token, logprob}]}]. Times are in milliseconds since the submit; itl_ms is
  the time between two tokens. With --stats, a line {stats: {...}} follows.

Exit code 2 if a request was refused as invalid, else 1 if one failed; the others are answered.";

#[derive(Args)]
#[command(after_help = EXAMPLES, group(ArgGroup::new("input").required(true).args(["prompts", "prompts_file"])))]
pub struct RunArgs {
    /// Prompt; may be repeated
    #[arg(short, long = "prompt", value_name = "TEXT", allow_hyphen_values = true)]
    prompts: Vec<String>,

    /// File of prompts, one per line; '-' is stdin. In a .jsonl file each line is a JSON string or {"prompt": "..."}
    #[arg(long, value_name = "FILE")]
    prompts_file: Option<PathBuf>,

    /// Print one JSON object per request instead of text
    #[arg(long)]
    json: bool,

    /// Print throughput, latencies and memory at the end
    #[arg(long)]
    stats: bool,

    /// Priority class; batch requests yield to interactive ones
    #[arg(long, value_name = "CLASS", value_enum, default_value_t = Class::Interactive)]
    priority: Class,

    /// End requests that take longer than this; their partial output is kept
    #[arg(long, value_name = "MS", allow_negative_numbers = true, value_parser = whole::<u64>)]
    timeout_ms: Option<u64>,

    /// Fail requests that got no slot within this time
    #[arg(long, value_name = "MS", allow_negative_numbers = true, value_parser = whole::<u64>)]
    queue_timeout_ms: Option<u64>,

    #[command(flatten)]
    engine: EngineOptions,

    #[command(flatten)]
    sampling: SamplingOptions<Run>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Class {
    Interactive,
    Batch,
}

pub fn run(args: &RunArgs) -> Result<(), Failure> {
    let prompts = match &args.prompts_file {
        Some(path) => prompt_file::read(path, "prompt")?,
        None => args.prompts.clone(),
    };
    let sampling = args.sampling.params()?;
    if sampling.logprobs.is_some() && !args.json {
        return Err(Failure::BadInput("--logprobs needs --json, which prints them; give both".into()));
    }
    let engine = model::load(&model::locate(args.engine.model.as_deref())?, config(args, &prompts))?;
    let start = Instant::now();
    let jobs: Vec<Job> = prompts
        .iter()
        .enumerate()
        .map(|(index, prompt)| Job::submit(&engine, start, request(args, &sampling, index, prompt)))
        .collect();
    let totals = print(args, &engine, &prompts, jobs)?;
    if args.stats {
        stats::print(&engine, totals.output_tokens, totals.wall, args.json)?;
    }
    match totals {
        Totals { refused, .. } if refused > 0 => Err(Failure::Reported(2)),
        Totals { failed, .. } if failed > 0 => Err(Failure::Reported(1)),
        _ => Ok(()),
    }
}

/// All prompts are in memory anyway, so neither the queue nor the streams need limits.
fn config(args: &RunArgs, prompts: &[String]) -> EngineConfig {
    let config = args.engine.config();
    let max_queued_requests = config.max_queued_requests.max(prompts.len());
    config.max_queued_requests(max_queued_requests).max_queued_tokens(usize::MAX).stream_buffer(usize::MAX)
}

fn request(args: &RunArgs, sampling: &SamplingParams, index: usize, prompt: &str) -> Request {
    let params = sampling.clone().seed(sampling.seed.wrapping_add(index as u32));
    let priority = match args.priority {
        Class::Interactive => Priority::Interactive,
        Class::Batch => Priority::Batch,
    };
    Request::new(prompt)
        .params(params)
        .priority(priority)
        .timeout(args.timeout_ms.map(Duration::from_millis))
        .queue_timeout(args.queue_timeout_ms.map(Duration::from_millis))
}

/// The totals of all requests.
#[derive(Default)]
struct Totals {
    refused: usize,
    failed: usize,
    output_tokens: usize,
    /// From the first submit to the last end.
    wall: Duration,
}

/// Prints the outcomes in the order of the prompts, each as soon as possible.
fn print(args: &RunArgs, engine: &Engine, prompts: &[String], jobs: Vec<Job>) -> Result<Totals, Failure> {
    let bar = Bar::new(jobs.iter().filter(|job| job.is_accepted()).count(), engine);
    let mut totals = Totals::default();
    for (index, (job, prompt)) in jobs.into_iter().zip(prompts).enumerate() {
        let mut text = text::Output::new(index, prompts.len(), prompt);
        // A bar cannot share its terminal with a line that grows.
        let grow = |delta: &str| if args.json || bar.is_shown() { Ok(()) } else { text.grow(delta) };
        let outcome = job.wait(grow, || bar.update())?;
        bar.suspend(|| match &outcome {
            _ if args.json => json::print(index, &outcome),
            Outcome::Done(answer) => text.finish(answer),
            Outcome::Refused(_) | Outcome::Failed(_) => Ok(()),
        })?;
        totals.add(&outcome);
        if let Some((level, message)) = outcome.diagnostic() {
            let message = if prompts.len() > 1 { format!("prompt {}: {message}", index + 1) } else { message };
            bar.suspend(|| console::diagnostic(level, &message));
        }
    }
    Ok(totals)
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Done(answer) => {
                self.output_tokens += answer.tokens.len();
                self.wall = self.wall.max(answer.ended);
            }
            Outcome::Refused(_) => self.refused += 1,
            Outcome::Failed(_) => self.failed += 1,
        }
    }
}
