//! One OS thread that owns a scheduler and a backend: plan, run, apply, for as long as the engine lives.

mod event_sender;

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use llama_concurrent_scheduler::{
    Admission, Backend, CallClass, Effect, NewEmbedding, NewSequence, Permit, Scheduler, StepOutcome, StepPlan,
    Waiting, WorkerLoad,
};
use llama_concurrent_types::{Error, ErrorKind, Event, Finish, RequestId, SlotStats, WorkerTotals};

use crate::{stream::Flow, turnstile::Turnstile};

pub(crate) use self::event_sender::EventSender;

/// What callers tell a worker.
pub(crate) enum Command {
    /// A request and whoever waits for it.
    Submit(Box<NewSequence>, Caller),
    /// A text to embed and whoever waits for its vector.
    Embed(Box<NewEmbedding>, Caller),
    /// End a request.
    Cancel(RequestId),
    /// The reader of a paused request caught up.
    Resume(RequestId),
    /// End all requests, then the thread.
    Shutdown,
    /// Have a defect.
    Panic,
}

/// What a worker and the engine both look at.
pub(crate) struct WorkerShared {
    /// Requests handed to this worker and not finished.
    pub(crate) unfinished: Arc<AtomicUsize>,
    /// Slots of the workers before this one: its own are numbered from there.
    first_slot: usize,
    /// Published after every step.
    pub(crate) totals: Mutex<WorkerTotals>,
    /// The same.
    slots: Mutex<Vec<SlotStats>>,
}

impl WorkerShared {
    pub(crate) fn new(first_slot: usize, n_slots: usize) -> Self {
        let slots = Mutex::new(vec![SlotStats::default(); n_slots]);
        Self { unfinished: Arc::default(), first_slot, totals: Mutex::default(), slots }
    }

    pub(crate) fn slots(&self) -> Vec<SlotStats> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the router wants to know.
    pub(crate) fn load(&self) -> WorkerLoad {
        WorkerLoad { unfinished: self.unfinished.load(Ordering::Relaxed), totals: self.totals() }
    }

