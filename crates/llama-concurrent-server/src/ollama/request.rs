//! What requests for chats and for texts have in common: options, format and thoughts become fields of OpenAI's form.

use llama_concurrent::{SamplingParams, parameters::Kind};
use serde_json::{Map, Value, json};

use crate::{
    app::App,
    error::{ApiError, ApiResult},
    fields::{Fields, wrong},
};

/// A request, without what is to be answered.
pub(super) struct Common {
    /// What the client calls the model.
    pub(super) model: String,
    pub(super) stream: bool,
    /// An empty request with it ends the model's stay in memory; here that is only said.
    pub(super) unloads: bool,
    /// The client asks for thoughts.
    pub(super) thinks: bool,
    /// The other fields in OpenAI's form.
    pub(super) form: Map<String, Value>,
}

impl Common {
    pub(super) fn read(app: &App, fields: &Fields<'_>) -> ApiResult<Self> {
        let mut form = Map::new();
        options(fields, &mut form)?;
        format(fields, &mut form)?;
        let thinks = think(fields, &mut form)?;
        if fields.boolean("logprobs")?.unwrap_or(false) {
            form.insert("logprobs".into(), true.into());
            form.extend(fields.get("top_logprobs").map(|top| ("top_logprobs".to_owned(), top.clone())));
        }
        Ok(Self {
            model: model(app, fields)?,
            stream: fields.boolean("stream")?.unwrap_or(true),
            unloads: ends_at_once(fields)?,
            thinks,
            form,
        })
    }
}

/// The model as the client calls it: there is one, under any name.
pub(super) fn model(app: &App, fields: &Fields<'_>) -> ApiResult<String> {
    let name = fields.text("model")?.filter(|name| !name.is_empty());
    Ok(name.unwrap_or(&app.config.model_name).to_owned())
}

/// Whether `keep_alive` is no time. Other times are of no account: the model stays.
pub(super) fn ends_at_once(fields: &Fields<'_>) -> ApiResult<bool> {
    match fields.get("keep_alive") {
        None => Ok(false),
        Some(Value::Number(seconds)) => Ok(seconds.as_f64() == Some(0.0)),
        Some(Value::String(time)) => {
            let digits = time.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            Ok(digits.parse::<f64>().is_ok_and(|time| time == 0.0))
        }
        Some(other) => Err(wrong(&fields.path("keep_alive"), "a number of seconds or a time such as \"5m\"", other)),
    }
}

/// Options of how a model is loaded, which it is here already, and those that have no effect in Ollama either.
const IGNORED_NUMBERS: [&str; 6] = ["num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep"];
const IGNORED_FLAGS: [&str; 9] = [
    "numa",
    "low_vram",
    "f16_kv",
    "logits_all",
    "vocab_only",
    "use_mmap",
    "use_mlock",
    "embedding_only",
    "penalize_newline",
];

