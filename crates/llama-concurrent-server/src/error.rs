//! Error responses: OpenAI's error object, with the status as its code as in llama-server.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use llama_concurrent::{Error, ErrorKind};
use serde_json::{Value, json};

/// An error response.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    kind: &'static str,
    message: String,
    /// The invalid field.
    param: Option<String>,
    retry_after: Option<Duration>,
    /// Prompt tokens and slot size, if a prompt is too long.
    counts: Option<(usize, usize)>,
}

pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), param: None, retry_after: None, counts: None }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// An invalid value of a field.
    pub(crate) fn field(path: impl Into<String>, must: impl std::fmt::Display) -> Self {
        let path = path.into();
        Self { param: Some(path.clone()), ..Self::bad_request(format!("'{path}' {must}")) }
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable_error", message)
    }

    /// An internal error.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    pub(crate) fn too_many(message: impl Into<String>, retry_after: Duration) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message);
        Self { retry_after: Some(retry_after), ..error }
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message)
    }

    pub(crate) fn timeout(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout_error", message)
    }

    pub(crate) fn prompt_too_long(n_prompt: usize, n_ctx: usize) -> Self {
        let message = format!(
            "request ({n_prompt} tokens) exceeds the available context size ({n_ctx} tokens), which prompt and answer share; \
             shorten the prompt or start the server with more tokens per slot"
        );
        let error = Self::new(StatusCode::BAD_REQUEST, "exceed_context_size_error", message);
        Self { param: Some("prompt".into()), counts: Some((n_prompt, n_ctx)), ..error }
    }

    /// The same for a text to embed, in llama-server's words.
    pub(crate) fn of_embedding(mut self, name: &str) -> Self {
        if let Some((n, most)) = self.counts {
            self.message = format!("'{name}' ({n} tokens) is too large to process: a slot has {most} tokens");
            self.param = Some(name.to_owned());
        }
        self
    }

    pub(crate) fn with_retry(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// The same error under the name that its field has in a request that was translated.
    pub(crate) fn renamed(mut self, name: impl FnOnce(&str) -> Option<String>) -> Self {
        if let Some(param) = self.param.take() {
            let name = name(&param).unwrap_or_else(|| param.clone());
            if let Some(must) = self.message.strip_prefix(&format!("'{param}'")) {
                self.message = format!("'{name}'{must}");
            }
            self.param = Some(name);
        }
        self
    }

    /// As `renamed`, by a table: pairs of the beginning of a path here and there.
    pub(crate) fn renamed_by(self, names: &[(&str, &str)]) -> Self {
        self.renamed(|param| {
            names.iter().find_map(|(ours, theirs)| {
                let rest = param.strip_prefix(ours)?;
                (rest.is_empty() || rest.starts_with(['.', '['])).then(|| format!("{theirs}{rest}"))
            })
        })
    }

    /// What went wrong, in words.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Prompt tokens and slot size, if a prompt is too long.
    pub(crate) fn counts(&self) -> Option<(usize, usize)> {
        self.counts
    }

    #[cfg(test)]
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// `{"error": ...}`, as in a body and in an event of a stream.
    pub(crate) fn json(&self) -> Value {
        let mut error = json!({
            "code": self.status.as_u16(), "message": self.message, "type": self.kind, "param": self.param,
        });
        if let Some((n_prompt, n_ctx)) = self.counts {
            error["n_prompt_tokens"] = n_prompt.into();
            error["n_ctx"] = n_ctx.into();
        }
        json!({ "error": error })
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self::from_kind(error.kind(), error.to_string())
    }
}

impl ApiError {
    fn from_kind(kind: &ErrorKind, message: String) -> Self {
        let status = StatusCode::from_u16(kind.interfaces().http_status);
        match kind {
            ErrorKind::PromptTooLong { n_prompt, n_ctx, .. } => Self::prompt_too_long(*n_prompt, *n_ctx),
            ErrorKind::NoChatTemplate | ErrorKind::ChatTemplate => {
                Self { param: Some("messages".into()), ..Self::bad_request(message) }
            }
            ErrorKind::Overloaded { retry_after } => {
                let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "overloaded_error", message);
                error.with_retry(*retry_after)
            }
            ErrorKind::ShuttingDown => Self::unavailable("the server is shutting down and takes no new requests"),
            _ if status.is_ok_and(|status| status.is_client_error()) => Self::bad_request(message),
            _ => Self::internal(message),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, &self.json());
        if let Some(after) = self.retry_after {
            // Whole seconds, and never 0, which would mean immediately.
            let seconds = after.as_secs_f64().ceil().clamp(1.0, 3600.0) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // For APIs that write it in a form of their own.
        response.extensions_mut().insert(self);
        response
    }
}

/// A JSON response.
pub(crate) fn json_response(status: StatusCode, value: &Value) -> Response {
    let mut response = json_text(value.to_string());
    *response.status_mut() = status;
    response
}

/// A response of serialised JSON.
pub(crate) fn json_text(text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_field_is_named_where_clients_look() {
        let error = ApiError::field("messages[0].role", "must be a string").json();
        assert_eq!(error["error"]["param"], "messages[0].role");
        assert_eq!((&error["error"]["code"], &error["error"]["type"]), (&json!(400), &json!("invalid_request_error")));
        assert_eq!(error["error"]["message"], "'messages[0].role' must be a string");
    }

    #[test]
    fn a_client_reads_its_own_names() {
        let names = [("stop", "stop_sequences"), ("response_format.json_schema", "format")];
        for (param, named) in [
            ("stop", "stop_sequences"),
            ("stop[1]", "stop_sequences[1]"),
            ("stop_token_ids", "stop_token_ids"),
            ("response_format.json_schema.schema", "format.schema"),
            ("response_format.type", "response_format.type"),
        ] {
            let error = ApiError::field(param, "is wrong").renamed_by(&names).json();
            assert_eq!(error["error"]["param"], named);
            assert_eq!(error["error"]["message"], format!("'{named}' is wrong"));
        }
        assert!(ApiError::bad_request("x").renamed_by(&names).json()["error"]["param"].is_null());
    }

    #[test]
    fn each_kind_has_the_status_of_the_list() {
        let kinds = [
            ErrorKind::InvalidConfig,
            ErrorKind::InvalidRequest,
            ErrorKind::PromptTooLong { n_prompt: 9, max_tokens: 1, n_ctx: 8 },
            ErrorKind::ModelNotFound,
            ErrorKind::ModelInvalid,
            ErrorKind::ModelUnsupported,
            ErrorKind::OutOfMemory,
            ErrorKind::Overloaded { retry_after: Duration::from_secs(1) },
            ErrorKind::NoChatTemplate,
            ErrorKind::ChatTemplate,
            ErrorKind::ShuttingDown,
            ErrorKind::Decode,
            ErrorKind::LoadCancelled,
            ErrorKind::Internal,
        ];
        assert_eq!(kinds.len(), ErrorKind::ALL.len());
        for kind in kinds {
            assert_eq!(
                ApiError::from_kind(&kind, String::new()).status.as_u16(),
                kind.interfaces().http_status,
                "{kind:?}"
            );
        }
    }

    #[test]
    fn when_to_come_back_is_whole_seconds_and_not_at_once() {
        for (millis, header) in [(1, "1"), (1000, "1"), (1001, "2"), (100_000_000, "3600")] {
            let response = ApiError::too_many("", Duration::from_millis(millis)).into_response();
            assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(response.headers()[header::RETRY_AFTER], header);
        }
    }
}
