//! Answers of models: in which form one comes, and reading it while it streams.

use std::sync::Arc;

use llama_concurrent_tools::{
    Event as ReplyEvent, Format, Message as Reply, Parser, ParserOptions, Start, Tool, ToolChoice,
};
use llama_concurrent_types::{Token, TokenTable};

use super::Chat;

/// The form of the answer to a chat: the model's own markup, and the tools of the request.
#[derive(Clone, Debug)]
pub struct ReplyForm(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    format: Format,
    chat: Chat,
    start: Start,
    markup: Arc<[Token]>,
}

impl ReplyForm {
    /// The answer to `chat` by a model that writes in this format, behind a prompt that ends in `start`.
    pub(crate) fn new(format: Format, chat: &Chat, start: Start, table: &TokenTable) -> Self {
        let mut markup: Vec<Token> = format.markup().iter().filter_map(|text| table.special_token(text)).collect();
        markup.sort_unstable();
        markup.dedup();
        // What is read of the chat from here on.
        let chat = Chat { messages: Vec::new(), ..chat.clone() };
        Self(Arc::new(Inner { format, chat, start, markup: markup.into() }))
    }

    /// Special tokens whose text the reader wants: [`Request::markup`](crate::Request::markup).
    pub fn markup(&self) -> Arc<[Token]> {
        self.0.markup.clone()
    }

    /// The name of the form of calls, such as `hermes` or `harmony`; `None` where the template shows none.
    pub fn call_form(&self) -> Option<&'static str> {
        self.0.format.call_form()
    }

    /// The name of the form of thoughts.
    pub fn thought_form(&self) -> Option<&'static str> {
        self.0.format.thought_form()
    }

    pub(crate) fn format(&self) -> &Format {
        &self.0.format
    }

    pub(crate) fn chat(&self) -> &Chat {
        &self.0.chat
    }

    pub(crate) fn start(&self) -> Start {
        self.0.start
    }

    /// A reader at the beginning of an answer.
    pub fn reader(&self) -> ReplyReader {
        let Inner { format, chat, start, .. } = &*self.0;
        let mut options = ParserOptions::default();
        options.no_calls = chat.tool_choice == ToolChoice::None;
        options.thoughts = chat.thoughts;
        options.start = *start;
        ReplyReader { parser: Parser::new(format, &chat.tools, options), n_calls: 0 }
    }

    /// Reads a whole answer.
    pub fn read(&self, text: &str) -> Reply {
        let mut reader = self.reader();
        let mut reply: Reply = reader.push(text).into_iter().collect();
        reply.extend(reader.finish());
        reply
    }

    /// The tools of the chat.
    pub fn tools(&self) -> &[Tool] {
        &self.0.chat.tools
    }
}

/// Reads an answer while it streams. Each call gets an id, if the model gives it none: nine letters and digits, as the
/// strictest templates want them in the history.
#[derive(Debug)]
pub struct ReplyReader {
    parser: Parser,
    n_calls: usize,
}

impl ReplyReader {
    /// Reads on. The events do not depend on where a text is cut, except into how many pieces a text of one kind comes.
    pub fn push(&mut self, text: &str) -> Vec<ReplyEvent> {
        let events = self.parser.push(text);
        self.named(events)
    }

    /// No more text comes.
    pub fn finish(&mut self) -> Vec<ReplyEvent> {
        let events = self.parser.finish();
        self.named(events)
    }

    /// Whether a call began.
    pub fn has_calls(&self) -> bool {
        self.n_calls > 0
    }

    fn named(&mut self, mut events: Vec<ReplyEvent>) -> Vec<ReplyEvent> {
        for event in &mut events {
            match event {
                ReplyEvent::CallStart { id, .. } => {
                    self.n_calls += 1;
                    id.get_or_insert_with(new_id);
                }
                // It has one since its beginning, which readers were told.
                ReplyEvent::CallEnd { id, .. } => *id = None,
                _ => {}
            }
        }
        events
    }
}

fn new_id() -> String {
    (0..9).map(|_| fastrand::alphanumeric()).collect()
}
