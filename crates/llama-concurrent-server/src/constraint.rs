//! Output constraints: OpenAI's `response_format`, llama-server's `json_schema` and `grammar`, vLLM's
//! `structured_outputs` and `guided_*`, and `regex`.

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
        ("grammar", grammar(fields, "grammar")?),
        ("regex", regex(fields, "regex")?),
        ("structured_outputs", structured_outputs(fields)?),
        ("guided_json", written_schema(fields, "guided_json")?),
        ("guided_regex", regex(fields, "guided_regex")?),
        ("guided_grammar", grammar(fields, "guided_grammar")?),
        ("guided_choice", choice(fields, "guided_choice")?),
        ("guided_json_object", json_object(fields, "guided_json_object")?),
    ];
    one_of(fields, given)
}

/// The only one given; an error if there are several.
fn one_of<const N: usize>(
    fields: &Fields<'_>,
    given: [(&str, Option<Constraint>); N],
) -> ApiResult<Option<Constraint>> {
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

/// GBNF or Lark, which the engine distinguishes.
fn grammar(fields: &Fields<'_>, name: &str) -> ApiResult<Option<Constraint>> {
    let text = fields.text(name)?.filter(|text| !text.is_empty());
    Ok(text.map(|text| Constraint::Grammar(text.to_owned())))
}

fn regex(fields: &Fields<'_>, name: &str) -> ApiResult<Option<Constraint>> {
    Ok(fields.text(name)?.filter(|regex| !regex.is_empty()).map(|regex| Constraint::Regex(regex.into())))
}

/// vLLM's object, which has one of several forms.
fn structured_outputs(fields: &Fields<'_>) -> ApiResult<Option<Constraint>> {
    let Some(inner) = fields.object("structured_outputs")? else { return Ok(None) };
    for name in ["structural_tag", "whitespace_pattern"] {
        if inner.get(name).is_some() {
            return Err(ApiError::field(inner.path(name), "cannot be used: write it as a 'grammar'"));
        }
    }
    let given = [
        ("json", written_schema(&inner, "json")?),
        ("regex", regex(&inner, "regex")?),
        ("choice", choice(&inner, "choice")?),
        ("grammar", grammar(&inner, "grammar")?),
        ("json_object", json_object(&inner, "json_object")?),
    ];
    match one_of(&inner, given)? {
        None => {
            let must = "must have one of 'json', 'regex', 'choice', 'grammar' and 'json_object'";
            Err(ApiError::field(fields.path("structured_outputs"), must))
        }
        found => Ok(found),
    }
}

/// A schema, or a string that contains one.
fn written_schema(fields: &Fields<'_>, name: &str) -> ApiResult<Option<Constraint>> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(Constraint::JsonSchema(text.clone()))),
        Some(other) => schema(&fields.path(name), other).map(Some),
    }
}

fn json_object(fields: &Fields<'_>, name: &str) -> ApiResult<Option<Constraint>> {
    Ok(fields.boolean(name)?.filter(|&wanted| wanted).map(|_| Constraint::JsonObject))
}

/// One of several texts.
fn choice(fields: &Fields<'_>, name: &str) -> ApiResult<Option<Constraint>> {
    if fields.list(name)?.is_some_and(Vec::is_empty) {
        return Err(ApiError::field(fields.path(name), "must have at least one text"));
    }
    let Some(texts) = fields.texts(name)? else { return Ok(None) };
    let literal = |c: char| match c {
        c if c.is_ascii_alphanumeric() => c.to_string(),
        c => format!("\\x{{{:X}}}", u32::from(c)),
    };
    let each: Vec<String> = texts.iter().map(|text| text.chars().map(literal).collect()).collect();
    Ok(Some(Constraint::Regex(format!("({})", each.join("|")))))
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
        for way in [
            json!({"guided_json": schema}),
            json!({"guided_json": text}),
            json!({"structured_outputs": {"json": schema}}),
        ] {
            assert_eq!(of(way.clone()).unwrap(), wanted, "{way}");
        }
        let choice = Some(Constraint::Regex(r"(yes|no\x{2E})".into()));
        assert_eq!(of(json!({"guided_choice": ["yes", "no."]})).unwrap(), choice);
        assert_eq!(of(json!({"structured_outputs": {"choice": ["yes", "no."], "regex": null}})).unwrap(), choice);
        assert_eq!(of(json!({"guided_regex": "a+"})).unwrap(), Some(Constraint::Regex("a+".into())));
        assert_eq!(
            of(json!({"guided_grammar": "root ::= [a]"})).unwrap(),
            Some(Constraint::Grammar("root ::= [a]".into()))
        );
        assert_eq!(of(json!({"structured_outputs": {"json_object": true}})).unwrap(), Some(Constraint::JsonObject));
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
            (json!({"guided_json": {}, "structured_outputs": {"regex": "a"}}), "guided_json"),
            (json!({"structured_outputs": {}}), "structured_outputs"),
            (json!({"structured_outputs": {"json": {}, "regex": "a"}}), "structured_outputs.regex"),
            (json!({"structured_outputs": {"structural_tag": "x"}}), "structured_outputs.structural_tag"),
            (json!({"guided_choice": []}), "guided_choice"),
            (json!({"guided_choice": [1]}), "guided_choice[0]"),
        ];
        for (body, param) in bad {
            assert_eq!(of(body.clone()).unwrap_err().json()["error"]["param"], param, "{body}");
        }
    }
}
