//! How many connections there may be: each is an open file, and a process may have a limited number.

/// Connections that are told that there are too many, at the same time.
const TURNED_AWAY: usize = 64;
/// For files that the engine or the process opens meanwhile.
const FILES: usize = 32;

/// Connections that may be served, and that may be told that there are too many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Room {
    pub(super) served: usize,
    pub(super) turned_away: usize,
}

impl Room {
    /// As many as asked for, or as the limit of open files leaves.
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
        let Some(spare) = spare else { return Self { served: asked, turned_away: TURNED_AWAY } };
        let turned_away = (spare / 8).clamp(1, TURNED_AWAY);
        let files = (spare / 4).min(FILES);
        Self { served: spare.saturating_sub(turned_away + files).clamp(1, asked), turned_away }
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

/// What is open now; a guess where the system does not tell.
fn open_files() -> usize {
    std::fs::read_dir("/dev/fd").map_or(64, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_other_files() {
        for (asked, spare, served, turned_away) in [
            (1024, None, 1024, 64),
            (1024, Some(1_000_000), 1024, 64),
            (1024, Some(1000), 904, 64),
            (1024, Some(40), 25, 5),
            (10, Some(40), 10, 5),
            (1024, Some(0), 1, 1),
            (0, Some(1000), 1, 64),
        ] {
            assert_eq!(Room::within(asked, spare), Room { served, turned_away }, "{asked} of {spare:?}");
        }
    }
}
