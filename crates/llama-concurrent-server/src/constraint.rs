//! What an answer has to look like: OpenAI's `response_format`, llama-server's `json_schema` and `grammar`, and `regex`.

use llama_concurrent::Constraint;
use serde_json::Value;

use crate::{
    error::{ApiError, ApiResult},
    fields::{Fields, wrong},
};

pub(crate) fn read(fields: &Fields<'_>) -> ApiResult<Option<Constraint>> {
    let given = [
        ("response_format", response_format(fields)?),
        ("json_schema", fields.get("json_schema").map(|schema| self::schema("json_schema", schema)).transpose()?),
        ("grammar", grammar(fields)?),
        ("regex", fields.text("regex")?.filter(|regex| !regex.is_empty()).map(|regex| Constraint::Regex(regex.into()))),
    ];
    let mut given = given.into_iter().filter_map(|(name, constraint)| Some((name, constraint?)));
    let first = given.next();
    match (first, given.next()) {
        (Some((first, _)), Some((second, _))) => {
            Err(ApiError::field(fields.path(second), format!("cannot be combined with '{first}'")))
        }
        (first, _) => Ok(first.map(|(_, constraint)| constraint)),
    }
}

fn response_format(fields: &Fields<'_>) -> ApiResult<Option<Constraint>> {
    let Some(format) = fields.object("response_format")? else { return Ok(None) };
    format.required("type")?;
    match format.text("type")?.unwrap_or_default() {
        "text" => Ok(None),
        // llama-server takes a schema here too.
        "json_object" => match format.get("schema") {
            Some(schema) => self::schema(&format.path("schema"), schema).map(Some),
            None => Ok(Some(Constraint::JsonObject)),
        },
        "json_schema" => {
            if let Some(schema) = format.get("schema") {
                return self::schema(&format.path("schema"), schema).map(Some);
            }
            format.required("json_schema")?;
            let Some(inner) = format.object("json_schema")? else { return Ok(None) };
            let Some(schema) = inner.get("schema") else { return Ok(Some(Constraint::JsonObject)) };
            self::schema(&inner.path("schema"), schema).map(Some)
        }
        other => {
            let must = format!("must be \"text\", \"json_object\" or \"json_schema\", but is \"{other}\"");
            Err(ApiError::field(format.path("type"), must))
        }
    }
}

fn schema(path: &str, schema: &Value) -> ApiResult<Constraint> {
    match schema {
        Value::Object(_) | Value::Bool(_) => Ok(Constraint::JsonSchema(schema.to_string())),
        other => Err(wrong(path, "a JSON schema", other)),
    }
}

/// GBNF or Lark, which the engine tells apart.
fn grammar(fields: &Fields<'_>) -> ApiResult<Option<Constraint>> {
    let text = fields.text("grammar")?.filter(|text| !text.is_empty());
    Ok(text.map(|text| Constraint::Lark(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(body: Value) -> ApiResult<Option<Constraint>> {
        read(&Fields::body(&body).unwrap())
    }

    #[test]
    fn every_way_to_ask_for_json_is_read() {
        let (schema, text) = (json!({"type": "integer"}), r#"{"type":"integer"}"#);
        let wanted = Some(Constraint::JsonSchema(text.into()));
        let ways = [
            json!({"json_schema": schema}),
            json!({"response_format": {"type": "json_object", "schema": schema}}),
            json!({"response_format": {"type": "json_schema", "schema": schema}}),
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}),
        ];
        for way in ways {
            assert_eq!(of(way.clone()).unwrap(), wanted, "{way}");
        }
        assert_eq!(of(json!({"response_format": {"type": "json_object"}})).unwrap(), Some(Constraint::JsonObject));
        assert_eq!(of(json!({"response_format": {"type": "text"}, "grammar": ""})).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_held_to_is_refused_by_name() {
        let bad = [
            (json!({"response_format": {"type": "xml"}}), "response_format.type"),
            (json!({"response_format": {"type": "json_schema"}}), "response_format.json_schema"),
            (json!({"response_format": "json"}), "response_format"),
            (json!({"json_schema": "x"}), "json_schema"),
            (json!({"grammar": ["root ::= \"a\""]}), "grammar"),
            (json!({"json_schema": {}, "regex": "a"}), "regex"),
        ];
        for (body, param) in bad {
            assert_eq!(of(body.clone()).unwrap_err().json()["error"]["param"], param, "{body}");
        }
    }
}
