//! Accepts connections, and shuts down gracefully: stops listening, drains running requests, and cancels the rest.

mod client_stream;
mod connection_limits;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    middleware::{Next, from_fn},
};
use http_body::Body as _;
use hyper::{Request, Version, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use llama_concurrent::Engine;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tower::ServiceExt;

use crate::{
    app::App,
    config::ServerConfig,
    connection_state::{OpenConnection, TrackedBody},
    guard::Peer,
    routes::router,
};
use client_stream::ClientStream;
use connection_limits::ConnectionLimits;

/// The name of the server's threads in `ps -L` and profilers.
pub const THREAD_NAME: &str = "llama-http";
/// How long to wait until an idle connection has closed to make room for a new one.
const IDLE_CLOSE_WAIT: Duration = Duration::from_secs(1);
/// How long a connection beyond the limit waits to be answered; then it is closed without a response.
const REJECT_WAIT: Duration = Duration::from_millis(50);
/// The grace period of connections after all requests have ended.
const GRACE_PERIOD: Duration = Duration::from_secs(5);
/// The maximum size of a request head in bytes.
const MAX_HEAD: usize = 64 << 10;

/// Binds an address and serves until `shutdown` is ready, on its own runtime. `listening` gets the bound address.
///
/// # Errors
/// If the address cannot be bound, or threads cannot be started.
pub fn run(
    address: impl tokio::net::ToSocketAddrs,
    engine: Engine,
    config: ServerConfig,
    listening: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    // One thread serves all connections: two would split the tokens of a step and wake each other for it, which costs a third
    // more. One delivers some 70,000 tokens a second; long work is done elsewhere.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        // A connection may have a millisecond of work; poll for I/O after this many of them.
        .event_interval(8)
        .thread_name(THREAD_NAME)
        .enable_all()
        .build()?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        listening(listener.local_addr()?);
        serve(listener, engine, config, shutdown).await
    });
    // Dropping it would wait for work that cannot be cancelled, such as tokenizing.
    runtime.shutdown_background();
    served
}

/// Serves until `shutdown` is ready and then shuts down gracefully: it accepts no new connections and requests, waits at most
/// [`Limits::drain`](crate::Limits::drain) for running ones, and cancels the rest with an error. The engine accepts no
/// requests afterwards. A thread that parses a large request may continue for a while.
///
/// # Errors
/// If the listener has no address. A failing `accept` is retried.
pub async fn serve(
    listener: TcpListener,
    engine: Engine,
    config: ServerConfig,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let app = App::new(engine, config, listener.local_addr()?.ip());
    let router = router(app.clone());
    let allowed =
        ConnectionLimits::new(app.config.limits.max_connections.min(Semaphore::MAX_PERMITS.min(u32::MAX as usize)));
    let (open, rejected) = (Arc::new(Semaphore::new(allowed.served)), Arc::new(Semaphore::new(allowed.rejected)));
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
                // Usually out of file descriptors, because other code took the remaining ones.
                tracing::warn!("cannot accept a connection: {error}");
                app.idle.close_one();
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Ok(permit) = open.clone().try_acquire_owned() {
            tokio::spawn(connection(stream, address, permit, router.clone(), app.clone()));
        } else if let Ok(Ok(place)) = timeout(REJECT_WAIT, rejected.clone().acquire_owned()).await {
            tokio::spawn(admit_or_reject(stream, address, open.clone(), place, router.clone(), app.clone()));
        } else {
            app.metrics.connection_refused();
        }
    }
    drop(listener);
    app.stopping.send_replace(true);
    end_requests(&app).await;
    let _ = timeout(GRACE_PERIOD, open.acquire_many(allowed.served as u32)).await;
    app.lanes.end();
    Ok(())
}

/// The routes without a socket, each request on its own connection: for the fuzz target.
#[doc(hidden)]
pub fn routes(engine: Engine, config: ServerConfig) -> Router {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let app = App::new(engine, config, address.ip());
    let places = Arc::new(Semaphore::new(app.config.limits.max_connections));
    let connect = move |mut request: Request<Body>, next: Next| {
        let places = places.clone();
        async move {
            let permit = Arc::new(places.acquire_owned().await.expect("they are never closed"));
            request.extensions_mut().insert(Peer { address, permit, connection: Arc::default() });
            next.run(request).await
        }
    };
    router(app).layer(from_fn(connect))
}

/// Serves a connection after closing an idle one, or rejects it.
async fn admit_or_reject(
    stream: TcpStream,
    address: SocketAddr,
    open: Arc<Semaphore>,
    place: OwnedSemaphorePermit,
    router: Router,
    app: Arc<App>,
) {
    if app.idle.close_one()
        && let Ok(Ok(permit)) = timeout(IDLE_CLOSE_WAIT, open.acquire_owned()).await
    {
        drop(place);
        return connection(stream, address, permit, router, app).await;
    }
    app.metrics.connection_refused();
    let _ = timeout(Duration::from_secs(1), reject(stream)).await;
}

/// Drains running requests, and cancels those that take too long.
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

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    permit: OwnedSemaphorePermit,
    router: Router,
    app: Arc<App>,
) {
    let limits = &app.config.limits;
    // Tokens are small and must be sent immediately.
    let _ = stream.set_nodelay(true);
    let open_connection = OpenConnection::new(app.idle.clone());
    let state = open_connection.state.clone();
    let peer = Peer { address, permit: Arc::new(permit), connection: state.clone() };
    let stream = ClientStream::new(stream, state.clone(), app.clone());
    let served = AtomicBool::new(false);
    let service = service_fn(|mut request: Request<Incoming>| {
        served.store(true, Ordering::Relaxed);
        let busy = open_connection.request(request.version() < Version::HTTP_11, !request.body().is_end_stream());
        request.extensions_mut().insert(peer.clone());
        let answered = router.clone().oneshot(request.map(Body::new));
        async move { Ok::<_, Infallible>(answered.await?.map(|body| TrackedBody { body, busy: Some(busy) })) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = app.stopped() => {
            // Responses in progress are completed; idle connections close.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = state.closed() => {
            tracing::debug!("an idle connection makes room");
            connection.as_mut().graceful_shutdown();
            let soon = async {
                if served.load(Ordering::Relaxed) {
                    sleep(IDLE_CLOSE_WAIT / 2).await;
                }
            };
            tokio::select! {
                ended = connection.as_mut() => ended,
                // A connection without any request, or one that does not read the rest of its response.
                () = soon, if !state.is_busy() => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended early: {error}");
    }
}

/// Rejects a connection with status 503. Reads it to its end, because closing it with unread data could discard the
/// response.
async fn reject(mut stream: TcpStream) -> io::Result<()> {
    let body = r#"{"error":{"code":503,"message":"the server has too many connections; try again later","type":"unavailable_error","param":null}}"#;
    let head =
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close";
    stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await?;
    stream.shutdown().await?;
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
