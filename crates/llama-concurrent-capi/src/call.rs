//! One `llama_infer_*` call: its generations, merged into one line of events that one thread at a time reads.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::c_void,
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use futures_core::Stream;
use llama_concurrent::{Collector, Error, Event, Finish, FinishReason, Generation, Timings};

use crate::{
    event::{Origin, OwnedEvent, llama_infer_event},
    inside::{self, Inside},
    mailbox::{Mailbox, Turn},
    types::{Failure, Result, llama_infer_id},
};

/// `void (*)(const llama_infer_event *event, void *user_data)`.
pub type EventFn = unsafe extern "C" fn(event: *const llama_infer_event, user_data: *mut c_void);

/// Where the events of a call go.
pub enum Destination {
    /// To a function, called by the threads that read the engine's mailbox.
    Callback(EventFn, Arc<Mailbox<Call>>),
    /// To whom polls.
    Queue(Arc<dyn EventQueue>),
}

/// What a call needs of a queue that its events go to.
pub trait EventQueue: Send + Sync {
    /// Where calls wait that have an event.
    fn mailbox(&self) -> &Mailbox<Call>;

    /// Notes a call whose events come here.
    fn attach(&self, call: &Arc<Call>) -> Result<()>;

    /// Forgets a call that is over.
    fn detach(&self, id: llama_infer_id);
}

/// A running call.
pub struct Call {
    origin: Origin,
    destination: Destination,
    turn: Turn,
    parts: Mutex<Parts>,
    /// A prompt ended, or the call was cancelled.
    room: Condvar,
    /// Prompts that may have something to read. A lock of its own, since workers write here while others read events.
    ready: Mutex<VecDeque<usize>>,
    cancelled: AtomicBool,
    /// Where it is found by its id until its last event was given out.
    calls: Arc<Calls>,
}

struct Parts {
    running: BTreeMap<usize, Part>,
    /// Prompts whose last event was not read yet, those that were not started included.
    remaining: usize,
    closed: bool,
}

impl Call {
    /// A call of so many prompts. Nothing of it is told before [`release`](Self::release).
    pub fn new(origin: Origin, destination: Destination, prompts: usize, calls: Arc<Calls>) -> Arc<Self> {
        Arc::new(Self {
            origin,
            destination,
            turn: Turn::new(),
            parts: Mutex::new(Parts { running: BTreeMap::new(), remaining: prompts, closed: false }),
            room: Condvar::new(),
            ready: Mutex::default(),
            cancelled: AtomicBool::new(false),
            calls,
        })
    }

    pub fn id(&self) -> llama_infer_id {
        self.origin.id
    }

    pub fn has_callback(&self) -> bool {
        matches!(self.destination, Destination::Callback(..))
    }

