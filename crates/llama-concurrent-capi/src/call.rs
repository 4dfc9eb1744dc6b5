//! One `llama_infer_*` call: its generations, merged into one sequence of events that one thread at a time reads.
//!
//! A call is the task of the scheduler in [`ready_queue`](crate::ready_queue): the engine wakes it, a thread reads one event.

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
use llama_concurrent::{
    Collector, Delta, Error, Event, Finish, FinishReason, Generation, Reply, ReplyEvent, ReplyReader, Timings,
};

use crate::{
    event::{Origin, OwnedEvent, llama_infer_event},
    ready_queue::{ReadyQueue, TaskState},
    reentrancy::{self, CallbackContext},
    types::{Failure, Result, llama_infer_id},
};

/// `void (*)(const llama_infer_event *event, void *user_data)`.
pub type EventFn = unsafe extern "C" fn(event: *const llama_infer_event, user_data: *mut c_void);

/// Where the events of a call go.
pub enum Destination {
    /// To a function, called by the threads that read the engine's ready queue.
    Callback(EventFn, Arc<ReadyQueue<Call>>),
    /// To the thread that polls.
    Queue(Arc<dyn EventQueue>),
}

/// The interface of a queue that gets the events of a call.
pub trait EventQueue: Send + Sync {
    /// The calls that have an event.
    fn ready_queue(&self) -> &ReadyQueue<Call>;

    /// Registers a call whose events come to this queue.
    fn attach(&self, call: &Arc<Call>) -> Result<()>;

    /// Unregisters a call that is over.
    fn detach(&self, id: llama_infer_id);
}

/// A running call.
pub struct Call {
    origin: Origin,
    destination: Destination,
    state: TaskState,
    prompts: Mutex<Prompts>,
    /// A prompt ended, or the call was cancelled.
    room: Condvar,
    /// Prompts that may have something to read. A lock of its own, since workers write here while others read events.
    ready: Mutex<VecDeque<usize>>,
    cancelled: AtomicBool,
    /// Holds the call under its id until its last event was delivered.
    calls: Arc<Calls>,
}

struct Prompts {
    running: BTreeMap<usize, PromptState>,
    /// Prompts whose last event was not read yet, including those that were not started.
    remaining: usize,
    closed: bool,
}

