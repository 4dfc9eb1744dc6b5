//! The items of an answer, as they grow.

use llama_concurrent::{Delta, Finish, FinishReason, ReplyEvent, ReplyForm};

use crate::{
    active_generation::FinishedGeneration,
    answer,
    chat::{
        history::{Call, History},
        parts::{self, Change, Part},
    },
    logprobs::Scored,
};

#[derive(Debug, Default)]
pub(super) struct Output {
    parts: Vec<Part>,
    labels: Vec<Label>,
    /// Tokens of which no text was told yet.
    waiting: usize,
    scored: Vec<Scored>,
    /// Tokens of thoughts.
    pub(super) reasoning_tokens: usize,
}

/// What an item has besides what it says.
#[derive(Debug)]
pub(super) struct Label {
    pub(super) id: String,
    pub(super) status: &'static str,
    /// Of an answer that is written whole.
    pub(super) scored: Vec<Scored>,
}

pub(super) const IN_PROGRESS: &str = "in_progress";
pub(super) const COMPLETED: &str = "completed";
pub(super) const INCOMPLETE: &str = "incomplete";

impl Output {
    /// The items of a whole answer, read token by token as in a stream.
    pub(super) fn read(form: &ReplyForm, outcome: FinishedGeneration, silent: bool) -> Self {
        let FinishedGeneration { text, ends, logprobs, finish, .. } = outcome;
        let (mut output, mut reader) = (Self::default(), form.reader());
        let text = if silent { "" } else { &text };
        let (mut from, mut scored) = (0, logprobs.into_iter());
        for end in ends {
            output.waiting += 1;
            output.scored.extend(scored.next());
            let pieces = reader.push(text.get(from..end).unwrap_or_default());
            output.extend(pieces);
            from = end;
        }
        output.extend(reader.push(text.get(from..).unwrap_or_default()));
        output.extend(reader.finish());
        output.close(&finish);
        output
    }

    fn extend(&mut self, pieces: Vec<ReplyEvent>) {
        for piece in pieces {
            let Some((change, scored)) = self.add(piece) else { continue };
            if let Some(label) = self.labels.last_mut() {
                label.scored.extend(scored);
            }
            if change == Change::Ended {
                self.end_last(false);
            }
        }
    }

    /// Counts a token, whose text comes later.
    pub(super) fn token(&mut self, delta: &mut Delta) {
        if let Some(token) = delta.token {
            self.waiting += 1;
            self.scored.extend(delta.logprobs.take().map(|found| (token, *found)));
        }
    }

    /// Adds a piece. Returns what it did, and the log probabilities of a text.
    pub(super) fn add(&mut self, piece: ReplyEvent) -> Option<(Change, Vec<Scored>)> {
        let change = parts::add(&mut self.parts, piece)?;
        let (tokens, scored) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.scored));
        let last = self.parts.last()?;
        if change == Change::Began {
            // The item before ends where this begins.
            if let Some(before) = self.labels.last_mut().filter(|before| before.status == IN_PROGRESS) {
                before.status = COMPLETED;
            }
            let id = answer::typed_id(match last {
                Part::Thought(_) => "rs",
                Part::Text(_) => "msg",
                Part::Call(_) => "fc",
            });
            self.labels.push(Label { id, status: IN_PROGRESS, scored: Vec::new() });
        }
        match last {
            Part::Thought(_) => self.reasoning_tokens += tokens,
            Part::Text(_) => return Some((change, scored)),
            Part::Call(_) => {}
        }
        Some((change, Vec::new()))
    }

    /// Ends what goes on at the end of the answer. One without any item gets an empty text, as clients wait for one.
    pub(super) fn close(&mut self, finish: &Finish) {
        if self.parts.is_empty() {
            self.add(ReplyEvent::Content(String::new()));
        }
        self.end_last(finish.reason == FinishReason::Length);
    }

    /// Ends the last item, if it goes on.
    pub(super) fn end_last(&mut self, cut: bool) {
        let (Some(label), Some(part)) = (self.labels.last_mut(), self.parts.last()) else { return };
        let whole = match part {
            Part::Call(call) => call.complete,
            _ => !cut,
        };
        if label.status == IN_PROGRESS {
            label.status = if whole { COMPLETED } else { INCOMPLETE };
        }
    }

    pub(super) fn items(&self) -> impl ExactSizeIterator<Item = (&Part, &Label)> {
        self.parts.iter().zip(&self.labels)
    }

    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<(&Part, &Label)> {
        self.parts.get(index).zip(self.labels.get(index))
    }

    /// The answer as a turn of the conversation, without calls that broke off: no template could show them.
    pub(super) fn turn(&self) -> History {
        let mut turn = History::default();
        for part in &self.parts {
            match part {
                Part::Thought(text) => turn.think(text),
                Part::Text(text) => turn.say("assistant", text.as_str()),
                Part::Call(call) if call.complete => turn.call(Call {
                    id: call.id.clone().unwrap_or_default(),
                    name: call.name.clone(),
                    arguments: call.arguments.as_str().into(),
                }),
                Part::Call(_) => {}
            }
        }
        turn
    }
}

#[cfg(test)]
mod tests {
    use llama_concurrent::Timings;
    use serde_json::json;

    use super::*;
    use crate::chat::parts::tests::pieces;

    #[test]
    fn items_end_where_others_begin() {
        let mut output = Output::default();
        for piece in pieces() {
            output.waiting += 1;
            output.extend(vec![piece]);
        }
        let items: Vec<_> =
            output.items().map(|(_, label)| (label.id.split('_').next().unwrap(), label.status)).collect();
        assert_eq!(items, [("rs", COMPLETED), ("msg", COMPLETED), ("fc", COMPLETED), ("fc", INCOMPLETE)]);
        assert_eq!(output.reasoning_tokens, 2);
        assert_eq!(
            output.turn().into_messages(),
            json!([{"role": "assistant", "content": "I look.", "reasoning_content": "Let me see.", "tool_calls": [
                {"id": "abc123xyz", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Oslo\"}"}}]}])
        );
    }

    #[test]
    fn an_answer_that_was_cut_has_a_last_item_that_was() {
        for (reason, status) in [(FinishReason::Length, INCOMPLETE), (FinishReason::Stop, COMPLETED)] {
            let mut output = Output::default();
            output.add(ReplyEvent::Content("It".into()));
            output.close(&Finish::new(reason, Timings::default()));
            assert_eq!(output.get(0).map(|(_, label)| label.status), Some(status));
        }
        let mut empty = Output::default();
        empty.close(&Finish::new(FinishReason::Stop, Timings::default()));
        assert!(matches!(empty.get(0), Some((Part::Text(text), _)) if text.is_empty()));
    }
}
