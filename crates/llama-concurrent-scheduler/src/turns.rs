//! Several workers that want the same processors: who computes when, and with how many of them.
//!
//! Threads that spin need their processors for themselves, so a call that spins takes turns with all others. A call whose threads
//! share out the work and sleep can run beside others of its kind, each with its part of the threads: that has no hand-over to
//! wait for, and what one call leaves idle another uses. So workers spin while they are alone, and share while they are not.
//!
//! Among those that take turns, who has used less goes first. A call counts by the part of the processors that it had, and four
//! times as much if only batch requests want it. So everyone gets an equal share, and who has used least waits for no more than
//! one call of each of the others.

use std::time::Duration;

/// What time of a call counts that only batch requests want: so many times what it is.
const BATCH_WEIGHT: u32 = 4;

/// A worker among those that share processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member(u64);

/// Which class a call is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallClass {
    /// Somebody waits for it.
    #[default]
    Interactive,
    /// Only requests of the batch class want it, or a model is being loaded.
    Batch,
}

/// Whether a call can run beside others on the same processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// No: its threads spin.
    Never,
    /// If there are others; alone, its threads spin.
    #[default]
    IfNeeded,
    /// Yes: its threads never spin.
    Always,
}

/// Who computes and who waits to.
#[derive(Debug, Default)]
pub struct Turns {
    members: Vec<State>,
    next: u64,
}

#[derive(Debug)]
struct State {
    member: Member,
    cpus: Vec<usize>,
    /// Time used, by the part of the processors and weighed.
    used: Duration,
    /// Of the present call, or of the last.
    class: CallClass,
    sharing: Sharing,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Waiting {
        arrival: u64,
    },
    /// Beside so many others and itself.
    Computing {
        sharers: usize,
        is_shared: bool,
    },
}

impl State {
    fn shares_a_cpu(&self, other: &State) -> bool {
        self.cpus.is_empty() || other.cpus.is_empty() || self.cpus.iter().any(|cpu| other.cpus.contains(cpu))
    }

    /// Whether calls of both can run at once, as far as their threads are concerned.
    fn can_share_with(&self, other: &State) -> bool {
        self.sharing != Sharing::Never && other.sharing != Sharing::Never
    }

    /// Whether a call of its class goes without asking who has used less: batch work shares what others leave of their time.
    fn has_a_claim_beside(&self, other: &State) -> bool {
        self.class == CallClass::Interactive || other.class == CallClass::Batch || self.used <= other.used
    }
}

impl Turns {
    /// Nobody computes.
    pub const fn new() -> Self {
        Self { members: Vec::new(), next: 0 }
    }

    /// Somebody who computes on these CPUs; on any, if none are named.
    pub fn join(&mut self, cpus: &[usize]) -> Member {
        self.next += 1;
        let member = Member(self.next);
        self.members.push(State {
            member,
            cpus: cpus.to_vec(),
            used: Duration::ZERO,
            class: CallClass::default(),
            sharing: Sharing::default(),
            phase: Phase::Idle,
        });
        member
    }

    /// Somebody who will not come again.
    pub fn leave(&mut self, member: Member) {
        self.members.retain(|state| state.member != member);
    }

    /// The member wants to compute.
    pub fn ask(&mut self, member: Member, class: CallClass, sharing: Sharing) {
        self.next += 1;
        let arrival = self.next;
        let Some(index) = self.index(member) else { return };
        let state = &mut self.members[index];
        (state.class, state.sharing) = (class, sharing);
        if state.phase != Phase::Idle {
            return;
        }
        // Whoever did nothing for a while has saved nothing up by that, and whoever was alone has run up no debt.
        let active = self.rivals(index).filter(|state| state.phase != Phase::Idle).map(|state| state.used).min();
        if let Some(level) = active.or_else(|| self.rivals(index).map(|state| state.used).max()) {
            let own = &mut self.members[index].used;
            *own = (*own).max(level);
        }
        self.members[index].phase = Phase::Waiting { arrival };
    }

    /// Whether the member, which has asked, may compute now; it then does. How many compute on its processors, itself included:
    /// with 1 it has them for itself, otherwise it must share.
    pub fn begin(&mut self, member: Member) -> Option<usize> {
        let Some(index) = self.index(member) else { return Some(1) };
        let own = &self.members[index];
        let Phase::Waiting { arrival } = own.phase else { return None };
        let mut sharers = 1;
        for rival in self.rivals(index) {
            let beside = own.can_share_with(rival) && own.has_a_claim_beside(rival);
            match rival.phase {
                Phase::Idle => {}
                Phase::Computing { is_shared, .. } if is_shared && beside => sharers += 1,
                Phase::Computing { .. } => return None,
                // It begins at any moment, unless it has to wait for its time.
                Phase::Waiting { .. } if beside => sharers += usize::from(rival.has_a_claim_beside(own)),
                Phase::Waiting { arrival: other } if (own.used, arrival) < (rival.used, other) => {}
                Phase::Waiting { .. } => return None,
            }
        }
        let is_shared = own.sharing == Sharing::Always || sharers > 1;
        self.members[index].phase = Phase::Computing { sharers, is_shared };
        Some(sharers)
    }