impl Call {
    /// A call of `prompts` prompts. No event is delivered before [`release`](Self::release).
    pub fn new(origin: Origin, destination: Destination, prompts: usize, calls: Arc<Calls>) -> Arc<Self> {
        Arc::new(Self {
            origin,
            destination,
            state: TaskState::new(),
            prompts: Mutex::new(Prompts { running: BTreeMap::new(), remaining: prompts, closed: false }),
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

    fn ready_queue(&self) -> &ReadyQueue<Call> {
        match &self.destination {
            Destination::Callback(_, ready_queue) => ready_queue,
            Destination::Queue(queue) => queue.ready_queue(),
        }
    }

    fn prompts(&self) -> MutexGuard<'_, Prompts> {
        self.prompts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready(&self) -> MutexGuard<'_, VecDeque<usize>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the generation of prompt `index`, whose answer the reader reads.
    pub fn add(self: &Arc<Self>, index: usize, generation: Generation, reader: Option<ReplyReader>) {
        self.push(index, Some(generation), reader, None);
    }

    /// Prompt `index` was refused or, without an error, cancelled before it was submitted.
    pub fn refuse(self: &Arc<Self>, index: usize, error: Option<Error>) {
        let cancelled = || Finish::new(FinishReason::Cancelled, Timings::default());
        let finish = error.map_or_else(cancelled, Finish::failed);
        self.push(index, None, None, Some(Event::Finished(Box::new(finish))));
    }

    fn push(
        self: &Arc<Self>,
        index: usize,
        generation: Option<Generation>,
        reader: Option<ReplyReader>,
        peeked: Option<Event>,
    ) {
        let waker = Waker::from(Arc::new(PromptWaker { call: Arc::downgrade(self), index }));
        let prompt = PromptState {
            generation,
            peeked,
            waker,
            reader,
            said: VecDeque::new(),
            reply: Reply::default(),
            collected: Collector::default(),
        };
        let mut prompts = self.prompts();
        if prompts.closed {
            return;
        }
        // Under the lock, so that a cancel either finds this prompt or is seen here.
        if self.is_cancelled() {
            prompt.cancel();
        }
        prompts.running.insert(index, prompt);
        drop(prompts);
        self.wake(index);
    }

    /// Prompt `index` may have something to read.
    fn wake(self: &Arc<Self>, index: usize) {
        self.ready().push_back(index);
        if self.state.wake() {
            self.ready_queue().put(self.clone());
        }
    }

    /// Starts the delivery of events.
    pub fn release(self: &Arc<Self>) {
        // Polled here, so that no other thread wakes up only to find that there is no event yet.
        let mut prompts = self.prompts();
        self.state.begin();
        let waiting = std::mem::take(&mut *self.ready());
        let filled = waiting.into_iter().filter(|index| prompts.running.get_mut(index).is_some_and(PromptState::peek));
        let filled: Vec<_> = filled.collect();
        drop(prompts);
        if filled.is_empty() {
            self.park();
        } else {
            self.ready().extend(filled);
            self.state.again();
            self.ready_queue().put(self.clone());
        }
    }

    /// Goes idle until the next wake-up, unless one has happened already.
    fn park(self: &Arc<Self>) {
        if self.state.end() {
            self.ready_queue().put(self.clone());
        }
    }

    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.prompts().running.values().for_each(PromptState::cancel);
        self.room.notify_all();
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Cancels all prompts and delivers no more events.
    pub fn abandon(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.close();
        self.room.notify_all();
    }

    fn close(&self) {
        let running = {
            let mut prompts = self.prompts();
            prompts.closed = true;
            std::mem::take(&mut prompts.running)
        };
        drop(running);
        if let Destination::Queue(queue) = &self.destination {
            queue.detach(self.id());
        }
        self.calls.remove(self.id());
    }

    /// Waits until fewer than `most` prompts have an unread end, or the call is cancelled.
    pub fn wait_for_room(&self, most: usize) {
        let full = |prompts: &mut Prompts| prompts.running.len() >= most && !self.is_cancelled();
        drop(self.room.wait_while(self.prompts(), full).unwrap_or_else(PoisonError::into_inner));
    }

    /// Reads the next event of a call that was taken out of its ready queue. Without one, the call goes idle. With one,
    /// [`done`](Self::done) must follow once it was delivered.
    pub fn read(self: &Arc<Self>) -> Option<Box<OwnedEvent>> {
        self.state.begin();
        let event = self.next_event();
        if event.is_none() {
            self.park();
        }
        event
    }

    fn next_event(&self) -> Option<Box<OwnedEvent>> {
        let mut prompts = self.prompts();
        loop {
            let index = self.ready().pop_front()?;
            let remaining = prompts.remaining;
            let Some(prompt) = prompts.running.get_mut(&index) else { continue };
            match prompt.next() {
                None => {}
                Some(Said::Collected(event)) => {
                    // It belongs to the result.
                    prompt.collected.take(event);
                    self.ready().push_back(index);
                }
                Some(Said::Finished(finish)) => {
                    let prompt = prompts.running.remove(&index)?;
                    prompts.remaining -= 1;
                    self.room.notify_all();
                    let reply = prompt.reader.is_some().then_some(prompt.reply);
                    let done = prompt.collected.finish(*finish);
                    return Some(OwnedEvent::finished(self.origin, index, prompts.remaining, done, reply));
                }
                Some(Said::New(delta, piece)) => {
                    self.ready().push_back(index);
                    if self.is_cancelled() {
                        continue;
                    }
                    prompt.collected.push(&delta);
                    if let Some(piece) = &piece {
                        prompt.reply.add(piece.clone());
                    }
                    if matches!(piece, Some(ReplyEvent::CallEnd { .. })) && delta.token.is_none() {
                        continue;
                    }
                    return Some(OwnedEvent::new_output(
                        self.origin,
                        index,
                        remaining,
                        delta,
                        piece,
                        &prompt.reply.calls,
                    ));
                }
                // Kinds of events that a later engine may add.
                Some(Said::Nothing) => self.ready().push_back(index),
            }
        }
    }

    /// Passes an event to the callback.
    pub fn call_back(&self, event: &mut OwnedEvent) {
        let Destination::Callback(on_event, _) = self.destination else { return };
        // SAFETY: by passing it, the caller promised that the function can be called with an event and this pointer until
        // the last event of the call; the event lives until the function returns.
        reentrancy::during(CallbackContext::Event(self.id()), || unsafe {
            on_event(event.raw(), self.origin.user_data)
        });
    }

    /// The event was delivered: the call goes to the back of the ready queue, or is over.
    pub fn done(self: Arc<Self>, event: &OwnedEvent) {
        if event.is_last() {
            self.close();
        } else {
            self.state.again();
            self.ready_queue().put(self.clone());
        }
    }
}

/// One prompt of a call.
struct PromptState {
    /// `None` if the prompt was refused.
    generation: Option<Generation>,
    /// An event that was peeked at and not read.
    peeked: Option<Event>,
    waker: Waker,
    /// Reads the answer to a chat.
    reader: Option<ReplyReader>,
    /// What came with an event and was not read yet.
    said: VecDeque<Said>,
    /// The answer read so far.
    reply: Reply,
    /// The output read so far.
    collected: Collector,
}

/// One event for the caller.
enum Said {
    /// New output: tokens and, of a chat, a piece of the answer, in whose place the text of the tokens then stands.
    New(Delta, Option<ReplyEvent>),
    Finished(Box<Finish>),
    /// What is a part of the result alone.
    Collected(Event),
    Nothing,
}

/// Wakes the call when a prompt has an event. The reference is weak because the call owns the waker.
struct PromptWaker {
    call: Weak<Call>,
    index: usize,
}

impl Wake for PromptWaker {
    fn wake(self: Arc<Self>) {
        if let Some(call) = self.call.upgrade() {
            call.wake(self.index);
        }
    }
}

impl PromptState {
    fn cancel(&self) {
        if let Some(generation) = &self.generation {
            generation.cancel();
        }
    }

    /// The next event. Without one, the waker is called when there is one.
    fn next(&mut self) -> Option<Said> {
        if let Some(said) = self.said.pop_front() {
            return Some(said);
        }
        let event = self.next_of_generation()?;
        let pieces = match (&event, &mut self.reader) {
            (Event::Delta(delta), Some(reader)) => reader.push(&delta.text),
            (Event::Finished(_), Some(reader)) => reader.finish(),
            _ => Vec::new(),
        };
        let mut pieces = pieces.into_iter();
        let last = match event {
            Event::Delta(mut delta) if self.reader.is_some() => {
                // The tokens come with the first piece, or by themselves.
                delta.text.clear();
                self.said.push_back(Said::New(delta, pieces.next()));
                None
            }
            Event::Delta(delta) => Some(Said::New(delta, None)),
            Event::Finished(finish) => Some(Said::Finished(finish)),
            event @ (Event::Embedding(_) | Event::Prompt(_)) => Some(Said::Collected(event)),
            _ => Some(Said::Nothing),
        };
        self.said.extend(pieces.map(|piece| Said::New(Delta::default(), Some(piece))));
        self.said.extend(last);
        self.said.pop_front()
    }

    fn next_of_generation(&mut self) -> Option<Event> {
        if let Some(event) = self.peeked.take() {
            return Some(event);
        }
        let mut task = Context::from_waker(&self.waker);
        match Pin::new(self.generation.as_mut()?).poll_next(&mut task) {
            Poll::Ready(event) => event,
            Poll::Pending => None,
        }
    }

    /// Whether there is an event to read. Without one, the waker is called when there is one.
    fn peek(&mut self) -> bool {
        self.peeked = self.next_of_generation();
        self.peeked.is_some()
    }
}

/// The unfinished calls of an engine.
#[derive(Default)]
pub struct Calls {
    active: Mutex<ActiveCalls>,
    ended: Condvar,
}

pub type CallMap = BTreeMap<llama_infer_id, Arc<Call>>;

#[derive(Default)]
struct ActiveCalls {
    calls: CallMap,
    closed: bool,
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, ActiveCalls> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a call.
    pub fn insert(&self, call: Arc<Call>) -> Result<()> {
        let mut active = self.lock();
        if active.closed {
            return Err(Failure::shutting_down());
        }
        active.calls.insert(call.id(), call);
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

    /// Waits while `condition` holds for the unfinished calls. Returns whether it became false within `limit`.
    pub fn wait_while(&self, limit: Option<Duration>, condition: impl Fn(&CallMap) -> bool) -> bool {
        // A limit beyond the range of the clock is no limit.
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut active = self.lock();
        while condition(&active.calls) {
            active = match deadline {
                None => self.ended.wait(active).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left == Duration::ZERO {
                        return false;
                    }
                    self.ended.wait_timeout(active, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }
}
