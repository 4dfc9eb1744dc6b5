//! The way from a caller to a request that runs.

use crossbeam_channel::Sender;
use llama_concurrent_types::RequestId;

use crate::worker::Command;

/// What [`Engine::submit_to`](crate::Engine::submit_to) returns: the way to cancel and resume a request. Dropping it does nothing.
#[derive(Clone, Debug)]
pub struct Ticket {
    pub(crate) id: RequestId,
    pub(crate) commands: Sender<Command>,
}

impl Ticket {
    /// The request's id.
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// Ends the request before its next token; its sink still gets the `Finished` event.
    pub fn cancel(&self) {
        // A worker that is gone has ended all requests.
        let _ = self.commands.send(Command::Cancel(self.id));
    }

    /// Goes on with a request whose sink asked for a pause.
    pub fn resume(&self) {
        let _ = self.commands.send(Command::Resume(self.id));
    }
}
