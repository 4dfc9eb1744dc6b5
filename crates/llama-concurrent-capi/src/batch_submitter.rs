//! Batches: any number of prompts, submitted to the engine a few at a time.

use std::{sync::Arc, thread::JoinHandle};

use llama_concurrent::{Engine, Request, Result};
use nix::sys::signal::SigSet;

use crate::call::Call;

/// Starts a thread that submits `requests` in order, at most `window` at a time, and then ends. One that could not be made is
/// refused in its place.
///
/// The window leaves room in the queue for other requests and bounds the memory of a long batch.
pub fn spawn(
    engine: Engine,
    call: Arc<Call>,
    requests: Vec<Result<Request>>,
    window: usize,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("llama-batch".into()).spawn(move || {
        // Signals are handled by the program's own threads.
        let _ = SigSet::all().thread_block();
        for (index, request) in requests.into_iter().enumerate() {
            call.wait_for_room(window);
            match request {
                Ok(request) => submit(&engine, &call, index, &request),
                Err(error) => call.refuse(index, Some(error)),
            }
        }
    })
}

fn submit(engine: &Engine, call: &Arc<Call>, index: usize, request: &Request) {
    if call.is_cancelled() {
        return call.refuse(index, None);
    }
    match engine.submit_when_free(|| engine.submit(request.clone()), || !call.is_cancelled()) {
        Some(Ok(generation)) => call.add(index, generation, None),
        Some(Err(error)) => call.refuse(index, Some(error)),
        None => call.refuse(index, None),
    }
}
