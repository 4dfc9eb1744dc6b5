//! Batches: prompts of any number, handed to the engine as its queue has room.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use llama_concurrent::{Engine, Request};

use crate::call::Call;

/// How often to look whether the call was cancelled while the queue is full.
const ROOM: Duration = Duration::from_millis(50);

/// Starts a thread that submits `requests` in order and then ends.
pub fn feed(engine: Engine, call: Arc<Call>, requests: Vec<Request>) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("llama-batch".into()).spawn(move || {
        for (index, request) in requests.into_iter().enumerate() {
            submit(&engine, &call, index, request);
        }
    })
}

fn submit(engine: &Engine, call: &Arc<Call>, index: usize, request: Request) {
    while !call.is_cancelled() {
        match engine.submit(request.clone()) {
            Ok(generation) => return call.add(index, generation),
            Err(error) if error.retry_after().is_some() => engine.wait_for_room(ROOM),
            Err(error) => return call.refuse(index, Some(error)),
        }
    }
    call.refuse(index, None);
}
