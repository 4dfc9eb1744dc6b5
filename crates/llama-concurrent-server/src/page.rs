//! The page, and the description of the routes.

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};

const PAGE: &str = include_str!("page/index.html");
const OPENAPI: &str = include_str!("openapi.json");

pub(crate) async fn page() -> Response {
    let mut response = fixed(PAGE, "text/html; charset=utf-8");
    // Everything is in the page itself, and it talks to nobody else.
    let policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self' ws: wss:; \
                  img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

pub(crate) async fn openapi() -> Response {
    fixed(OPENAPI, "application/json; charset=utf-8")
}

fn fixed(text: &'static str, content_type: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
