//! One `llama_infer_*` call: its generations, merged into one line of events that one thread at a time reads.

use std::{
    cell::Cell,
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt, stream::SelectAll};
use llama_concurrent::{Delta, Error, Event, Finish, FinishReason, Generation, Timings, Token};

use crate::{
    boundary::{Failure, Result},
    event::{Origin, OwnedEvent, llama_infer_event, llama_infer_id},
    mailbox::{Mailbox, Turn},
};

/// `void (*)(const llama_infer_event *event, void *user_data)`.
pub type EventFn = unsafe extern "C" fn(event: *const llama_infer_event, user_data: *mut std::ffi::c_void);

/// A running call.
pub struct Call {
    origin: Origin,
    /// `None` where the events are polled.
    on_event: Option<EventFn>,
    mailbox: Arc<Mailbox<Call>>,
    turn: Turn,
    parts: Mutex<Parts>,
    /// Prompts whose last event was not read yet.
    remaining: AtomicUsize,
    cancelled: AtomicBool,
    /// Where it is found by its id until its last event was given out.
    calls: Arc<Calls>,
}

thread_local! {
    /// The call whose callback runs on this thread.
    static IN_CALLBACK: Cell<Option<llama_infer_id>> = const { Cell::new(None) };
}

/// The call whose callback this thread is in.
pub fn current() -> Option<llama_infer_id> {
    IN_CALLBACK.get()
}

impl Call {
    pub fn new(
        origin: Origin,
        on_event: Option<EventFn>,
        mailbox: Arc<Mailbox<Call>>,
        prompts: usize,
        calls: Arc<Calls>,
    ) -> Arc<Self> {
        Arc::new(Self {
            origin,
            on_event,
            mailbox,
            turn: Turn::new(),
            parts: Mutex::default(),
            remaining: AtomicUsize::new(prompts),
            cancelled: AtomicBool::new(false),
            calls,
        })
    }

    /// From now on its events are given out.
    pub fn release(self: &Arc<Self>) {
        // Looked at here, so that no other thread has to wake up only to find that there is nothing yet.
        let event = self.next_event();
        if event.is_some() {
            self.parts().early = event;
            self.turn.again();
            self.mailbox.put(self.clone());
        } else {
            self.rest();
        }
    }

    /// Waits to be woken, unless that has happened meanwhile.
    fn rest(self: &Arc<Self>) {
        if self.turn.end() {
            self.mailbox.put(self.clone());
        }
    }

    pub fn id(&self) -> llama_infer_id {
        self.origin.id
    }

    pub fn has_callback(&self) -> bool {
        self.on_event.is_some()
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prompt `index` runs.
    pub fn add(self: &Arc<Self>, index: usize, generation: Generation) {
        self.push(Part::new(index, Source::Running(generation)));
    }

    /// Prompt `index` was refused; without an error because the call was cancelled before its turn came.
    pub fn refuse(self: &Arc<Self>, index: usize, error: Option<Error>) {
        let reason = if error.is_some() { FinishReason::Error } else { FinishReason::Cancelled };
        let finish = Finish { reason, stop: None, error, timings: Timings::default() };
        self.push(Part::new(index, Source::Over(Some(finish))));
    }

    fn push(self: &Arc<Self>, part: Part) {
        let mut parts = self.parts();
        // Under the lock, so that a cancel either finds this part or is seen here.
        if self.is_cancelled() {
            part.cancel();
        }
        parts.streams.push(part);
        drop(parts);
        self.wake_by_ref();
    }

    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.parts().streams.iter().for_each(Part::cancel);
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Gives the call up: what runs is cancelled, and nobody is told.
    pub fn abandon(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.close();
    }

    fn close(&self) {
        // Not only to free them early: they keep the waker, which keeps the call.
        let parts = std::mem::take(&mut *self.parts());
        drop(parts);
        self.calls.remove(self.id());
    }

    /// Reads the next event, of a call that was taken out of its mailbox. Without one, the call waits to be woken.
    /// With one, [`done`](Self::done) must follow when it was heard.
    pub fn read(self: &Arc<Self>) -> Option<Box<OwnedEvent>> {
        self.turn.begin();
        let event = self.next_event();
        if event.is_none() {
            self.rest();
        }
        event
    }

    fn next_event(self: &Arc<Self>) -> Option<Box<OwnedEvent>> {
        let waker = Waker::from(self.clone());
        let mut task = Context::from_waker(&waker);
        let mut parts = self.parts();
        if let Some(event) = parts.early.take() {
            return Some(event);
        }
        while let Poll::Ready(Some(news)) = parts.streams.poll_next_unpin(&mut task) {
            let remaining = self.remaining.load(Ordering::Relaxed);
            match news {
                News::Delta(..) if self.is_cancelled() => {}
                News::Delta(index, delta) => return Some(OwnedEvent::token(self.origin, index, remaining, delta)),
                News::Finished(end) => {
                    let End { index, finish, text, tokens } = *end;
                    self.remaining.store(remaining - 1, Ordering::Relaxed);
                    return Some(OwnedEvent::finished(self.origin, index, remaining - 1, finish, text, tokens));
                }
            }
        }
        None
    }

    /// Calls the caller back.
    pub fn call_back(&self, event: &OwnedEvent) {
        let Some(on_event) = self.on_event else { return };
        let outer = IN_CALLBACK.replace(Some(self.id()));
        // SAFETY: the caller promised, by passing it, that the function can be called with an event and this pointer
        // until the last event of the call; the event lives until it returns.
        unsafe { on_event(event.raw(), self.origin.user_data) };
        IN_CALLBACK.set(outer);
    }

    /// The event was heard: the call goes to the end of the line, or is over.
    pub fn done(self: Arc<Self>, event: &OwnedEvent) {
        if event.is_last() {
            self.close();
        } else {
            self.turn.again();
            self.mailbox.clone().put(self);
        }
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.turn.wake() {
            self.mailbox.put(self.clone());
        }
    }
}

#[derive(Default)]
struct Parts {
    streams: SelectAll<Part>,
    /// What came before the call was released.
    early: Option<Box<OwnedEvent>>,
}

/// One prompt of a call, with the output that was read so far.
struct Part {
    index: usize,
    source: Source,
    text: String,
    tokens: Vec<Token>,
}

enum Source {
    Running(Generation),
    /// The end that was not read yet; `None` afterwards.
    Over(Option<Finish>),
}

enum News {
    Delta(usize, Delta),
    Finished(Box<End>),
}

struct End {
    index: usize,
    finish: Finish,
    text: String,
    tokens: Vec<Token>,
}

impl Part {
    fn new(index: usize, source: Source) -> Self {
        Self { index, source, text: String::new(), tokens: Vec::new() }
    }

