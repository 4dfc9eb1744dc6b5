//! Shutdown of a server: gracefully at the first signal, immediately at the second, and with a time limit.

use std::{io, thread, time::Duration};

use tokio::sync::oneshot;

use crate::logging;

/// The grace period of threads after everything has ended.
const LAST: Duration = Duration::from_secs(2);

/// Listens on its own thread, so that a busy server does not delay a signal. The first signal is sent to the receiver; a
/// second one ends the process.
pub fn listen() -> io::Result<oneshot::Receiver<()>> {
    let (sender, receiver) = oneshot::channel();
    let mut first = Some(sender);
    let on_signal = move || match first.take() {
        Some(sender) => {
            logging::say("stopping: waiting for running requests; send the signal again to stop now");
            let _ = sender.send(());
        }
        None => end(130),
    };
    each_signal(on_signal)?;
    Ok(receiver)
}

/// Ends the process soon, whatever its threads do: work that cannot be cancelled, such as tokenizing, or a library that is
/// being unloaded.
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

/// Skips exit handlers, which may wait for threads.
fn end(code: i32) -> ! {
    #[cfg(unix)]
    signal_hook::low_level::exit(code);
    #[cfg(not(unix))]
    std::process::exit(code);
}
