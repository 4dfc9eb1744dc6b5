//! Batches: any number of prompts, submitted to the engine a few at a time.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use llama_concurrent::{Engine, Request};
use nix::sys::signal::SigSet;

use crate::call::Call;

/// How often to check for cancellation while other requests fill the queue.
const CANCEL_CHECK: Duration = Duration::from_millis(50);

/// Starts a thread that submits `requests` in order, at most `window` at a time, and then ends.
///
/// The window leaves room in the queue for other requests and bounds the memory of a long batch.
pub fn spawn(
    engine: Engine,
    call: Arc<Call>,
    requests: Vec<Request>,
    window: usize,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("llama-batch".into()).spawn(move || {
        // Signals are handled by the program's own threads.
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
            Err(error) if error.retry_after().is_some() => engine.wait_for_room(CANCEL_CHECK),
            Err(error) => return call.refuse(index, Some(error)),
        }
    }
    call.refuse(index, None);
}
