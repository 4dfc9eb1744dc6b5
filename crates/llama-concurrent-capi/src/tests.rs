//! What C programs cannot do: cause defects, and be watched by Rust's thread sanitizer. The contract itself is tested
//! from C, in `tests/c/contract.c`.

use std::{
    collections::HashSet,
    ffi::{CStr, CString, c_void},
    ptr::null_mut,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use llama_concurrent::ErrorKind;

use crate::{
    boundary::{boundary, llama_infer_last_error},
    engine::{llama_engine_free, llama_engine_load},
    engine_params::llama_engine_params,
    engine_state::ENGINES,
    event::{llama_infer_event, llama_infer_finish_reason},
    infer::{llama_infer_async, llama_infer_cancel, llama_infer_wait, llama_infer_wait_all},
    infer_params::llama_infer_params,
    status::llama_infer_status as Status,
    types::{llama_engine, llama_infer_id},
};

const FOR_EVER: i32 = -1;

fn load() -> *mut llama_engine {
    let model = CString::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo.gguf")).unwrap();
    let params = llama_engine_params { slots: 4, threads: 1, pin: false.into(), ..llama_engine_params::defaults() };
    let mut engine = null_mut();
    // SAFETY: all pointers are valid for the call.
    let status = unsafe { llama_engine_load(model.as_ptr(), &params, &mut engine) };
    assert_eq!(status, Status::Ok, "{}", last_error());
    engine
}

fn last_error() -> String {
    // SAFETY: never NULL, and this thread calls nothing else meanwhile.
    unsafe { CStr::from_ptr(llama_infer_last_error()) }.to_string_lossy().into_owned()
}

fn of_length(max_tokens: u32) -> llama_infer_params {
    llama_infer_params { max_tokens, ignore_eos: true.into(), ..llama_infer_params::defaults() }
}

/// # Safety
/// `user_data` is what `on_event` takes it for.
unsafe fn submit(
    engine: *mut llama_engine,
    max_tokens: u32,
    on_event: unsafe extern "C" fn(*const llama_infer_event, *mut c_void),
    user_data: *mut c_void,
) -> (Status, llama_infer_id) {
    let mut id = 0;
    // SAFETY: all pointers are valid for the call, and the caller's promise.
    let status = unsafe {
        llama_infer_async(
            engine,
            c"Once upon a time".as_ptr(),
            &of_length(max_tokens),
            Some(on_event),
            user_data,
            &mut id,
        )
    };
    (status, id)
}

type Ends = Mutex<Vec<(llama_infer_finish_reason, Status, String)>>;

unsafe extern "C" fn note_end(event: *const llama_infer_event, user_data: *mut c_void) {
    // SAFETY: a valid event, and the `Ends` that came with the request.
    let (event, ends) = unsafe { (&*event, &*user_data.cast::<Ends>()) };
    // SAFETY: NULL or a valid result with a valid text.
    if let Some(result) = unsafe { event.result.as_ref() } {
        let message = if result.error.is_null() {
            String::new()
        } else {
            // SAFETY: as above.
            unsafe { CStr::from_ptr(result.error) }.to_string_lossy().into_owned()
        };
        ends.lock().unwrap().push((result.reason, result.status, message));
    }
}

#[test]
fn a_defect_of_the_engine_is_an_event_and_a_status() {
    let ends = Ends::default();
    let engine = load();
    let user_data = (&raw const ends).cast_mut().cast();
    for _ in 0..8 {
        // SAFETY: `ends` outlives the requests.
        assert_eq!(unsafe { submit(engine, 900, note_end, user_data) }.0, Status::Ok);
    }
    ENGINES.get(engine).unwrap().engine.panic_for_test();
    // SAFETY: plain calls.
    unsafe {
        assert_eq!(llama_infer_wait_all(engine, FOR_EVER), Status::Ok);
        assert_eq!(submit(engine, 1, note_end, user_data).0, Status::Internal);
        assert!(last_error().contains("a defect for a test"), "{}", last_error());
        assert_eq!(llama_engine_free(engine), Status::Ok);
    }
    let ends = ends.into_inner().unwrap();
    assert_eq!(ends.len(), 8, "one end each, and none for the refused one");
    for (reason, status, message) in ends {
        assert_eq!((reason, status), (llama_infer_finish_reason::Error, Status::Internal));
        assert!(message.contains("a defect for a test"), "{message}");
    }
}

#[test]
fn a_defect_inside_a_call_is_a_status() {
    assert_eq!(boundary(|| panic!("of {} kinds", 2)), Status::Internal);
    assert!(last_error().contains("of 2 kinds"), "{}", last_error());
}

unsafe extern "C" fn count_end(event: *const llama_infer_event, user_data: *mut c_void) {
    // SAFETY: a valid event, and the counter that came with the request.
    let (event, ends) = unsafe { (&*event, &*user_data.cast::<AtomicUsize>()) };
    if !event.result.is_null() {
        ends.fetch_add(1, Ordering::Relaxed);
    } else if event.id % 5 == 0 {
        // SAFETY: a plain call.
        assert_eq!(unsafe { llama_infer_cancel(event.engine, event.id) }, Status::Ok);
    }
}

/// The hand-offs between callers, worker and callback threads, for the thread sanitizer (`scripts/test-races.sh`).
#[test]
fn four_threads_submit_cancel_and_free() {
    for _ in 0..5 {
        let engine = load();
        let (accepted, ends) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let address = engine.addr();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (accepted, ends) = (&accepted, &ends);
                scope.spawn(move || {
                    let engine = std::ptr::without_provenance_mut(address);
                    let user_data = (&raw const *ends).cast_mut().cast();
                    for round in 0..20 {
                        // SAFETY: `ends` outlives the requests.
                        let (status, id) = unsafe { submit(engine, 20, count_end, user_data) };
                        if status != Status::Ok {
                            assert!(matches!(status, Status::InvalidHandle | Status::ShuttingDown), "{status:?}");
                            return;
                        }
                        accepted.fetch_add(1, Ordering::Relaxed);
                        match (thread + round) % 4 {
                            // SAFETY: a plain call.
                            0 => _ = unsafe { llama_infer_cancel(engine, id) },
                            // SAFETY: a plain call.
                            1 => _ = unsafe { llama_infer_wait(engine, id, FOR_EVER) },
                            _ => {}
                        }
                    }
                });
            }
            // In the middle of their work: the first of their rounds are over.
            let begin = Instant::now();
            while accepted.load(Ordering::Relaxed) < 12 {
                assert!(begin.elapsed() < Duration::from_secs(60), "nothing is accepted");
                std::thread::yield_now();
            }
            // SAFETY: a plain call.
            assert_eq!(unsafe { llama_engine_free(engine) }, Status::Ok);
        });
        assert_eq!(accepted.into_inner(), ends.into_inner(), "one end each");
    }
}

