//! How a server ends: at the first signal in order, at the second one at once, and after the first in any case.

use std::{io, thread, time::Duration};

use tokio::sync::oneshot;

use crate::logging;

/// For the last words of threads once everything has ended.
const LAST: Duration = Duration::from_secs(2);

/// Listens on a thread of its own, so that nothing that keeps the server busy keeps a signal waiting. The first signal
/// arrives at the receiver; a second one ends the process.
pub fn listen() -> io::Result<oneshot::Receiver<()>> {
    let (sender, receiver) = oneshot::channel();
    let mut first = Some(sender);
    let on_signal = move || match first.take() {
        Some(sender) => {
            logging::say("stopping: running requests may end; once more to end now");
            let _ = sender.send(());
        }
        None => end(130),
    };
    each_signal(on_signal)?;
    Ok(receiver)
}

/// Ends the process soon, whatever its threads are at: work that cannot be cut short, such as tokenizing, or a library that is
/// unloaded below it.
pub fn end_soon() {
    let _ = thread::Builder::new().name("end".into()).spawn(|| {
        thread::sleep(LAST);
        end(0);
    });
}

#[cfg(unix)]
fn each_signal(mut on_signal: impl FnMut() + Send + 'static) -> io::Result<()> {
    use signal_hook::{
        consts::{SIGINT, SIGTERM},
        iterator::Signals,
    };
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".into()).spawn(move || signals.forever().for_each(|_| on_signal()))?;
    Ok(())
}

#[cfg(not(unix))]
fn each_signal(mut on_signal: impl FnMut() + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        loop {
            runtime.block_on(llama_concurrent_server::stop_signal());
            on_signal();
        }
    })?;
    Ok(())
}

/// Without what a process does at its end otherwise, which may wait for threads.
fn end(code: i32) -> ! {
    #[cfg(unix)]
    signal_hook::low_level::exit(code);
    #[cfg(not(unix))]
    std::process::exit(code);
}
