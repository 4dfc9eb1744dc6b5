//! `llama_engine`: loading, draining and freeing.

use std::{
    ffi::{CStr, c_char},
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::Arc,
};

use llama_concurrent::Engine;

use crate::{
    boundary::boundary,
    callbacks::CallbackThreads,
    engine_params::llama_engine_params,
    engine_state::{ENGINES, EngineState},
    exit, pointers,
    ready_queue::ReadyQueue,
    reentrancy,
    status::llama_infer_status as Status,
    types::{Failure, limit, llama_engine},
};

/// Loads a GGUF model and starts an engine on it. Blocks until that is done, which takes from milliseconds to minutes.
///
/// `params` may be NULL for the defaults. On success `*engine` is a handle that ends with `llama_engine_free`; otherwise
/// it is as it was. Several engines may live side by side, also of one file, whose pages they share.
/// One load at a time: others wait for it.
///
/// The file is checked before llama.cpp sees it, so a bad one never ends the process: `MODEL_NOT_FOUND`,
/// `MODEL_INVALID`, `MODEL_UNSUPPORTED`. Also `INVALID_CONFIG`, `OUT_OF_MEMORY`, and `LOAD_CANCELLED` if
/// `params->progress` returned false.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_engine_load(
    path: *const c_char,
    params: *const llama_engine_params,
    engine: *mut *mut llama_engine,
) -> Status {
    boundary(|| {
        reentrancy::refuse_loading()?;
        pointers::required(engine, "engine")?;
        pointers::required(path.cast_mut(), "path")?;
        // SAFETY: `path` is not NULL, and a NUL-terminated string as the header asks. Paths need not be UTF-8.
        let path = Path::new(std::ffi::OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()));
        // SAFETY: `params` is what the header asks for.
        let params = unsafe { pointers::read_sized(params, llama_engine_params::defaults(), "params") }?;
        // SAFETY: its texts are what the header asks for.
        let loaded = Engine::load(path, unsafe { params.config() }?)?;
        let ready_queue = Arc::new(ReadyQueue::new());
        let callbacks = CallbackThreads::start(ready_queue.clone()).map_err(|error| {
            Failure::new(Status::OutOfMemory, format!("cannot start a thread for the callbacks: {error}"))
        })?;
        let handle = ENGINES.insert(|handle| EngineState::new(loaded, handle, ready_queue, callbacks));
        exit::install_handler();
        // SAFETY: `engine` is not NULL, and writable as the header asks.
        unsafe { pointers::write(engine, std::ptr::without_provenance_mut(handle), "engine") }
    })
}

/// Frees an engine: takes no more requests, cancels the running ones, waits until their last callbacks returned, ends all
/// threads and gives the memory back.
///
/// Calls of other threads that still use the handle are no harm. Until the last callback returned it can be used, inside
/// callbacks too, to cancel, to wait and to ask; what would start something gets `SHUTTING_DOWN`. Afterwards every call
/// gets `INVALID_HANDLE`. A second free gets that at once, while the first may still be waiting.
/// Events that go to a queue can still be polled afterwards. To let requests end by themselves, call
/// `llama_engine_drain` first. Inside a callback of this engine it is refused with `IN_CALLBACK`, and nothing happens.
/// NULL is allowed and does nothing.
///
/// When the process exits with engines left, they are stopped, no callback begins any more, and one that runs is not
/// waited for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_engine_free(engine: *mut llama_engine) -> Status {
    boundary(|| {
        if engine.is_null() {
            return Ok(());
        }
        let shared = ENGINES.get(engine)?;
        shared.refuse_in_callback("freeing the engine")?;
        shared.free()?;
        // Only now, so that callbacks find the engine that they are called back by.
        ENGINES.remove(engine).map(drop)
    })
}

/// Takes no more requests and waits until all accepted ones are over, as `llama_infer_wait` does.
///
/// Waits for `timeout_ms` milliseconds, for ever if that is negative, not at all if it is 0: `TIMEOUT`. The engine stays
/// closed for new requests in any case. Not inside its callbacks: `IN_CALLBACK`. Not by who should poll a queue meanwhile:
/// what is not polled is never over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_engine_drain(engine: *mut llama_engine, timeout_ms: i32) -> Status {
    boundary(|| ENGINES.get(engine)?.drain(limit(timeout_ms)))
}

/// What was wished in the parameters and not granted, one sentence per line; empty if nothing was.
///
/// Written as `llama_engine_chat_prompt` does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_engine_warnings(
    engine: *mut llama_engine,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Status {
    boundary(|| {
        let warnings = ENGINES.get(engine)?.engine.warnings().join("\n");
        // SAFETY: the pointers are what the header asks for.
        unsafe { pointers::fill_text(&warnings, buffer, capacity, length, "buffer") }
    })
}
