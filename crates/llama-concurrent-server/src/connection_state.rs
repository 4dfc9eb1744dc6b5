//! The state of each connection, so that the longest idle one can be closed to make room for a new one.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::Notify;

/// All connections without a request in progress, ordered by when they became idle.
#[derive(Default)]
pub(crate) struct Idle(Mutex<Order>);

#[derive(Default)]
struct Order {
    next: u64,
    waiting: BTreeMap<u64, Arc<ConnectionState>>,
}

/// The state of one connection. Orderings are relaxed because a connection is handled in one task.
#[derive(Default)]
pub(crate) struct ConnectionState {
    /// Its key among the idle ones.
    idle_key: Mutex<Option<u64>>,
    close: Notify,
    /// A request is in progress.
    busy: AtomicBool,
    /// Part of its response was sent.
    begun: AtomicBool,
    /// It has generations, which pause if the client does not read.
    generates: AtomicBool,
    /// Its client is older than HTTP/1.1, which does not know interim responses.
    is_old: AtomicBool,
    /// Its body was not read completely.
    unread: AtomicBool,
    /// It is a WebSocket now.
    upgraded: AtomicBool,
    /// The client has closed its sending side.
    ended: AtomicBool,
    on_end: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Idle {
    fn enter(&self, state: &Arc<ConnectionState>) {
        let mut order = lock(&self.0);
        let key = order.next;
        order.next += 1;
        order.waiting.insert(key, state.clone());
        *lock(&state.idle_key) = Some(key);
    }

    fn leave(&self, state: &ConnectionState) {
        if let Some(key) = lock(&state.idle_key).take() {
            lock(&self.0).waiting.remove(&key);
        }
    }

    /// Closes the longest idle connection. Returns whether there is one.
    pub(crate) fn close_one(&self) -> bool {
        let Some((_, longest)) = lock(&self.0).waiting.pop_first() else { return false };
        longest.close.notify_one();
        true
    }
}

/// A connection for as long as it is open.
pub(crate) struct OpenConnection {
    pub(crate) state: Arc<ConnectionState>,
    idle: Arc<Idle>,
}

impl OpenConnection {
    pub(crate) fn new(idle: Arc<Idle>) -> Self {
        let state = Arc::new(ConnectionState::default());
        idle.enter(&state);
        Self { state, idle }
    }

    /// A request begins.
    pub(crate) fn request(&self, is_old: bool, has_body: bool) -> Busy {
        let one = &self.state;
        self.idle.leave(one);
        one.busy.store(true, Ordering::Relaxed);
        one.begun.store(false, Ordering::Relaxed);
        one.generates.store(false, Ordering::Relaxed);
        one.is_old.store(is_old, Ordering::Relaxed);
        one.unread.store(has_body, Ordering::Relaxed);
        Busy { state: one.clone(), idle: self.idle.clone() }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.idle.leave(&self.state);
    }
}

impl ConnectionState {
    /// Waits until the connection must close to make room.
    pub(crate) async fn closed(&self) {
        self.close.notified().await;
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// Whether a client that has closed its sending side may still wait for a response.
    pub(crate) fn awaits_answer(&self) -> bool {
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        is(&self.busy) && !is(&self.is_old) && !is(&self.upgraded)
    }

    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// The response is a stream of generations, which keep their slots while the client does not read.
    pub(crate) fn generate(&self) {
        self.generates.store(true, Ordering::Relaxed);
    }

    pub(crate) fn generates(&self) -> bool {
        self.generates.load(Ordering::Relaxed)
    }

    pub(crate) fn read_whole(&self) {
        self.unread.store(false, Ordering::Relaxed);
    }

    pub(crate) fn left_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    pub(crate) fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
        self.generate();
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.on_end.notify_one();
    }

    /// Whether the client has closed its sending side; it may be gone.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Waits until the client closes its sending side.
    pub(crate) async fn until_end(&self) {
        while !self.has_ended() {
            self.on_end.notified().await;
        }
    }
}

/// A request in progress, until its response was sent completely.
pub(crate) struct Busy {
    state: Arc<ConnectionState>,
    idle: Arc<Idle>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.state.busy.store(false, Ordering::Relaxed);
        if !self.state.upgraded.load(Ordering::Relaxed) {
            self.idle.enter(&self.state);
        }
    }
}

/// The body of an answer, which keeps its connection busy.
pub(crate) struct TrackedBody {
    pub(crate) body: Body,
    pub(crate) busy: Option<Busy>,
}

impl http_body::Body for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(task);
        if matches!(polled, Poll::Ready(None)) {
            self.busy = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_closed(open_connection: &OpenConnection) -> bool {
        let closed = std::pin::pin!(open_connection.state.closed());
        closed.poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[test]
    fn the_longest_idle_connection_is_closed() {
        let idle = Arc::new(Idle::default());
        let open_connections = [(); 4].map(|()| OpenConnection::new(idle.clone()));
        // The first is idle again, after the others; the second is busy; the third has gone.
        drop(open_connections[0].request(false, false));
        let busy = open_connections[1].request(false, false);
        let [first, second, third, fourth] = open_connections;
        drop(third);
        assert!(idle.close_one());
        assert_eq!([&first, &second, &fourth].map(is_closed), [false, false, true]);
        assert!(idle.close_one());
        assert_eq!([&first, &second].map(is_closed), [true, false]);
        assert!(!idle.close_one(), "a busy one stays open");
        drop(busy);
        assert!(idle.close_one());
        drop((first, second, fourth));
        assert!(lock(&idle.0).waiting.is_empty(), "no connection is left");
    }
}
