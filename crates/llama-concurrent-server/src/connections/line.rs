//! The bytes of one connection: how long its client may take none of them, and what it means that it sends no more.
//!
//! A client may end its side of a connection once its request is sent (`printf ... | nc -N`), and another one closes it for
//! good because it no longer wants the answer. Both look alike until something is sent: whoever is gone resets the connection then. So
//! the end of what a client sends is kept from hyper while an answer is under way, and something is sent that every client
//! skips: an interim response before the answer, a comment in an event stream ([`Attendance::has_ended`]).

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

use crate::{app::App, attendance::Attendance};

/// Skipped by every client of HTTP/1.1, also unasked.
const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// How often a client that takes nothing is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// For a client that still sends when it was refused. Closing with something unread could take the answer back.
const LINGER: Duration = Duration::from_secs(2);

pub(super) struct Line {
    stream: Arc<TcpStream>,
    attendance: Arc<Attendance>,
    app: Arc<App>,
    /// The client sends no more.
    ended: bool,
    /// Waits until the client has reset the connection.
    gone: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Since when the client takes nothing, and when to look again.
    stalled: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Line {
    pub(super) fn new(stream: TcpStream, attendance: Arc<Attendance>, app: Arc<App>) -> Self {
        Self { stream: Arc::new(stream), attendance, app, ended: false, gone: None, stalled: None }
    }

    /// What hyper hears once the client sends no more: nothing while it waits for an answer.
    fn poll_gone(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.attendance.awaits_answer() {
            return Poll::Ready(Ok(()));
        }
        self.attendance.end();
        let gone = self.gone.get_or_insert_with(|| {
            if !self.attendance.has_begun() && self.stalled.is_none() {
                // If it cannot be sent now, something else is on its way and will do.
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
                    self.attendance.begin();
                    return Poll::Ready(sent);
                }
            }
        }
    }

    /// An error once the client has taken nothing for too long: for less where others wait for the slots that it holds.
    fn poll_stalled(&mut self, task: &mut Context<'_>) -> Poll<io::Error> {
        let (since, look) = self.stalled.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(Duration::ZERO))));
        let limits = &self.app.config.limits;
        while look.as_mut().poll(task).is_ready() {
            let holds_up = self.attendance.generates() && self.app.engine.stats().totals.waiting > 0;
            let limit = if holds_up { limits.stall_timeout.min(limits.write_timeout) } else { limits.write_timeout };
            let left = limit.saturating_sub(since.elapsed());
            if left.is_zero() {
                tracing::debug!("a client took nothing for {:?} and is cut off", since.elapsed());
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            look.as_mut().reset((Instant::now() + left.min(LOOK)).into());
        }
        Poll::Pending
    }
}

impl AsyncRead for Line {
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

impl AsyncWrite for Line {
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

impl Drop for Line {
    fn drop(&mut self) {
        if self.ended || !self.attendance.left_unread() {
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
