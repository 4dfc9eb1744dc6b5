//! Responses as streams: any number of generations in one body, written as tokens arrive. They are server-sent events, unless
//! their format says otherwise.
//!
//! The body polls the engine's streams when the connection is writable, so a slow reader pauses its own generation and no
//! data accumulates here. When the connection ends, the body and its generations are dropped.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use futures_core::Stream;
use http_body::Frame;
use llama_concurrent::{Delta, Event, Finish, PromptToken};
use serde_json::Value;
use tokio::time::{Instant, Interval, interval_at};

use crate::{
    active_generation::{ActiveGeneration, failure},
    connection_state::ConnectionState,
    error::ApiError,
    guard::Peer,
    progress::PromptProgress,
};

/// A larger chunk, such as log probabilities of many tokens, takes a millisecond to write. After one, the stream yields to
/// other connections.
const LARGE: usize = 32 << 10;

/// Log probabilities of a prompt that are written at once.
const SCORES: usize = 512;

/// Of server-sent events.
pub(crate) const CONTENT_TYPE: &str = "text/event-stream; charset=utf-8";
/// A comment between events.
pub(crate) const COMMENT: &[u8] = b": keep-alive\n\n";

/// How events are formatted.
pub(crate) trait Format: Send + Unpin + 'static {
    /// The content type of the response.
    const CONTENT_TYPE: &'static str = CONTENT_TYPE;
    /// Breaks a silence; clients skip it.
    const KEEP_ALIVE: &'static [u8] = COMMENT;
    /// Before the first event.
    fn open(&mut self, _count: usize, _out: &mut Vec<u8>) {}
    /// Whether [`progress`](Self::progress) is told.
    fn wants_progress(&self) -> bool {
        false
    }
    /// More of a prompt is computed.
    fn progress(&mut self, _index: usize, _progress: &PromptProgress, _out: &mut Vec<u8>) {}
    /// A prompt whose log probabilities were asked for is computed: a part of its tokens, which may be the first.
    fn prompt(&mut self, _index: usize, _tokens: &[PromptToken], _first: bool, _out: &mut Vec<u8>) {}
    /// A generation has new output.
    fn delta(&mut self, index: usize, running: &ActiveGeneration, delta: Delta, out: &mut Vec<u8>);
    /// A generation has ended normally.
    fn end(&mut self, index: usize, running: &ActiveGeneration, finish: &Finish, out: &mut Vec<u8>);
    /// A generation has failed.
    fn fail(&mut self, _index: usize, error: &ApiError, out: &mut Vec<u8>) {
        data(out, &error.json());
    }
    /// After the last event.
    fn close(&mut self, _out: &mut Vec<u8>) {}
}

/// The response that streams generations.
pub(crate) fn respond<F: Format>(all: Vec<ActiveGeneration>, format: F, keep_alive: Duration, peer: &Peer) -> Response {
    let connection = peer.connection.clone();
    connection.generate();
    let all: Vec<Option<ActiveGeneration>> = all.into_iter().map(Some).collect();
    let prompts = all.iter().map(|_| None).collect();
    let ticks = interval_at(Instant::now() + keep_alive, keep_alive);
    let body = EventBody {
        all,
        prompts,
        format,
        ticks,
        connection,
        asked: false,
        silent: true,
        first: 0,
        large: false,
        state: State::New,
    };
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(F::CONTENT_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Otherwise nginx would buffer events.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Writes one event of JSON.
pub(crate) fn data(out: &mut Vec<u8>, value: &Value) {
    out.extend_from_slice(b"data: ");
    json(out, value);
    out.extend_from_slice(b"\n\n");
}

/// Writes one event of JSON with a name.
pub(crate) fn event<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, name: &str, value: &T) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    json(out, value);
    out.extend_from_slice(b"\n\n");
}

/// Writes a value as JSON, which has no line breaks of its own.
pub(crate) fn json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Serialising plain data into memory cannot fail.
    let _ = serde_json::to_writer(out, value);
}

