//! Tool calls: outputs are not parsed for them, so a request that wants them is refused.

use serde_json::Value;

use crate::{
    error::{ApiError, ApiResult},
    fields::{Fields, wrong},
};

/// Whether a request forbids tool calls, so that its tools are not shown to the model.
pub(super) fn are_forbidden(fields: &Fields<'_>) -> bool {
    ["tool_choice", "function_call"].iter().any(|name| fields.get(name).is_some_and(|choice| choice == "none"))
}

/// Refuses a request whose output could be a tool call: it would be returned as text, not in `tool_calls`.
pub(crate) fn refuse(fields: &Fields<'_>) -> ApiResult<()> {
    for name in ["tool_choice", "function_call"] {
        match fields.get(name) {
            None => {}
            Some(Value::String(choice)) if choice == "none" || choice == "auto" => {}
            Some(Value::String(_) | Value::Object(_)) => {
                let must = "must be \"none\" or \"auto\": this server cannot make a model call a tool";
                return Err(ApiError::field(fields.path(name), must));
            }
            Some(other) => return Err(wrong(&fields.path(name), "a string or an object", other)),
        }
    }
    for name in ["tools", "functions"] {
        let any = fields.list(name)?.is_some_and(|list| !list.is_empty());
        if any && !are_forbidden(fields) {
            let must = "cannot be used: this server does not read calls out of answers. Leave it out, or send \
                        \"tool_choice\": \"none\"; or make the prompt with /apply-template, which shows the tools to the \
                        model, and read the answer of /completion yourself";
            return Err(ApiError::field(fields.path(name), must));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(body: Value) -> ApiResult<()> {
        refuse(&Fields::body(&body).unwrap())
    }

    #[test]
    fn only_what_cannot_end_in_a_call_is_taken() {
        let tools = json!([{"type": "function", "function": {"name": "f"}}]);
        for body in [
            json!({}),
            json!({"tools": [], "tool_choice": "auto", "functions": null}),
            json!({"tools": tools, "tool_choice": "none"}),
            json!({"functions": [{"name": "f"}], "function_call": "none"}),
        ] {
            assert!(of(body.clone()).is_ok(), "{body}");
        }
        for (body, param) in [
            (json!({"tools": tools}), "tools"),
            (json!({"tools": tools, "tool_choice": "auto"}), "tools"),
            (json!({"tools": tools, "tool_choice": "required"}), "tool_choice"),
            (json!({"tool_choice": {"type": "function", "function": {"name": "f"}}}), "tool_choice"),
            (json!({"tool_choice": 1}), "tool_choice"),
            (json!({"tools": {}}), "tools"),
            (json!({"functions": [{"name": "f"}]}), "functions"),
            (json!({"functions": [{"name": "f"}], "function_call": {"name": "f"}}), "function_call"),
        ] {
            assert_eq!(of(body.clone()).unwrap_err().json()["error"]["param"], param, "{body}");
        }
    }
}
