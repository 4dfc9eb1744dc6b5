//! The work of requests before and after generation: parsing bodies, building prompts, writing large responses.
//!
//! What it takes grows with the bytes that came or go, so their number alone decides where it is done: little at once, on the
//! thread that serves connections; more on threads of its own, in one of a few lanes. A lane does one thing at a time and lets a
//! bounded number wait, so hostile requests keep a core or two busy and never a connection waiting. Work is given up
//! when its client leaves: whoever does it asks [`Job::check`] between its steps.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout_at};
use tracing::Span;

use crate::error::{ApiError, ApiResult};

/// Work on up to this many bytes takes at most a few milliseconds and is done inline.
const SMALL: usize = 4 << 10;
/// Work on more than this has its own lane, so that it does not delay shorter work.
const LARGE: usize = 256 << 10;
/// The maximum number of waiting and running jobs per lane; more get status 503.
const PLACES: usize = 64;
/// A job that has not started, or not finished, by then is cancelled.
const LONGEST: Duration = Duration::from_secs(30);
/// When to retry after a full lane.
const RETRY: Duration = Duration::from_secs(1);

/// The lanes in which work is done.
pub(crate) struct Lanes {
    short: Lane,
    long: Lane,
    constraints: Lane,
    ended: Arc<AtomicBool>,
}

struct Lane {
    running: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// The size of a piece of work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Load {
    /// Bytes received or to be sent.
    Bytes(usize),
    /// Compiling a constraint, which may take seconds even if it is short.
    Constraint,
}

/// The context of a piece of work.
pub(crate) struct Job {
    left: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    deadline: Instant,
}

impl Job {
    /// An error if the client has left or the work takes too long.
    pub(crate) fn check(&self) -> ApiResult<()> {
        if self.ended.load(Ordering::Relaxed) {
            return Err(shutting_down());
        }
        // The error for a client that has left is not read.
        if self.left.load(Ordering::Relaxed) || Instant::now() > self.deadline {
            return Err(ApiError::unavailable("the request took too long to read; send less at once"));
        }
        Ok(())
    }

    /// Whether the client still waits for this.
    pub(crate) fn goes_on(&self) -> bool {
        self.check().is_ok()
    }
}

/// Cancels a job when dropped.
struct Leave(Arc<AtomicBool>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Lanes {
    pub(crate) fn new() -> Self {
        Self { short: Lane::new(), long: Lane::new(), constraints: Lane::new(), ended: Arc::default() }
    }

    /// Does a piece of work in its lane.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        load: Load,
        work: impl FnOnce(&Job) -> ApiResult<T> + Send + 'static,
    ) -> ApiResult<T> {
        let lane = match load {
            Load::Bytes(bytes) if bytes <= SMALL => return work(&self.job(Arc::default())),
            Load::Bytes(bytes) if bytes <= LARGE => &self.short,
            Load::Bytes(_) => &self.long,
            Load::Constraint => &self.constraints,
        };
        let leave = Leave(Arc::default());
        let job = self.job(leave.0.clone());
        let place = lane.places.clone().try_acquire_owned().map_err(|_| full())?;
        let running = timeout_at(job.deadline.into(), lane.running.clone().acquire_owned()).await;
        // The semaphore is never closed.
        let running = running.map_err(|_| full())?.map_err(|_| shutting_down())?;
        let span = Span::current();
        let done = spawn_blocking(move || {
            // The permits belong to the work, which may outlast its client.
            let _held = (place, running);
            span.in_scope(|| job.check().and_then(|()| work(&job)))
        });
        match done.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => Err(ApiError::internal("the request could not be processed")),
            Err(_) => Err(shutting_down()),
        }
    }

    /// Does a piece of work at once.
    #[cfg(test)]
    pub(crate) fn here<T>(&self, work: impl FnOnce(&Job) -> ApiResult<T>) -> ApiResult<T> {
        work(&self.job(Arc::default()))
    }

    /// Cancels all work at its next step.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    fn job(&self, left: Arc<AtomicBool>) -> Job {
        Job { left, ended: self.ended.clone(), deadline: Instant::now() + LONGEST }
    }
}

