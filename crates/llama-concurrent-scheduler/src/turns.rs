//! Several workers that want the same processors take turns, call by call.
//!
//! Each call then has its processors for itself. Who has used less goes first, with time weighed by the class of the call, so
//! that everyone gets an equal share of the time, and nobody waits for more than one turn of each of the others. A turn is one
//! call, or several short ones: threads that sleep have to be woken for each turn, which takes as long as a short call.

use std::time::Duration;

/// What time of a call counts that only batch requests want: so many times what it is.
const BATCH_WEIGHT: u32 = 4;
/// Whoever comes back so soon after the beginning of its turn goes on with it.
const TURN: Duration = Duration::from_millis(8);

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
    /// Its turn lasts until then if it comes back.
    turn_until: Duration,
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
        self.members.push(State {
            member,
            cpus: cpus.to_vec(),
            used: Duration::ZERO,
            phase: Phase::Idle,
            turn_until: Duration::ZERO,
        });
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

    /// Whether the member, which has asked, may compute now; it then does. Times count from any moment, the same for all.
    pub fn begin(&mut self, member: Member, now: Duration) -> bool {
        let Some(index) = self.index(member) else { return true };
        let Phase::Waiting { arrival } = self.members[index].phase else {
            return self.members[index].phase == Phase::Computing;
        };
        let own = (self.members[index].used, arrival);
        let goes_on = now < self.members[index].turn_until;
        let is_next = self.rivals(index).all(|rival| match rival.phase {
            Phase::Idle => true,
            Phase::Computing => false,
            Phase::Waiting { .. } if goes_on => true,
            Phase::Waiting { .. } if now < rival.turn_until => false,
            Phase::Waiting { arrival } => own < (rival.used, arrival),
        });
        if is_next {
            let state = &mut self.members[index];
            state.phase = Phase::Computing;
            if !goes_on {
                state.turn_until = now + TURN;
            }
        }
        is_next
    }

    /// When to ask again whether the member may compute, unless something changes before: the end of another's turn.
    pub fn next_end(&self, member: Member, now: Duration) -> Option<Duration> {
        let rivals = self.rivals(self.index(member)?);
        rivals
            .filter(|rival| rival.phase != Phase::Computing)
            .map(|rival| rival.turn_until)
            .filter(|&end| end > now)
            .min()
    }

    /// The member has computed for so long. With `more` to compute it asks again at once: those that have used more would
    /// otherwise slip in before it comes back.
    pub fn end(&mut self, member: Member, elapsed: Duration, class: CallClass, more: bool) {
        let Some(index) = self.index(member) else { return };
        let weight = if class == CallClass::Batch { BATCH_WEIGHT } else { 1 };
        self.next += 1;
        let state = &mut self.members[index];
        state.used += elapsed * weight;
        state.phase = if more { Phase::Waiting { arrival: self.next } } else { Phase::Idle };
        if !more || class == CallClass::Batch {
            state.turn_until = Duration::ZERO;
        }
    }

    /// The member, which has asked, does not want to compute after all.
    pub fn withdraw(&mut self, member: Member) {
        if let Some(index) = self.index(member) {
            self.members[index].phase = Phase::Idle;
            self.members[index].turn_until = Duration::ZERO;
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
            let index =
                (0..members.len()).find(|&index| turns.begin(members[index].0, now)).expect("somebody may compute");
            assert!(
                (0..members.len()).filter(|&other| other != index).all(|other| !turns.begin(members[other].0, now))
            );
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
        let mut now = ms(20_000);
        for _ in 0..100 {
            turns.ask(long);
            assert!(turns.begin(long, now));
            now += ms(50);
            turns.end(long, ms(50), CallClass::Interactive, false);
        }
        turns.ask(long);
        assert!(turns.begin(long, now));
        turns.ask(short);
        assert!(!turns.begin(short, now), "one call at a time");
        assert!(turns.is_contended(long) && turns.is_contended(short));
        now += ms(50);
        turns.end(long, ms(50), CallClass::Interactive, true);
        assert!(!turns.begin(long, now) && turns.begin(short, now));
    }

    #[test]
    fn a_turn_has_several_short_calls_and_an_end() {
        let mut turns = Turns::default();
        let (a, b) = (turns.join(&[0]), turns.join(&[0]));
        turns.ask(a);
        turns.ask(b);
        assert!(turns.begin(a, ms(0)));
        turns.end(a, ms(1), CallClass::Interactive, true);
        assert!(!turns.begin(b, ms(1)), "the turn is not over");
        assert_eq!(turns.next_end(b, ms(1)), Some(TURN));
        assert!(turns.begin(a, ms(2)));
        turns.end(a, ms(1), CallClass::Interactive, true);
        // Whoever does not come back in time, or does not want to, keeps nobody waiting.
        assert!(turns.begin(b, TURN));
        turns.end(b, ms(1), CallClass::Interactive, true);
        assert!(!turns.begin(a, TURN + ms(1)));
        turns.withdraw(b);
        assert!(turns.begin(a, TURN + ms(1)));
        turns.ask(b);
        turns.end(a, ms(1), CallClass::Batch, true);
        assert!(turns.begin(b, TURN + ms(2)), "batch work goes on only where nobody else waits");
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
        assert!(turns.begin(a, ms(0)) && turns.begin(b, ms(0)), "they share no CPU");
        assert!(!turns.begin(c, ms(0)));
        turns.leave(a);
        assert!(!turns.begin(c, ms(0)));
        turns.leave(b);
        assert!(turns.begin(c, ms(0)));
        assert!(turns.begin(a, ms(0)), "what is unknown waits for nobody");
    }
}