    fn cancel(&self) {
        if let Source::Running(generation) = &self.source {
            generation.cancel();
        }
    }

    fn finished(&mut self, finish: Finish) -> News {
        let (text, tokens) = (std::mem::take(&mut self.text), std::mem::take(&mut self.tokens));
        News::Finished(Box::new(End { index: self.index, finish, text, tokens }))
    }
}

impl Stream for Part {
    type Item = News;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<News>> {
        let part = &mut *self;
        let event = match &mut part.source {
            Source::Over(finish) => return Poll::Ready(finish.take().map(|finish| part.finished(finish))),
            Source::Running(generation) => std::task::ready!(generation.poll_next_unpin(task)),
        };
        Poll::Ready(match event {
            Some(Event::Delta(delta)) => {
                part.text.push_str(&delta.text);
                part.tokens.extend(delta.token);
                Some(News::Delta(part.index, delta))
            }
            Some(Event::Finished(finish)) => Some(part.finished(*finish)),
            // After the end; and whatever else the engine may tell one day.
            _ => None,
        })
    }
}

/// The calls of an engine that are not over.
#[derive(Default)]
pub struct Calls {
    live: Mutex<Live>,
    ended: Condvar,
}

pub type LiveCalls = BTreeMap<llama_infer_id, Arc<Call>>;

#[derive(Default)]
struct Live {
    calls: LiveCalls,
    closed: bool,
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a call.
    pub fn insert(&self, call: Arc<Call>) -> Result<()> {
        let mut live = self.lock();
        if live.closed {
            return Err(Failure::shutting_down());
        }
        live.calls.insert(call.id(), call);
        Ok(())
    }

    pub fn get(&self, id: llama_infer_id) -> Option<Arc<Call>> {
        self.lock().calls.get(&id).cloned()
    }

    pub fn remove(&self, id: llama_infer_id) {
        let call = self.lock().calls.remove(&id);
        self.ended.notify_all();
        // Outside of the lock: its generations go with it.
        drop(call);
    }

    /// Takes no more calls.
    pub fn close(&self) {
        self.lock().closed = true;
    }

    pub fn all(&self) -> Vec<Arc<Call>> {
        self.lock().calls.values().cloned().collect()
    }

    /// Waits until `go_on` is false of the calls that are left; whether that was so within `limit`.
    pub fn wait_while(&self, limit: Option<Duration>, go_on: impl Fn(&LiveCalls) -> bool) -> bool {
        // A limit beyond what the clock can hold is none.
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut live = self.lock();
        while go_on(&live.calls) {
            live = match deadline {
                None => self.ended.wait(live).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left == Duration::ZERO {
                        return false;
                    }
                    self.ended.wait_timeout(live, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }
}