impl Lane {
    fn new() -> Self {
        Self { running: Arc::new(Semaphore::new(1)), places: Arc::new(Semaphore::new(PLACES)) }
    }
}

fn full() -> ApiError {
    ApiError::unavailable("too many large requests are being processed").with_retry(RETRY)
}

fn shutting_down() -> ApiError {
    ApiError::unavailable("the server is shutting down and takes no new requests")
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        pin::Pin,
        sync::mpsc,
        task::Poll,
        thread::{self, ThreadId},
    };

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    async fn is_pending(mut future: Pin<&mut impl Future>) -> bool {
        poll_fn(|task| Poll::Ready(future.as_mut().poll(task).is_pending())).await
    }

    async fn thread_of(lanes: &Lanes, load: Load) -> ThreadId {
        lanes.run(load, |_| Ok(thread::current().id())).await.unwrap()
    }

    #[test]
    fn only_little_work_is_done_at_once() {
        let lanes = Lanes::new();
        runtime().block_on(async {
            let here = thread::current().id();
            assert_eq!(thread_of(&lanes, Load::Bytes(SMALL)).await, here);
            for load in [Load::Bytes(SMALL + 1), Load::Bytes(LARGE + 1), Load::Constraint] {
                assert_ne!(thread_of(&lanes, load).await, here, "{load:?}");
            }
        });
    }

    #[test]
    fn a_lane_does_one_thing_and_the_others_go_on() {
        let lanes = Lanes::new();
        runtime().block_on(async {
            let (go, wait) = mpsc::channel::<()>();
            let held = lanes.run(Load::Bytes(LARGE + 1), move |_| Ok(wait.recv().is_ok()));
            let mut held = Box::pin(held);
            assert!(is_pending(held.as_mut()).await);
            let mut second = Box::pin(lanes.run(Load::Bytes(LARGE + 1), |_| Ok(())));
            assert!(is_pending(second.as_mut()).await);
            assert_eq!(lanes.long.running.available_permits(), 0);
            thread_of(&lanes, Load::Bytes(SMALL + 1)).await;
            thread_of(&lanes, Load::Constraint).await;
            go.send(()).unwrap();
            assert!(held.await.unwrap());
            second.await.unwrap();
        });
    }

    #[test]
    fn a_full_lane_says_when_to_come_back() {
        let lanes = Lanes::new();
        runtime().block_on(async {
            let _all = lanes.long.places.clone().acquire_many_owned(PLACES as u32).await.unwrap();
            let error = lanes.run(Load::Bytes(LARGE + 1), |_| Ok(())).await.unwrap_err();
            assert_eq!((error.status.as_u16(), error.retry_after()), (503, Some(RETRY)));
        });
    }

    #[test]
    fn work_whose_client_left_or_whose_server_ends_is_given_up() {
        let lanes = Lanes::new();
        let (started, begun) = mpsc::channel();
        let (told, ended) = mpsc::channel();
        let until_told = move |job: &Job| -> ApiResult<()> {
            started.send(()).unwrap();
            while job.check().is_ok() {
                thread::yield_now();
            }
            told.send(()).unwrap();
            Ok(())
        };
        runtime().block_on(async {
            let mut work = Box::pin(lanes.run(Load::Bytes(LARGE + 1), until_told.clone()));
            while begun.try_recv().is_err() {
                assert!(is_pending(work.as_mut()).await);
                tokio::task::yield_now().await;
            }
            drop(work);
            ended.recv().unwrap();
            let mut work = Box::pin(lanes.run(Load::Bytes(LARGE + 1), until_told));
            while begun.try_recv().is_err() {
                assert!(is_pending(work.as_mut()).await);
                tokio::task::yield_now().await;
            }
            lanes.end();
            work.await.unwrap();
            ended.recv().unwrap();
            assert_eq!(lanes.run(Load::Constraint, |_| Ok(())).await.unwrap_err().status.as_u16(), 503);
        });
    }

    #[test]
    fn work_that_panics_is_an_error() {
        let error = runtime().block_on(Lanes::new().run::<()>(Load::Constraint, |_| panic!("a fault"))).unwrap_err();
        assert_eq!(error.status.as_u16(), 500);
    }
}
