//! The system under test: an engine in this process, or a server.

mod address;
mod engine;
mod server;

use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

pub use self::{address::ServerAddress, engine::EngineTarget, server::ServerTarget};
use crate::{
    record::{Outcome, Record},
    script::RequestSpec,
};

/// Something that generates text.
pub trait Target: Send + Sync {
    /// Its name in reports.
    fn name(&self) -> &str;

    /// Sends a request and returns without waiting. The observer gets the response.
    fn send(&self, request: &RequestSpec, observer: Observer);
}

/// Records the progress of one request. If dropped before the end, it records a failure.
pub struct Observer {
    start: Instant,
    done: Sender<End>,
    record: Option<Record>,
    spent: Duration,
}

/// A finished request.
pub(crate) struct End {
    pub(crate) record: Record,
    /// CPU time of the load generator for it, besides the replaying thread.
    pub(crate) spent: Duration,
}

impl Observer {
    pub(crate) fn new(start: Instant, sent: Duration, user: usize, kind: &'static str, done: Sender<End>) -> Self {
        let record = Record {
            user,
            kind,
            sent,
            pieces: Vec::new(),
            ended: sent,
            outcome: Outcome::Done,
            n_prompt_tokens: 0,
            n_cached_tokens: 0,
            n_drafted_tokens: 0,
            n_accepted_tokens: 0,
            n_output_tokens: 0,
            queue: None,
        };
        Self { start, done, record: Some(record), spent: Duration::ZERO }
    }

    /// A piece of text arrived.
    pub fn piece(&mut self) {
        let now = self.start.elapsed();
        if let Some(record) = &mut self.record {
            record.pieces.push(now);
        }
    }

    /// The target's own counts: prompt tokens, cached prompt tokens, and output tokens.
    pub fn tokens(&mut self, prompt: usize, cached: usize, output: usize) {
        if let Some(record) = &mut self.record {
            (record.n_prompt_tokens, record.n_cached_tokens, record.n_output_tokens) = (prompt, cached, output);
        }
    }

    /// Drafted tokens, and those of them that came.
    pub fn drafts(&mut self, drafted: usize, accepted: usize) {
        if let Some(record) = &mut self.record {
            (record.n_drafted_tokens, record.n_accepted_tokens) = (drafted, accepted);
        }
    }

    /// How long the request waited for a slot.
    pub fn queue(&mut self, time: Duration) {
        if let Some(record) = &mut self.record {
            record.queue = Some(time);
        }
    }

    /// CPU time for sending and receiving, on a dedicated thread.
    pub fn spent(&mut self, time: Duration) {
        self.spent = time;
    }

    /// The request has ended.
    pub fn end(mut self, outcome: Outcome) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Outcome) {
        if let Some(mut record) = self.record.take() {
            record.ended = self.start.elapsed();
            record.outcome = outcome;
            if record.n_output_tokens == 0 {
                record.n_output_tokens = record.pieces.len();
            }
            // The receiver is gone if the run was stopped.
            let _ = self.done.send(End { record, spent: self.spent });
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.finish(Outcome::Failed("the target gave no answer".into()));
    }
}
