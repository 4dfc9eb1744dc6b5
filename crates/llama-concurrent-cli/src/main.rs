//! The command line of llama-concurrent: a demo, prompts, chat, server, benchmarks, and tools for model files.

mod bench;
mod chat;
mod console;
mod demo;
mod failure;
mod inspect;
mod interrupt;
mod logging;
mod model;
mod options;
mod products;
mod prompt_file;
mod prompt_lines;
mod run;
mod serve;
mod synth;
mod texts;
mod topology;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  llama-concurrent demo
  llama-concurrent run -p 'Once upon a time' -p 'A fox'
  llama-concurrent run -m model.gguf --prompts-file prompts.txt --json > out.jsonl
  llama-concurrent chat -m model.gguf --system 'Answer in one sentence.'
  llama-concurrent embed -m encoder.gguf --texts-file texts.txt -o vectors.npy
  llama-concurrent serve -m model.gguf --port 8080
  llama-concurrent bench chat -m model.gguf --users 16
  llama-concurrent inspect model.gguf
  llama-concurrent topology -m model.gguf --slots 32
  llama-concurrent synth --preset tinyllama-1.1b -o tiny.gguf

Without --model, commands use the model that the variable LLAMA_CONCURRENT_MODEL names, else the demo model models/demo.gguf.
Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted.";

/// Concurrent inference on CPU over llama.cpp: one mapped model, many callers, no stalls.
#[derive(Parser)]
#[command(name = "llama-concurrent", version, about, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Log level on stderr: off, error, warn, info, debug, trace, or a tracing filter such as llama.cpp=trace
    /// [default: warn, or LLAMA_CONCURRENT_LOG]
    #[arg(long, global = true, value_name = "LEVEL", display_order = 1000)]
    log: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Generate eight texts concurrently, then compare batching with running them one by one
    Demo(demo::DemoArgs),
    /// Complete one or many prompts concurrently, as text or JSON lines
    Run(Box<run::RunArgs>),
    /// Chat with a model, using its chat template
    Chat(Box<chat::ChatArgs>),
    /// Make vectors of texts, as JSON lines or an .npy file
    Embed(Box<texts::EmbedArgs>),
    /// Rank documents by how well they answer a query, the best first
    Rerank(Box<texts::RerankArgs>),
    /// Say how likely continuations of a text are
    Score(Box<texts::ScoreArgs>),
    /// Serve a model over HTTP: OpenAI's and llama-server's APIs, WebSocket, metrics and a web page
    Serve(Box<serve::ServeArgs>),
    /// Write a model of a well-known shape with random weights, for benchmarks
    Synth(synth::SynthArgs),
    /// Benchmark named workloads: this engine, its strategies, and other servers
    Bench(Box<bench::BenchArgs>),
    /// Check a GGUF file and print its contents and memory needs
    Inspect(inspect::InspectArgs),
    /// Show the machine, and which cores and memory an engine would use and why
    Topology(Box<topology::TopologyArgs>),
}

fn main() -> ExitCode {
    let arguments = serve::long_names(std::env::args_os());
    let is_serve = arguments.get(1).is_some_and(|command| command == "serve");
    let cli = Cli::try_parse_from(arguments)
        .unwrap_or_else(|error| if is_serve { serve::explained(error) } else { error }.exit());
    let (format, is_server) = match &cli.command {
        Command::Serve(args) => (args.log_format(), true),
        _ => (logging::LogFormat::Text, false),
    };
    let log = match logging::start(cli.log.as_deref(), format, is_server) {
        Ok(log) => log,
        Err(failure) => return console::report(failure),
    };
    let done = match cli.command {
        Command::Demo(args) => demo::demo(&args),
        Command::Run(args) => run::run(&args),
        Command::Chat(args) => chat::chat(&args),
        Command::Embed(args) => texts::embed(&args),
        Command::Rerank(args) => texts::rerank(&args),
        Command::Score(args) => texts::score(&args),
        Command::Serve(args) => serve::serve(&args),
        Command::Synth(args) => synth::synth(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Topology(args) => topology::topology(&args),
    };
    let code = done.map_or_else(console::report, |()| ExitCode::SUCCESS);
    log.end();
    code
}
