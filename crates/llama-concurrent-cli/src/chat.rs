//! `chat`: a conversation with the model's own chat template.

mod commands;
mod history;
mod input;
mod printer;

use std::{
    io::{Write, stdout},
    time::Duration,
};

use clap::Args;
use crossterm::style::Stylize;
use llama_concurrent::{
    ChatEvent, ChatMessage, ChatOptions, Engine, FinishReason, PreparedChat, Reply, SamplingParams, ToolCall,
    ToolChoice,
};

use crate::{
    console,
    failure::Failure,
    interrupt::Interrupts,
    model,
    options::{Chat, EngineOptions, SamplingOptions},
};
use commands::Commands;
use history::History;
use input::Input;
use printer::Printer;

/// The latency of Ctrl-C.
const TICK: Duration = Duration::from_millis(50);
/// Without --max-tokens, one part in this many of the context is kept free for the next response.
const ANSWER_SHARE: usize = 4;
/// Answers with calls of tools to one message.
const MAX_ROUNDS: usize = 16;
/// Characters that are shown of a tool's result.
const MAX_SHOWN: usize = 100;

const HELP: &str = "\
/reset   forget the conversation
/quit    end, as Ctrl-D does
/help    this list
Ctrl-C while the model answers ends that answer only.";

const EXAMPLES: &str = "\
Examples:
  llama-concurrent chat
  llama-concurrent chat -m model.gguf --system 'You are a pirate.' --temp 0.7
  llama-concurrent chat -m model.gguf --tools tools.json
  printf 'Who are you?\\nWhat is an otter?\\n' | llama-concurrent chat

Commands while chatting: /reset, /quit, /help. Ctrl-C during an answer ends that answer only.
Where stdin is not a terminal, each line of it is one message.

--tools is a JSON list of functions as in OpenAI's API, each with a command that gets the arguments as JSON on its stdin and
prints the result:
  [{\"name\": \"weather\", \"description\": \"The weather of a city\", \"command\": [\"./weather.sh\"],
    \"parameters\": {\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\"}}, \"required\": [\"city\"]}}]";

#[derive(Args)]
#[command(after_help = EXAMPLES, mut_arg("slots", |slots| slots.hide(true)))]
pub struct ChatArgs {
    /// System prompt
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    system: Option<String>,

    /// Parse special tokens inside messages
    #[arg(long)]
    parse_special: bool,

    /// Let the model call the commands of this JSON file, described below
    #[arg(long, value_name = "FILE")]
    tools: Option<std::path::PathBuf>,

    /// Maximum tokens of thoughts, after which the model answers [default: no limit]
    #[arg(long, value_name = "TOKENS")]
    reasoning_budget: Option<u32>,

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
    let commands = args.tools.as_deref().map_or(Ok(Commands::default()), Commands::load)?;
    // A model without a chat template should fail before the first message is typed.
    engine.chat_prompt(&[ChatMessage::user("Hello")], &options)?;
    let chat =
        llama_concurrent::Chat::new([]).options(options).tools(commands.tools()).thinking_budget(args.reasoning_budget);
    let history = History::new(args.system.as_deref());
    let mut conversation = Conversation { engine, params, chat, commands, history };

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
    /// What is the same in all turns.
    chat: llama_concurrent::Chat,
    commands: Commands,
    history: History,
}

impl Conversation {
    /// Prints the model's response as it arrives, and adds both to the history. Calls of tools are made, and the model goes on
    /// with their results. A message without a response is dropped.
    fn answer(&mut self, message: &str) -> Result<(), Failure> {
        self.history.ask(message);
        let mut done = false;
        let mut rounds = 0;
        while !done {
            rounds += 1;
            let no_more_calls = rounds > MAX_ROUNDS;
            let result = self.fit(no_more_calls).and_then(|prepared| self.generate(prepared));
            match result {
                Ok((reply, is_whole)) => {
                    done = reply.calls.is_empty() || !is_whole || no_more_calls;
                    self.history.answered(&reply);
                    if !done {
                        self.call_tools(&reply.calls)?;
                    }
                }
                Err(failure) => {
                    self.history.take_back();
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    fn call_tools(&mut self, calls: &[ToolCall]) -> Result<(), Failure> {
        for call in calls {
            let result = self.commands.run(&call.name, &call.arguments);
            let id = call.id.clone().unwrap_or_default();
            Printer::new().result(&shortened(&result))?;
            self.history.add(ChatMessage::tool(id, result).with("name", call.name.clone()));
        }
        Ok(())
    }

    /// The chat, after dropping its oldest turns until a response fits.
    fn fit(&mut self, no_more_calls: bool) -> Result<(PreparedChat, usize), Failure> {
        let n_ctx = self.engine.n_ctx();
        let share = n_ctx / ANSWER_SHARE;
        let room = self.params.max_tokens.map_or(share, |max| share.min(max as usize));
        let mut dropped = 0;
        let fitting = loop {
            let mut chat = self.chat.clone();
            chat.messages = self.history.messages().to_vec();
            if no_more_calls {
                chat.tool_choice = ToolChoice::None;
            }
            let mut prepared = self.engine.prepare_chat(&chat)?;
            let tokens = self.engine.tokenize_prompt(&prepared.prompt, || true)?;
            let n_prompt = tokens.len();
            prepared.prompt = tokens.into();
            if n_prompt + room <= n_ctx || !self.history.drop_oldest_turn() {
                break (prepared, n_prompt);
            }
            dropped += 1;
        };
        if dropped > 0 {
            let turns = llama_concurrent_bench::numbers::count(dropped, "turn");
            console::diagnostic("note", &format!("the context of {n_ctx} tokens is full; dropped the oldest {turns}"));
        }
        Ok(fitting)
    }

    /// Prints the response and returns it, and whether it is whole. Ctrl-C stops it, and the partial response is kept.
    fn generate(&self, (prepared, n_prompt): (PreparedChat, usize)) -> Result<(Reply, bool), Failure> {
        let left = self.engine.n_ctx().saturating_sub(n_prompt).max(1);
        let max_tokens = self.params.max_tokens.map(|max| max.min(left as u32));
        let params = self.params.clone().max_tokens(max_tokens);
        let mut generation = self.engine.answer(prepared, params)?;
        let interrupts = Interrupts::listen();
        let (mut reply, mut printer) = (Reply::default(), Printer::new());
        let finish = loop {
            if interrupts.pressed() {
                generation.cancel();
            }
            match generation.next_within(TICK) {
                Some(ChatEvent::Reply(piece)) => {
                    printer.print(&piece)?;
                    reply.add(piece);
                }
                Some(ChatEvent::Finished(finish)) => break finish,
                _ => {}
            }
        };
        printer.end()?;
        if let Some(error) = finish.error {
            return Err(error.into());
        }
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
        Ok((reply, finish.reason == FinishReason::Stop))
    }
}

/// The first line of a result, cut to the width of a terminal.
fn shortened(result: &str) -> String {
    let line = result.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(MAX_SHOWN).collect();
    if cut.len() < result.trim_end().len() { format!("= {cut} ...") } else { format!("= {cut}") }
}
