//! Where the workers of all engines of this process share their processors, or take turns on them.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use llama_concurrent_scheduler::{CallClass, Member, Sharing, Turns};

static TURNS: Mutex<Turns> = Mutex::new(Turns::new());
static CHANGED: Condvar = Condvar::new();

fn turns() -> MutexGuard<'static, Turns> {
    TURNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A worker, or a load, among those that want the same processors. Dropped, it holds up nobody any more.
pub(crate) struct Turnstile {
    member: Member,
    since: Instant,
}

impl Turnstile {
    /// For somebody who computes on these CPUs; on any, if none are named.
    pub(crate) fn new(cpus: &[usize]) -> Self {
        Self { member: turns().join(cpus), since: Instant::now() }
    }

    /// Waits until this one may compute. How many then do on its CPUs, itself included.
    pub(crate) fn enter(&mut self, class: CallClass, sharing: Sharing) -> usize {
        let mut turns = turns();
        turns.ask(self.member, class, sharing);
        let sharers = loop {
            match turns.begin(self.member) {
                Some(sharers) => break sharers,
                None => turns = CHANGED.wait(turns).unwrap_or_else(PoisonError::into_inner),
            }
        };
        self.since = Instant::now();
        sharers
    }

    /// The call has ended; with `more` to come, this one is among those that wait at once.
    pub(crate) fn leave(&mut self, more: bool) {
        let mut turns = turns();
        turns.end(self.member, self.since.elapsed(), more);
        let contended = turns.is_contended(self.member);
        drop(turns);
        if contended {
            CHANGED.notify_all();
        }
    }

    /// Whether others want these CPUs now.
    pub(crate) fn is_contended(&self) -> bool {
        turns().is_contended(self.member)
    }

    /// Whether there are others who may want these CPUs.
    pub(crate) fn has_rivals(&self) -> bool {
        turns().has_rivals(self.member)
    }

    /// Does not want to compute after all.
    pub(crate) fn withdraw(&mut self) {
        turns().withdraw(self.member);
        CHANGED.notify_all();
    }
}

impl Drop for Turnstile {
    fn drop(&mut self) {
        turns().leave(self.member);
        CHANGED.notify_all();
    }
}

/// Computing that goes on for so long before others get their turn.
const LOAD_SLICE: Duration = Duration::from_millis(50);

/// A load, which takes turns with the workers of other engines: they compute while it waits, and wait while it works.
pub(crate) struct Loading(Mutex<Turnstile>);

impl Loading {
    pub(crate) fn begin(cpus: &[usize]) -> Self {
        let mut turnstile = Turnstile::new(cpus);
        turnstile.enter(CallClass::Batch, Sharing::Never);
        Self(Mutex::new(turnstile))
    }

    /// Called now and then: others get their turn if it was this one's for long enough.
    pub(crate) fn pause(&self) {
        if self.lock().since.elapsed() >= LOAD_SLICE {
            self.outside(|| ());
        }
    }

    /// Lets others compute while this one does something else, which may wait for them.
    pub(crate) fn outside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.lock().leave(false);
        let done = work();
        self.lock().enter(CallClass::Batch, Sharing::Never);
        done
    }

    fn lock(&self) -> MutexGuard<'_, Turnstile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use llama_concurrent_types::{EngineConfig, Event, SamplingParams};

    use super::*;
    use crate::{Engine, Flow, Request};

    #[test]
    fn an_engine_shares_with_whoever_computes_on_its_cpus() {
        let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo.gguf");
        let engine = Engine::load(model, EngineConfig::default().slots(1).threads(2)).unwrap();
        let mut other = Turnstile::new(&[]);
        other.enter(CallClass::Interactive, Sharing::Always);
        // It does not wait for the end of the other's call, and after each step its statistics say that it waits passively.
        let (sender, passive) = mpsc::channel();
        let stats = engine.clone();
        let sink = move |event: Event| {
            if matches!(event, Event::Delta(_)) {
                sender.send(stats.stats().totals.passive).unwrap();
            }
            Flow::Continue
        };
        let params = SamplingParams::default().max_tokens(20).ignore_eos(true);
        engine.submit_to(&Request::new("Once").params(params), Box::new(sink)).unwrap();
        engine.drain();
        let passive: Vec<usize> = passive.try_iter().collect();
        assert!(!passive.is_empty() && passive.iter().all(|&workers| workers == 1), "{passive:?}");
        other.leave(false);
    }
}
