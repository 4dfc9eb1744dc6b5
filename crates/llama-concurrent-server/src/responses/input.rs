//! The items of a request as turns of a conversation.

use serde_json::Value;

use super::store::Owner;
use crate::{
    app::App,
    chat::history::{Call, History},
    error::{ApiError, ApiResult},
    fields::{Fields, wrong},
    work::Job,
};

/// Where items are looked up by their ids.
pub(super) trait Known {
    /// The JSON of an item.
    fn find(&mut self, id: &str) -> Option<String>;
    /// How many bytes of items a request may refer to.
    fn most(&self) -> usize;
}

pub(super) struct OfApp<'a>(pub(super) &'a App, pub(super) Owner);

impl Known for OfApp<'_> {
    fn find(&mut self, id: &str) -> Option<String> {
        self.0.responses.item(id, self.1)
    }

    fn most(&self) -> usize {
        self.0.config.limits.max_body_bytes
    }
}

pub(super) fn read(fields: &Fields<'_>, history: &mut History, known: &mut impl Known, job: &Job) -> ApiResult<()> {
    match fields.get("input") {
        None => {}
        Some(Value::String(text)) => history.say("user", text.as_str()),
        Some(Value::Array(items)) => {
            let mut referred = 0;
            for (index, value) in items.iter().enumerate() {
                job.check()?;
                let item = Fields::at(format!("{}[{index}]", fields.path("input")), value)?;
                match reference(&item)? {
                    None => self::item(&item, history)?,
                    Some(id) => {
                        let must = || {
                            format!("is '{id}', an item of no response that this server keeps; send the item itself")
                        };
                        let text = known.find(id).ok_or_else(|| ApiError::field(item.path("id"), must()))?;
                        referred += text.len();
                        if referred > known.most() {
                            let must = format!("refers to more than {} bytes", known.most());
                            return Err(ApiError::field(fields.path("input"), must));
                        }
                        let value: Value =
                            serde_json::from_str(&text).map_err(|error| ApiError::internal(error.to_string()))?;
                        self::item(&Fields::at(item.path("id"), &value)?, history)?;
                    }
                }
            }
        }
        Some(other) => return Err(wrong(&fields.path("input"), "a string or a list of items", other)),
    }
    Ok(())
}

/// The id of an item that is only referred to.
fn reference<'a>(item: &Fields<'a>) -> ApiResult<Option<&'a str>> {
    match item.text("type")? {
        Some("item_reference") => item.required_text("id").map(Some),
        None if item.get("role").is_none() && item.get("id").is_some() => item.required_text("id").map(Some),
        _ => Ok(None),
    }
}

fn item(item: &Fields<'_>, history: &mut History) -> ApiResult<()> {
    match item.text("type")? {
        // The short form has no type.
        Some("message") | None => {
            let role = item.required_text("role")?;
            if !["user", "assistant", "system", "developer"].contains(&role) {
                let must = format!("must be \"user\", \"assistant\", \"system\" or \"developer\", but is \"{role}\"");
                return Err(ApiError::field(item.path("role"), must));
            }
            texts(item, "content")?.into_iter().for_each(|text| history.say(role, text));
        }
        Some("function_call") => history.call(Call {
            id: item.required_text("call_id")?.to_owned(),
            name: item.required_text("name")?.to_owned(),
            arguments: item.required_text("arguments")?.into(),
        }),
        Some("function_call_output") => {
            let texts = texts(item, "output")?.into_iter().map(str::to_owned).collect();
            history.result(item.required_text("call_id")?, texts);
        }
        Some("reasoning") => {
            let content = thoughts(item, "content")?;
            // A summary stands for what is not there. What is encrypted, only OpenAI can read.
            let all = if content.is_empty() { thoughts(item, "summary")? } else { content };
            all.into_iter().for_each(|thought| history.think(thought));
        }
        Some(other) => {
            let must = format!(
                "is '{other}'; this server knows 'message', 'function_call', 'function_call_output', 'reasoning' and \
                 'item_reference'"
            );
            return Err(ApiError::field(item.path("type"), must));
        }
    }
    Ok(())
}

/// A string, or the texts of a list of parts.
fn texts<'a>(item: &Fields<'a>, name: &str) -> ApiResult<Vec<&'a str>> {
    let parts = match item.required(name)? {
        Value::String(text) => return Ok(vec![text.as_str()]),
        Value::Array(parts) => parts,
        other => return Err(wrong(&item.path(name), "a string or a list of parts", other)),
    };
    let part = |(index, value)| {
        let part = Fields::at(format!("{}[{index}]", item.path(name)), value)?;
        match part.required_text("type")? {
            "input_text" | "output_text" | "text" => part.required_text("text"),
            "refusal" => part.required_text("refusal"),
            other => Err(ApiError::field(part.path("type"), format!("is '{other}', but this server reads only text"))),
        }
    };
    parts.iter().enumerate().map(part).collect()
}

