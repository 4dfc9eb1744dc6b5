//! `demo`: shows eight concurrent generations, then compares the strategies under the same load.

mod boxes;
mod prompts;
mod screen;
mod strategies;
mod texts;

use std::{
    io::{IsTerminal, Write, stdout},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use llama_concurrent::{Engine, EngineConfig};
use llama_concurrent_bench::numbers::{count, rate};

use crate::{failure::Failure, model, options::whole};
use boxes::{Page, State};
use screen::Screen;
use texts::Texts;

/// About 30 redraws per second.
const FRAME: Duration = Duration::from_millis(33);
/// Tokens per second and text that a reader can follow; the demo model generates thousands.
const READING_RATE: f64 = 25.0;
/// Tokens that may be pending for a paced reader before its text is paused.
const PACED_BUFFER: usize = 4;

const EXAMPLES: &str = "\
Examples:
  llama-concurrent demo
  llama-concurrent demo --slots 4 --read-speed 12     half of the texts wait for a slot
  llama-concurrent demo --read-speed 0                as fast as the model goes
  llama-concurrent demo -m model.gguf --max-tokens 40
  llama-concurrent demo > texts.txt                   plain lines where stdout is not a terminal

Ctrl-C or q ends the view.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// GGUF file of the model [default: LLAMA_CONCURRENT_MODEL, else the demo model]
    #[arg(short, long, value_name = "FILE")]
    model: Option<PathBuf>,

    /// Maximum output tokens per text
    #[arg(long, value_name = "TOKENS", default_value_t = 96, allow_negative_numbers = true)]
    max_tokens: u32,

    /// Texts that run concurrently; the others wait for a slot
    #[arg(long, value_name = "N", default_value_t = prompts::PROMPTS.len(), allow_negative_numbers = true,
        value_parser = whole::<usize>)]
    slots: usize,

    /// Compute threads [default: the physical cores that this process may use]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<usize>)]
    threads: Option<usize>,

    /// Maximum reading speed per text in tokens per second, 0 for no limit; a stream whose reader lags behind is paused
    /// [default: 25 in a terminal, else 0]
    #[arg(long, value_name = "TOKENS_PER_S")]
    read_speed: Option<f64>,

    /// Skip the comparison of strategies
    #[arg(long)]
    no_table: bool,
}

impl DemoArgs {
    /// Maximum tokens read per second and text.
    fn pace(&self) -> Option<f64> {
        let default = if stdout().is_terminal() { READING_RATE } else { 0.0 };
        Some(self.read_speed.unwrap_or(default)).filter(|rate| rate.is_finite() && *rate > 0.0)
    }
}

pub fn demo(args: &DemoArgs) -> Result<(), Failure> {
    let path = model::locate(args.model.as_deref())?;
    show_texts(args, &path)?;
    if !args.no_table {
        let comparison = strategies::measure(&path, args.threads)?;
        writeln!(stdout(), "\n{comparison}")?;
    }
    Ok(())
}

fn show_texts(args: &DemoArgs, path: &Path) -> Result<(), Failure> {
    let config = EngineConfig::default().slots(args.slots).threads(args.threads);
    let pace = args.pace();
    let stream_buffer = if pace.is_some() { PACED_BUFFER } else { config.stream_buffer };
    let engine = model::load(path, config.stream_buffer(stream_buffer))?;
    let title = title(&engine, args);
    let mut texts = Texts::submit(&engine, args.max_tokens)?;
    let screen = if stdout().is_terminal() { Screen::open().ok() } else { None };
    match screen {
        Some(screen) => watch(screen, &title, &engine, &mut texts, pace)?,
        None => print(&title, &engine, &mut texts, pace)?,
    }
    texts.first_error().map_or(Ok(()), Err)
}

/// Draws the texts while they grow.
fn watch(
    mut screen: Screen,
    title: &str,
    engine: &Engine,
    texts: &mut Texts,
    pace: Option<f64>,
) -> Result<(), Failure> {
    while !texts.all_done() {
        texts.read(pace);
        screen.draw(&page(title, engine, texts))?;
        if screen.wait(FRAME)? {
            return Err(Failure::Interrupted);
        }
    }
    screen.close(&page(title, engine, texts))?;
    Ok(())
}

/// Prints the texts one per line, in order, each as soon as it is done.
fn print(title: &str, engine: &Engine, texts: &mut Texts, pace: Option<f64>) -> Result<(), Failure> {
    writeln!(stdout(), "{title}")?;
    let mut printed = 0;
    loop {
        texts.read(pace);
        let page = page(title, engine, texts);
        for pane in page.panes[printed..].iter().take_while(|pane| pane.state == State::Done) {
            printed += 1;
            writeln!(stdout(), "{}", pane.plain(printed))?;
        }
        if printed == page.panes.len() {
            writeln!(stdout(), "{}", page.summary)?;
            return Ok(());
        }
        std::thread::sleep(FRAME);
    }
}

fn page<'a>(title: &'a str, engine: &Engine, texts: &'a Texts) -> Page<'a> {
    let seconds = texts.elapsed().as_secs_f64();
    let tokens = texts.tokens();
    let per_second = rate(tokens as f64 / seconds.max(1e-6));
    let summary = format!("{tokens} tokens in {seconds:.2} s, {per_second} tok/s in total");
    Page { title, panes: texts.panes(engine.stats().slots), summary }
}

fn title(engine: &Engine, args: &DemoArgs) -> String {
    let stats = engine.stats();
    let name = engine.model().name.as_deref().unwrap_or("model without a name");
    let pace = args.pace().map_or(String::new(), |rate| format!(", read at {rate:.0} tok/s each"));
    format!(
        "{name}: {} at once, {}, {}{pace}",
        count(prompts::PROMPTS.len(), "text"),
        count(stats.slots, "slot"),
        count(stats.threads, "thread")
    )
}
