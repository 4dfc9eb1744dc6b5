//! The built-in web page, and the OpenAPI description.

use std::sync::LazyLock;

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use llama_concurrent::{
    SamplingParams,
    parameters::{Field, Kind},
};
use serde_json::{Map, Value, json};

const PAGE: &str = include_str!("page/index.html");

/// The OpenAPI description: the committed file, and the sampling parameters.
static OPENAPI: LazyLock<String> = LazyLock::new(|| {
    let mut description: Value = serde_json::from_str(include_str!("openapi.json")).expect("the file is JSON");
    let properties = &mut description["components"]["schemas"]["Sampling"]["properties"];
    let written = properties.as_object().cloned().unwrap_or_default();
    let mut all: Map<String, Value> = SamplingParams::FIELDS.iter().filter_map(schema).collect();
    // The file describes parameters that accept more over HTTP than their type.
    all.extend(written);
    *properties = all.into();
    description.to_string()
});

/// The name and the schema of a parameter; `None` where its names differ by route, or there are several forms of it.
fn schema(field: &Field<SamplingParams>) -> Option<(String, Value)> {
    // Clamped to the range of 32 bits.
    const MOST: f64 = 1e38;
    let mut schema = match field.kind {
        Kind::Number | Kind::Count => {
            let (range, lenient) = (field.traits.range, field.traits.lenient);
            let least = lenient.map_or(range.least, |lenient| lenient.least);
            let is_number = field.kind == Kind::Number;
            let number = |number: f64| if is_number { json!(number.clamp(-MOST, MOST)) } else { json!(number as i64) };
            let minimum = if range.is_open && lenient.is_none() { "exclusiveMinimum" } else { "minimum" };
            let name = if is_number { "number" } else { "integer" };
            json!({"type": name, minimum: number(least), "maximum": number(range.most)})
        }
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Texts => json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
        Kind::Tokens => json!({"type": "array", "items": {"type": "integer", "minimum": 0}}),
        _ => return None,
    };
    schema["description"] = field.doc.into();
    Some((field.traits.http[0].to_owned(), schema))
}

pub(crate) async fn page() -> Response {
    let mut response = fixed(PAGE, "text/html; charset=utf-8");
    // The page is self-contained and connects to this server only.
    let policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self' ws: wss:; \
                  img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

pub(crate) async fn openapi() -> Response {
    fixed(&OPENAPI, "application/json; charset=utf-8")
}

fn fixed(text: &'static str, content_type: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