/// `options` has the parameters of sampling under llama.cpp's names.
fn options(fields: &Fields<'_>, form: &mut Map<String, Value>) -> ApiResult<()> {
    let Some(options) = fields.object("options")? else { return Ok(()) };
    for name in IGNORED_NUMBERS {
        options.number(&[name])?;
    }
    for name in IGNORED_FLAGS {
        options.boolean(name)?;
    }
    if options.number(&["tfs_z"])?.is_some_and(|z| z != 1.0) {
        let must = "cannot be used: llama.cpp has no tail-free sampling any more; use 'min_p' or 'typical_p'";
        return Err(ApiError::field(options.path("tfs_z"), must));
    }
    // No limit is -1 here, and any number below 1 there.
    if let Some(most) = options.integer(&["num_predict"], i64::from(i32::MIN)..=i64::from(u32::MAX))? {
        form.insert("max_tokens".into(), if most < 1 { -1 } else { most }.into());
    }
    for name in sampling_names() {
        form.extend(options.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    Ok(())
}

/// The names of parameters that are options there; the others have fields of their own.
fn sampling_names() -> impl Iterator<Item = &'static str> {
    let is_option = |kind, name| kind != Kind::Constraint && !["max_tokens", "logprobs"].contains(&name);
    let options = SamplingParams::FIELDS.iter().filter(move |field| is_option(field.kind, field.name));
    options.flat_map(|field| field.traits.http.iter().copied())
}

/// `"json"`, or a JSON schema.
fn format(fields: &Fields<'_>, form: &mut Map<String, Value>) -> ApiResult<()> {
    let format = match fields.get("format") {
        None => return Ok(()),
        Some(Value::String(name)) if name.is_empty() => return Ok(()),
        Some(Value::String(name)) if name == "json" => json!({"type": "json_object"}),
        Some(schema @ Value::Object(_)) => json!({"type": "json_schema", "json_schema": {"schema": schema}}),
        Some(Value::String(other)) => {
            let must = format!("must be \"json\" or a JSON schema, but is \"{other}\"");
            return Err(ApiError::field(fields.path("format"), must));
        }
        Some(other) => return Err(wrong(&fields.path("format"), "\"json\" or a JSON schema", other)),
    };
    form.insert("response_format".into(), format);
    Ok(())
}

/// Templates read thoughts from one of these variables, and effort from another. Returns whether thoughts are asked for.
fn think(fields: &Fields<'_>, form: &mut Map<String, Value>) -> ApiResult<bool> {
    let thinks = match fields.get("think") {
        None => return Ok(false),
        Some(Value::Bool(thinks)) => *thinks,
        Some(Value::String(effort)) if ["low", "medium", "high"].contains(&effort.as_str()) => {
            form.insert("reasoning_effort".into(), effort.as_str().into());
            true
        }
        Some(other) => {
            let must = format!("must be true, false, \"low\", \"medium\" or \"high\", but is {other}");
            return Err(ApiError::field(fields.path("think"), must));
        }
    };
    form.insert("chat_template_kwargs".into(), json!({"enable_thinking": thinks, "thinking": thinks}));
    Ok(thinks)
}

/// An error in a field of OpenAI's form, under the field's name in the request.
pub(super) fn original(error: ApiError) -> ApiError {
    error.renamed(|param| {
        let first = param.split(['.', '[']).next().unwrap_or_default();
        match first {
            "max_tokens" => Some("options.num_predict".into()),
            "response_format" => Some("format".into()),
            "reasoning_effort" | "chat_template_kwargs" => Some("think".into()),
            _ if sampling_names().any(|name| name == first) => Some(format!("options.{param}")),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(body: Value) -> ApiResult<Value> {
        let fields = Fields::body(&body)?;
        let mut form = Map::new();
        options(&fields, &mut form)?;
        format(&fields, &mut form)?;
        think(&fields, &mut form)?;
        Ok(form.into())
    }

    #[test]
    fn options_become_parameters() {
        let schema = json!({"type": "object"});
        for (body, expected) in [
            (json!({}), json!({})),
            (json!({"options": null, "format": null, "think": null}), json!({})),
            (json!({"options": {"num_predict": 7, "top_k": 3}}), json!({"max_tokens": 7, "top_k": 3})),
            (json!({"options": {"num_predict": -2}}), json!({"max_tokens": -1})),
            (json!({"options": {"num_predict": 0}}), json!({"max_tokens": -1})),
            (json!({"options": {"stop": ["a"], "seed": 1}}), json!({"seed": 1, "stop": ["a"]})),
            (json!({"options": {"num_ctx": 4096, "use_mmap": true, "tfs_z": 1, "unheard_of": 1}}), json!({})),
            (json!({"options": {"logprobs": true, "max_tokens": 3, "grammar": "x"}}), json!({})),
            (json!({"format": ""}), json!({})),
            (json!({"format": "json"}), json!({"response_format": {"type": "json_object"}})),
            (
                json!({"format": schema}),
                json!({"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}),
            ),
            (json!({"think": false}), json!({"chat_template_kwargs": {"enable_thinking": false, "thinking": false}})),
            (
                json!({"think": "low"}),
                json!({
                    "reasoning_effort": "low",
                    "chat_template_kwargs": {"enable_thinking": true, "thinking": true},
                }),
            ),
        ] {
            assert_eq!(form(body.clone()).unwrap(), expected, "{body}");
        }
    }

    #[test]
    fn a_wrong_option_is_named_by_its_path() {
        for (body, param) in [
            (json!({"options": []}), "options"),
            (json!({"options": {"num_predict": "7"}}), "options.num_predict"),
            (json!({"options": {"num_ctx": "7"}}), "options.num_ctx"),
            (json!({"options": {"use_mmap": 1}}), "options.use_mmap"),
            (json!({"options": {"tfs_z": 0.5}}), "options.tfs_z"),
            (json!({"format": "xml"}), "format"),
            (json!({"format": 7}), "format"),
            (json!({"think": "hard"}), "think"),
            (json!({"think": 1}), "think"),
        ] {
            assert_eq!(form(body.clone()).unwrap_err().json()["error"]["param"], param, "{body}");
        }
    }

    #[test]
    fn errors_have_the_names_of_the_request() {
        for (param, expected) in [
            ("temperature", "options.temperature"),
            ("stop[0]", "options.stop[0]"),
            ("max_tokens", "options.num_predict"),
            ("response_format.json_schema.schema", "format"),
            ("messages[0].content", "messages[0].content"),
            ("top_logprobs", "top_logprobs"),
        ] {
            let error = original(ApiError::field(param, "is wrong"));
            assert_eq!(error.json()["error"]["param"], expected);
            assert_eq!(error.message(), format!("'{expected}' is wrong"));
        }
        assert_eq!(original(ApiError::bad_request("no field")).message(), "no field");
    }

    #[test]
    fn a_stay_ends_at_once_without_time() {
        for (value, expected) in [
            (json!(0), true),
            (json!("0"), true),
            (json!("0s"), true),
            (json!(-1), false),
            (json!("5m"), false),
            (json!("1h30m"), false),
            (Value::Null, false),
        ] {
            let body = json!({ "keep_alive": value });
            assert_eq!(ends_at_once(&Fields::body(&body).unwrap()).unwrap(), expected, "{body}");
        }
        assert!(ends_at_once(&Fields::body(&json!({"keep_alive": []})).unwrap()).is_err());
    }
}
