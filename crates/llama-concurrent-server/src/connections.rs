//! Accepting connections, and ending: the listener stops, running requests drain, what is left is cancelled.

mod line;
mod room;

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
    attendance::{Attended, Visit},
    config::ServerConfig,
    guard::Peer,
    routes::router,
};
use line::Line;
use room::Room;

/// The name of the server's threads, as `ps -L` and profilers show it.
pub const THREAD_NAME: &str = "llama-http";
/// For an idle connection to make room for a new one.
const SQUEEZE: Duration = Duration::from_secs(1);
/// For those before a connection to have got a place or to know that there is none; then it is closed without a word.
const PAUSE: Duration = Duration::from_millis(50);
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        // A connection may have a millisecond's work to do; others are looked at after so many of them.
        .event_interval(8)
        .thread_name(THREAD_NAME)
        .enable_all()
        .build()?;
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
/// The listener has no address. A failing `accept` is tried again.
pub async fn serve(
    listener: TcpListener,
    engine: Engine,
    config: ServerConfig,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let app = App::new(engine, config, listener.local_addr()?.ip());
    let router = router(app.clone());
    let room = Room::new(app.config.limits.max_connections.min(Semaphore::MAX_PERMITS.min(u32::MAX as usize)));
    let (open, turned_away) = (Arc::new(Semaphore::new(room.served)), Arc::new(Semaphore::new(room.turned_away)));
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
                // Out of file descriptors, mostly: others than ours took what was left.
                tracing::warn!("cannot accept a connection: {error}");
                app.idle.close_one();
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Ok(permit) = open.clone().try_acquire_owned() {
            tokio::spawn(connection(stream, address, permit, router.clone(), app.clone()));
        } else if let Ok(Ok(place)) = timeout(PAUSE, turned_away.clone().acquire_owned()).await {
            tokio::spawn(squeeze_in(stream, address, open.clone(), place, router.clone(), app.clone()));
        } else {
            app.metrics.turned_away();
        }
    }
    drop(listener);
    app.stopping.send_replace(true);
    end_requests(&app).await;
    let _ = timeout(FAREWELL, open.acquire_many(room.served as u32)).await;
    app.lanes.end();
    Ok(())
}

/// The routes without a socket, each request as from a connection of its own: for the fuzz target.
#[doc(hidden)]
pub fn routes(engine: Engine, config: ServerConfig) -> Router {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let app = App::new(engine, config, address.ip());
    let places = Arc::new(Semaphore::new(app.config.limits.max_connections));
    let connect = move |mut request: Request<Body>, next: Next| {
        let places = places.clone();
        async move {
            let permit = Arc::new(places.acquire_owned().await.expect("they are never closed"));
            request.extensions_mut().insert(Peer { address, permit, attendance: Arc::default() });
            next.run(request).await
        }
    };
    router(app).layer(from_fn(connect))
}

/// Serves a connection in the place of one that is idle, or tells it that there are too many.
async fn squeeze_in(
    stream: TcpStream,
    address: SocketAddr,
    open: Arc<Semaphore>,
    place: OwnedSemaphorePermit,
    router: Router,
    app: Arc<App>,
) {
    if app.idle.close_one()
        && let Ok(Ok(permit)) = timeout(SQUEEZE, open.acquire_owned()).await
    {
        drop(place);
        return connection(stream, address, permit, router, app).await;
    }
    app.metrics.turned_away();
    let _ = timeout(Duration::from_secs(1), turn_away(stream)).await;
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

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    permit: OwnedSemaphorePermit,
    router: Router,
    app: Arc<App>,
) {
    let limits = &app.config.limits;
    // Tokens are small and wanted at once.
    let _ = stream.set_nodelay(true);
    let visit = Visit::new(app.idle.clone());
    let attendance = visit.attendance.clone();
    let peer = Peer { address, permit: Arc::new(permit), attendance: attendance.clone() };
    let stream = Line::new(stream, attendance.clone(), app.clone());
    let served = AtomicBool::new(false);
    let service = service_fn(|mut request: Request<Incoming>| {
        served.store(true, Ordering::Relaxed);
        let busy = visit.request(request.version() < Version::HTTP_11, !request.body().is_end_stream());
        request.extensions_mut().insert(peer.clone());
        let answered = router.clone().oneshot(request.map(Body::new));
        async move { Ok::<_, Infallible>(answered.await?.map(|body| Attended { body, busy: Some(busy) })) }
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
            // What is being answered is answered to its end; idle ones close.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = attendance.closed() => {
            tracing::debug!("an idle connection makes room");
            connection.as_mut().graceful_shutdown();
            let soon = async {
                if served.load(Ordering::Relaxed) {
                    sleep(SQUEEZE / 2).await;
                }
            };
            tokio::select! {
                ended = connection.as_mut() => ended,
                // One that never asked for anything, or does not take the rest of its answer.
                () = soon, if !attendance.is_busy() => return,
            }
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
