//! Many prompts at once: lists of any length, a few at a time, results in the order of the list.

use std::{collections::VecDeque, convert::Infallible, ops::ControlFlow, time::Duration};

use crossbeam_channel::{Receiver, Sender, unbounded};
use llama_concurrent_types::{Completion, ErrorKind, Priority, Prompt, Request, Result, SamplingParams};

use crate::engine::{Engine, Ticket};

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
                let params = SamplingParams { seed: params.seed.wrapping_add(index as u32), ..params.clone() };
                Request::new(prompt).with_params(params).with_priority(Priority::Batch)
            })
            .collect();
        self.run_all(requests, progress)
    }

    /// Runs requests of any number and returns their results in order; `progress` as in
    /// [`generate_batch`](Self::generate_batch).
    pub fn run_all(&self, requests: Vec<Request>, mut progress: impl FnMut(usize, usize)) -> Vec<Result<Completion>> {
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
    /// nothing ends. What still runs then is cancelled.
    pub fn try_run_all<B>(
        &self,
        requests: Vec<Request>,
        mut tick: impl FnMut(usize, usize) -> ControlFlow<B>,
    ) -> ControlFlow<B, Vec<Result<Completion>>> {
        let total = requests.len();
        let mut batch = Batch::new(total);
        let mut waiting: VecDeque<(usize, Request)> = requests.into_iter().enumerate().collect();
        let window = self.batch_window();
        while batch.done < total {
            while batch.in_flight < window
                && let Some((index, request)) = waiting.pop_front()
            {
                if !batch.start(self, index, &request) {
                    waiting.push_front((index, request));
                    break;
                }
            }
            batch.collect(self, !waiting.is_empty());
            tick(batch.done, total)?;
        }
        ControlFlow::Continue(batch.results.into_iter().flatten().collect())
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

    /// Submits one request; whether it was taken or refused for good, as opposed to: not now.
    fn start(&mut self, engine: &Engine, index: usize, request: &Request) -> bool {
        let sender = self.sender.clone();
        let ended = move |result| {
            let _ = sender.send((index, result));
        };
        match engine.submit_then(request, ended) {
            Ok(ticket) => {
                self.running[index] = Some(CancelOnDrop(ticket));
                self.in_flight += 1;
            }
            Err(error) if matches!(error.kind(), ErrorKind::Overloaded { .. }) => return false,
            Err(error) => self.finish(index, Err(error)),
        }
        true
    }

    /// Waits until at least one more request of this batch ended or, if the queue is full of others, until one of those
    /// did; not for long.
    fn collect(&mut self, engine: &Engine, queue_is_full: bool) {
        if self.in_flight == 0 {
            if queue_is_full {
                engine.wait_for_room(RETRY);
            }
            return;
        }
        let Ok((index, result)) = self.ended.recv_timeout(TICK) else { return };
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
