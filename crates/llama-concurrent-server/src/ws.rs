//! `/ws`: many generations over one socket, each by an id of the client's choice. docs/server.md has the messages.

mod sessions;

use std::sync::Arc;

use axum::{
    extract::{
        State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code, rejection::WebSocketUpgradeRejection},
    },
    response::{IntoResponse, Response},
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, interval, interval_at};

use crate::{
    app::App,
    clients::Client,
    error::{ApiError, ApiResult},
    fields::Fields,
    guard::Peer,
    openai::{messages, tools},
    params::Wish,
    prompt,
    start::start,
};
use sessions::Sessions;

/// The subprotocol, for clients that name one.
const PROTOCOL: &str = "llama-concurrent";
/// How often clients hear of generations that wait or are computed.
const STATES: Duration = Duration::from_millis(100);
/// A client that was silent for so many pings is gone.
const PINGS: u32 = 4;
const MAX_ID: usize = 128;

pub(crate) async fn connect(
    State(app): State<Arc<App>>,
    client: Client,
    peer: Peer,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let most = app.config.limits.max_body_bytes;
    match upgrade {
        Ok(upgrade) => {
            let upgrade = upgrade.protocols([PROTOCOL]).max_message_size(most).max_frame_size(most);
            upgrade.on_upgrade(async move |socket| {
                talk(app, client, socket).await;
                // The socket counts as an open connection until here.
                drop(peer.permit);
            })
        }
        Err(rejection) => ApiError::bad_request(format!("this route is a WebSocket: {rejection}")).into_response(),
    }
}

/// Serves a socket until it closes; dropping its sessions cancels what is left.
async fn talk(app: Arc<App>, client: Client, socket: WebSocket) {
    let (mut sink, mut source) = socket.split();
    let mut sessions = Sessions::default();
    let keep_alive = app.config.limits.keep_alive;
    let (mut states, mut pings) = (interval(STATES), interval_at(Instant::now() + keep_alive, keep_alive));
    let mut heard = Instant::now();
    let bye = loop {
        let mut out = Vec::new();
        tokio::select! {
            message = source.next() => {
                heard = Instant::now();
                match message {
                    Some(Ok(Message::Text(text))) => out.extend(take(&app, client, &mut sessions, text.as_str()).await),
                    Some(Ok(Message::Binary(_))) => {
                        out.push(error(None, &ApiError::bad_request("messages must be text, one JSON object each")));
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                }
            }
            events = sessions.next() => out = events,
            _ = states.tick(), if sessions.any_without_token() => {
                app.slots();
                out = sessions.changed_states();
            }
            _ = pings.tick() => {
                if heard.elapsed() > keep_alive * PINGS {
                    break (close_code::POLICY, "nothing was heard for too long");
                }
                if sink.send(Message::Ping(Default::default())).await.is_err() {
                    return;
                }
            }
            () = app.stopped(), if sessions.is_empty() => {
                break (close_code::AWAY, "the server is shutting down");
            }
        }
        for message in out {
            if sink.feed(Message::Text(message.into())).await.is_err() {
                return;
            }
        }
        if sink.flush().await.is_err() {
            return;
        }
    };
    let frame = CloseFrame { code: bye.0, reason: bye.1.into() };
    let _ = sink.send(Message::Close(Some(frame))).await;
}

/// Carries out a message; what is to be answered at once.
async fn take(app: &Arc<App>, client: Client, sessions: &mut Sessions, text: &str) -> Option<String> {
    let body: Value = match serde_json::from_str(text) {
        Ok(body) => body,
        Err(problem) => return Some(error(None, &ApiError::bad_request(format!("the message is no JSON: {problem}")))),
    };
    let id = body.get("id").and_then(Value::as_str).map(str::to_owned);
    match act(app, client, sessions, &body).await {
        Ok(answer) => answer.map(|answer| answer.to_string()),
        Err(problem) => Some(error(id.as_deref(), &problem)),
    }
}

async fn act(app: &Arc<App>, client: Client, sessions: &mut Sessions, body: &Value) -> ApiResult<Option<Value>> {
    let fields = Fields::body(body)?;
    fields.required("type")?;
    match fields.text("type")?.unwrap_or_default() {
        "generate" => generate(app, client, sessions, &fields).await.map(Some),
        "cancel" => {
            sessions.cancel(id(&fields)?);
            Ok(None)
        }
        "ping" => Ok(Some(json!({"type": "pong", "id": fields.get("id")}))),
        other => {
            let must = format!("must be \"generate\", \"cancel\" or \"ping\", but is \"{other}\"");
            Err(ApiError::field("type", must))
        }
    }
}

async fn generate(app: &Arc<App>, client: Client, sessions: &mut Sessions, fields: &Fields<'_>) -> ApiResult<Value> {
    let id = id(fields)?;
    if sessions.contains(id) {
        return Err(ApiError::field("id", "is in use by a running generation of this socket"));
    }
    let most = app.config.limits.max_generations;
    if sessions.len() >= most {
        let message = format!("this socket runs {most} generations, which is its limit");
        return Err(ApiError::too_many(message, Duration::from_secs(1)));
    }
    app.clients.request(client)?;
    let wish = Wish::read(fields, &app.config, &app.engine)?;
    if wish.n != 1 {
        return Err(ApiError::field("n", "must be 1 on a WebSocket; send several messages"));
    }
    let prompt = match fields.get("messages") {
        Some(_) => {
            tools::refuse(fields)?;
            messages::render(app, fields).await?.into()
        }
        None => {
            let (mut prompts, is_list) = prompt::read("prompt", fields.required("prompt")?)?;
            if is_list {
                return Err(ApiError::field("prompt", "must be one prompt on a WebSocket; send several messages"));
            }
            prompts.remove(0)
        }
    };
    let running = start(app, client, vec![prompt], &wish).await?.remove(0);
    let started = json!({"type": "started", "id": id, "n_prompt_tokens": running.live.n_prompt});
    sessions.add(id.to_owned(), running, wish.silent);
    Ok(started)
}

fn id<'a>(fields: &Fields<'a>) -> ApiResult<&'a str> {
    fields.required("id")?;
    let id = fields.text("id")?.unwrap_or_default();
    if (1..=MAX_ID).contains(&id.len()) {
        Ok(id)
    } else {
        Err(ApiError::field("id", format!("must have 1 to {MAX_ID} bytes")))
    }
}

fn error(id: Option<&str>, problem: &ApiError) -> String {
    json!({"type": "error", "id": id, "error": problem.json()["error"]}).to_string()
}
