//! The state behind an engine handle.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use llama_concurrent::{Engine, ReplyReader, Request};

use crate::{
    batch_submitter,
    call::{Call, CallMap, Calls, Destination, EventFn},
    callbacks::CallbackThreads,
    event::Origin,
    handles::Handles,
    ready_queue::ReadyQueue,
    reentrancy::{self, CallbackContext},
    status::llama_infer_status as Status,
    types::{Failure, Result, llama_engine, llama_infer_id},
};

/// All engines of the process.
pub static ENGINES: Handles<EngineState> = Handles::new("engine");

/// The bits of an id above these identify the engine, so that the id of another engine is refused.
const ID_BITS: u32 = 40;

pub struct EngineState {
    pub engine: Engine,
    handle: usize,
    ordinal: u64,
    next: AtomicU64,
    calls: Arc<Calls>,
    ready_queue: Arc<ReadyQueue<Call>>,
    callbacks: Arc<CallbackThreads>,
    /// The threads that submit batches; `None` once no more are started.
    submitters: Mutex<Option<Vec<JoinHandle<()>>>>,
    /// Whether `llama_engine_free` was called.
    freeing: AtomicBool,
}

impl EngineState {
    pub fn new(
        engine: Engine,
        handle: usize,
        ready_queue: Arc<ReadyQueue<Call>>,
        callbacks: Arc<CallbackThreads>,
    ) -> Self {
        static ORDINAL: AtomicU64 = AtomicU64::new(1);
        Self {
            engine,
            handle,
            ordinal: ORDINAL.fetch_add(1, Ordering::Relaxed),
            next: AtomicU64::new(1),
            calls: Arc::default(),
            ready_queue,
            callbacks,
            submitters: Mutex::new(Some(Vec::new())),
            freeing: AtomicBool::new(false),
        }
    }

    /// The destination of a callback.
    pub fn callback(&self, on_event: EventFn) -> Destination {
        Destination::Callback(on_event, self.ready_queue.clone())
    }

    /// Registers a call of `prompts` prompts.
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

    /// Submits one request, whose answer this reads. Its events are held until `call.release`.
    pub fn start(&self, call: &Arc<Call>, request: Request, reader: Option<ReplyReader>) -> Result<()> {
        match self.engine.submit(request) {
            Ok(generation) => {
                call.add(0, generation, reader);
                Ok(())
            }
            Err(error) => {
                call.abandon();
                Err(error.into())
            }
        }
    }

    /// Submits many requests. Their events are held until `call.release`.
    pub fn start_all(&self, call: &Arc<Call>, requests: Vec<llama_concurrent::Result<Request>>) -> Result<()> {
        let mut submitters = self.submitters();
        let Some(submitters) = submitters.as_mut() else {
            call.abandon();
            return Err(Failure::shutting_down());
        };
        submitters.retain(|thread| !thread.is_finished());
        let window = self.engine.batch_window();
        let thread = batch_submitter::spawn(self.engine.clone(), call.clone(), requests, window).map_err(|error| {
            call.abandon();
            Failure::new(Status::OutOfMemory, format!("cannot start a thread for the batch: {error}"))
        })?;
        submitters.push(thread);
        Ok(())
    }

    fn submitters(&self) -> MutexGuard<'_, Option<Vec<JoinHandle<()>>>> {
        self.submitters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the threads that submit batches, and allows no more.
    fn join_submitters(&self) {
        let submitters = self.submitters().take();
        for submitter in submitters.into_iter().flatten() {
            let _ = submitter.join();
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

    /// Refuses an operation that waits for this engine's callbacks when called inside one of them.
    pub fn refuse_in_callback(&self, what: &str) -> Result<()> {
        match reentrancy::current() {
            CallbackContext::Event(id) if id >> ID_BITS == self.ordinal => reentrancy::refuse(what, "a callback"),
            _ => reentrancy::refuse_in_log(what),
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
        if reentrancy::current() == CallbackContext::Event(id) {
            return reentrancy::refuse("waiting for a request", "its own callback");
        }
        reentrancy::refuse_in_log("waiting for a request")?;
        self.wait_while(limit, |calls| calls.contains_key(&id))
    }

    /// Waits for all calls started so far.
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

    fn wait_while(&self, limit: Option<Duration>, condition: impl Fn(&CallMap) -> bool) -> Result<()> {
        if self.calls.wait_while(limit, condition) {
            return Ok(());
        }
        Err(Failure::new(Status::Timeout, "requests were still running when timeout_ms had passed"))
    }

    /// Cancels all requests and ends all threads. Calls with a callback get their last event first; events in a queue can
    /// still be polled afterwards. A second call is refused.
    pub fn free(&self) -> Result<()> {
        if self.freeing.swap(true, Ordering::Relaxed) {
            return Err(Failure::new(Status::InvalidHandle, "another thread is freeing this engine already"));
        }
        self.calls.close();
        self.calls.all().iter().for_each(|call| call.cancel());
        self.engine.shutdown();
        self.join_submitters();
        self.calls.wait_while(None, |calls| calls.values().any(|call| call.has_callback()));
        self.callbacks.join();
        Ok(())
    }

    /// Like [`free`](Self::free), at process exit: no callback starts any more, and running ones are not waited for.
    pub fn abandon(&self) {
        self.callbacks.stop();
        self.calls.close();
        self.calls.all().iter().for_each(|call| call.cancel());
        self.engine.shutdown();
        self.join_submitters();
    }
}
