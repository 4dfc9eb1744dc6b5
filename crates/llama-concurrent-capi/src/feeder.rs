//! Batches: prompts of any number, handed to the engine a few at a time.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use llama_concurrent::{Engine, Request};
use nix::sys::signal::SigSet;

use crate::call::Call;

/// How often to look whether the call was cancelled while the queue is full of others.
const ROOM: Duration = Duration::from_millis(50);

/// Starts a thread that submits `requests` in order, at most `window` at a time, and then ends.
///
/// The window leaves the rest of the queue to others, and the memory of a long batch where it is.
pub fn feed(engine: Engine, call: Arc<Call>, requests: Vec<Request>, window: usize) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("llama-batch".into()).spawn(move || {
        // Signals are for the threads of the program.
        let _ = SigSet::all().thread_block();
        for (index, request) in requests.into_iter().enumerate() {
            call.wait_for_room(window);
            submit(&engine, &call, index, &request);
        }
    })
}

fn submit(engine: &Engine, call: &Arc<Call>, index: usize, request: &Request) {
    while !call.is_cancelled() {
        match engine.submit(request.clone()) {
            Ok(generation) => return call.add(index, generation),
            Err(error) if error.retry_after().is_some() => engine.wait_for_room(ROOM),
            Err(error) => return call.refuse(index, Some(error)),
        }
    }
    call.refuse(index, None);
}
