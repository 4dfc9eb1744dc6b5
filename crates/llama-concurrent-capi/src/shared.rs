//! What an engine handle stands for.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use llama_concurrent::{Engine, Request};

use crate::{
    call::{Call, Calls, Destination, EventFn, LiveCalls},
    callbacks::CallbackThreads,
    event::Origin,
    feeder,
    handles::Handles,
    inside::{self, Inside},
    mailbox::Mailbox,
    status::llama_infer_status as Status,
    types::{Failure, Result, llama_engine, llama_infer_id},
};

/// All engines of the process.
pub static ENGINES: Handles<Shared> = Handles::new("engine");

/// The upper bits of an id tell the engine, so that an id of another engine is found out.
const ID_BITS: u32 = 40;

pub struct Shared {
    pub engine: Engine,
    handle: usize,
    ordinal: u64,
    next: AtomicU64,
    calls: Arc<Calls>,
    mailbox: Arc<Mailbox<Call>>,
    callbacks: Arc<CallbackThreads>,
    /// `None` when no more are taken.
    feeders: Mutex<Option<Vec<JoinHandle<()>>>>,
    /// Somebody frees it.
    freeing: AtomicBool,
}

impl Shared {
    pub fn new(engine: Engine, handle: usize, mailbox: Arc<Mailbox<Call>>, callbacks: Arc<CallbackThreads>) -> Self {
        static ORDINAL: AtomicU64 = AtomicU64::new(1);
        Self {
            engine,
            handle,
            ordinal: ORDINAL.fetch_add(1, Ordering::Relaxed),
            next: AtomicU64::new(1),
            calls: Arc::default(),
            mailbox,
            callbacks,
            feeders: Mutex::new(Some(Vec::new())),
            freeing: AtomicBool::new(false),
        }
    }

    /// The destination of a callback.
    pub fn callback(&self, on_event: EventFn) -> Destination {
        Destination::Callback(on_event, self.mailbox.clone())
    }

    /// Enters a call of so many prompts.
    pub fn open(
        &self,
        prompts: usize,
        destination: Destination,
        user_data: *mut std::ffi::c_void,
    ) -> Result<Arc<Call>> {
        let id = self.ordinal << ID_BITS | self.next.fetch_add(1, Ordering::Relaxed);
        let engine = std::ptr::without_provenance_mut::<llama_engine>(self.handle);
        let queue = if let Destination::Queue(queue) = &destination { Some(queue.clone()) } else { None };
        let call = Call::new(Origin { id, engine, user_data }, destination, prompts, self.calls.clone());
        self.calls.insert(call.clone())?;
        if let Some(queue) = queue {
            queue.attach(&call).inspect_err(|_| call.abandon())?;
        }
        Ok(call)
    }

    /// Runs one request. Its events wait for `call.release`.
    pub fn start(&self, call: &Arc<Call>, request: Request) -> Result<()> {
        match self.engine.submit(request) {
            Ok(generation) => {
                call.add(0, generation);
                Ok(())
            }
            Err(error) => {
                call.abandon();
                Err(error.into())
            }
        }
    }

    /// Runs many requests. Their events wait for `call.release`.
    pub fn start_all(&self, call: &Arc<Call>, requests: Vec<Request>) -> Result<()> {
        let mut feeders = self.feeders();
        let Some(feeders) = feeders.as_mut() else {
            call.abandon();
            return Err(Failure::shutting_down());
        };
        feeders.retain(|thread| !thread.is_finished());
        let window = self.engine.batch_window();
        let thread = feeder::feed(self.engine.clone(), call.clone(), requests, window).map_err(|error| {
            call.abandon();
            Failure::new(Status::OutOfMemory, format!("cannot start a thread for the batch: {error}"))
        })?;
        feeders.push(thread);
        Ok(())
    }

    fn feeders(&self) -> MutexGuard<'_, Option<Vec<JoinHandle<()>>>> {
        self.feeders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After this no thread submits prompts of a batch.
    fn join_feeders(&self) {
        let feeders = self.feeders().take();
        for feeder in feeders.into_iter().flatten() {
            let _ = feeder.join();
        }
    }

    fn has_given_out(&self, id: llama_infer_id) -> bool {
        id >> ID_BITS == self.ordinal && {
            let n = id & ((1 << ID_BITS) - 1);
            (1..self.next.load(Ordering::Relaxed)).contains(&n)
        }
    }

    fn check_id(&self, id: llama_infer_id) -> Result<()> {
        if self.has_given_out(id) {
            return Ok(());
        }
        Err(Failure::new(Status::NotFound, format!("this engine never gave out the id {id}")))
    }

    /// Refuses what waits for this engine's callbacks inside of one of them.
    pub fn refuse_in_callback(&self, what: &str) -> Result<()> {
        match inside::current() {
            Inside::Event(id) if id >> ID_BITS == self.ordinal => inside::refuse(what, "a callback"),
            _ => inside::refuse_in_log(what),
        }
    }

    pub fn cancel(&self, id: llama_infer_id) -> Result<()> {
        self.check_id(id)?;
        if let Some(call) = self.calls.get(id) {
            call.cancel();
        }
        Ok(())
    }

    pub fn wait(&self, id: llama_infer_id, limit: Option<Duration>) -> Result<()> {
        self.check_id(id)?;
        if inside::current() == Inside::Event(id) {
            return inside::refuse("waiting for a request", "its own callback");
        }
        inside::refuse_in_log("waiting for a request")?;
        self.wait_while(limit, |calls| calls.contains_key(&id))
    }

    /// Waits for everything that was started before.
    pub fn wait_all(&self, limit: Option<Duration>) -> Result<()> {
        self.refuse_in_callback("waiting for all requests")?;
        let next = self.ordinal << ID_BITS | self.next.load(Ordering::Relaxed);
        self.wait_while(limit, |calls| calls.range(..next).next().is_some())
    }

    pub fn drain(&self, limit: Option<Duration>) -> Result<()> {
        self.refuse_in_callback("draining the engine")?;
        self.calls.close();
        self.wait_while(limit, |calls| !calls.is_empty())
    }

    fn wait_while(&self, limit: Option<Duration>, go_on: impl Fn(&LiveCalls) -> bool) -> Result<()> {
        if self.calls.wait_while(limit, go_on) {
            return Ok(());
        }
        Err(Failure::new(Status::Timeout, "requests were still running when the time was over"))
    }

    /// Cancels what runs and ends all threads. Every call with a callback gets its last event first; what goes to a
    /// queue can be polled afterwards. Whoever comes second is refused.
    pub fn free(&self) -> Result<()> {
        if self.freeing.swap(true, Ordering::Relaxed) {
            return Err(Failure::new(Status::InvalidHandle, "another thread is freeing this engine already"));
        }
        self.calls.close();
        self.calls.all().iter().for_each(|call| call.cancel());
        self.engine.shutdown();
        self.join_feeders();
        self.calls.wait_while(None, |calls| calls.values().any(|call| call.has_callback()));
        self.callbacks.join();
        Ok(())
    }

    /// As [`free`](Self::free), when the process ends: nobody is called back any more, and callbacks that run are not
    /// waited for.
    pub fn abandon(&self) {
        self.callbacks.silence();
        self.calls.close();
        self.calls.all().iter().for_each(|call| call.cancel());
        self.engine.shutdown();
        self.join_feeders();
    }
}
