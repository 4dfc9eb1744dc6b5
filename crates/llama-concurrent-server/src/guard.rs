//! The checks of every request: key, origin and rate limit; and its tracing span.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument, field::Empty, info_span};

use crate::{
    answer,
    app::App,
    clients::{Client, key_index},
    connection_state::ConnectionState,
    error::{ApiError, ApiResult},
    page,
};

/// Routes that need no key, as in llama-server: they reveal nothing about requests. Nor do the page's files.
const PUBLIC: [&str; 6] = ["/", "/health", "/v1/health", "/models", "/v1/models", "/openapi.json"];
/// Browsers cannot set headers on a WebSocket, so the key is sent as a subprotocol with this prefix.
pub(crate) const KEY_PROTOCOL: &str = "api-key.";
pub(crate) const REQUEST_ID: &str = "x-request-id";

/// The connection of a request. Holding it counts as an open connection.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) permit: Arc<OwnedSemaphorePermit>,
    pub(crate) connection: Arc<ConnectionState>,
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        parts.extensions.get::<Peer>().cloned().ok_or_else(|| ApiError::bad_request("the request has no connection"))
    }
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        parts.extensions.get::<Client>().copied().ok_or_else(unauthorized)
    }
}

pub(crate) async fn guard(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let trace = trace_parent(request.headers());
    // Names as in OpenTelemetry's conventions for HTTP servers.
    let span = info_span!(
        "request",
        otel.name = format!("{} {}", request.method(), request.uri().path()),
        otel.kind = "server",
        http.request.method = %request.method(),
        url.path = request.uri().path(),
        http.response.status_code = Empty,
        client.address = Empty,
        request_id = id,
        trace_id = trace.as_ref().map(|(trace, _)| trace.as_str()),
        parent_span_id = trace.as_ref().map(|(_, parent)| parent.as_str()),
    );
    if let Some(peer) = request.extensions().get::<Peer>() {
        span.record("client.address", tracing::field::display(peer.address.ip()));
    }
    let mut response = match admit(&app, &request) {
        Ok(client) => {
            request.extensions_mut().insert(client);
            next.run(request).instrument(span.clone()).await
        }
        Err(error) => error.into_response(),
    };
    let status = response.status();
    app.metrics.responded(status);
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() && ![StatusCode::NOT_IMPLEMENTED, StatusCode::SERVICE_UNAVAILABLE].contains(&status) {
        tracing::warn!(parent: &span, "answered with an error");
    } else {
        tracing::info!(parent: &span, "answered");
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn admit(app: &App, request: &Request) -> ApiResult<Client> {
    let headers = request.headers();
    app.hosts.check(request.version(), request.uri(), headers)?;
    check_origin(&app.config.cors_origins, headers)?;
    let address = request.extensions().get::<Peer>().map_or([0, 0, 0, 0].into(), |peer| peer.address.ip());
    let keys = &app.config.api_keys;
    let client = match shown_key(headers).and_then(|key| key_index(keys, key)) {
        Some(index) => Client::Key(index),
        None if keys.is_empty() || is_public(request.uri().path()) => Client::Address(address),
        None => return Err(unauthorized()),
    };
    if request.method() == Method::POST {
        app.clients.request(client)?;
    }
    Ok(client)
}

fn is_public(path: &str) -> bool {
    PUBLIC.contains(&path) || path.starts_with(page::FILES_AT)
}

fn unauthorized() -> ApiError {
    let message = "this server requires an API key; send the header 'Authorization: Bearer KEY'";
    ApiError::new(StatusCode::UNAUTHORIZED, "authentication_error", message)
}

fn shown_key(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let protocols = text(header::SEC_WEBSOCKET_PROTOCOL).into_iter().flat_map(|list| list.split(','));
    let of_socket = protocols.map(str::trim).find_map(|protocol| protocol.strip_prefix(KEY_PROTOCOL));
    bearer.or_else(|| headers.get("x-api-key")?.to_str().ok()).or(of_socket)
}

/// Checks the origin. A page of another site could make a browser send requests that need no preflight, and open WebSockets,
/// to which CORS does not apply.
fn check_origin(allowed: &[String], headers: &HeaderMap) -> ApiResult<()> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let is_own = origin.split_once("://").map(|(_, authority)| authority) == host && host.is_some();
    if is_own || is_allowed(allowed, origin) {
        return Ok(());
    }
    let message = format!("pages of '{origin}' may not call this server; start it with --cors-origin to allow them");
    Err(ApiError::new(StatusCode::FORBIDDEN, "permission_error", message))
}

/// Whether pages of an origin may call this server. `localhost` stands for all pages of this machine, as in llama-server.
pub(crate) fn is_allowed(allowed: &[String], origin: &str) -> bool {
    let is_local = || {
        let Some((_, authority)) = origin.split_once("://") else { return false };
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        };
        ["localhost", "127.0.0.1", "[::1]"].contains(&host)
    };
    allowed.iter().any(|allowed| allowed == "*" || allowed == origin || (allowed == "localhost" && is_local()))
}

/// The client's request id, if it is valid.
fn request_id(headers: &HeaderMap) -> String {
    let sent = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let is_sound = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    sent.filter(is_sound).map_or_else(|| answer::id("req"), str::to_owned)
}

/// The caller's trace and span ids, from W3C's `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`.
fn trace_parent(headers: &HeaderMap) -> Option<(String, String)> {
    let mut parts = headers.get("traceparent")?.to_str().ok()?.split('-');
    let mut hex = |length| {
        let part = parts.next()?;
        (part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| part.to_owned())
    };
    let (_version, trace, parent) = (hex(2)?, hex(32)?, hex(16)?);
    Some((trace, parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn keys_come_in_three_ways() {
        assert_eq!(shown_key(&headers(&[("authorization", "bearer abc")])), Some("abc"));
        assert_eq!(shown_key(&headers(&[("x-api-key", "abc")])), Some("abc"));
        assert_eq!(shown_key(&headers(&[("sec-websocket-protocol", "llama-concurrent, api-key.abc")])), Some("abc"));
        assert_eq!(shown_key(&headers(&[("authorization", "Basic abc")])), None);
    }

    #[test]
    fn pages_from_elsewhere_are_refused() {
        let from = |origin| headers(&[("host", "localhost:8080"), ("origin", origin)]);
        assert!(check_origin(&[], &headers(&[("host", "localhost:8080")])).is_ok(), "no browser");
        assert!(check_origin(&[], &from("http://localhost:8080")).is_ok());
        for other in ["http://localhost:8081", "https://example.org", "null"] {
            assert!(check_origin(&[], &from(other)).is_err(), "{other}");
            assert!(check_origin(&[other.to_owned()], &from(other)).is_ok());
            assert!(check_origin(&["*".to_owned()], &from(other)).is_ok());
        }
        assert!(check_origin(&[], &headers(&[("origin", "http://localhost:8080")])).is_err(), "without a host");
    }

    #[test]
    fn traces_of_callers_are_read() {
        let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let sent = headers(&[("traceparent", &format!("00-{trace}-{parent}-01"))]);
        assert_eq!(trace_parent(&sent), Some((trace.into(), parent.into())));
        assert_eq!(trace_parent(&headers(&[("traceparent", "00-xyz-1-01")])), None);
    }
}
