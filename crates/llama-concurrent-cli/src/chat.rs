//! `chat`: a conversation with the model's own chat template.

mod history;
mod input;

use std::{
    io::{Write, stdout},
    time::Duration,
};

use clap::Args;
use crossterm::style::Stylize;
use llama_concurrent::{
    ChatMessage, ChatOptions, Collector, Completion, Engine, Event, FinishReason, Request, SamplingParams, Token,
};

use crate::{
    console,
    failure::Failure,
    interrupt::Interrupts,
    model,
    options::{Chat, EngineOptions, SamplingOptions},
};
use history::History;
use input::Input;

/// The latency of Ctrl-C.
const TICK: Duration = Duration::from_millis(50);
/// Without --max-tokens, one part in this many of the context is kept free for the next response.
const ANSWER_SHARE: usize = 4;

const HELP: &str = "\
/reset   forget the conversation
/quit    end, as Ctrl-D does
/help    this list
Ctrl-C while the model answers ends that answer only.";

const EXAMPLES: &str = "\
Examples:
  llama-concurrent chat
  llama-concurrent chat -m model.gguf --system 'You are a pirate.' --temp 0.7
  printf 'Who are you?\\nWhat is an otter?\\n' | llama-concurrent chat

Commands while chatting: /reset, /quit, /help. Ctrl-C during an answer ends that answer only.
Where stdin is not a terminal, each line of it is one message.";

#[derive(Args)]
#[command(after_help = EXAMPLES, mut_arg("slots", |slots| slots.hide(true)))]
pub struct ChatArgs {
    /// System prompt
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    system: Option<String>,

    /// Parse special tokens inside messages
    #[arg(long)]
    parse_special: bool,

    #[command(flatten)]
    engine: EngineOptions,

    #[command(flatten)]
    sampling: SamplingOptions<Chat>,
}

pub fn chat(args: &ChatArgs) -> Result<(), Failure> {
    // One user, one slot: its KV is kept, so each turn computes only the new message.
    let mut config = args.engine.config();
    config.slots.get_or_insert(1);
    let engine = model::load(&model::locate(args.engine.model.as_deref())?, config)?;
    let params = args.sampling.params()?;
    let options = ChatOptions { parse_special: args.parse_special, ..ChatOptions::default() };
    let mut conversation = Conversation { engine, params, options, history: History::new(args.system.as_deref()) };
    // A model without a chat template should fail before the first message is typed.
    conversation.engine.chat_prompt(&[ChatMessage::user("Hello")], &conversation.options)?;

    let mut input = Input::open()?;
    if input.is_interactive() {
        let name = conversation.engine.model().name.clone().unwrap_or_else(|| "a model without a name".to_owned());
        writeln!(stdout(), "{}", format!("{name}; /help for commands, Ctrl-D to end").dim())?;
    }
    while let Some(line) = input.read()? {
        match line.trim() {
            "" => {}
            "/quit" | "/exit" => break,
            "/reset" => {
                conversation.history.reset();
                console::diagnostic("note", "the conversation was reset");
            }
            "/help" => writeln!(stdout(), "{HELP}")?,
            command if command.starts_with('/') && !command.contains(char::is_whitespace) => {
                console::diagnostic("note", &format!("{command} is not a command; /help lists them"));
            }
            message => match conversation.answer(message) {
                Err(Failure::BadInput(error) | Failure::Failed(error)) if input.is_interactive() => {
                    console::diagnostic("error", &error);
                }
                done => done?,
            },
        }
    }
    Ok(())
}

struct Conversation {
    engine: Engine,
    params: SamplingParams,
    options: ChatOptions,
    history: History,
}

impl Conversation {
    /// Prints the model's response as it arrives, and adds both to the history. A message without a response is dropped.
    fn answer(&mut self, message: &str) -> Result<(), Failure> {
        self.history.ask(message);
        let result = self.fit().and_then(|prompt| self.generate(prompt));
        match &result {
            Ok(answer) => self.history.answered(answer),
            Err(_) => self.history.take_back(),
        }
        result.map(|_| ())
    }

    /// The prompt of the whole conversation, after dropping its oldest turns until a response fits.
    fn fit(&mut self) -> Result<Vec<Token>, Failure> {
        let n_ctx = self.engine.n_ctx();
        let share = n_ctx / ANSWER_SHARE;
        let room = self.params.max_tokens.map_or(share, |max| share.min(max as usize));
        let mut dropped = 0;
        let prompt = loop {
            let prompt = self.prompt()?;
            if prompt.len() + room <= n_ctx || !self.history.drop_oldest_turn() {
                break prompt;
            }
            dropped += 1;
        };
        if dropped > 0 {
            let turns = llama_concurrent_bench::numbers::count(dropped, "turn");
            console::diagnostic("note", &format!("the context of {n_ctx} tokens is full; dropped the oldest {turns}"));
        }
        Ok(prompt)
    }

    fn prompt(&self) -> Result<Vec<Token>, Failure> {
        let prompt = self.engine.chat_prompt(self.history.messages(), &self.options)?;
        Ok(self.engine.tokenize_prompt(&prompt, || true)?)
    }

    /// Prints the response and returns it. Ctrl-C stops it, and the partial response is kept.
    fn generate(&self, prompt: Vec<Token>) -> Result<String, Failure> {
        let left = self.engine.n_ctx().saturating_sub(prompt.len()).max(1);
        let max_tokens = self.params.max_tokens.map(|max| max.min(left as u32));
        let params = self.params.clone().max_tokens(max_tokens);
        let mut generation = self.engine.submit(Request::new(prompt).params(params))?;
        let interrupts = Interrupts::listen();
        let mut collector = Collector::default();
        let completion = loop {
            if interrupts.pressed() {
                generation.cancel();
            }
            let Some(event) = generation.next_within(TICK) else { continue };
            if let Event::Delta(delta) = &event {
                console::print_growing(&delta.text)?;
            }
            if let Some(result) = collector.take(event) {
                break result;
            }
        };
        writeln!(stdout())?;
        let Completion { text, finish, .. } = completion?;
        match finish.reason {
            FinishReason::Cancelled => console::diagnostic("note", "interrupted"),
            FinishReason::Length if max_tokens.is_none_or(|max| max as usize == left) => {
                console::diagnostic(
                    "note",
                    "the context is full, so the response ends here; the next one drops old turns",
                );
            }
            _ => {}
        }
        Ok(text)
    }
}