enum State {
    New,
    Open,
    Closed,
}

struct EventBody<F> {
    /// `None` for those that have ended.
    all: Vec<Option<ActiveGeneration>>,
    /// Of each, the tokens of its prompt that are to be told, and how many were.
    prompts: Vec<Option<(Box<[PromptToken]>, usize)>>,
    format: F,
    ticks: Interval,
    connection: Arc<ConnectionState>,
    /// A client that has closed its sending side was sent something to skip, to find out whether it is gone.
    asked: bool,
    /// Nothing was sent since the last tick.
    silent: bool,
    /// The generation to poll first for the next chunk.
    first: usize,
    /// The last chunk was so large that the stream yields before the next.
    large: bool,
    state: State,
}

impl<F: Format> EventBody<F> {
    /// Writes the available events. Returns whether all generations have ended.
    fn collect(&mut self, task: &mut Context<'_>, out: &mut Vec<u8>) -> bool {
        let mut ended = true;
        let count = self.all.len();
        for index in (0..count).map(|offset| (self.first + offset) % count) {
            let place = &mut self.all[index];
            while let Some(running) = place {
                if out.len() > LARGE {
                    // The rest follows in the next chunk, which starts with this generation.
                    self.first = index;
                    return false;
                }
                if let Some((tokens, from)) = &mut self.prompts[index] {
                    let scores = |one: &PromptToken| one.logprobs.as_ref().map_or(0, |found| found.top.len());
                    let each = 1 + tokens.last().map_or(0, scores);
                    let to = tokens.len().min(*from + (SCORES / each).max(1));
                    self.format.prompt(index, &tokens[*from..to], *from == 0, out);
                    *from = to;
                    if to == tokens.len() {
                        self.prompts[index] = None;
                    }
                    continue;
                }
                match Pin::new(&mut *running).poll_next(task) {
                    Poll::Pending => {
                        ended = false;
                        break;
                    }
                    Poll::Ready(Some(Event::Delta(delta))) => {
                        self.format.delta(index, running, delta, out);
                    }
                    Poll::Ready(Some(Event::Progress(told))) => {
                        if self.format.wants_progress() {
                            let progress = PromptProgress::new(told, running.in_flight.since.elapsed());
                            self.format.progress(index, &progress, out);
                        }
                    }
                    Poll::Ready(Some(Event::Prompt(tokens))) => self.prompts[index] = Some((tokens, 0)),
                    Poll::Ready(Some(Event::Finished(finish))) => {
                        match failure(&finish) {
                            Ok(()) => self.format.end(index, running, &finish, out),
                            Err(error) => self.format.fail(index, &error, out),
                        }
                        *place = None;
                    }
                    Poll::Ready(Some(_)) => {}
                    Poll::Ready(None) => *place = None,
                }
            }
        }
        ended
    }
}

impl<F: Format> http_body::Body for EventBody<F> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if std::mem::take(&mut this.large) {
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut out = Vec::new();
        match this.state {
            State::Closed => return Poll::Ready(None),
            State::New => this.format.open(this.all.len(), &mut out),
            State::Open => {}
        }
        this.state = State::Open;
        if this.collect(task, &mut out) {
            this.format.close(&mut out);
            this.state = State::Closed;
            // The body may not be polled to its end; the generations are done.
            this.all.clear();
        }
        while this.ticks.poll_tick(task).is_ready() {
            if this.silent && out.is_empty() {
                out.extend_from_slice(F::KEEP_ALIVE);
            }
            this.silent = true;
        }
        if this.connection.has_ended() && !this.asked {
            this.asked = true;
            if out.is_empty() {
                out.extend_from_slice(F::KEEP_ALIVE);
            }
        }
        match (out.is_empty(), &this.state) {
            (false, _) => {
                this.silent = false;
                this.large = out.len() > LARGE;
                Poll::Ready(Some(Ok(Frame::data(out.into()))))
            }
            (true, State::Closed) => Poll::Ready(None),
            (true, _) => Poll::Pending,
        }
    }
}