/// The numbers of the engine's list are those of the header, whose names are alike.
#[test]
fn every_kind_has_its_status() {
    let kinds = [
        (ErrorKind::InvalidConfig, Status::InvalidConfig),
        (ErrorKind::InvalidRequest, Status::InvalidRequest),
        (ErrorKind::PromptTooLong { n_prompt: 0, max_tokens: 0, n_ctx: 0 }, Status::PromptTooLong),
        (ErrorKind::ModelNotFound, Status::ModelNotFound),
        (ErrorKind::ModelInvalid, Status::ModelInvalid),
        (ErrorKind::ModelUnsupported, Status::ModelUnsupported),
        (ErrorKind::OutOfMemory, Status::OutOfMemory),
        (ErrorKind::Overloaded { retry_after: Duration::ZERO }, Status::Overloaded),
        (ErrorKind::NoChatTemplate, Status::NoChatTemplate),
        (ErrorKind::ChatTemplate, Status::ChatTemplate),
        (ErrorKind::ShuttingDown, Status::ShuttingDown),
        (ErrorKind::Decode, Status::Decode),
        (ErrorKind::LoadCancelled, Status::LoadCancelled),
        (ErrorKind::Internal, Status::Internal),
    ];
    assert_eq!(kinds.len(), ErrorKind::ALL.len());
    for (kind, status) in kinds {
        assert_eq!(Status::of(&kind), status);
    }
}

#[test]
fn statuses_have_numbers_without_gaps_and_names() {
    let (mut numbers, names): (Vec<_>, HashSet<_>) =
        Status::ALL.iter().map(|&(status, name)| (status as usize, name)).unzip();
    assert_eq!(names.len(), Status::ALL.len());
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..Status::ALL.len()));
}