    pub(crate) fn totals(&self) -> WorkerTotals {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reader of a request, and what the request counts for.
pub(crate) struct Caller {
    pub(crate) events: EventSender,
    pub(crate) permit: Permit,
}

impl Caller {
    /// Gives the permit back, then tells the reader the end: whoever hears of it finds the place free.
    fn finish(mut self, finish: Finish) {
        self.permit.finish(finish.timings.e2e.saturating_sub(finish.timings.queue));
        self.events.send(Event::Finished(Box::new(finish)));
    }
}

pub(crate) struct Worker<B> {
    scheduler: Scheduler,
    backend: B,
    commands: Receiver<Command>,
    callers: HashMap<RequestId, Caller>,
    admission: Arc<Admission>,
    shared: Arc<WorkerShared>,
    turnstile: Turnstile,
    /// How many computed on this worker's processors in the last call, itself included.
    sharers: usize,
    epoch: Instant,
    running: bool,
}

impl<B: Backend> Worker<B> {
    pub(crate) fn new(
        scheduler: Scheduler,
        backend: B,
        commands: Receiver<Command>,
        admission: Arc<Admission>,
        shared: Arc<WorkerShared>,
        turnstile: Turnstile,
        epoch: Instant,
    ) -> Self {
        Self {
            scheduler,
            backend,
            commands,
            callers: HashMap::new(),
            admission,
            shared,
            turnstile,
            sharers: 1,
            epoch,
            running: true,
        }
    }

    /// Runs until shutdown. A panic becomes an error event for every request, now and later.
    pub(crate) fn run(mut self) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.serve())) {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown cause");
            self.turnstile.withdraw();
            tracing::error!("a worker of llama-concurrent panicked: {words}");
            self.refuse_everything(&Error::new(
                ErrorKind::Internal,
                format!(
                    "the engine stopped because of a defect in it ({words}); load a new one and please report this"
                ),
            ));
        }
    }

    /// Ends when told to shut down and every request that was handed over has ended, also one still on its way.
    fn serve(&mut self) {
        while self.running || self.shared.unfinished.load(Ordering::Acquire) > 0 {
            self.take_commands();
            self.scheduler.set_crowded(self.turnstile.is_contended());
            let plan = self.scheduler.plan(self.epoch.elapsed());
            let outcome = self.compute(&plan);
            let effects = self.scheduler.apply(outcome, self.epoch.elapsed());
            self.publish();
            self.deliver(effects);
        }
    }

    /// Carries out a plan; a call waits for this worker's turn.
    fn compute(&mut self, plan: &StepPlan) -> StepOutcome {
        if plan.is_idle() {
            self.withdraw();
            return self.backend.run(plan);
        }
        let class = if self.scheduler.is_batch_only() { CallClass::Batch } else { CallClass::Interactive };
        self.sharers = self.turnstile.enter(class, self.backend.contention().sharing());
        self.backend.share(self.sharers);
        let outcome = self.backend.run(plan);
        // Before others begin.
        if self.turnstile.is_contended() {
            self.backend.rest();
        }
        // Whoever has just computed mostly goes on; if not, it withdraws.
        self.turnstile.leave(true);
        outcome
    }

    /// There is nothing to compute for a while.
    fn withdraw(&mut self) {
        if self.turnstile.has_rivals() {
            self.backend.rest();
        }
        self.turnstile.withdraw();
        if self.sharers > 1 {
            self.sharers = 1;
            self.publish();
        }
    }

    /// Takes all commands that are there; with nothing to compute, waits for one or for the next deadline.
    fn take_commands(&mut self) {
        if !self.scheduler.has_work() {
            self.withdraw();
            let first = match self.scheduler.next_deadline() {
                Some(deadline) => self.commands.recv_deadline(self.epoch + deadline),
                None => self.commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match first {
                Ok(command) => self.take(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.take(Command::Shutdown),
            }
        }
        while let Ok(command) = self.commands.try_recv() {
            self.take(command);
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Submit(sequence, caller) => {
                let id = sequence.id;
                self.callers.insert(id, caller);
                self.scheduler.submit(*sequence);
                if !self.running {
                    self.scheduler.cancel(id, self.epoch.elapsed());
                }
            }
            Command::Embed(text, caller) => {
                let id = text.id;
                self.callers.insert(id, caller);
                self.scheduler.embed(*text);
                if !self.running {
                    self.scheduler.cancel(id, self.epoch.elapsed());
                }
            }
            Command::Cancel(id) => self.scheduler.cancel(id, self.epoch.elapsed()),
            Command::Resume(id) => self.scheduler.set_paused(id, false, self.epoch.elapsed()),
            Command::Shutdown => {
                self.scheduler.cancel_all(self.epoch.elapsed());
                self.running = false;
            }
            Command::Panic => panic!("a defect for a test"),
        }
    }

    fn publish(&self) {
        let contention = self.backend.contention();
        let mut totals = self.scheduler.totals();
        totals.passive = usize::from(contention.waiting() == Waiting::Passive || self.sharers > 1);
        totals.cpu_wait = contention.share();
        totals.wait_switches = contention.switches();
        *self.shared.totals.lock().unwrap_or_else(PoisonError::into_inner) = totals;
        let mut slots = self.shared.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.clear();
        slots.extend(self.scheduler.slots());
    }

    fn deliver(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::LeftQueue { id } => {
                    if let Some(caller) = self.callers.get_mut(&id) {
                        caller.permit.leave_queue();
                    }
                }
                Effect::Event { id, event } => self.deliver_event(id, event),
            }
        }
    }

    fn deliver_event(&mut self, id: RequestId, mut event: Event) {
        if let Event::Delta(delta) = &mut event {
            delta.slot += self.shared.first_slot;
        }
        if let Event::Finished(finish) = event {
            if let Some(caller) = self.callers.remove(&id) {
                caller.finish(*finish);
            }
            return;
        }
        let Some(caller) = self.callers.get_mut(&id) else { return };
        match caller.events.send(event) {
            Some(Flow::Continue) => {}
            Some(Flow::Pause) => self.scheduler.set_paused(id, true, self.epoch.elapsed()),
            None => self.scheduler.cancel(id, self.epoch.elapsed()),
        }
    }

    /// After a panic: nothing of the scheduler or the backend is trusted any more.
    fn refuse_everything(&mut self, error: &Error) {
        let failed = || Finish::failed(error.clone());
        self.admission.close(error.clone());
        self.shared.slots.lock().unwrap_or_else(PoisonError::into_inner).fill(SlotStats::default());
        self.callers.drain().for_each(|(_, caller)| caller.finish(failed()));
        let mut running = true;
        while running || self.shared.unfinished.load(Ordering::Acquire) > 0 {
            match self.commands.recv() {
                Ok(Command::Submit(_, caller) | Command::Embed(_, caller)) => caller.finish(failed()),
                Ok(Command::Cancel(_) | Command::Resume(_) | Command::Panic) => {}
                Ok(Command::Shutdown) => running = false,
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;
    use llama_concurrent_scheduler::{
        EmbedLimits, SchedulerConfig,
        sim::{SimBackend, SimCost},
    };
    use llama_concurrent_types::{PoolShape, Priority, SamplingParams, TokenTable};

    const SHAPE: PoolShape = PoolShape { contexts: 1, slots: 2, n_ctx: 64, n_batch: 64 };

    /// Computes some steps, then has a defect.
    struct Defective {
        sound: SimBackend,
        steps_left: usize,
    }

    impl Backend for Defective {
        fn shape(&self) -> PoolShape {
            SHAPE
        }

        fn can_reuse_prefix(&self) -> bool {
            true
        }

        fn can_swap(&self) -> bool {
            true
        }

        fn window(&self) -> usize {
            0
        }

        fn run(&mut self, plan: &StepPlan) -> StepOutcome {
            self.steps_left = self.steps_left.checked_sub(1).expect("a defect for the test");
            self.sound.run(plan)
        }
    }

    fn sequence(id: RequestId) -> Box<NewSequence> {
        Box::new(NewSequence {
            id,
            prompt: vec![3; 8],
            params: Arc::new(SamplingParams::default().ignore_eos(true)),
            matcher: None,
            markup: Arc::default(),
            prefix_reuse: true,
            score_from: None,
            report_progress: false,
            priority: Priority::Interactive,
            submitted: Duration::ZERO,
            queue_deadline: None,
            deadline: None,
        })
    }

    #[test]
    fn a_panic_of_the_worker_reaches_every_caller_as_an_error() {
        let (commands, inbox) = crossbeam_channel::unbounded();
        let admission = Arc::new(Admission::new(2, 10, 1000));
        let shared = Arc::new(WorkerShared::new(0, 2));
        let config = SchedulerConfig {
            shape: SHAPE,
            max_stall: Duration::ZERO,
            batch_aging: Duration::ZERO,
            park_after: Duration::MAX,
            prefix_reuse: true,
            window: 0,
            compact: true,
            reproducible: false,
            embed: EmbedLimits { texts: 1, rows: SHAPE.n_batch, whole: false },
            speculation: None,
            has_draft_model: false,
        };
        let vocab = Arc::new(TokenTable::new((0..40).map(|_| b"x"), vec![]));
        let scheduler = Scheduler::new(config, vocab);
        let backend = Defective { sound: SimBackend::new(SHAPE, SimCost::default(), 40), steps_left: 5 };
        let (ended, ends) = mpsc::channel();
        let submit = |id| {
            let ended = ended.clone();
            let mut permit = admission.reserve(8).unwrap();
            permit.assign(&shared.unfinished);
            let sink = move |event| {
                if let Event::Finished(finish) = event {
                    ended.send((id, finish.error.map(|error| error.kind().clone()))).unwrap();
                }
                Flow::Continue
            };
            let caller = Caller { events: EventSender::new(Box::new(sink)), permit };
            commands.send(Command::Submit(sequence(id), caller)).unwrap();
        };
        // Two that run and one that waits when the defect strikes.
        (0..3).for_each(submit);
        let worker = Worker::new(
            scheduler,
            backend,
            inbox,
            admission.clone(),
            shared.clone(),
            Turnstile::new(&[]),
            Instant::now(),
        );
        let thread = std::thread::spawn(move || worker.run());
        let mut got: Vec<_> = (0..3).map(|_| ends.recv().unwrap()).collect();
        got.sort_by_key(|&(id, _)| id);
        assert_eq!(got, (0..3).map(|id| (id, Some(ErrorKind::Internal))).collect::<Vec<_>>());
        assert_eq!(*admission.reserve(1).unwrap_err().kind(), ErrorKind::Internal, "later ones are refused");
        commands.send(Command::Shutdown).unwrap();
        thread.join().unwrap();
        assert_eq!(shared.unfinished.load(Ordering::Acquire), 0);
    }
}
