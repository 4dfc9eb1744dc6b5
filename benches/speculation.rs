//! What drafts bring: texts written with and without them, in turn, each on a fresh engine.
//!
//! `cargo bench --bench speculation -- MODEL [--record TRACES] [--users 1] [--repeats 3]`
//!
//! The texts are edits, answers from a passage, renamed variables, stories and JSON by a schema (`speculation.jsonl`), for a
//! model that follows instructions. `--record` keeps what it wrote. `--replay` has any model write that again, token by token,
//! for a larger one with random weights: it computes every token, and is held to what the trace says. The calls and their
//! cost are then those of the larger model, and the hits and misses those of the smaller one.
//!
//! A fresh engine, because one that has written a text remembers it. `--draft-model` has one guess; `--accept` says how often it
//! is right, with `--replay`.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use llama_concurrent::{
    ChatMessage, ChatOptions, Constraint, Engine, EngineConfig, Prompt, Request, SamplingParams, Speculation, Strategy,
    Token,
};
use llama_concurrent_types::{Allowed, Guide, Matcher, TokenMask, quantile};
use serde::{Deserialize, Serialize};

#[derive(Parser)]
struct Args {
    /// A GGUF file.
    model: PathBuf,
    /// Texts to write, one in a line.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/speculation.jsonl"))]
    texts: PathBuf,
    /// Write what the model wrote to this file.
    #[arg(long)]
    record: Option<PathBuf>,
    /// Have the model write what this file says.
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Only texts whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Requests at once; each with another of the texts, in turn.
    #[arg(long, default_value_t = 1)]
    users: usize,
    /// Slots of the engine.
    #[arg(long, default_value_t = 16)]
    slots: usize,
    /// Output tokens of a text at most.
    #[arg(long, default_value_t = 256)]
    max_tokens: u32,
    /// How to speculate on the side that does.
    #[arg(long, default_value = "auto")]
    speculation: Speculation,
    /// Draft model.
    #[arg(long)]
    draft_model: Option<String>,
    /// Tokens of a draft at most.
    #[arg(long, default_value_t = 16)]
    draft_max: u32,
    /// With --replay, so many of the draft model's guesses are right, from 0 to 1.
    #[arg(long, default_value_t = 1.0)]
    accept: f64,
    /// Compute threads; all cores unless given.
    #[arg(long)]
    threads: Option<usize>,
    /// Runs of each side.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Given by `cargo bench`; means nothing here.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Deserialize)]
struct Text {
    name: String,
    messages: Vec<ChatMessage>,
    #[serde(default)]
    temperature: f32,
    json_schema: Option<serde_json::Value>,
}

/// What a model was asked and wrote.
#[derive(Deserialize, Serialize)]
struct Trace {
    name: String,
    prompt: Vec<Token>,
    output: Vec<Token>,
}

/// Lets only the tokens of a trace follow. Copies for the draft model are wrong now and then.
#[derive(Clone, Debug)]
struct Replayed {
    tokens: Arc<[Token]>,
    at: usize,
    n_vocab: usize,
    /// Of guesses.
    accept: f64,
    /// How often it was copied: for the request, for its sampler, and then for guesses.
    n_copies: u32,
}

impl Replayed {
    fn is_wrong(&self) -> bool {
        let mixed = (self.at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let share = ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64 / (1u64 << 24) as f64;
        self.n_copies > 2 && share >= self.accept
    }
}

impl Matcher for Replayed {
    fn allowed(&mut self) -> Result<Allowed, String> {
        let Some(&token) = self.tokens.get(self.at) else { return Ok(Allowed::Nothing) };
        let token = if self.is_wrong() { 300 + (token + 1) % (self.n_vocab as Token - 300) } else { token };
        let mut mask = TokenMask::none(self.n_vocab);
        mask.set(token, true);
        Ok(Allowed::Tokens { mask, may_end: false })
    }

    fn accept(&mut self, _: Token) -> Result<bool, String> {
        self.at += 1;
        Ok(self.at == self.tokens.len())
    }

    fn boxed_clone(&self) -> Box<dyn Matcher> {
        Box::new(Self { n_copies: self.n_copies + 1, ..self.clone() })
    }
}

/// What is to be written.
enum Task {
    Text(Text),
    Trace(Trace),
}

impl Task {
    fn name(&self) -> &str {
        match self {
            Task::Text(text) => &text.name,
            Task::Trace(trace) => &trace.name,
        }
    }

