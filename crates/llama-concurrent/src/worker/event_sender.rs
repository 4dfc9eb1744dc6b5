//! The way of events from a worker to one reader.

use std::panic::{AssertUnwindSafe, catch_unwind};

use llama_concurrent_types::{Event, Finish, FinishReason, Timings};

use crate::stream::{EventSink, Flow};

/// The way to the reader of a request. One that is dropped before the request ended tells its reader so: wherever a
/// request is lost, in a channel whose worker is gone or in a panic, nobody waits for it in vain.
pub(crate) struct EventSender(Option<Box<dyn EventSink>>);

impl EventSender {
    pub(crate) fn new(sink: Box<dyn EventSink>) -> Self {
        Self(Some(sink))
    }

    /// Gives the request up without a word: its caller learns of it otherwise.
    pub(crate) fn disarm(mut self) {
        self.0 = None;
    }

    /// What the reader wants next; `None` if it panicked, and will hear nothing more.
    pub(super) fn send(&mut self, event: Event) -> Option<Flow> {
        let mut sink = self.0.take()?;
        let is_last = matches!(event, Event::Finished(_));
        let flow = catch_unwind(AssertUnwindSafe(|| sink.send(event))).ok()?;
        if !is_last {
            self.0 = Some(sink);
        }
        Some(flow)
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        self.send(Event::Finished(Box::new(Finish::new(FinishReason::Cancelled, Timings::default()))));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// As happens to a request that arrives while its worker ends.
    #[test]
    fn a_request_that_is_lost_on_its_way_ends() {
        let (commands, inbox) = crossbeam_channel::unbounded();
        let (ended, ends) = mpsc::channel();
        let events = |id| {
            let ended = ended.clone();
            let sink = move |event| {
                if let Event::Finished(finish) = event {
                    ended.send((id, finish.reason)).unwrap();
                }
                Flow::Continue
            };
            EventSender::new(Box::new(sink))
        };
        commands.send(events(1)).unwrap();
        drop(inbox);
        assert_eq!(ends.try_recv(), Ok((1, FinishReason::Cancelled)));
        // One that was refused hears nothing.
        match commands.send(events(2)) {
            Err(crossbeam_channel::SendError(events)) => events.disarm(),
            Ok(()) => panic!("nobody takes it"),
        }
        assert!(ends.try_recv().is_err());
    }
}
