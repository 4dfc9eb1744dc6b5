//! Several workers that want the same processors take turns, call by call.
//!
//! Each call then has its processors for itself. Who has used less goes first, with time weighed by the class of the call, so
//! that everyone gets an equal share of the time, and nobody waits for more than one call of each of the others.

use std::time::Duration;

/// What time of a call counts that only batch requests want: so many times what it is.
const BATCH_WEIGHT: u32 = 4;

/// A worker among those that take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member(u64);

/// Which class a call is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallClass {
    /// Somebody waits for it.
    Interactive,
    /// Only requests of the batch class want it, or a model is being loaded.
    Batch,
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
    /// Time used, weighed.
    used: Duration,
    phase: Phase,
}

impl State {
    fn shares_a_cpu(&self, other: &State) -> bool {
        self.cpus.is_empty() || other.cpus.is_empty() || self.cpus.iter().any(|cpu| other.cpus.contains(cpu))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Waiting { arrival: u64 },
    Computing,
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
        self.members.push(State { member, cpus: cpus.to_vec(), used: Duration::ZERO, phase: Phase::Idle });
        member
    }

    /// Somebody who will not come again.
    pub fn leave(&mut self, member: Member) {
        self.members.retain(|state| state.member != member);
    }

    /// The member wants to compute.
    pub fn ask(&mut self, member: Member) {
        self.next += 1;
        let arrival = self.next;
        let Some(index) = self.index(member) else { return };
        if self.members[index].phase != Phase::Idle {
            return;
        }
        // Whoever did nothing for a while has saved nothing up by that.
        let rivals = self.rivals(index).filter(|state| state.phase != Phase::Idle);
        if let Some(least) = rivals.map(|state| state.used).min() {
            let own = &mut self.members[index].used;
            *own = (*own).max(least);
        }
        self.members[index].phase = Phase::Waiting { arrival };
    }

    /// Whether the member, which has asked, may compute now; it then does.
    pub fn begin(&mut self, member: Member) -> bool {
        let Some(index) = self.index(member) else { return true };
        let Phase::Waiting { arrival } = self.members[index].phase else {
            return self.members[index].phase == Phase::Computing;
        };
        let own = (self.members[index].used, arrival);
        let is_next = self.rivals(index).all(|rival| match rival.phase {
            Phase::Idle => true,
            Phase::Computing => false,
            Phase::Waiting { arrival } => own < (rival.used, arrival),
        });
        if is_next {
            self.members[index].phase = Phase::Computing;
        }
        is_next
    }

    /// The member has computed for so long. With `more` to compute it asks again at once: those that have used more would
    /// otherwise slip in before it comes back.
    pub fn end(&mut self, member: Member, elapsed: Duration, class: CallClass, more: bool) {
        let Some(index) = self.index(member) else { return };
        let weight = if class == CallClass::Batch { BATCH_WEIGHT } else { 1 };
        self.members[index].used += elapsed * weight;
        self.next += 1;
        self.members[index].phase = if more { Phase::Waiting { arrival: self.next } } else { Phase::Idle };
    }

    /// The member, which has asked, does not want to compute after all.
    pub fn withdraw(&mut self, member: Member) {
        if let Some(index) = self.index(member) {
            self.members[index].phase = Phase::Idle;
        }
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

    /// Members that always want to compute; the time that each gets in ten seconds, and the longest wait of each.
    fn play(turns: &mut Turns, members: &[(Member, Duration, CallClass)]) -> Vec<(Duration, Duration)> {
        let mut now = Duration::ZERO;
        let mut got = vec![(Duration::ZERO, Duration::ZERO); members.len()];
        let mut since = vec![Duration::ZERO; members.len()];
        members.iter().for_each(|&(member, ..)| turns.ask(member));
        while now < Duration::from_secs(10) {
            let index = (0..members.len()).find(|&index| turns.begin(members[index].0)).expect("somebody may compute");
            assert!((0..members.len()).filter(|&other| other != index).all(|other| !turns.begin(members[other].0)));
            let (member, time, class) = members[index];
            got[index].1 = got[index].1.max(now - since[index]);
            now += time;
            got[index].0 += time;
            turns.end(member, time, class, true);
            since[index] = now;
        }
        got
    }

    #[test]
    fn time_is_shared_equally_however_long_the_calls_are() {
        let mut turns = Turns::default();
        let lengths = [ms(200), ms(5), ms(30), ms(60)];
        let members: Vec<_> = lengths.iter().map(|&time| (turns.join(&[0, 1]), time, CallClass::Interactive)).collect();
        for (time, _) in play(&mut turns, &members) {
            assert!(time.abs_diff(ms(2500)) < ms(250), "{time:?}");
        }
    }

    #[test]
    fn a_short_call_waits_for_no_more_than_one_long_one() {
        let mut turns = Turns::default();
        let long = turns.join(&[0, 1]);
        let short = turns.join(&[1]);
        let got = play(&mut turns, &[(long, ms(200), CallClass::Interactive), (short, ms(5), CallClass::Interactive)]);
        assert!(got[1].1 <= ms(200), "{got:?}");
        // One that comes after a pause is next, and has no claim on what it left to others.
        turns.withdraw(long);
        turns.withdraw(short);
        for _ in 0..100 {
            turns.ask(long);
            assert!(turns.begin(long));
            turns.end(long, ms(50), CallClass::Interactive, false);
        }
        turns.ask(long);
        assert!(turns.begin(long));
        turns.ask(short);
        assert!(!turns.begin(short), "one call at a time");
        assert!(turns.is_contended(long) && turns.is_contended(short));
        turns.end(long, ms(50), CallClass::Interactive, true);
        assert!(!turns.begin(long) && turns.begin(short));
    }

    #[test]
    fn batch_work_gets_a_quarter_of_what_others_get() {
        let mut turns = Turns::default();
        let members =
            [(turns.join(&[0]), ms(20), CallClass::Interactive), (turns.join(&[0]), ms(20), CallClass::Batch)];
        let got = play(&mut turns, &members);
        assert!(got[1].0.abs_diff(ms(2000)) < ms(100), "{got:?}");
    }

    #[test]
    fn others_do_not_wait_and_whoever_left_holds_up_nobody() {
        let mut turns = Turns::default();
        let (a, b, c) = (turns.join(&[0, 1]), turns.join(&[2, 3]), turns.join(&[1, 2]));
        for member in [a, b, c] {
            turns.ask(member);
        }
        assert!(turns.begin(a) && turns.begin(b), "they share no CPU");
        assert!(!turns.begin(c));
        turns.leave(a);
        assert!(!turns.begin(c));
        turns.leave(b);
        assert!(turns.begin(c));
        assert!(turns.begin(a), "what is unknown waits for nobody");
    }
}
