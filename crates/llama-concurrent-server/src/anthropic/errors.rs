//! Errors in the form of Anthropic's API.

use axum::{body::Body, extract::Request, http::StatusCode, middleware::Next, response::Response};
use serde_json::{Value, json};

use crate::{error::ApiError, guard::REQUEST_ID};

/// Errors of Anthropic's routes, whoever made them, and the id of each request in the header that its clients read.
pub(crate) async fn layer(request: Request, next: Next) -> Response {
    let is_ours = has_form(request.uri().path());
    let response = next.run(request).await;
    if is_ours { in_form(response) } else { response }
}

fn has_form(path: &str) -> bool {
    path.strip_prefix("/v1/messages").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn in_form(mut response: Response) -> Response {
    let id = response.headers().get(REQUEST_ID).cloned();
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        let id = id.as_ref().and_then(|id| id.to_str().ok());
        *response.body_mut() = Body::from(json(&error, id).to_string());
    }
    if let Some(id) = id {
        response.headers_mut().insert("request-id", id);
    }
    response
}

/// `{"type": "error", ...}`, as in a body and in an event of a stream.
pub(super) fn json(error: &ApiError, request_id: Option<&str>) -> Value {
    let message = match error.counts() {
        // Clients look for these words to shorten a conversation.
        Some((n_prompt, n_ctx)) => {
            format!("prompt is too long: {n_prompt} tokens > {n_ctx} maximum, which prompt and answer share")
        }
        None => error.message().to_owned(),
    };
    json!({"type": "error", "error": {"type": kind(error.status), "message": message}, "request_id": request_id})
}

fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        408 | 504 => "timeout_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    use axum::{http::HeaderValue, response::IntoResponse};

    use super::*;

    #[test]
    fn only_the_routes_of_anthropic_have_its_form() {
        for (path, has) in [
            ("/v1/messages", true),
            ("/v1/messages/count_tokens", true),
            ("/v1/messages2", false),
            ("/v1/chat/completions", false),
        ] {
            assert_eq!(has_form(path), has, "{path}");
        }
    }

    #[test]
    fn statuses_have_the_kinds_of_anthropic() {
        for (status, expected) in [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (405, "invalid_request_error"),
            (413, "request_too_large"),
            (429, "rate_limit_error"),
            (500, "api_error"),
            (503, "overloaded_error"),
            (504, "timeout_error"),
        ] {
            assert_eq!(kind(StatusCode::from_u16(status).unwrap()), expected, "{status}");
        }
    }

    #[test]
    fn an_error_keeps_its_headers_and_names_its_request() {
        let mut response = ApiError::too_many("later", std::time::Duration::from_secs(3)).into_response();
        response.headers_mut().insert(REQUEST_ID, HeaderValue::from_static("req-7"));
        let response = in_form(response);
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &HeaderValue::from(3)));
        assert_eq!(response.headers()["request-id"], "req-7");
        let error = json(&ApiError::prompt_too_long(9, 8), Some("req-7"));
        assert!(error["error"]["message"].as_str().unwrap().starts_with("prompt is too long: 9 tokens > 8 maximum"));
        assert_eq!((&error["type"], &error["request_id"]), (&json!("error"), &json!("req-7")));
    }
}