    fn mailbox(&self) -> &Mailbox<Call> {
        match &self.destination {
            Destination::Callback(_, mailbox) => mailbox,
            Destination::Queue(queue) => queue.mailbox(),
        }
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready(&self) -> MutexGuard<'_, VecDeque<usize>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prompt `index` runs.
    pub fn add(self: &Arc<Self>, index: usize, generation: Generation) {
        self.push(index, Some(generation), None);
    }

    /// Prompt `index` was refused; without an error because the call was cancelled before its turn came.
    pub fn refuse(self: &Arc<Self>, index: usize, error: Option<Error>) {
        let reason = if error.is_some() { FinishReason::Error } else { FinishReason::Cancelled };
        let finish = Finish { reason, stop: None, error, timings: Timings::default() };
        self.push(index, None, Some(Event::Finished(Box::new(finish))));
    }

    fn push(self: &Arc<Self>, index: usize, generation: Option<Generation>, peeked: Option<Event>) {
        let waker = Waker::from(Arc::new(PartWaker { call: Arc::downgrade(self), index }));
        let part = Part { generation, peeked, waker, collected: Collector::default() };
        let mut parts = self.parts();
        if parts.closed {
            return;
        }
        // Under the lock, so that a cancel either finds this part or is seen here.
        if self.is_cancelled() {
            part.cancel();
        }
        parts.running.insert(index, part);
        drop(parts);
        self.wake(index);
    }

    /// Prompt `index` may have something to read.
    fn wake(self: &Arc<Self>, index: usize) {
        self.ready().push_back(index);
        if self.turn.wake() {
            self.mailbox().put(self.clone());
        }
    }

    /// From now on its events are given out.
    pub fn release(self: &Arc<Self>) {
        // Looked at here, so that no other thread has to wake up only to find that there is nothing yet.
        let mut parts = self.parts();
        self.turn.begin();
        let waiting = std::mem::take(&mut *self.ready());
        let filled = waiting.into_iter().filter(|index| parts.running.get_mut(index).is_some_and(Part::peek));
        let filled: Vec<_> = filled.collect();
        drop(parts);
        if filled.is_empty() {
            self.rest();
        } else {
            self.ready().extend(filled);
            self.turn.again();
            self.mailbox().put(self.clone());
        }
    }

    /// Waits to be woken, unless that has happened meanwhile.
    fn rest(self: &Arc<Self>) {
        if self.turn.end() {
            self.mailbox().put(self.clone());
        }
    }

    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.parts().running.values().for_each(Part::cancel);
        self.room.notify_all();
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Gives the call up: what runs is cancelled, and nobody is told.
    pub fn abandon(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.close();
        self.room.notify_all();
    }

    fn close(&self) {
        let running = {
            let mut parts = self.parts();
            parts.closed = true;
            std::mem::take(&mut parts.running)
        };
        drop(running);
        if let Destination::Queue(queue) = &self.destination {
            queue.detach(self.id());
        }
        self.calls.remove(self.id());
    }

    /// Waits until fewer than `most` prompts run whose end was not read, or the call is cancelled.
    pub fn wait_for_room(&self, most: usize) {
        let full = |parts: &mut Parts| parts.running.len() >= most && !self.is_cancelled();
        drop(self.room.wait_while(self.parts(), full).unwrap_or_else(PoisonError::into_inner));
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

    fn next_event(&self) -> Option<Box<OwnedEvent>> {
        let mut parts = self.parts();
        loop {
            let index = self.ready().pop_front()?;
            let Some(part) = parts.running.get_mut(&index) else { continue };
            match part.next() {
                None => {}
                Some(Event::Finished(finish)) => {
                    let part = parts.running.remove(&index)?;
                    parts.remaining -= 1;
                    self.room.notify_all();
                    let done = part.collected.finish(*finish);
                    return Some(OwnedEvent::finished(self.origin, index, parts.remaining, done));
                }
                Some(Event::Delta(delta)) => {
                    self.ready().push_back(index);
                    if self.is_cancelled() {
                        continue;
                    }
                    part.collected.push(&delta);
                    return Some(OwnedEvent::token(self.origin, index, parts.remaining, delta));
                }
                // Whatever else the engine may tell one day.
                Some(_) => self.ready().push_back(index),
            }
        }
    }

    /// Calls the caller back.
    pub fn call_back(&self, event: &mut OwnedEvent) {
        let Destination::Callback(on_event, _) = self.destination else { return };
        // SAFETY: the caller promised, by passing it, that the function can be called with an event and this pointer
        // until the last event of the call; the event lives until it returns.
        inside::during(Inside::Event(self.id()), || unsafe { on_event(event.raw(), self.origin.user_data) });
    }

    /// The event was heard: the call goes to the end of the line, or is over.
    pub fn done(self: Arc<Self>, event: &OwnedEvent) {
        if event.is_last() {
            self.close();
        } else {
            self.turn.again();
            self.mailbox().put(self.clone());
        }
    }
}

/// One prompt of a call.
struct Part {
    /// `None` for one that was refused.
    generation: Option<Generation>,
    /// An event that was looked at and not read.
    peeked: Option<Event>,
    waker: Waker,
    /// The output that was read so far.
    collected: Collector,
}

/// Says that a prompt has news. It does not keep the call, which keeps it.
struct PartWaker {
    call: Weak<Call>,
    index: usize,
}

impl Wake for PartWaker {
    fn wake(self: Arc<Self>) {
        if let Some(call) = self.call.upgrade() {
            call.wake(self.index);
        }
    }
}

impl Part {
    fn cancel(&self) {
        if let Some(generation) = &self.generation {
            generation.cancel();
        }
    }

    /// The next event; without one, the part is woken when there is one.
    fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.peeked.take() {
            return Some(event);
        }
        let mut task = Context::from_waker(&self.waker);
        match Pin::new(self.generation.as_mut()?).poll_next(&mut task) {
            Poll::Ready(event) => event,
            Poll::Pending => None,
        }
    }

    /// Whether there is an event to read; without one, the part is woken when there is one.
    fn peek(&mut self) -> bool {
        self.peeked = self.next();
        self.peeked.is_some()
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

    fn remove(&self, id: llama_infer_id) {
        let call = self.lock().calls.remove(&id);
        self.ended.notify_all();
        // Outside of the lock: it may be the last reference.
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
