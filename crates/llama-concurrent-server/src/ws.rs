//! `/ws`: many generations over one socket, each by an id of the client's choice. docs/server.md has the messages.

mod sessions;

use std::{pin::Pin, sync::Arc};

use axum::{
    extract::{
        State,
        ws::{
            CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code,
            rejection::WebSocketUpgradeRejection,
        },
    },
    response::{IntoResponse, Response},
};
use futures_util::{SinkExt, StreamExt};
use llama_concurrent::{ReplyForm, ReplyReader};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, interval, interval_at};

use crate::{
    active_generation::ActiveGeneration,
    app::App,
    body, chat,
    clients::Client,
    error::{ApiError, ApiResult},
    fields::Fields,
    guard::Peer,
    params::RequestOptions,
    prompt,
    start::{Ready, prepare, start},
    work::{Job, Load},
};
use sessions::Sessions;

/// The subprotocol, for clients that name one.
const PROTOCOL: &str = "llama-concurrent";
/// How often clients get the states of their generations.
const STATES: Duration = Duration::from_millis(100);
/// A client that has not responded for this many pings is gone.
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
            peer.connection.upgrade();
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
    // Messages are processed one after the other. One more may be received, so that a disconnect is noticed.
    let (mut working, mut waiting): (Option<Working>, Option<Utf8Bytes>) = (None, None);
    let keep_alive = app.config.limits.keep_alive;
    let (mut states, mut pings) = (interval(STATES), interval_at(Instant::now() + keep_alive, keep_alive));
    let mut heard = Instant::now();
    let bye = loop {
        let mut out = Vec::new();
        if working.is_none() {
            working = waiting.take().map(|text| Box::pin(read(app.clone(), text)) as Working);
        }
        tokio::select! {
            message = source.next(), if waiting.is_none() => {
                heard = Instant::now();
                match message {
                    Some(Ok(Message::Text(text))) => waiting = Some(text),
                    Some(Ok(Message::Binary(_))) => {
                        out.push(error(None, &ApiError::bad_request("messages must be text, one JSON object each")));
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                }
            }
            step = next_step(&mut working) => {
                working = None;
                match act(&app, client, &mut sessions, step) {
                    Ok(Next::Work(more)) => working = Some(more),
                    Ok(Next::Answer(answer)) => out.push(answer.to_string()),
                    Ok(Next::Nothing) => {}
                    Err(problem) => out.push(problem),
                }
            }
            events = sessions.next() => out = events,
            _ = states.tick(), if sessions.any_without_token() => {
                app.slots();
                out = sessions.changed_states();
            }
            _ = pings.tick() => {
                if heard.elapsed() > keep_alive * PINGS {
                    break (close_code::POLICY, "the client did not respond for too long");
                }
                if sink.send(Message::Ping(Default::default())).await.is_err() {
                    return;
                }
            }
            () = app.stopped(), if sessions.is_empty() && working.is_none() && waiting.is_none() => {
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

/// The progress of a message, or the error response.
type Step = Result<Done, String>;
type Working = Pin<Box<dyn Future<Output = Step> + Send>>;

enum Done {
    /// `generate` was parsed.
    Ready(String, Box<Ready>),
    /// It was started.
    Started(String, Box<(ActiveGeneration, Option<ReplyReader>)>, bool),
    Cancel(String),
    Ping(Value),
}

enum Next {
    Work(Working),
    Answer(Value),
    Nothing,
}

/// Waits for the work on a message; forever without one.
async fn next_step(working: &mut Option<Working>) -> Step {
    match working {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

/// Continues with a message.
fn act(app: &Arc<App>, client: Client, sessions: &mut Sessions, step: Step) -> Result<Next, String> {
    match step? {
        Done::Ready(id, ready) => {
            if let Err(problem) = admit(app, client, sessions, &id) {
                return Err(error(Some(&id), &problem));
            }
            let app = app.clone();
            Ok(Next::Work(Box::pin(async move {
                match start(&app, client, &ready).await {
                    Ok(mut running) => {
                        let reader = ready.reply.as_ref().map(ReplyForm::reader);
                        Ok(Done::Started(id, Box::new((running.remove(0), reader)), ready.options.silent))
                    }
                    Err(problem) => Err(error(Some(&id), &problem)),
                }
            })))
        }
        Done::Started(id, started, silent) => {
            let (running, reader) = *started;
            let started = json!({"type": "started", "id": id, "n_prompt_tokens": running.in_flight.n_prompt});
            sessions.add(id, running, reader, silent);
            Ok(Next::Answer(started))
        }
        Done::Cancel(id) => {
            sessions.cancel(&id);
            Ok(Next::Nothing)
        }
        Done::Ping(id) => Ok(Next::Answer(json!({"type": "pong", "id": id}))),
    }
}

/// Whether one more generation may run.
fn admit(app: &App, client: Client, sessions: &Sessions, id: &str) -> ApiResult<()> {
    if sessions.contains(id) {
        return Err(ApiError::field("id", "is in use by a running generation of this socket"));
    }
    let most = app.config.limits.max_generations;
    if sessions.len() >= most {
        let message = format!("this socket runs {most} generations, which is its limit");
        return Err(ApiError::too_many(message, Duration::from_secs(1)));
    }
    app.clients.request(client)
}

/// Reads a message.
async fn read(app: Arc<App>, text: Utf8Bytes) -> Step {
    let (load, of_work) = (Load::Bytes(text.len()), app.clone());
    let work = move |job: &Job| {
        Ok(match body::parse(text.as_bytes(), "message") {
            Ok(body) => {
                let id = body.get("id").and_then(Value::as_str);
                understand(&of_work, &body, job).map_err(|problem| error(id, &problem))
            }
            Err(problem) => Err(error(None, &problem)),
        })
    };
    app.lanes.run(load, work).await.unwrap_or_else(|problem| Err(error(None, &problem)))
}

fn understand(app: &App, body: &Value, job: &Job) -> ApiResult<Done> {
    let fields = Fields::body(body)?;
    fields.required("type")?;
    match fields.text("type")?.unwrap_or_default() {
        "generate" => Ok(Done::Ready(id(&fields)?.to_owned(), Box::new(generate(app, &fields, job)?))),
        "cancel" => Ok(Done::Cancel(id(&fields)?.to_owned())),
        "ping" => Ok(Done::Ping(fields.get("id").cloned().unwrap_or_default())),
        other => {
            let must = format!("must be \"generate\", \"cancel\" or \"ping\", but is \"{other}\"");
            Err(ApiError::field("type", must))
        }
    }
}

fn generate(app: &App, fields: &Fields<'_>, job: &Job) -> ApiResult<Ready> {
    let ready = match fields.get("messages") {
        Some(_) => chat::prepare(app, fields, job)?,
        None => {
            let options = RequestOptions::read(fields, app, job)?;
            let (prompts, is_list) = prompt::read("prompt", fields.required("prompt")?)?;
            if is_list {
                return Err(ApiError::field("prompt", "must be one prompt on a WebSocket; send several messages"));
            }
            prepare(app, &prompts, options, job)?
        }
    };
    if ready.options.n != 1 {
        return Err(ApiError::field("n", "must be 1 on a WebSocket; send several messages"));
    }
    Ok(ready)
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
