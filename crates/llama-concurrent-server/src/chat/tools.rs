//! The tools of a request, and whether the model calls them.

use llama_concurrent::{Tool, ToolChoice};
use serde_json::Value;

use crate::{
    error::{ApiError, ApiResult},
    fields::{Fields, wrong},
};

/// The tools, the choice among them, and the list as the chat template gets it.
pub(super) fn read(fields: &Fields<'_>) -> ApiResult<(Vec<Tool>, ToolChoice, Option<Value>)> {
    // `functions` and `function_call` are the names of 2023.
    let (name, list) = match fields.list("tools")? {
        Some(list) => ("tools", Some(list)),
        None => ("functions", fields.list("functions")?),
    };
    let path = fields.path(name);
    let list = list.map_or(&[][..], Vec::as_slice);
    let invalid = |error: llama_concurrent::ToolError| ApiError::field(&path, error.to_string());
    let mut tools = Tool::list(&list.into()).map_err(invalid)?;
    let choice = choice(fields, &mut tools)?;
    let missing = match &choice {
        ToolChoice::Function(name) if !tools.iter().any(|tool| tool.name == *name) => {
            Some(format!("names the tool '{name}', which is not among the tools of this request"))
        }
        ToolChoice::Required if tools.is_empty() => Some("wants a call, but the request has no tools".to_owned()),
        _ => None,
    };
    if let Some(problem) = missing {
        return Err(ApiError::field(fields.path("tool_choice"), problem));
    }
    // As they came, where they are in the form that templates know.
    let whole = |tool: &Tool| {
        let came = list.iter().find(|entry| entry.pointer("/function/name").is_some_and(|name| *name == *tool.name));
        came.cloned().unwrap_or_else(|| tool.to_json())
    };
    let shown: Vec<Value> = tools.iter().map(whole).collect();
    Ok((tools, choice, (!shown.is_empty()).then(|| shown.into())))
}

/// Of `allowed_tools` the others are taken out of the list.
fn choice(fields: &Fields<'_>, tools: &mut Vec<Tool>) -> ApiResult<ToolChoice> {
    let Some((name, value)) = fields.any(&["tool_choice", "function_call"]) else { return Ok(ToolChoice::Auto) };
    let path = fields.path(name);
    if !(value.is_string() || value.is_object()) {
        return Err(wrong(&path, "a string or an object", value));
    }
    let invalid = |error: llama_concurrent::ToolError| ApiError::field(&path, error.to_string());
    if value.get("type").is_none_or(|kind| kind != "allowed_tools") {
        return ToolChoice::from_json(value).map_err(invalid);
    }
    let inner = Fields::at(path.clone(), value)?;
    let inner = inner.object("allowed_tools")?.unwrap_or(inner);
    let allowed = Tool::list(&inner.list("tools")?.map_or(&[][..], Vec::as_slice).into()).map_err(invalid)?;
    tools.retain(|tool| allowed.iter().any(|other| other.name == tool.name));
    ToolChoice::from_json(inner.get("mode").unwrap_or(&Value::Null)).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(body: &Value) -> ApiResult<(Vec<String>, ToolChoice)> {
        let (tools, choice, list) = read(&Fields::body(body).unwrap())?;
        assert_eq!(list.is_some(), !tools.is_empty());
        Ok((tools.into_iter().map(|tool| tool.name).collect(), choice))
    }

    #[test]
    fn tools_and_choices_of_all_ages_are_read() {
        let tools = json!([
            {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},
            {"type": "function", "name": "g"},
        ]);
        for (body, names, choice) in [
            (json!({}), &[][..], ToolChoice::Auto),
            (json!({"tools": []}), &[], ToolChoice::Auto),
            (json!({"tools": tools}), &["f", "g"], ToolChoice::Auto),
            (json!({"tools": tools, "tool_choice": "none"}), &["f", "g"], ToolChoice::None),
            (json!({"tools": tools, "tool_choice": "required"}), &["f", "g"], ToolChoice::Required),
            (
                json!({"tools": tools, "tool_choice": {"type": "function", "function": {"name": "g"}}}),
                &["f", "g"],
                ToolChoice::Function("g".into()),
            ),
            (
                json!({"tools": tools, "tool_choice": {"type": "function", "name": "f"}}),
                &["f", "g"],
                ToolChoice::Function("f".into()),
            ),
            (
                json!({"tools": tools, "tool_choice": {"type": "allowed_tools", "allowed_tools": {
                    "mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}}}),
                &["g"],
                ToolChoice::Required,
            ),
            (
                json!({"functions": [{"name": "f"}], "function_call": {"name": "f"}}),
                &["f"],
                ToolChoice::Function("f".into()),
            ),
        ] {
            let (read, chosen) = of(&body).unwrap_or_else(|error| panic!("{body}: {}", error.json()));
            assert_eq!((read, chosen), (names.iter().map(|name| (*name).to_owned()).collect(), choice), "{body}");
        }
    }

    #[test]
    fn what_cannot_be_done_names_its_field() {
        let tools = json!([{"type": "function", "function": {"name": "f"}}]);
        for (body, param) in [
            (json!({"tools": {}}), "tools"),
            (json!({"tools": [{"type": "web_search"}]}), "tools"),
            (json!({"tools": [{"type": "function", "function": {}}]}), "tools"),
            (json!({"tools": [tools[0], tools[0]]}), "tools"),
            (json!({"tool_choice": "required"}), "tool_choice"),
            (json!({"tools": tools, "tool_choice": "perhaps"}), "tool_choice"),
            (json!({"tools": tools, "tool_choice": 1}), "tool_choice"),
            (json!({"tools": tools, "tool_choice": {"function": {"name": "g"}}}), "tool_choice"),
        ] {
            assert_eq!(of(&body).unwrap_err().json()["error"]["param"], param, "{body}");
        }
    }
}