    /// The member has computed for so long. With `more` to compute it asks again at once: those that have used more would
    /// otherwise slip in before it comes back.
    pub fn end(&mut self, member: Member, elapsed: Duration, more: bool) {
        let Some(index) = self.index(member) else { return };
        self.next += 1;
        let state = &mut self.members[index];
        let sharers = if let Phase::Computing { sharers, .. } = state.phase { sharers } else { 1 };
        state.used += elapsed / sharers as u32 * if state.class == CallClass::Batch { BATCH_WEIGHT } else { 1 };
        state.phase = if more { Phase::Waiting { arrival: self.next } } else { Phase::Idle };
    }

    /// The member, which has asked, does not want to compute after all.
    pub fn withdraw(&mut self, member: Member) {
        if let Some(index) = self.index(member) {
            self.members[index].phase = Phase::Idle;
        }
    }

    /// Whether there are others who may want the member's processors.
    pub fn has_rivals(&self, member: Member) -> bool {
        self.index(member).is_some_and(|index| self.rivals(index).next().is_some())
    }

    /// Whether others wait for the member's processors or compute on them.
    pub fn is_contended(&self, member: Member) -> bool {
        self.index(member).is_some_and(|index| self.rivals(index).any(|rival| rival.phase != Phase::Idle))
    }

    fn index(&self, member: Member) -> Option<usize> {
        self.members.iter().position(|state| state.member == member)
    }