    fn request(&self, engine: &Engine, args: &Args) -> Request {
        let max_tokens = args.max_tokens;
        let params = SamplingParams::default().max_tokens(max_tokens).draft_max(args.draft_max);
        match self {
            Task::Text(text) => {
                let prompt = engine.chat_prompt(&text.messages, &ChatOptions::default()).expect("a chat template");
                let schema = text.json_schema.as_ref().map(|schema| Constraint::JsonSchema(schema.to_string()));
                Request::new(prompt).params(params.temperature(text.temperature).seed(7u32).constraint(schema))
            }
            Task::Trace(trace) => {
                let n_vocab = engine.model().n_vocab as usize;
                // A vocabulary of another size, without its first tokens, which are often special.
                let place = |&token: &Token| 300 + token % (n_vocab as Token - 300);
                let tokens: Arc<[Token]> = trace.output.iter().take(max_tokens as usize).map(place).collect();
                let prompt: Vec<Token> = trace.prompt.iter().map(place).collect();
                let matcher = Replayed { tokens, at: 0, n_vocab, accept: args.accept, n_copies: 0 };
                Request::new(Prompt::Tokens(prompt))
                    .params(params.ignore_eos(true))
                    .guide(Guide::new(Box::new(matcher)))
            }
        }
    }
}

#[derive(Clone, Default)]
struct Run {
    /// Output tokens per second, from the first one on.
    rate: f64,
    largest_gaps: Duration,
    drafted: u64,
    accepted: u64,
    per_call: f64,
    outputs: Vec<(Prompt, Vec<Token>)>,
}

fn run(args: &Args, tasks: &[&Task], speculation: Speculation) -> Run {
    let config = EngineConfig::default().strategy(Strategy::Batched).slots(args.slots).threads(args.threads);
    let config = config.draft_model(args.draft_model.clone().filter(|_| speculation != Speculation::Off));
    let engine = Engine::load(&args.model, config.speculation(speculation)).expect("the model loads");
    let requests: Vec<Request> = tasks.iter().map(|task| task.request(&engine, args)).collect();
    let prompts: Vec<Prompt> = requests.iter().map(|request| request.prompt.clone()).collect();
    let begin = Instant::now();
    let done: Vec<_> = engine.run_all(requests, |_, _| ()).into_iter().map(|d| d.expect("generated")).collect();
    let wall = begin.elapsed();
    let totals = engine.stats().totals;
    let rate = match &done[..] {
        [one] => {
            let timings = &one.finish.timings;
            let decoding = timings.e2e - timings.ttft.unwrap_or_default();
            (timings.n_output_tokens - 1) as f64 / decoding.as_secs_f64()
        }
        _ => totals.output_tokens as f64 / wall.as_secs_f64(),
    };
    let gaps: Vec<Duration> = done.iter().flat_map(|one| one.finish.timings.itl.clone()).collect();
    Run {
        rate,
        largest_gaps: quantile(&gaps, 0.99).unwrap_or_default(),
        drafted: totals.drafted_tokens,
        accepted: totals.accepted_tokens,
        per_call: totals.decode.rows as f64 / totals.decode.calls.max(1) as f64,
        outputs: prompts.into_iter().zip(done.into_iter().map(|one| one.tokens)).collect(),
    }
}

fn median(mut runs: Vec<Run>) -> Run {
    runs.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    runs.swap_remove(runs.len() / 2)
}

fn lines<T: for<'a> Deserialize<'a>>(path: &Path) -> Vec<T> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn main() {
    let args = Args::parse();
    let mut tasks: Vec<Task> = match &args.replay {
        Some(traces) => lines(traces).into_iter().map(Task::Trace).collect(),
        None => lines(&args.texts).into_iter().map(Task::Text).collect(),
    };
    tasks.retain(|task| task.name().contains(&args.only));
    let mut record = args.record.as_ref().map(|path| fs::File::create(path).expect("the file can be written"));
    println!(
        "| text | tokens | off tok/s | {} tok/s | ratio | p99 gap ms, off and on | drafted | came | per call |",
        args.speculation
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let groups: Vec<Vec<&Task>> = match args.users {
        1 => tasks.iter().map(|task| vec![task]).collect(),
        users => vec![tasks.iter().cycle().take(users).collect()],
    };
    for group in groups {
        let (mut off, mut on) = (Vec::new(), Vec::new());
        for _ in 0..args.repeats {
            off.push(run(&args, &group, Speculation::Off));
            on.push(run(&args, &group, args.speculation));
            let tokens = |runs: &[Run]| -> Vec<Vec<Token>> {
                runs.last().into_iter().flat_map(|run| run.outputs.iter().map(|(_, tokens)| tokens.clone())).collect()
            };
            if tokens(&off) != tokens(&on) {
                println!("the texts of {:?} differ", group.iter().map(|task| task.name()).collect::<Vec<_>>());
            }
        }
        let (off, on) = (median(off), median(on));
        let name = if group.len() == 1 { group[0].name().to_owned() } else { format!("{} users", group.len()) };
        let n_tokens: usize = off.outputs.iter().map(|(_, tokens)| tokens.len()).sum();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "| {name} | {n_tokens} | {:.1} | {:.1} | {:.2} | {:.1}, {:.1} | {} | {} | {:.2} |",
            off.rate,
            on.rate,
            on.rate / off.rate,
            ms(off.largest_gaps),
            ms(on.largest_gaps),
            on.drafted,
            on.accepted,
            on.per_call
        );
        if let (Some(file), [task]) = (&mut record, &group[..]) {
            let engine = Engine::load(&args.model, EngineConfig::default().slots(1)).expect("the model loads");
            let (prompt, output) = off.outputs[0].clone();
            let prompt = engine.tokenize_prompt(&prompt, || true).expect("it was taken");
            let trace = Trace { name: task.name().to_owned(), prompt, output };
            writeln!(file, "{}", serde_json::to_string(&trace).expect("plain values")).expect("it can be written");
        }
    }
}
