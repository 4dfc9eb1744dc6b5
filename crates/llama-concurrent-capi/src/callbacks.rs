//! The thread pool that runs callbacks. It keeps one idle thread in reserve and grows when all threads are inside
//! callbacks, so that a callback that blocks delays only its own request.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    call::Call,
    ready_queue::{ReadyQueue, Taken},
};

/// An idle thread ends after this time if another one is idle, too.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

pub struct CallbackThreads {
    ready_queue: Arc<ReadyQueue<Call>>,
    pool: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    /// Threads that are not inside a callback.
    free: usize,
    threads: Vec<JoinHandle<()>>,
    closed: bool,
}

impl CallbackThreads {
    /// Starts the first thread.
    pub fn start(ready_queue: Arc<ReadyQueue<Call>>) -> std::io::Result<Arc<Self>> {
        let this = Arc::new(Self { ready_queue, pool: Mutex::default() });
        this.spawn(&mut this.lock())?;
        Ok(this)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(self: &Arc<Self>, pool: &mut Pool) -> std::io::Result<()> {
        pool.threads.retain(|thread| !thread.is_finished());
        let this = self.clone();
        let thread = std::thread::Builder::new().name("llama-callback".into()).spawn(move || this.serve())?;
        pool.threads.push(thread);
        pool.free += 1;
        Ok(())
    }

    fn serve(self: Arc<Self>) {
        loop {
            match self.ready_queue.take(Some(Instant::now() + IDLE_TIMEOUT)) {
                Taken::Ready(call) => {
                    if let Some(mut event) = call.read() {
                        if !self.enter() {
                            return;
                        }
                        call.call_back(&mut event);
                        self.leave();
                        call.done(&event);
                    }
                }
                Taken::TimedOut => {
                    let mut pool = self.lock();
                    if pool.free > 1 {
                        pool.free -= 1;
                        return;
                    }
                }
                Taken::Closed => return,
            }
        }
    }

    /// Before a callback: makes sure that another thread is free for other calls. False if the pool is stopped.
    fn enter(self: &Arc<Self>) -> bool {
        let mut pool = self.lock();
        if pool.closed {
            return false;
        }
        pool.free -= 1;
        let spawned = if pool.free == 0 { self.spawn(&mut pool) } else { Ok(()) };
        drop(pool);
        if let Err(error) = spawned {
            tracing::warn!("no further callback thread could be started: {error}; one that blocks now delays others");
        }
        true
    }

    fn leave(&self) {
        self.lock().free += 1;
    }

    /// Starts no more callbacks.
    pub fn stop(&self) {
        self.lock().closed = true;
        self.ready_queue.close();
    }

    /// Ends the threads. All events must have been delivered. Must not be called from a callback.
    pub fn join(&self) {
        self.stop();
        let threads = std::mem::take(&mut self.lock().threads);
        for thread in threads {
            let _ = thread.join();
        }
    }
}
