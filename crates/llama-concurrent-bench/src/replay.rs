//! Plays scripts against a target.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use crossbeam_channel::{RecvTimeoutError, unbounded};

use crate::{
    record::Record,
    script::Script,
    target::{End, Observer, Target},
    usage::thread_time,
};

/// How often `watch` is called.
const WATCH: Duration = Duration::from_millis(100);

/// The result of a replay.
pub struct ReplayResult {
    /// The records of all requests, in the order of their ends.
    pub records: Vec<Record>,
    /// The average CPU usage of the load generator in cores: this thread and, for a server, those of its requests. Recording
    /// token times on an engine's own thread is not included.
    pub harness_cpus: Option<f64>,
}

/// Plays all scripts and returns the records of all requests.
///
/// One thread sends all requests and never waits for a response, so a slow target does not delay later requests, and each
/// request is timed from when it should have been sent. `watch` is called some ten times a second with the number of finished
/// requests. If it returns false, unfinished requests are dropped, and only finished ones have records.
pub fn play(scripts: &[Script], target: &dyn Target, mut watch: impl FnMut(usize) -> bool) -> ReplayResult {
    let (start, cpu_before) = (Instant::now(), thread_time());
    let mut spent = Duration::ZERO;
    let (done, ends) = unbounded();
    let mut due: BinaryHeap<Due> =
        scripts.iter().enumerate().filter_map(|(user, script)| next(script, script.arrival, user, 0, true)).collect();
    let mut turns = vec![0; scripts.len()];
    // Requests of scripts that are not background load and have not finished.
    let mut awaited: usize = scripts.iter().filter(|script| !script.background).map(|script| script.turns.len()).sum();
    let mut in_flight = 0;
    let mut records = Vec::new();
    let mut next_watch = Duration::ZERO;
    let mut given_up = false;
    loop {
        let now = start.elapsed();
        if now >= next_watch {
            next_watch = now + WATCH;
            given_up = !watch(records.len());
        }
        while !given_up
            && let Some(&Reverse((at, user, turn))) = due.peek()
            && at <= now
        {
            due.pop();
            let script = &scripts[user];
            turns[user] = turn + 1;
            in_flight += 1;
            target.send(
                &script.turns[turn % script.turns.len()].request,
                Observer::new(start, at, user, script.kind, done.clone()),
            );
        }
        if given_up || in_flight == 0 && due.is_empty() {
            let own = thread_time().zip(cpu_before).map(|(now, before)| now.saturating_sub(before));
            let wall = start.elapsed().as_secs_f64();
            return ReplayResult { records, harness_cpus: own.map(|own| (own + spent).as_secs_f64() / wall) };
        }
        let wake = due.peek().map_or(next_watch, |Reverse((at, ..))| next_watch.min(*at));
        match ends.recv_timeout(wake.saturating_sub(start.elapsed())) {
            Ok(End { record, spent: for_it }) => {
                in_flight -= 1;
                spent += for_it;
                let user = record.user;
                awaited -= usize::from(!scripts[user].background);
                due.extend(next(&scripts[user], record.ended, user, turns[user], awaited > 0));
                records.push(record);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => unreachable!("we hold a sender"),
        }
    }
}

type Due = Reverse<(Duration, usize, usize)>;

fn next(script: &Script, since: Duration, user: usize, turn: usize, others_run: bool) -> Option<Due> {
    Some(Reverse((since + script.next(turn, others_run)?.think, user, turn)))
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, thread};

    use super::*;
    use crate::{Outcome, RequestSpec, Turn};

    /// Answers each request on its own thread after a delay.
    struct Slow(Duration);

    impl Target for Slow {
        fn name(&self) -> &str {
            "slow"
        }

        fn send(&self, request: &RequestSpec, mut observer: Observer) {
            let (wait, pieces) = (self.0, request.max_tokens);
            thread::spawn(move || {
                thread::sleep(wait);
                (0..pieces).for_each(|_| observer.piece());
                observer.end(Outcome::Done);
            });
        }
    }

    fn script(arrival_ms: u64, turns: usize) -> Script {
        let request = RequestSpec { prompt: "A".into(), max_tokens: 3, batch: false };
        let turn = Turn { think: Duration::ZERO, request };
        Script { kind: "user", arrival: Duration::from_millis(arrival_ms), turns: vec![turn; turns], background: false }
    }

    #[test]
    fn turns_follow_their_answers_and_all_are_told() {
        let records = play(&[script(0, 3), script(0, 1)], &Slow(Duration::from_millis(2)), |_| true).records;
        assert_eq!(records.len(), 4);
        let first: Vec<_> = records.iter().filter(|record| record.user == 0).collect();
        assert!(first.windows(2).all(|pair| pair[1].sent >= pair[0].ended));
        assert!(records.iter().all(|record| record.pieces.len() == 3 && record.n_output_tokens == 3));
    }

    #[test]
    fn arrivals_do_not_wait_for_a_slow_target() {
        let scripts: Vec<_> = (0..20).map(|i| script(i, 1)).collect();
        let records = play(&scripts, &Slow(Duration::from_millis(200)), |_| true).records;
        // Sent when they were due, though none was answered by then.
        assert!(records.iter().all(|record| record.sent == scripts[record.user].arrival));
        assert!(records.iter().all(|record| record.ttft().is_some_and(|ttft| ttft >= Duration::from_millis(200))));
    }

    /// Answers at once, but a visitor only after five others.
    #[derive(Default)]
    struct Reluctant(Mutex<(usize, Option<Observer>)>);

    impl Target for Reluctant {
        fn name(&self) -> &str {
            "reluctant"
        }

        fn send(&self, request: &RequestSpec, observer: Observer) {
            let mut state = self.0.lock().unwrap();
            if request.prompt == "visit" {
                state.1 = Some(observer);
            } else {
                state.0 += 1;
                observer.end(Outcome::Done);
            }
            if state.0 >= 5 {
                state.1.take().into_iter().for_each(|visitor| visitor.end(Outcome::Done));
            }
        }
    }

    #[test]
    fn company_stays_until_the_others_are_done() {
        let background = Script { background: true, ..script(0, 2) };
        let mut visitor = script(0, 1);
        visitor.turns[0].request.prompt = "visit".into();
        let records = play(&[background.clone(), visitor], &Reluctant::default(), |_| true).records;
        assert!(records.iter().any(|record| record.user == 1));
        assert!(records.iter().filter(|record| record.user == 0).count() >= 5);
        // And alone it ends.
        assert_eq!(play(&[background], &Slow(Duration::ZERO), |_| true).records.len(), 2);
    }

    #[test]
    fn stopping_waits_for_nobody() {
        /// Never answers.
        struct Silent(Mutex<Vec<Observer>>);

        impl Target for Silent {
            fn name(&self) -> &str {
                "silent"
            }

            fn send(&self, _: &RequestSpec, observer: Observer) {
                self.0.lock().unwrap().push(observer);
            }
        }

        let silent = Silent(Mutex::default());
        let asked = |_| silent.0.lock().unwrap().is_empty();
        assert!(play(&[script(0, 3)], &silent, asked).records.is_empty());
        assert_eq!(silent.0.lock().unwrap().len(), 1);
    }
}
