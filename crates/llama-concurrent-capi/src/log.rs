//! The log: what the library would like to say, to a function of the host. Without one it is silent.

use std::{
    ffi::{CString, c_char, c_void},
    fmt,
    sync::{OnceLock, PoisonError, RwLock},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    subscriber::Interest,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::Registry,
};

use crate::{
    boundary::boundary,
    reentrancy::{self, CallbackContext},
    status::llama_infer_status as Status,
    types::{Failure, c_text},
};

/// How important a message is.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum llama_concurrent_log_level {
    /// Something is broken.
    Error = 1,
    /// Something is not as it was wished.
    Warn = 2,
    /// What happens.
    Info = 3,
    /// What llama.cpp complains about, among others.
    Debug = 4,
    /// Everything.
    Trace = 5,
}

use llama_concurrent_log_level as LogLevel;

/// Gets a message of the log. `target` says which part of the library speaks. Both texts live until it returns.
pub type llama_concurrent_log_callback = Option<
    unsafe extern "C" fn(
        level: llama_concurrent_log_level,
        target: *const c_char,
        message: *const c_char,
        user_data: *mut c_void,
    ),
>;

struct Listener {
    callback: unsafe extern "C" fn(LogLevel, *const c_char, *const c_char, *mut c_void),
    user_data: *mut c_void,
    level: LogLevel,
}

// SAFETY: the header says that the callback is called on any thread; the pointer is only handed back.
unsafe impl Send for Listener {}
// SAFETY: as above.
unsafe impl Sync for Listener {}

static LISTENER: RwLock<Option<Listener>> = RwLock::new(None);

/// Sets who gets the messages of the library and of llama.cpp, up to a level; one for the whole process.
///
/// `callback` is called on any thread, also on several at once, and should be quick. NULL turns the log off, as it is at
/// first. After this function returned, the one before is not called any more, and its `user_data` is not needed.
///
/// The library may have to wait for the callback, and hold locks meanwhile. So functions that load, wait, poll, drain or
/// free, and this one, are refused inside of it with `IN_CALLBACK`; others are allowed, and what they log is not told.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_concurrent_set_log(
    callback: llama_concurrent_log_callback,
    level: i32,
    user_data: *mut c_void,
) -> Status {
    boundary(|| {
        reentrancy::refuse_in_log("changing the log")?;
        let levels = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
        let listener = match callback {
            None => None,
            Some(callback) => {
                let known = levels.into_iter().find(|&known| known as i32 == level);
                let unknown =
                    || Failure::unknown(Status::InvalidArgument, "level", level, "llama_concurrent_log_level");
                let level = known.ok_or_else(unknown)?;
                Some(Listener { callback, user_data, level })
            }
        };
        subscribe();
        *LISTENER.write().unwrap_or_else(PoisonError::into_inner) = listener;
        Ok(())
    })
}

/// From the first listener on, the library's messages come here.
fn subscribe() {
    static SUBSCRIBED: OnceLock<()> = OnceLock::new();
    SUBSCRIBED.get_or_init(|| {
        // An error means that the host is a Rust program with a subscriber of its own, which gets them then.
        let _ = tracing::subscriber::set_global_default(Registry::default().with(ToListener));
    });
}

struct ToListener;

fn level_of(level: &Level) -> LogLevel {
    match *level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    }
}

impl<S: Subscriber> Layer<S> for ToListener {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // The listener and its level may change.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        if reentrancy::current() == CallbackContext::Log {
            return false;
        }
        let listener = LISTENER.read().unwrap_or_else(PoisonError::into_inner);
        listener.as_ref().is_some_and(|listener| level_of(metadata.level()) <= listener.level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = Words(String::new());
        event.record(&mut words);
        let (target, message): (CString, CString) = (c_text(event.metadata().target()), c_text(&words.0));
        let level = level_of(event.metadata().level());
        // Held during the call, so that whoever takes the listener away waits for it.
        let listener = LISTENER.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = listener.as_ref() {
            // SAFETY: by setting it, the host promised that it can be called so until it is replaced.
            let tell = || unsafe { (listener.callback)(level, target.as_ptr(), message.as_ptr(), listener.user_data) };
            reentrancy::during(CallbackContext::Log, tell);
        }
    }
}

/// The message, and other fields as `name=value`.
struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write;
        let gap = if self.0.is_empty() { "" } else { " " };
        let _ = match field.name() {
            "message" => write!(self.0, "{gap}{value:?}"),
            name => write!(self.0, "{gap}{name}={value:?}"),
        };
    }
}
