//! The threads that call back. As few as do: one that calls and one in reserve; another joins whenever all are inside
//! callbacks, so that a callback that blocks keeps nobody waiting but its own request.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    call::Call,
    mailbox::{Mailbox, Taken},
};

/// A thread that had nothing to do for so long ends, if another one waits as well.
const IDLE: Duration = Duration::from_secs(10);

pub struct CallbackThreads {
    mailbox: Arc<Mailbox<Call>>,
    crew: Mutex<Crew>,
}

#[derive(Default)]
struct Crew {
    /// Threads that are not inside a callback.
    free: usize,
    threads: Vec<JoinHandle<()>>,
    closed: bool,
}

impl CallbackThreads {
    /// Starts the first thread.
    pub fn start(mailbox: Arc<Mailbox<Call>>) -> std::io::Result<Arc<Self>> {
        let this = Arc::new(Self { mailbox, crew: Mutex::default() });
        this.hire(&mut this.lock())?;
        Ok(this)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Crew> {
        self.crew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hire(self: &Arc<Self>, crew: &mut Crew) -> std::io::Result<()> {
        crew.threads.retain(|thread| !thread.is_finished());
        let this = self.clone();
        let thread = std::thread::Builder::new().name("llama-callback".into()).spawn(move || this.serve())?;
        crew.threads.push(thread);
        crew.free += 1;
        Ok(())
    }

    fn serve(self: Arc<Self>) {
        loop {
            match self.mailbox.take(Some(Instant::now() + IDLE)) {
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
                Taken::Nothing => {
                    let mut crew = self.lock();
                    if crew.free > 1 {
                        crew.free -= 1;
                        return;
                    }
                }
                Taken::Closed => return,
            }
        }
    }

    /// Before a callback: somebody else must be there to hear the others. False if there are to be no more callbacks.
    fn enter(self: &Arc<Self>) -> bool {
        let mut crew = self.lock();
        if crew.closed {
            return false;
        }
        crew.free -= 1;
        let hired = if crew.free == 0 { self.hire(&mut crew) } else { Ok(()) };
        drop(crew);
        if let Err(error) = hired {
            tracing::warn!("no further callback thread could be started: {error}; one that blocks now delays others");
        }
        true
    }

    fn leave(&self) {
        self.lock().free += 1;
    }

    /// No callback begins any more.
    pub fn silence(&self) {
        self.lock().closed = true;
        self.mailbox.close();
    }

    /// Ends the threads. Nothing may be left to tell. Not from inside a callback.
    pub fn join(&self) {
        self.silence();
        let threads = std::mem::take(&mut self.lock().threads);
        for thread in threads {
            let _ = thread.join();
        }
    }
}
