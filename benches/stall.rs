//! Streams that decode while a long prompt arrives: the largest gap between two tokens, and what bounding it costs.
//!
//! `cargo bench --bench stall -- MODEL [--streams 4] [--prompt 1200] [--max-stall-ms 200] [--repeats 3]`
//!
//! Some streams decode; a long prompt arrives; everything runs to its end. The same load alternates between the limit
//! and no limit, and prints the medians of the largest gap and of the total throughput.

use std::time::{Duration, Instant};

use clap::Parser;
use llama_concurrent::{Engine, EngineConfig, Request, SamplingParams, Speculation, Strategy, Token};
use llama_concurrent_types::quantile;

#[derive(Parser)]
struct Args {
    /// A GGUF file.
    model: String,
    /// Streams that decode when the prompt arrives.
    #[arg(long, default_value_t = 4)]
    streams: usize,
    /// Output tokens of each.
    #[arg(long, default_value_t = 200)]
    output: u32,
    /// Tokens of the long prompt.
    #[arg(long, default_value_t = 1200)]
    prompt: usize,
    /// The limit.
    #[arg(long, default_value_t = 200)]
    max_stall_ms: u64,
    /// Compute threads; all cores unless given.
    #[arg(long)]
    threads: Option<usize>,
    /// Turn flash attention off on both sides.
    #[arg(long)]
    no_flash_attn: bool,
    /// Pairs of runs.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Given by `cargo bench`; means nothing here.
    #[arg(long, hide = true)]
    bench: bool,
}

struct Run {
    /// Median gap before the long prompt arrived: a plain decode step.
    step: Duration,
    largest_gap: Duration,
    /// Of the long prompt.
    ttft: Duration,
    /// Prompt and output tokens of all requests per second.
    throughput: f64,
}

fn tokens(seed: usize, n: usize) -> Vec<Token> {
    (0..n).map(|i| (300 + (seed * 97 + i * 31) % 400) as Token).collect()
}

fn params(max_tokens: u32) -> SamplingParams {
    // Gaps of single tokens: drafts would come in bunches.
    SamplingParams::default().max_tokens(max_tokens).ignore_eos(true).speculation(Speculation::Off)
}

fn run(args: &Args, max_stall: Duration) -> Run {
    let config = EngineConfig::default()
        .strategy(Strategy::Batched)
        .slots(args.streams + 1)
        .n_ctx((args.prompt + args.output as usize + 64).next_multiple_of(256))
        .threads(args.threads)
        .max_stall(max_stall)
        .prefix_reuse(false)
        .flash_attn(!args.no_flash_attn);
    let engine = Engine::load(&args.model, config).expect("the engine loads the model");
    let submit = |prompt, n| engine.submit(Request::new(prompt).params(params(n))).expect("accepted");
    let start = Instant::now();
    let mut streams: Vec<_> = (0..args.streams).map(|s| submit(tokens(s, 16), args.output)).collect();
    // All have decoded together for a while.
    let before = 20;
    for stream in &mut streams {
        (0..before).for_each(|_| drop(stream.next_event()));
    }
    let long = submit(tokens(99, args.prompt), 8).wait().expect("generated").finish.timings;
    let ends: Vec<_> = streams.into_iter().map(|s| s.wait().expect("generated").finish.timings).collect();
    let wall = start.elapsed();
    let total = ends.iter().chain([&long]).map(|t| t.n_prompt_tokens + t.n_output_tokens).sum::<usize>();
    let together = &ends[0].itl[before / 2..before - 1];
    Run {
        step: quantile(together, 0.5).expect("gaps"),
        largest_gap: ends.iter().filter_map(|t| t.itl_quantile(1.0)).max().expect("gaps"),
        ttft: long.ttft.expect("a first token"),
        throughput: total as f64 / wall.as_secs_f64(),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let args = Args::parse();
    let limit = Duration::from_millis(args.max_stall_ms);
    let mut pairs = Vec::new();
    for _ in 0..args.repeats {
        pairs.push((run(&args, limit), run(&args, Duration::MAX)));
    }
    let of = |pick: &dyn Fn(&Run) -> f64, bounded: bool| {
        median(pairs.iter().map(|(a, b)| pick(if bounded { a } else { b })).collect())
    };
    let ms = |d: Duration| d.as_secs_f64() * 1000.0;
    for (name, bounded) in [(format!("max_stall {} ms", args.max_stall_ms), true), ("no limit".into(), false)] {
        println!(
            "{name:>16}: decode step {:.0} ms, largest gap {:.0} ms, first token of the long prompt {:.1} s, {:.1} tok/s in all",
            of(&|r| ms(r.step), bounded),
            of(&|r| ms(r.largest_gap), bounded),
            of(&|r| r.ttft.as_secs_f64(), bounded),
            of(&|r| r.throughput, bounded),
        );
    }
    let allowed = 1.5 * (of(&|r| ms(r.step), true) + args.max_stall_ms as f64);
    let kept = median(pairs.iter().map(|(a, b)| a.throughput / b.throughput).collect());
    println!(
        "largest gap {:.0} ms of {allowed:.0} ms allowed; throughput kept {:.1} %",
        of(&|r| ms(r.largest_gap), true),
        100.0 * kept
    );
}
