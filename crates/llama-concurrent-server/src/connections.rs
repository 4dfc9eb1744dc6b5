//! Accepting connections, and ending: the listener stops, running requests drain, what is left is cancelled.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use llama_concurrent::Engine;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

use crate::{app::App, config::ServerConfig, guard::Peer, routes::router};

/// The name of the server's threads, as `ps -L` and profilers show it.
pub const THREAD_NAME: &str = "llama-http";
/// Connections beyond the limit that are told so at the same time; still more are closed without a word.
const TURNED_AWAY: usize = 64;
/// For the last words of connections after everything has ended.
const FAREWELL: Duration = Duration::from_secs(5);
/// A head of a request may have this many bytes.
const MAX_HEAD: usize = 64 << 10;

/// Binds an address and serves until `shutdown` is ready, on a runtime of its own; `listening` gets the address that was
/// bound.
///
/// # Errors
/// The address cannot be bound, or threads cannot be started.
pub fn run(
    address: impl tokio::net::ToSocketAddrs,
    engine: Engine,
    config: ServerConfig,
    listening: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    // One thread serves all connections: two would share the tokens of a step and wake each other for it, which costs a third
    // more. One passes on some 70,000 tokens a second; what takes long is done elsewhere.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name(THREAD_NAME).enable_all().build()?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        listening(listener.local_addr()?);
        serve(listener, engine, config, shutdown).await
    });
    // Dropping it would wait for work that nothing can cut short, such as tokenizing.
    runtime.shutdown_background();
    served
}

/// Serves until `shutdown` is ready and then ends in order: no new connections and requests, then at most
/// [`Limits::drain`](crate::Limits::drain) for those that run, then they are cancelled with an error. The engine takes no requests afterwards.
/// What reads a large request then may go on for a while on a thread of its own.
///
/// # Errors
/// None at present; a failing `accept` is tried again.
pub async fn serve(
    listener: TcpListener,
    engine: Engine,
    config: ServerConfig,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let app = App::new(engine, config);
    let router = router(app.clone());
    let most = app.config.limits.max_connections.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let (open, turned_away) = (Arc::new(Semaphore::new(most)), Arc::new(Semaphore::new(TURNED_AWAY)));
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: some become free.
                tracing::warn!("cannot accept a connection: {error}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        match open.clone().try_acquire_owned() {
            Ok(permit) => {
                let peer = Peer { address, permit: Arc::new(permit) };
                tokio::spawn(connection(stream, peer, router.clone(), app.clone()));
            }
            Err(_) => {
                app.metrics.turned_away();
                if let Ok(permit) = turned_away.clone().try_acquire_owned() {
                    tokio::spawn(async move {
                        let _ = timeout(Duration::from_secs(1), turn_away(stream)).await;
                        drop(permit);
                    });
                }
            }
        }
    }
    drop(listener);
    app.stopping.send_replace(true);
    end_requests(&app).await;
    let _ = timeout(FAREWELL, open.acquire_many(most as u32)).await;
    app.lanes.end();
    Ok(())
}

/// Waits for running requests, and cancels those that take too long.
async fn end_requests(app: &Arc<App>) {
    let (engine, limit) = (app.engine.clone(), app.config.limits.drain);
    let ended = spawn_blocking(move || {
        let drained = engine.drain_within(limit);
        if !drained {
            engine.shutdown();
        }
        drained
    });
    if matches!(ended.await, Ok(false)) {
        tracing::warn!("requests ran longer than the time to drain and were cancelled");
    }
}

async fn connection(stream: TcpStream, peer: Peer, router: Router, app: Arc<App>) {
    let limits = &app.config.limits;
    // Tokens are small and wanted at once.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write_timeout));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = app.stopped() => {
            // What is being answered is answered to its end; idle ones close.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended early: {error}");
    }
}

/// Tells a connection that there are too many. It is read to its end first, since closing it with something unread
/// could take the answer back.
async fn turn_away(mut stream: TcpStream) -> io::Result<()> {
    let body = r#"{"error":{"code":503,"message":"the server has too many connections; try again later","type":"unavailable_error","param":null}}"#;
    let head =
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close";
    stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await?;
    stream.shutdown().await?;
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