fn thoughts<'a>(item: &Fields<'a>, name: &str) -> ApiResult<Vec<&'a str>> {
    let parts = item.list(name)?.map_or(&[][..], Vec::as_slice).iter().enumerate();
    parts
        .map(|(index, part)| Fields::at(format!("{}[{index}]", item.path(name)), part)?.required_text("text"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::work::Lanes;

    struct Items;

    impl Known for Items {
        fn find(&mut self, id: &str) -> Option<String> {
            let item = json!({"type": "message", "id": id, "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": "Kept.", "annotations": [], "logprobs": []}]});
            id.starts_with("msg_").then(|| item.to_string())
        }

        fn most(&self) -> usize {
            1000
        }
    }

    fn messages(input: Value) -> ApiResult<Value> {
        let body = json!({"input": input});
        let mut history = History::default();
        Lanes::new().here(|job| read(&Fields::body(&body)?, &mut history, &mut Items, job))?;
        Ok(history.into_messages())
    }

    #[test]
    fn items_of_all_kinds_become_messages() {
        assert_eq!(messages(json!("Hi")).unwrap(), json!([{"role": "user", "content": "Hi"}]));
        let input = json!([
            {"role": "developer", "content": "Be brief."},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "How warm is it?"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "short"}],
             "content": [{"type": "reasoning_text", "text": "A tool knows."}], "encrypted_content": null},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
             "content": [{"type": "output_text", "text": "I look.", "annotations": []}, {"type": "refusal", "refusal": "No."}]},
            {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "weather", "arguments": "{}", "status": "completed"},
            {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "7"}]},
            {"type": "reasoning", "id": "rs_2", "summary": [{"type": "summary_text", "text": "7 it is"}]},
            {"type": "reasoning", "id": "rs_3", "summary": [], "encrypted_content": "..."},
            {"id": "msg_2"},
            {"type": "item_reference", "id": "msg_3"},
            {"role": "user", "content": "So?"},
        ]);
        let parts = |a: &str, b: &str| json!([{"type": "text", "text": a}, {"type": "text", "text": b}]);
        let call = json!({"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}});
        assert_eq!(
            messages(input).unwrap(),
            json!([
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": "How warm is it?"},
                {"role": "assistant", "content": parts("I look.", "No."), "reasoning_content": "A tool knows.", "tool_calls": [call]},
                {"role": "tool", "content": "7", "tool_call_id": "a"},
                {"role": "assistant", "content": parts("Kept.", "Kept."), "reasoning_content": "7 it is"},
                {"role": "user", "content": "So?"},
            ])
        );
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (input, param) in [
            (json!(7), "input"),
            (json!([7]), "input[0]"),
            (json!([{}]), "input[0].role"),
            (json!([{"role": "tool", "content": "x"}]), "input[0].role"),
            (json!([{"role": "user"}]), "input[0].content"),
            (json!([{"role": "user", "content": {}}]), "input[0].content"),
            (json!([{"role": "user", "content": ["x"]}]), "input[0].content[0]"),
            (
                json!([{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]),
                "input[0].content[0].type",
            ),
            (json!([{"role": "user", "content": [{"type": "input_text"}]}]), "input[0].content[0].text"),
            (json!([{"type": 1}]), "input[0].type"),
            (json!([{"type": "web_search_call", "id": "ws_1"}]), "input[0].type"),
            (json!([{"type": "function_call", "call_id": "a", "name": "f"}]), "input[0].arguments"),
            (json!([{"type": "function_call", "call_id": "a", "name": "f", "arguments": {}}]), "input[0].arguments"),
            (json!([{"type": "function_call_output", "call_id": "a"}]), "input[0].output"),
            (json!([{"type": "function_call_output", "output": "x"}]), "input[0].call_id"),
            (json!([{"type": "reasoning", "content": "x"}]), "input[0].content"),
            (json!([{"type": "reasoning", "summary": [{"text": 1}]}]), "input[0].summary[0].text"),
            (json!([{"type": "item_reference"}]), "input[0].id"),
            (json!([{"type": "item_reference", "id": "other"}]), "input[0].id"),
            (json!([{"id": 7}]), "input[0].id"),
            (json!(vec![json!({"id": "msg_1"}); 9]), "input"),
        ] {
            assert_eq!(messages(input.clone()).unwrap_err().json()["error"]["param"], param, "{input}");
        }
    }
}
