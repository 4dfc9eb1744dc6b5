//! The built-in web page, and the OpenAPI description.

use std::sync::LazyLock;

use axum::{
    body::Body,
    extract::{Path, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use llama_concurrent::{
    SamplingParams,
    parameters::{Field, Kind},
};
use serde_json::{Map, Value, json};

use crate::error::ApiError;

const PAGE: &str = include_str!("page/index.html");
/// Where the other files of the page are. They need no key, as the page needs none.
pub(crate) const FILES_AT: &str = "/page/";
const SCRIPT: &str = "text/javascript; charset=utf-8";
/// Name, type and text of each.
static FILES: [(&str, &str, &str); 12] = [
    ("page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("main.js", SCRIPT, include_str!("page/main.js")),
    ("answers.js", SCRIPT, include_str!("page/answers.js")),
    ("api.js", SCRIPT, include_str!("page/api.js")),
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("markdown.js", SCRIPT, include_str!("page/markdown.js")),
    ("settings.js", SCRIPT, include_str!("page/settings.js")),
    ("slots.js", SCRIPT, include_str!("page/slots.js")),
    ("store.js", SCRIPT, include_str!("page/store.js")),
    ("streams.js", SCRIPT, include_str!("page/streams.js")),
    ("tools.js", SCRIPT, include_str!("page/tools.js")),
    ("turns.js", SCRIPT, include_str!("page/turns.js")),
];

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
        Kind::Choice(names) => json!({"type": "string", "enum": names}),
        Kind::Texts => json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
        Kind::Tokens => json!({"type": "array", "items": {"type": "integer", "minimum": 0}}),
        _ => return None,
    };
    schema["description"] = field.doc.into();
    Some((field.traits.http[0].to_owned(), schema))
}

pub(crate) async fn page() -> Response {
    let mut response = fixed(PAGE, "text/html; charset=utf-8");
    // All of the page is of this server. Nothing within its text runs: it shows what models write.
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; \
                  img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

pub(crate) async fn file(name: Result<Path<String>, PathRejection>) -> Response {
    // A path that is not UTF-8 is none of them.
    let name = name.map_or_else(|_| String::new(), |Path(name)| name);
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some(&(_, content_type, text)) => fixed(text, content_type),
        None => {
            let message = format!("the page has no file '{name}'");
            ApiError::new(StatusCode::NOT_FOUND, "not_found_error", message).into_response()
        }
    }
}

pub(crate) async fn openapi() -> Response {
    fixed(&OPENAPI, "application/json; charset=utf-8")
}

fn fixed(text: &'static str, content_type: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Files of two versions of a server do not go together.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/page");
        let entries = std::fs::read_dir(folder).expect("the folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        let mut there: Vec<String> = names.filter(|name| name != "index.html").collect();
        let mut served: Vec<String> = FILES.iter().map(|(name, ..)| (*name).to_owned()).collect();
        there.sort();
        served.sort();
        assert_eq!(there, served);
    }
}
