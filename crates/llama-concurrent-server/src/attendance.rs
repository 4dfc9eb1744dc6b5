//! What each connection is doing, so that the one that has been idle for longest can make room for a new one.

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

/// All connections that have no request under way, by when they became idle.
#[derive(Default)]
pub(crate) struct Idle(Mutex<Order>);

#[derive(Default)]
struct Order {
    next: u64,
    waiting: BTreeMap<u64, Arc<Attendance>>,
}

/// One connection. Orderings are relaxed: everything about a connection happens in one task.
#[derive(Default)]
pub(crate) struct Attendance {
    /// Its place among the idle ones.
    place: Mutex<Option<u64>>,
    close: Notify,
    /// A request is under way.
    busy: AtomicBool,
    /// And has been answered in part.
    begun: AtomicBool,
    /// And has generations, which wait for their reader.
    generates: AtomicBool,
    /// And its client would not know what to skip before an answer.
    is_old: AtomicBool,
    /// And not all that came with it was read.
    unread: AtomicBool,
    /// It is a WebSocket now.
    upgraded: AtomicBool,
    /// Its client sends no more.
    ended: AtomicBool,
    on_end: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Idle {
    fn enter(&self, attendance: &Arc<Attendance>) {
        let mut order = lock(&self.0);
        let place = order.next;
        order.next += 1;
        order.waiting.insert(place, attendance.clone());
        *lock(&attendance.place) = Some(place);
    }

    fn leave(&self, attendance: &Attendance) {
        if let Some(place) = lock(&attendance.place).take() {
            lock(&self.0).waiting.remove(&place);
        }
    }

    /// Closes the connection that has been idle for longest; whether there is one.
    pub(crate) fn close_one(&self) -> bool {
        let Some((_, longest)) = lock(&self.0).waiting.pop_first() else { return false };
        longest.close.notify_one();
        true
    }
}

/// A connection for as long as it is open.
pub(crate) struct Visit {
    pub(crate) attendance: Arc<Attendance>,
    idle: Arc<Idle>,
}

impl Visit {
    pub(crate) fn new(idle: Arc<Idle>) -> Self {
        let attendance = Arc::new(Attendance::default());
        idle.enter(&attendance);
        Self { attendance, idle }
    }

    /// A request begins.
    pub(crate) fn request(&self, is_old: bool, has_body: bool) -> Busy {
        let one = &self.attendance;
        self.idle.leave(one);
        one.busy.store(true, Ordering::Relaxed);
        one.begun.store(false, Ordering::Relaxed);
        one.generates.store(false, Ordering::Relaxed);
        one.is_old.store(is_old, Ordering::Relaxed);
        one.unread.store(has_body, Ordering::Relaxed);
        Busy { attendance: one.clone(), idle: self.idle.clone() }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.idle.leave(&self.attendance);
    }
}

impl Attendance {
    /// Waits until the connection has to make room.
    pub(crate) async fn closed(&self) {
        self.close.notified().await;
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// Whether a client that sends no more may still wait for an answer.
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

    /// The answer is a stream of generations, which keep their slots while nobody reads.
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

    /// Whether the client sends no more; it may be gone.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Waits until the client sends no more.
    pub(crate) async fn until_end(&self) {
        while !self.has_ended() {
            self.on_end.notified().await;
        }
    }
}

/// A request that is under way, until its answer was taken whole.
pub(crate) struct Busy {
    attendance: Arc<Attendance>,
    idle: Arc<Idle>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.attendance.busy.store(false, Ordering::Relaxed);
        if !self.attendance.upgraded.load(Ordering::Relaxed) {
            self.idle.enter(&self.attendance);
        }
    }
}

/// The body of an answer, which keeps its connection busy.
pub(crate) struct Attended {
    pub(crate) body: Body,
    pub(crate) busy: Option<Busy>,
}

impl http_body::Body for Attended {
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

    fn is_closed(visit: &Visit) -> bool {
        let closed = std::pin::pin!(visit.attendance.closed());
        closed.poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[test]
    fn the_one_that_has_been_idle_for_longest_makes_room() {
        let idle = Arc::new(Idle::default());
        let visits = [(); 4].map(|()| Visit::new(idle.clone()));
        // The first is idle again, after the others; the second is busy; the third has gone.
        drop(visits[0].request(false, false));
        let busy = visits[1].request(false, false);
        let [first, second, third, fourth] = visits;
        drop(third);
        assert!(idle.close_one());
        assert_eq!([&first, &second, &fourth].map(is_closed), [false, false, true]);
        assert!(idle.close_one());
        assert_eq!([&first, &second].map(is_closed), [true, false]);
        assert!(!idle.close_one(), "one that is busy stays");
        drop(busy);
        assert!(idle.close_one());
        drop((first, second, fourth));
        assert!(lock(&idle.0).waiting.is_empty(), "nobody is remembered");
    }
}