    /// Those that share a CPU with a member.
    fn rivals(&self, index: usize) -> impl Iterator<Item = &State> {
        let own = &self.members[index];
        self.members.iter().filter(move |state| state.member != own.member && state.shares_a_cpu(own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[derive(Clone, Copy)]
    struct Player {
        member: Member,
        call: Duration,
        class: CallClass,
        sharing: Sharing,
    }

    #[derive(Clone, Copy, Debug, Default)]
    struct Got {
        /// Computing, and computing with all of its processors for itself; and its part of the processors' time.
        time: Duration,
        alone: Duration,
        cpu: Duration,
        longest_wait: Duration,
    }

    /// Players that always want to compute, for ten seconds.
    fn play(turns: &mut Turns, players: &[Player]) -> Vec<Got> {
        let mut now = Duration::ZERO;
        let mut got = vec![Got::default(); players.len()];
        let mut since = vec![Duration::ZERO; players.len()];
        // The end of the call under way, and how many share its processors.
        let mut calls: Vec<Option<(Duration, usize)>> = vec![None; players.len()];
        let ask = |turns: &mut Turns, player: &Player| turns.ask(player.member, player.class, player.sharing);
        players.iter().for_each(|player| ask(turns, player));
        while now < Duration::from_secs(10) {
            for (index, player) in
                players.iter().enumerate().filter(|(index, _)| calls[*index].is_none()).collect::<Vec<_>>()
            {
                let Some(sharers) = turns.begin(player.member) else { continue };
                got[index].longest_wait = got[index].longest_wait.max(now - since[index]);
                calls[index] = Some((now + player.call, sharers));
            }
            let spins = |index: usize| match players[index].sharing {
                Sharing::Never => true,
                Sharing::IfNeeded => calls[index].is_some_and(|(_, sharers)| sharers == 1),
                Sharing::Always => false,
            };
            let computing: Vec<usize> = (0..players.len()).filter(|&index| calls[index].is_some()).collect();
            assert!(
                computing.len() == 1 || !computing.iter().any(|&index| spins(index)),
                "a call spins beside another"
            );
            let next = computing.into_iter().min_by_key(|&index| calls[index]).expect("somebody computes");
            let (end, sharers) = calls[next].take().unwrap();
            let Player { member, call, .. } = players[next];
            now = end;
            got[next].time += call;
            got[next].cpu += call / sharers as u32;
            got[next].alone += if sharers == 1 { call } else { Duration::ZERO };
            turns.end(member, call, true);
            ask(turns, &players[next]);
            since[next] = now;
        }
        got
    }

    fn player(turns: &mut Turns, call: Duration, class: CallClass, sharing: Sharing) -> Player {
        Player { member: turns.join(&[0, 1]), call, class, sharing }
    }

    #[test]
    fn calls_that_spin_get_equal_time_however_long_they_are() {
        let mut turns = Turns::default();
        let players = [200, 5, 30, 60].map(|call| player(&mut turns, ms(call), CallClass::Interactive, Sharing::Never));
        for got in play(&mut turns, &players) {
            assert!(got.time.abs_diff(ms(2500)) < ms(250) && got.alone == got.time, "{got:?}");
        }
    }

    #[test]
    fn a_short_call_waits_for_no_more_than_one_long_one() {
        let mut turns = Turns::default();
        let players = [200, 5].map(|call| player(&mut turns, ms(call), CallClass::Interactive, Sharing::Never));
        let got = play(&mut turns, &players);
        assert!(got[1].longest_wait <= ms(200), "{got:?}");
        // One that comes after a pause is next, and has no claim on what it left to others.
        let [long, short] = players.map(|player| player.member);
        let ask = |turns: &mut Turns, member| turns.ask(member, CallClass::Interactive, Sharing::Never);
        turns.withdraw(long);
        turns.withdraw(short);
        for _ in 0..100 {
            ask(&mut turns, long);
            assert!(turns.begin(long).is_some());
            turns.end(long, ms(50), false);
        }
        ask(&mut turns, long);
        assert!(turns.begin(long).is_some());
        ask(&mut turns, short);
        assert!(turns.begin(short).is_none(), "one call at a time");
        assert!(turns.is_contended(long) && turns.is_contended(short));
        turns.end(long, ms(50), true);
        assert!(turns.begin(long).is_none() && turns.begin(short).is_some());
    }

    #[test]
    fn calls_that_can_share_begin_at_once() {
        let mut turns = Turns::default();
        let players = [200, 5, 30].map(|call| player(&mut turns, ms(call), CallClass::Interactive, Sharing::IfNeeded));
        for (got, player) in play(&mut turns, &players).into_iter().zip(players) {
            assert!(got.time.abs_diff(ms(10_000)) <= player.call, "{got:?}");
            assert_eq!((got.alone, got.longest_wait), (Duration::ZERO, Duration::ZERO));
        }
    }

    #[test]
    fn who_is_alone_need_not_share_and_a_newcomer_waits_for_that_call() {
        let mut turns = Turns::default();
        let [a, b] = [turns.join(&[0, 1]), turns.join(&[1])];
        let ask = |turns: &mut Turns, member| turns.ask(member, CallClass::Interactive, Sharing::IfNeeded);
        ask(&mut turns, a);
        assert_eq!(turns.begin(a), Some(1));
        ask(&mut turns, b);
        assert_eq!(turns.begin(b), None, "the other one spins");
        turns.end(a, ms(20), true);
        assert_eq!((turns.begin(b), turns.begin(a)), (Some(2), Some(2)));
        turns.end(b, ms(5), false);
        turns.end(a, ms(20), true);
        assert_eq!(turns.begin(a), Some(1));
        // One that never spins lets others in.
        turns.end(a, ms(20), false);
        turns.ask(b, CallClass::Interactive, Sharing::Always);
        assert_eq!(turns.begin(b), Some(1));
        ask(&mut turns, a);
        assert_eq!(turns.begin(a), Some(2));
    }

    #[test]
    fn a_call_that_spins_is_not_kept_out_by_those_that_share() {
        let mut turns = Turns::default();
        let sharing = [Sharing::Always, Sharing::IfNeeded, Sharing::Never];
        let players = sharing.map(|sharing| player(&mut turns, ms(20), CallClass::Interactive, sharing));
        for got in play(&mut turns, &players) {
            assert!(got.cpu.abs_diff(ms(3333)) < ms(300), "{got:?}");
        }
    }

    #[test]
    fn batch_work_gets_a_quarter_of_what_others_get() {
        for sharing in [Sharing::Never, Sharing::IfNeeded] {
            let mut turns = Turns::default();
            let players = [(5, CallClass::Interactive), (20, CallClass::Batch)]
                .map(|(call, class)| player(&mut turns, ms(call), class, sharing));
            let got = play(&mut turns, &players);
            assert!(got[0].cpu.abs_diff(4 * got[1].cpu) < ms(300) && got[0].cpu > ms(7500), "{got:?}");
            // While batch work waits there is nobody to share with.
            assert!(got[0].alone > ms(5000), "{got:?}");
        }
    }

    #[test]
    fn whoever_was_alone_for_long_has_run_up_no_debt() {
        for (class, sharing) in [(CallClass::Interactive, Sharing::Never), (CallClass::Batch, Sharing::IfNeeded)] {
            let mut turns = Turns::default();
            let [late, early] = [Sharing::Never, sharing].map(|sharing| player(&mut turns, ms(20), class, sharing));
            turns.ask(early.member, class, sharing);
            assert_eq!(turns.begin(early.member), Some(1));
            turns.end(early.member, Duration::from_secs(3600), false);
            // It pauses just when the other one comes.
            let got = play(&mut turns, &[late, early]);
            assert!(got[1].cpu.abs_diff(ms(5000)) < ms(100) && got[1].longest_wait <= ms(40), "{got:?}");
        }
    }

    #[test]
    fn others_do_not_wait_and_whoever_left_holds_up_nobody() {
        let mut turns = Turns::default();
        let (a, b, c) = (turns.join(&[0, 1]), turns.join(&[2, 3]), turns.join(&[1, 2]));
        for member in [a, b, c] {
            turns.ask(member, CallClass::Interactive, Sharing::Never);
        }
        assert!(turns.begin(a).is_some() && turns.begin(b).is_some(), "they share no CPU");
        assert!(turns.begin(c).is_none());
        turns.leave(a);
        assert!(turns.begin(c).is_none());
        turns.leave(b);
        assert_eq!(turns.begin(c), Some(1));
        assert_eq!(turns.begin(a), Some(1), "what is unknown waits for nobody");
    }
}
