//! Reads a JSON object by hand: unknown fields are ignored, null counts as absent, and type errors name the field.
//!
//! Clients of two APIs send the same field in several shapes (a string or a list, an object or pairs) and under several
//! names. A derived deserializer would report the variants that it tried, not the field that is wrong.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::error::{ApiError, ApiResult};

/// An object in a request, with its path.
#[derive(Clone)]
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: String,
}

impl<'a> Fields<'a> {
    /// The whole body.
    pub(crate) fn body(value: &'a Value) -> ApiResult<Self> {
        let object = value.as_object().ok_or_else(|| {
            ApiError::bad_request(format!("the body must be a JSON object, but is {}", type_name(value)))
        })?;
        Ok(Self { object, path: String::new() })
    }

    /// An object at a path.
    pub(crate) fn at(path: String, value: &'a Value) -> ApiResult<Self> {
        let object = value.as_object().ok_or_else(|| wrong(&path, "an object", value))?;
        Ok(Self { object, path })
    }

    /// The full name of a field.
    pub(crate) fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// The first of several names that is present.
    pub(crate) fn any<'n>(&self, names: &[&'n str]) -> Option<(&'n str, &'a Value)> {
        names.iter().find_map(|name| Some((*name, self.get(name)?)))
    }

    pub(crate) fn required(&self, name: &str) -> ApiResult<&'a Value> {
        self.get(name).ok_or_else(|| ApiError::field(self.path(name), "is required"))
    }

    /// All fields but those that are null.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        self.object.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.as_str(), value))
    }

    pub(crate) fn required_text(&self, name: &str) -> ApiResult<&'a str> {
        let value = self.required(name)?;
        value.as_str().ok_or_else(|| wrong(&self.path(name), "a string", value))
    }

    pub(crate) fn object(&self, name: &str) -> ApiResult<Option<Fields<'a>>> {
        self.get(name).map(|value| Fields::at(self.path(name), value)).transpose()
    }

    pub(crate) fn list(&self, name: &str) -> ApiResult<Option<&'a Vec<Value>>> {
        self.get(name).map(|value| value.as_array().ok_or_else(|| wrong(&self.path(name), "a list", value))).transpose()
    }

    pub(crate) fn boolean(&self, name: &str) -> ApiResult<Option<bool>> {
        self.get(name)
            .map(|value| value.as_bool().ok_or_else(|| wrong(&self.path(name), "true or false", value)))
            .transpose()
    }

    pub(crate) fn text(&self, name: &str) -> ApiResult<Option<&'a str>> {
        self.get(name).map(|value| value.as_str().ok_or_else(|| wrong(&self.path(name), "a string", value))).transpose()
    }

    pub(crate) fn number(&self, names: &[&str]) -> ApiResult<Option<f32>> {
        let Some((name, value)) = self.any(names) else { return Ok(None) };
        let number = value.as_f64().ok_or_else(|| wrong(&self.path(name), "a number", value))? as f32;
        if number.is_finite() {
            Ok(Some(number))
        } else {
            Err(ApiError::field(self.path(name), format!("is {value}, which is too large")))
        }
    }

    pub(crate) fn integer(&self, names: &[&str], range: RangeInclusive<i64>) -> ApiResult<Option<i64>> {
        let Some((name, value)) = self.any(names) else { return Ok(None) };
        integer(&self.path(name), value, range).map(Some)
    }

    /// A list of strings; a single string counts as a list of one.
    pub(crate) fn texts(&self, name: &str) -> ApiResult<Option<Vec<String>>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let path = self.path(name);
        match value {
            Value::String(text) => Ok(Some(vec![text.clone()])),
            Value::Array(list) => {
                let texts = list.iter().enumerate().map(|(index, value)| match value {
                    Value::String(text) => Ok(text.clone()),
                    other => Err(wrong(&format!("{path}[{index}]"), "a string", other)),
                });
                texts.collect::<ApiResult<_>>().map(Some)
            }
            other => Err(wrong(&path, "a string or a list of strings", other)),
        }
    }
}

/// An integer in a range. `2.0` is accepted, because some languages write integers so.
pub(crate) fn integer(path: &str, value: &Value, range: RangeInclusive<i64>) -> ApiResult<i64> {
    let whole = |float: f64| (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64);
    let Some(number) = value.as_i64().or_else(|| value.as_f64().and_then(whole)) else {
        return Err(if value.is_number() {
            ApiError::field(path, format!("must be a whole number, but is {value}"))
        } else {
            wrong(path, "a whole number", value)
        });
    };
    if range.contains(&number) {
        return Ok(number);
    }
    Err(ApiError::field(path, format!("must be {} to {}, but is {number}", range.start(), range.end())))
}

/// The error for a value of the wrong type.
pub(crate) fn wrong(path: &str, wanted: &str, value: &Value) -> ApiError {
    ApiError::field(path, format!("must be {wanted}, but is {}", type_name(value)))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wrong_type_names_field_and_type() {
        let body = json!({"a": "x", "b": {"c": 1.5}, "d": [1, "x"], "e": null, "f": 7.0});
        let fields = Fields::body(&body).unwrap();
        let message = |error: ApiError| error.json()["error"]["message"].as_str().unwrap().to_owned();
        assert_eq!(message(fields.boolean("a").unwrap_err()), "'a' must be true or false, but is a string");
        let inner = fields.object("b").unwrap().unwrap();
        assert_eq!(message(inner.integer(&["c"], 0..=9).unwrap_err()), "'b.c' must be a whole number, but is 1.5");
        assert_eq!(message(fields.texts("d").unwrap_err()), "'d[0]' must be a string, but is a number");
        assert_eq!(fields.integer(&["e", "f"], 0..=9).unwrap(), Some(7), "null is absent, and 7.0 is whole");
        assert_eq!(message(fields.integer(&["f"], 0..=6).unwrap_err()), "'f' must be 0 to 6, but is 7");
        assert!(Fields::body(&json!([1])).is_err());
    }
}
