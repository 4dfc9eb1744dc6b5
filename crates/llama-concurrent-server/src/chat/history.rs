//! Conversations as other APIs write them, turn by turn, which become messages of the chat API. What the assistant thought, said
//! and called one after the other is one message there, and so is what anybody says in several pieces.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A conversation, from its beginning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct History(Vec<Turn>);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Turn {
    role: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    texts: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    thought: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    calls: Vec<Call>,
    /// The call that a result belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call_id: Option<String>,
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    /// An object, or a string of JSON.
    pub(crate) arguments: Value,
}

const ASSISTANT: &str = "assistant";

impl History {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Somebody says something.
    pub(crate) fn say(&mut self, role: &str, text: impl Into<String>) {
        self.turn(role).texts.push(text.into());
    }

    /// The assistant thinks.
    pub(crate) fn think(&mut self, thought: &str) {
        let turn = self.turn(ASSISTANT);
        if !turn.thought.is_empty() {
            turn.thought.push('\n');
        }
        turn.thought.push_str(thought);
    }

    /// The assistant calls a tool.
    pub(crate) fn call(&mut self, call: Call) {
        self.turn(ASSISTANT).calls.push(call);
    }

    /// A tool answers.
    pub(crate) fn result(&mut self, call_id: &str, texts: Vec<String>) {
        self.0.push(Turn { role: "tool".into(), texts, call_id: Some(call_id.to_owned()), ..Turn::default() });
    }

    /// Instructions that stand before everything. Templates know one system message, so they join one that is there.
    pub(crate) fn lead(&mut self, text: String) {
        match self.0.first_mut() {
            Some(first) if first.role == "system" || first.role == "developer" => first.texts.insert(0, text),
            _ => self.0.insert(0, Turn { role: "system".into(), texts: vec![text], ..Turn::default() }),
        }
    }

    /// The turn of `role`, which goes on or begins.
    fn turn(&mut self, role: &str) -> &mut Turn {
        if self.0.last().is_none_or(|last| last.role != role) {
            self.0.push(Turn { role: role.to_owned(), ..Turn::default() });
        }
        // There is one: it goes on or was just pushed.
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    /// The messages of a chat.
    pub(crate) fn into_messages(self) -> Value {
        self.0.into_iter().map(Turn::into_message).collect()
    }
}

impl Turn {
    fn into_message(self) -> Value {
        let Self { role, mut texts, thought, calls, call_id } = self;
        let content = match texts.len() {
            0 if !calls.is_empty() => Value::Null,
            0 => "".into(),
            1 => texts.remove(0).into(),
            _ => texts.into_iter().map(|text| json!({"type": "text", "text": text})).collect(),
        };
        let mut message = json!({"role": role, "content": content});
        if !thought.is_empty() {
            message["reasoning_content"] = thought.into();
        }
        if !calls.is_empty() {
            message["tool_calls"] = calls.into_iter().map(Call::into_json).collect();
        }
        if let Some(id) = call_id {
            message["tool_call_id"] = id.into();
        }
        message
    }
}

impl Call {
    fn into_json(self) -> Value {
        let Self { id, name, arguments } = self;
        json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_turn_are_one_message() {
        let mut history = History::default();
        history.say("user", "How warm");
        history.say("user", "is it?");
        history.think("A tool knows.");
        history.say("assistant", "I look.");
        let call = |id: &str| Call { id: id.into(), name: "weather".into(), arguments: json!({"city": id}) };
        history.call(call("a"));
        history.call(call("b"));
        history.result("a", vec!["7".into()]);
        history.result("b", Vec::new());
        history.think("7 and nothing.");
        history.lead("Be brief.".into());
        history.lead("Be kind.".into());
        let text = serde_json::to_string(&history).unwrap();
        assert_eq!(serde_json::from_str::<History>(&text).unwrap(), history, "it can be kept");
        let of = |id: &str| json!({"id": id, "type": "function", "function": {"name": "weather", "arguments": {"city": id}}});
        let parts = |a: &str, b: &str| json!([{"type": "text", "text": a}, {"type": "text", "text": b}]);
        assert_eq!(
            history.into_messages(),
            json!([
                {"role": "system", "content": parts("Be kind.", "Be brief.")},
                {"role": "user", "content": parts("How warm", "is it?")},
                {"role": "assistant", "content": "I look.", "reasoning_content": "A tool knows.", "tool_calls": [of("a"), of("b")]},
                {"role": "tool", "content": "7", "tool_call_id": "a"},
                {"role": "tool", "content": "", "tool_call_id": "b"},
                {"role": "assistant", "content": "", "reasoning_content": "7 and nothing."},
            ])
        );
    }
}
