//! The history of a conversation.

use llama_concurrent::ChatMessage;

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

    pub fn answered(&mut self, answer: &str) {
        self.messages.push(ChatMessage::assistant(answer));
    }

    /// Drops a question without a response.
    pub fn take_back(&mut self) {
        self.messages.truncate((self.messages.len() - 1).max(self.fixed));
    }

    pub fn reset(&mut self) {
        self.messages.truncate(self.fixed);
    }

    /// Drops the oldest question and its response; `false` if only the current question is left.
    pub fn drop_oldest_turn(&mut self) -> bool {
        let has_old_turn = self.messages.len() >= self.fixed + 3;
        if has_old_turn {
            self.messages.drain(self.fixed..self.fixed + 2);
        }
        has_old_turn
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
            history.answered(answer);
        }
        history.ask("q3");
        assert!(history.drop_oldest_turn());
        assert_eq!(contents(&history), ["s", "q2", "a2", "q3"]);
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
