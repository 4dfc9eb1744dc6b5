//! The log: messages of the library and of llama.cpp, passed to a callback of the host. Without one it is silent.

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

/// The level of a log message.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum llama_concurrent_log_level {
    /// A failure of the library.
    Error = 1,
    /// A problem that the library works around, such as a setting that could not be applied.
    Warn = 2,
    /// Normal operation.
    Info = 3,
    /// Details for debugging, including warnings and errors of llama.cpp.
    Debug = 4,
    /// All messages, including those of llama.cpp.
    Trace = 5,
}

use llama_concurrent_log_level as LogLevel;

/// Receives log messages. `target` names the part of the library that logs. Both strings are valid until the callback
/// returns.
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

/// Sets the log callback of the process, which receives messages of the library and of llama.cpp up to `level`.
///
/// `callback` may be called on any thread, and on several threads at the same time. It should return quickly. NULL turns
/// logging off, which is the default. When this function returns, the previous callback is no longer running and will not
/// be called again, so its `user_data` may be freed.
///
/// The library may hold locks while the callback runs. In the callback, this function and those that load, wait, poll, drain
/// or free an engine therefore return `IN_CALLBACK`. Other functions may be called; the messages that they cause are not
/// logged.
///
/// Returns `INVALID_ARGUMENT` if `level` is not a `llama_concurrent_log_level` and `callback` is not NULL.
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

/// Subscribes to the library's messages when the first listener is set.
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
        let mut message = Message(String::new());
        event.record(&mut message);
        let (target, message): (CString, CString) = (c_text(event.metadata().target()), c_text(&message.0));
        let level = level_of(event.metadata().level());
        // Held during the call, so that replacing the listener waits for it.
        let listener = LISTENER.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = listener.as_ref() {
            // SAFETY: by setting it, the host promised that it can be called so until it is replaced.
            let log = || unsafe { (listener.callback)(level, target.as_ptr(), message.as_ptr(), listener.user_data) };
            reentrancy::during(CallbackContext::Log, log);
        }
    }
}

/// The message, and other fields as `name=value`.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write;
        let gap = if self.0.is_empty() { "" } else { " " };
        let _ = match field.name() {
            "message" => write!(self.0, "{gap}{value:?}"),
            name => write!(self.0, "{gap}{name}={value:?}"),
        };
    }
}
