//! Answers as lists of parts, in the order in which the model wrote them.

use llama_concurrent::{ReplyEvent, ReplyForm, ToolCall};

/// A thought, a text or a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Thought(String),
    Text(String),
    Call(ToolCall),
}

/// What a piece did to a list of parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// The last part began with it, at this length.
    Began,
    /// The last part grew from this length.
    Grew(usize),
    /// The last part is complete.
    Ended,
}

/// Adds a piece. A part ends where the next begins; only calls have an end of their own.
pub(crate) fn add(parts: &mut Vec<Part>, piece: ReplyEvent) -> Option<Change> {
    match (piece, parts.last_mut()) {
        (ReplyEvent::Reasoning(more), Some(Part::Thought(text)))
        | (ReplyEvent::Content(more), Some(Part::Text(text))) => {
            let from = text.len();
            text.push_str(&more);
            Some(Change::Grew(from))
        }
        (ReplyEvent::Arguments { json, .. }, Some(Part::Call(call))) => {
            let from = call.arguments.len();
            call.arguments.push_str(&json);
            Some(Change::Grew(from))
        }
        (ReplyEvent::CallEnd { complete, .. }, Some(Part::Call(call))) => {
            call.complete = complete;
            Some(Change::Ended)
        }
        (piece, _) => {
            parts.push(match piece {
                ReplyEvent::Reasoning(text) => Part::Thought(text),
                ReplyEvent::Content(text) => Part::Text(text),
                ReplyEvent::CallStart { id, name, .. } => Part::Call(ToolCall { id, name, ..ToolCall::default() }),
                _ => return None,
            });
            Some(Change::Began)
        }
    }
}

/// The parts of a whole answer.
pub(crate) fn read(form: &ReplyForm, text: &str) -> Vec<Part> {
    let mut reader = form.reader();
    let mut parts = Vec::new();
    let pieces = reader.push(text).into_iter();
    for piece in pieces.chain(reader.finish()) {
        add(&mut parts, piece);
    }
    parts
}

impl Part {
    /// What it says, from this length on.
    pub(crate) fn text_from(&self, from: usize) -> &str {
        let text = match self {
            Part::Thought(text) | Part::Text(text) => text,
            Part::Call(call) => &call.arguments,
        };
        text.get(from..).unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An answer with all that can be in one.
    pub(crate) fn pieces() -> Vec<ReplyEvent> {
        let text = str::to_owned;
        vec![
            ReplyEvent::Reasoning(text("Let me")),
            ReplyEvent::Reasoning(text(" see.")),
            ReplyEvent::Content(text("I ")),
            ReplyEvent::Content(text("look.")),
            ReplyEvent::CallStart { index: 0, id: Some(text("abc123xyz")), name: text("weather") },
            ReplyEvent::Arguments { index: 0, json: text("{\"city\":") },
            ReplyEvent::Arguments { index: 0, json: text(" \"Oslo\"}") },
            ReplyEvent::CallEnd { index: 0, id: None, complete: true },
            ReplyEvent::CallStart { index: 1, id: Some(text("def456uvw")), name: text("time") },
            ReplyEvent::Arguments { index: 1, json: text("{\"zo") },
            ReplyEvent::CallEnd { index: 1, id: None, complete: false },
        ]
    }

    #[test]
    fn pieces_become_parts_in_their_order() {
        let mut parts = Vec::new();
        let changes: Vec<_> = pieces().into_iter().map(|piece| add(&mut parts, piece)).collect();
        use Change::{Began, Ended, Grew};
        let expected = [Began, Grew(6), Began, Grew(2), Began, Grew(0), Grew(8), Ended, Began, Grew(0), Ended];
        assert_eq!(changes, expected.map(Some));
        let call = |id: &str, name: &str, arguments: &str, complete| {
            Part::Call(ToolCall { id: Some(id.into()), name: name.into(), arguments: arguments.into(), complete })
        };
        assert_eq!(
            parts,
            [
                Part::Thought("Let me see.".into()),
                Part::Text("I look.".into()),
                call("abc123xyz", "weather", "{\"city\": \"Oslo\"}", true),
                call("def456uvw", "time", "{\"zo", false),
            ]
        );
        assert_eq!((parts[1].text_from(2), parts[1].text_from(99)), ("look.", ""));
        let stray = ReplyEvent::CallEnd { index: 3, id: None, complete: true };
        assert_eq!(add(&mut Vec::new(), stray), None);
    }
}
