//! The maximum number of connections: each needs a file descriptor, and these are limited per process.

/// The maximum number of connections that are being rejected at the same time.
const REJECTED: usize = 64;
/// File descriptors reserved for the engine and the rest of the process.
const FILES: usize = 32;

/// How many connections may be served, and how many may be in the process of being rejected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ConnectionLimits {
    pub(super) served: usize,
    pub(super) rejected: usize,
}

impl ConnectionLimits {
    /// `asked` connections, or fewer if the limit on open files requires it.
    pub(super) fn new(asked: usize) -> Self {
        let limit = limit();
        let room = Self::within(asked, limit.map(|limit| limit.saturating_sub(open_files())));
        if let (true, Some(limit)) = (room.served < asked, limit) {
            tracing::warn!(
                "at most {} connections are served at a time instead of {asked}: the process may have {limit} open files",
                room.served
            );
        }
        room
    }

    fn within(asked: usize, spare: Option<usize>) -> Self {
        let asked = asked.max(1);
        let Some(spare) = spare else { return Self { served: asked, rejected: REJECTED } };
        let rejected = (spare / 8).clamp(1, REJECTED);
        let files = (spare / 4).min(FILES);
        Self { served: spare.saturating_sub(rejected + files).clamp(1, asked), rejected }
    }
}

#[cfg(unix)]
fn limit() -> Option<usize> {
    use nix::sys::resource::{Resource, getrlimit};
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    usize::try_from(soft).ok()
}

#[cfg(not(unix))]
fn limit() -> Option<usize> {
    None
}

/// The number of open files; an estimate if the system does not report it.
fn open_files() -> usize {
    std::fs::read_dir("/dev/fd").map_or(64, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_other_files() {
        for (asked, spare, served, rejected) in [
            (1024, None, 1024, 64),
            (1024, Some(1_000_000), 1024, 64),
            (1024, Some(1000), 904, 64),
            (1024, Some(40), 25, 5),
            (10, Some(40), 10, 5),
            (1024, Some(0), 1, 1),
            (0, Some(1000), 1, 64),
        ] {
            assert_eq!(
                ConnectionLimits::within(asked, spare),
                ConnectionLimits { served, rejected },
                "{asked} of {spare:?}"
            );
        }
    }
}
