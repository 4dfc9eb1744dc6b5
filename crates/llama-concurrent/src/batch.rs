//! Many prompts at once: lists of any length, a few at a time, results in the order of the list.

use std::{convert::Infallible, ops::ControlFlow, time::Duration};

use crossbeam_channel::{Receiver, Sender, unbounded};
use llama_concurrent_types::{Completion, ErrorKind, Priority, Prompt, Request, Result, SamplingParams};

use crate::{engine::Engine, ticket::Ticket};

/// The longest time between two looks at whether to go on.
const TICK: Duration = Duration::from_millis(100);
/// How long to wait before asking again for a place that other callers take.
const RETRY: Duration = Duration::from_millis(50);

impl Engine {
    /// Generates for every prompt and returns the results in the order of the prompts.
    ///
    /// Request `i` uses `params.seed + i` and runs in the batch class. `progress` is called on this thread with
    /// the number of finished prompts and the number of all; a panic in it cancels the rest.
    ///
    /// A prompt that cannot be served has its error in its place and does not disturb the others.
    pub fn generate_batch<P: Into<Prompt>>(
        &self,
        prompts: impl IntoIterator<Item = P>,
        params: &SamplingParams,
        progress: impl FnMut(usize, usize),
    ) -> Vec<Result<Completion>> {
        let requests = prompts
            .into_iter()
            .enumerate()
            .map(|(index, prompt)| {
                let params = params.clone().seed(params.seed.wrapping_add(index as u32));
                Request::new(prompt).params(params).priority(Priority::Batch)
            })
            .collect();
        self.run_all(requests, progress)
    }

    /// Runs requests of any number and returns their results in order; `progress` as in
    /// [`generate_batch`](Self::generate_batch).
    pub fn run_all(&self, requests: Vec<Request>, progress: impl FnMut(usize, usize)) -> Vec<Result<Completion>> {
        self.run_each(requests.into_iter().map(Ok).collect(), progress)
    }

    /// The same; a request that could not be made keeps its error in its place.
    pub(crate) fn run_each(
        &self,
        requests: Vec<Result<Request>>,
        mut progress: impl FnMut(usize, usize),
    ) -> Vec<Result<Completion>> {
        let mut told = 0;
        let results = self.try_run_all(requests, |done, total| {
            if done > told {
                told = done;
                progress(done, total);
            }
            ControlFlow::<Infallible>::Continue(())
        });
        match results {
            ControlFlow::Continue(results) => results,
            ControlFlow::Break(never) => match never {},
        }
    }

    /// As [`run_all`](Self::run_all), but `tick` may end it early, and is also called some ten times a second while
    /// nothing ends. What still runs then is cancelled. A request that could not be made keeps its error in its place.
    pub fn try_run_all<B>(
        &self,
        requests: Vec<Result<Request>>,
        mut tick: impl FnMut(usize, usize) -> ControlFlow<B>,
    ) -> ControlFlow<B, Vec<Result<Completion>>> {
        let total = requests.len();
        let mut batch = Batch::new(total);
        let window = self.batch_window();
        for (index, request) in requests.into_iter().enumerate() {
            while batch.in_flight >= window {
                batch.collect(TICK);
                tick(batch.done, total)?;
            }
            let request = match request {
                Ok(request) => request,
                Err(error) => {
                    batch.finish(index, Err(error));
                    tick(batch.done, total)?;
                    continue;
                }
            };
            let mut stopped = ControlFlow::Continue(());
            let sender = batch.sender.clone();
            let ended = move |result| {
                let _ = sender.send((index, result));
            };
            let submitted = self.submit_when_free(
                || self.submit_then(&request, ended.clone()),
                || {
                    batch.collect(Duration::ZERO);
                    stopped = tick(batch.done, total);
                    stopped.is_continue()
                },
            );
            match submitted {
                Some(Ok(ticket)) => batch.started(index, ticket),
                Some(Err(error)) => batch.finish(index, Err(error)),
                None => {}
            }
            stopped?;
        }
        while batch.done < total {
            batch.collect(TICK);
            tick(batch.done, total)?;
        }
        ControlFlow::Continue(batch.results.into_iter().flatten().collect())
    }

    /// Calls `submit` until it gives something else than [`ErrorKind::Overloaded`], whenever a place may have become free;
    /// `None` once `go_on`, which is asked before each further attempt, says no.
    pub fn submit_when_free<T>(
        &self,
        mut submit: impl FnMut() -> Result<T>,
        mut go_on: impl FnMut() -> bool,
    ) -> Option<Result<T>> {
        loop {
            match submit() {
                Err(error) if matches!(error.kind(), ErrorKind::Overloaded { .. }) => self.wait_for_room(RETRY),
                result => return Some(result),
            }
            if !go_on() {
                return None;
            }
        }
    }
}

struct Batch {
    results: Vec<Option<Result<Completion>>>,
    done: usize,
    /// Dropped tickets cancel what is left if a progress callback panics.
    running: Vec<Option<CancelOnDrop>>,
    in_flight: usize,
    sender: Sender<Ended>,
    ended: Receiver<Ended>,
}

/// Which request ended, and how.
type Ended = (usize, Result<Completion>);

struct CancelOnDrop(Ticket);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Batch {
    fn new(total: usize) -> Self {
        let (sender, ended) = unbounded();
        Self {
            results: (0..total).map(|_| None).collect(),
            done: 0,
            running: (0..total).map(|_| None).collect(),
            in_flight: 0,
            sender,
            ended,
        }
    }

    fn started(&mut self, index: usize, ticket: Ticket) {
        self.running[index] = Some(CancelOnDrop(ticket));
        self.in_flight += 1;
    }

    /// Takes the requests that ended; waits until there is one, `limit` at most.
    fn collect(&mut self, limit: Duration) {
        let Ok((index, result)) = self.ended.recv_timeout(limit) else { return };
        self.take(index, result);
        while let Ok((index, result)) = self.ended.try_recv() {
            self.take(index, result);
        }
    }

    fn take(&mut self, index: usize, result: Result<Completion>) {
        self.in_flight -= 1;
        self.running[index] = None;
        self.finish(index, result);
    }

    fn finish(&mut self, index: usize, result: Result<Completion>) {
        self.results[index] = Some(result);
        self.done += 1;
    }
}
