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

/// Loads a GGUF model and starts an engine. Blocks until the model is loaded, which takes from milliseconds to minutes.
///
/// On success `*engine` is a handle; free it with `llama_engine_free`. On failure it is not modified. `path` and `params`
/// are copied. A process may have several engines; engines of the same file share its mapped pages.
///
/// May be called from any thread. Loads are serialised: a second load waits for the first. `params` may be NULL for the
/// defaults. Returns `IN_CALLBACK` in a progress callback and in the log callback.
///
/// The file is validated before llama.cpp reads it, so an invalid file does not end the process. Returns
/// `INVALID_ARGUMENT`, `INVALID_CONFIG`, `MODEL_NOT_FOUND`, `MODEL_INVALID`, `MODEL_UNSUPPORTED` or `OUT_OF_MEMORY` on
/// failure, and `LOAD_CANCELLED` if `params->progress` returned false.
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

/// Frees an engine. Cancels its requests, waits until their last callbacks have returned, ends all threads and releases
/// the memory. To let requests finish first, call `llama_engine_drain`.
///
/// Other threads may use the handle at the same time. Until the last callback has returned, functions that cancel, wait or
/// query still work, and functions that start a request return `SHUTTING_DOWN`. After that every function returns
/// `INVALID_HANDLE`. A second call to this function returns `INVALID_HANDLE` immediately, even while the first one is still
/// waiting. Events in a queue can be polled after the engine is freed.
///
/// If `engine` is NULL, nothing happens. Returns `IN_CALLBACK`, without effect, in a callback of this engine's requests and
/// in the log callback.
///
/// If the process exits without freeing an engine, the engine is stopped. No callback starts after that, and running
/// callbacks are not waited for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_engine_free(engine: *mut llama_engine) -> Status {
    boundary(|| {
        if engine.is_null() {
            return Ok(());
        }
        let state = ENGINES.get(engine)?;
        state.refuse_in_callback("freeing the engine")?;
        state.free()?;
        // Only now, so that callbacks find the engine that they are called back by.
        ENGINES.remove(engine).map(drop)
    })
}

/// Stops accepting requests and waits until all accepted ones are over, as defined by `llama_infer_wait`.
///
/// Waits for at most `timeout_ms` milliseconds; a negative value means no limit, and 0 returns immediately. The engine
/// accepts no new requests afterwards, even if the time expired.
///
/// A thread that polls a queue must not call it while requests of that queue are unfinished. Returns `IN_CALLBACK`, without
/// effect, in a callback of this engine's requests and in the log callback. Returns `TIMEOUT` if the time expires first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_engine_drain(engine: *mut llama_engine, timeout_ms: i32) -> Status {
    boundary(|| ENGINES.get(engine)?.drain(limit(timeout_ms)))
}

/// Writes the warnings of the load: settings that were requested and could not be applied. One sentence per line; empty if
/// there are none.
///
/// The buffer is filled as by `llama_engine_chat_prompt`.
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
