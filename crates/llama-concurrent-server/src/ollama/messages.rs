//! The history of a chat, from Ollama's form to OpenAI's.

use serde_json::{Map, Value, json};

use crate::{
    error::{ApiError, ApiResult},
    fields::{Fields, wrong},
    work::Job,
};

pub(super) fn read(fields: &Fields<'_>, job: &Job) -> ApiResult<Vec<Value>> {
    let list = fields.list("messages")?.map_or(&[][..], Vec::as_slice);
    let mut calls = Calls::default();
    let each = list.iter().enumerate().map(|(index, value)| {
        job.check()?;
        message(&Fields::at(format!("{}[{index}]", fields.path("messages")), value)?, &mut calls)
    });
    each.collect()
}

fn message(fields: &Fields<'_>, calls: &mut Calls) -> ApiResult<Value> {
    refuse_images(fields)?;
    fields.required("role")?;
    let role = fields.text("role")?.unwrap_or_default();
    let content = fields.get("content").cloned().unwrap_or_else(|| "".into());
    let mut message = json!({"role": role, "content": content});
    if let Some(thinking) = fields.text("thinking")?.filter(|text| !text.is_empty()) {
        message["reasoning_content"] = thinking.into();
    }
    let list = fields.list("tool_calls")?.map_or(&[][..], Vec::as_slice);
    if !list.is_empty() {
        let each = list.iter().enumerate();
        let path = fields.path("tool_calls");
        let read = each.map(|(index, call)| calls.call(&Fields::at(format!("{path}[{index}]"), call)?));
        message["tool_calls"] = read.collect::<ApiResult<_>>()?;
    }
    if role == "tool" {
        let (name, id) = (fields.text("tool_name")?.or(fields.text("name")?), fields.text("tool_call_id")?);
        let (name, id) = calls.answered(name, id);
        message["tool_call_id"] = id.into();
        if let Some(name) = name {
            message["name"] = name.into();
        }
    }
    Ok(message)
}

/// This server reads text only.
pub(super) fn refuse_images(fields: &Fields<'_>) -> ApiResult<()> {
    if fields.list("images")?.is_some_and(|images| !images.is_empty()) {
        return Err(ApiError::field(fields.path("images"), "cannot be used: this server reads text only"));
    }
    Ok(())
}

/// Calls in the history. Ollama has no ids for them, but some templates want one.
#[derive(Default)]
struct Calls {
    n: usize,
    /// Id and name of those without a result.
    open: Vec<(String, String)>,
}

impl Calls {
    fn call(&mut self, call: &Fields<'_>) -> ApiResult<Value> {
        call.required("function")?;
        let function = call.object("function")?;
        let Some(function) = function else { return Ok(Value::Null) };
        function.required("name")?;
        let name = function.text("name")?.unwrap_or_default().to_owned();
        let arguments = match function.get("arguments") {
            None => Map::new().into(),
            Some(arguments @ (Value::Object(_) | Value::String(_))) => arguments.clone(),
            Some(other) => return Err(wrong(&function.path("arguments"), "an object", other)),
        };
        let id = call.text("id")?.filter(|id| !id.is_empty()).map_or_else(|| self.new_id(), str::to_owned);
        self.open.push((id.clone(), name.clone()));
        Ok(json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}))
    }

    /// Name and id for a result: of the call with this id, else of the first open one of this tool, else of the first.
    fn answered(&mut self, name: Option<&str>, id: Option<&str>) -> (Option<String>, String) {
        let of_tool = |open: &(String, String)| name.is_none_or(|name| open.1 == name);
        let place = match id {
            Some(id) => self.open.iter().position(|open| open.0 == id),
            None => self.open.iter().position(of_tool),
        };
        let found = place.map(|place| self.open.remove(place));
        let (of_call, named) = found.map_or((None, None), |(id, name)| (Some(id), Some(name)));
        let id = id.map(str::to_owned).or(of_call).unwrap_or_else(|| self.new_id());
        (name.map(str::to_owned).or(named), id)
    }

    /// Nine letters and digits, as the strictest templates want them.
    fn new_id(&mut self) -> String {
        self.n += 1;
        format!("call{:05}", self.n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(messages: &Value) -> ApiResult<Vec<Value>> {
        let mut calls = Calls::default();
        let list = messages.as_array().unwrap().iter().enumerate();
        list.map(|(index, value)| message(&Fields::at(format!("messages[{index}]"), value)?, &mut calls)).collect()
    }

    #[test]
    fn calls_and_results_find_each_other() {
        let call = |name: &str| json!({"function": {"name": name, "arguments": {"a": 1}}});
        let history = json!([
            {"role": "user", "content": "Hi", "images": []},
            {"role": "assistant", "thinking": "Hm", "tool_calls": [call("f"), call("g"), call("f")]},
            {"role": "tool", "content": "1", "tool_name": "g"},
            {"role": "tool", "content": "2", "tool_name": "f"},
            {"role": "tool", "content": "3"},
            {"role": "tool", "content": "4", "tool_name": "h"},
            {"role": "tool", "content": "5", "tool_call_id": "x", "tool_name": "f"},
        ]);
        let read = each(&history).unwrap();
        assert_eq!(read[0], json!({"role": "user", "content": "Hi"}));
        assert_eq!((&read[1]["content"], &read[1]["reasoning_content"]), (&json!(""), &json!("Hm")));
        assert_eq!(
            read[1]["tool_calls"][1],
            json!({"id": "call00002", "type": "function", "function": {"name": "g", "arguments": {"a": 1}}})
        );
        let results: Vec<_> = read[2..].iter().map(|m| (m["tool_call_id"].as_str(), m["name"].as_str())).collect();
        assert_eq!(
            results,
            [
                (Some("call00002"), Some("g")),
                (Some("call00001"), Some("f")),
                (Some("call00003"), Some("f")),
                (Some("call00004"), Some("h")),
                (Some("x"), Some("f")),
            ]
        );
    }

    #[test]
    fn a_wrong_message_is_named() {
        for (message, param) in [
            (json!({"content": "a"}), "messages[0].role"),
            (json!({"role": 1}), "messages[0].role"),
            (json!({"role": "user", "images": ["x"]}), "messages[0].images"),
            (json!({"role": "user", "images": "x"}), "messages[0].images"),
            (json!({"role": "assistant", "thinking": 1}), "messages[0].thinking"),
            (json!({"role": "assistant", "tool_calls": {}}), "messages[0].tool_calls"),
            (json!({"role": "assistant", "tool_calls": [1]}), "messages[0].tool_calls[0]"),
            (json!({"role": "assistant", "tool_calls": [{}]}), "messages[0].tool_calls[0].function"),
            (
                json!({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": []}}]}),
                "messages[0].tool_calls[0].function.arguments",
            ),
            (json!({"role": "tool", "tool_name": 1}), "messages[0].tool_name"),
        ] {
            assert_eq!(each(&json!([message])).unwrap_err().json()["error"]["param"], param, "{message}");
        }
    }
}
