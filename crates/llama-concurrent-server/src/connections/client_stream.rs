//! The byte stream of one connection: write timeouts, and half-closed connections.
//!
//! A client may close its sending side after the request (`printf ... | nc -N`) and wait for the response, or close the
//! connection altogether. The two look alike until something is sent: then a client that is gone resets the connection. The
//! end of input is therefore hidden from hyper while a response is in progress, and something is sent that every client
//! ignores: an interim response before the response, or a comment in an event stream ([`ConnectionState::has_ended`]).

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep, timeout},
};

use crate::{app::App, connection_state::ConnectionState};

/// Ignored by every HTTP/1.1 client, even if unrequested.
const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// How often a stalled client is checked.
const STALL_CHECK: Duration = Duration::from_millis(250);
/// For a client that still sends when it was refused: closing with unread data could discard the response.
const LINGER: Duration = Duration::from_secs(2);

pub(super) struct ClientStream {
    stream: Arc<TcpStream>,
    state: Arc<ConnectionState>,
    app: Arc<App>,
    /// The client has closed its sending side.
    ended: bool,
    /// Waits until the client has reset the connection.
    gone: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// When the client stopped reading, and the timer of the next check.
    stalled: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl ClientStream {
    pub(super) fn new(stream: TcpStream, state: Arc<ConnectionState>, app: Arc<App>) -> Self {
        Self { stream: Arc::new(stream), state, app, ended: false, gone: None, stalled: None }
    }

    /// The end of input for hyper: hidden while the client waits for a response.
    fn poll_gone(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.state.awaits_answer() {
            return Poll::Ready(Ok(()));
        }
        self.state.end();
        let gone = self.gone.get_or_insert_with(|| {
            if !self.state.has_begun() && self.stalled.is_none() {
                // If it cannot be sent now, other data is in flight, which serves as well.
                let _ = self.stream.try_write(INTERIM);
            }
            let stream = self.stream.clone();
            Box::pin(async move {
                let _ = stream.ready(Interest::ERROR).await;
            })
        });
        ready!(gone.as_mut().poll(task));
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_sent(
        &mut self,
        task: &mut Context<'_>,
        send: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.stream.poll_write_ready(task) {
                Poll::Pending => return self.poll_stalled(task).map(Err),
                Poll::Ready(ready) => ready?,
            }
            match send(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => {
                    self.stalled = None;
                    self.state.begin();
                    return Poll::Ready(sent);
                }
            }
        }
    }

    /// An error if the client has not read for too long; the limit is shorter if other requests wait for its slots.
    fn poll_stalled(&mut self, task: &mut Context<'_>) -> Poll<io::Error> {
        let (since, look) = self.stalled.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(Duration::ZERO))));
        let limits = &self.app.config.limits;
        while look.as_mut().poll(task).is_ready() {
            let holds_up = self.state.generates() && self.app.engine.stats().totals.waiting > 0;
            let limit = if holds_up { limits.stall_timeout.min(limits.write_timeout) } else { limits.write_timeout };
            let left = limit.saturating_sub(since.elapsed());
            if left.is_zero() {
                tracing::debug!("a client read nothing for {:?} and is disconnected", since.elapsed());
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            look.as_mut().reset((Instant::now() + left.min(STALL_CHECK)).into());
        }
        Poll::Pending
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while !this.ended {
            ready!(this.stream.poll_read_ready(task))?;
            match this.stream.try_read(buffer.initialize_unfilled()) {
                Ok(0) if buffer.remaining() > 0 => this.ended = true,
                Ok(n) => {
                    buffer.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        this.poll_gone(task)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_sent(task, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_sent(task, |stream| stream.try_write_vectored(parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.stream).shutdown(std::net::Shutdown::Write))
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        if self.ended || !self.state.left_unread() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let stream = self.stream.clone();
        let _ = SockRef::from(&*stream).shutdown(std::net::Shutdown::Write);
        runtime.spawn(timeout(LINGER, async move {
            let mut unread = vec![0; 16 << 10];
            while stream.readable().await.is_ok() {
                match stream.try_read(&mut unread) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
        }));
    }
}
