//! The history of a conversation.

use llama_concurrent::{ChatMessage, Reply};
use serde_json::Value;

/// An optional system message, then questions and answers in turn.
pub struct History {
    messages: Vec<ChatMessage>,
    /// Messages that are never dropped: 1 with a system message.
    fixed: usize,
}

impl History {
    pub fn new(system: Option<&str>) -> Self {
        let messages: Vec<_> = system.map(ChatMessage::system).into_iter().collect();
        Self { fixed: messages.len(), messages }
    }

    pub fn messages(&self) -> &[ChatMessage] {
        &self.messages
    }

    pub fn ask(&mut self, question: &str) {
        self.messages.push(ChatMessage::user(question));
    }

    pub fn answered(&mut self, reply: &Reply) {
        let mut message = ChatMessage::assistant(reply.content.clone());
        if let Value::Object(fields) = reply.to_message() {
            message.fields.extend(fields.into_iter().filter(|(name, _)| name != "role" && name != "content"));
        }
        self.add(message);
    }

    pub fn add(&mut self, message: ChatMessage) {
        self.messages.push(message);
    }

    /// Drops the last question and all that follows it.
    pub fn take_back(&mut self) {
        let question = self.messages.iter().rposition(|message| message.role == "user");
        self.messages.truncate(question.unwrap_or(0).max(self.fixed));
    }

    pub fn reset(&mut self) {
        self.messages.truncate(self.fixed);
    }

    /// Drops the oldest question and all that followed it; `false` if only the current question is left.
    pub fn drop_oldest_turn(&mut self) -> bool {
        let later = self.messages.iter().skip(self.fixed + 1).position(|message| message.role == "user");
        let Some(length) = later else { return false };
        self.messages.drain(self.fixed..=self.fixed + length);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(history: &History) -> Vec<&str> {
        history.messages().iter().filter_map(|message| message.content.as_str()).collect()
    }

    #[test]
    fn the_oldest_turns_go_first_and_the_system_message_stays() {
        let mut history = History::new(Some("s"));
        for (question, answer) in [("q1", "a1"), ("q2", "a2")] {
            history.ask(question);
            history.answered(&Reply { content: answer.into(), ..Reply::default() });
        }
        history.add(ChatMessage::tool("1", "r2"));
        history.ask("q3");
        assert!(history.drop_oldest_turn());
        assert_eq!(contents(&history), ["s", "q2", "a2", "r2", "q3"]);
        assert!(history.drop_oldest_turn());
        assert!(!history.drop_oldest_turn());
        assert_eq!(contents(&history), ["s", "q3"]);
        history.take_back();
        assert_eq!(contents(&history), ["s"]);
        history.ask("q4");
        history.reset();
        assert_eq!(contents(&history), ["s"]);
    }
}
