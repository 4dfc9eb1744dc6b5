//! Replays scripts against simulated workers, in virtual time.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
    time::Duration,
};

use llama_concurrent_scheduler::{
    Backend, Effect, NewSequence, Router, Scheduler, SchedulerConfig, StepOutcome, WorkerLoad, sim::SimBackend,
};
use llama_concurrent_types::{
    EngineConfig, Event, Finish, FinishReason, PoolShape, Priority, RequestId, SamplingParams, Token, TokenTable,
};

use super::Timing;
use crate::{
    record::{Outcome, Record},
    script::Script,
};

/// The vocabulary of simulated tokens is small, because their text does not matter.
const N_VOCAB: Token = 1000;

/// The time of the sending thread per request: tokenizing a short text. If many requests arrive at once, a worker therefore
/// first sees one, as in reality.
const SENDING: Duration = Duration::from_micros(50);

/// Scripts with tokenized prompts, so that several runs tokenize them once.
pub struct ReplayedLoad {
    scripts: Vec<Script>,
    prompts: Vec<Vec<Vec<Token>>>,
}

impl ReplayedLoad {
    /// Tokenizes the prompts with `tokens`.
    pub fn new(scripts: Vec<Script>, tokens: impl Fn(&str) -> Vec<Token>) -> Self {
        let prompts = |script: &Script| script.turns.iter().map(|turn| tokens(&turn.request.prompt)).collect();
        Self { prompts: scripts.iter().map(prompts).collect(), scripts }
    }

    /// Requests in all.
    pub fn requests(&self) -> usize {
        self.prompts.iter().map(Vec::len).sum()
    }
}

/// A simulated engine.
pub struct Pool {
    /// The configuration.
    pub config: EngineConfig,
    /// The contexts of each worker.
    pub shape: PoolShape,
    /// How long the calls of each worker take.
    pub workers: Vec<Timing>,
}

struct Worker {
    scheduler: Scheduler,
    backend: SimBackend<Timing>,
    /// Requests that have not ended.
    unfinished: usize,
    /// The call in progress, and when it ends.
    busy: Option<(Duration, StepOutcome)>,
}

/// Plays all scripts and returns the records of all requests, in the order of their ends.
///
/// As in the engine, the router chooses the worker of a request, which takes effect between two calls of it.
pub fn play(load: &ReplayedLoad, pool: &Pool) -> Vec<Record> {
    let vocab = Arc::new(TokenTable::new((0..N_VOCAB).map(|_| b"x"), Vec::new()));
    let (config, shape) = (&pool.config, pool.shape);
    let worker = |timing: &Timing| {
        let backend = SimBackend::new(shape, timing.clone(), N_VOCAB);
        let scheduler = Scheduler::new(SchedulerConfig::of(config, &backend), vocab.clone());
        Worker { scheduler, backend, unfinished: 0, busy: None }
    };
    let mut run = Run {
        load,
        now: Duration::ZERO,
        workers: pool.workers.iter().map(worker).collect(),
        router: Router::new(pool.workers.len(), shape.contexts * shape.slots, shape.n_ctx, config.prefix_reuse),
        n_ctx: shape.n_ctx,
        due: BinaryHeap::new(),
        sender_free: Duration::ZERO,
        running: HashMap::new(),
        records: Vec::new(),
        sent: 0,
        awaited: load.scripts.iter().filter(|script| !script.background).map(|script| script.turns.len()).sum(),
    };
    for (user, script) in load.scripts.iter().enumerate() {
        run.follow(user, 0, script.arrival);
    }
    while run.advance() {}
    run.records
}

struct Run<'a> {
    load: &'a ReplayedLoad,
    now: Duration,
    workers: Vec<Worker>,
    router: Router,
    /// Tokens of a slot.
    n_ctx: usize,
    due: BinaryHeap<Reverse<(Duration, usize, usize)>>,
    /// When the sending thread can send the next.
    sender_free: Duration,
    /// The worker, the turn and the record so far of each request.
    running: HashMap<RequestId, (usize, usize, Record)>,
    records: Vec<Record>,
    sent: RequestId,
    /// Requests of scripts that are not background load and have not finished.
    awaited: usize,
}

impl Run<'_> {
    /// Advances to the next event; false if there is none.
    fn advance(&mut self) -> bool {
        while let Some(&Reverse((at, user, turn))) = self.due.peek()
            && at.max(self.sender_free) <= self.now
        {
            self.due.pop();
            self.sender_free = self.now + SENDING;
            self.send(at, user, turn);
        }
        (0..self.workers.len()).for_each(|worker| self.start(worker));
        let ends = self.workers.iter().filter_map(|worker| worker.busy.as_ref().map(|(at, _)| *at));
        let sending = self.due.peek().map(|Reverse((at, ..))| (*at).max(self.sender_free));
        let Some(next) = ends.chain(sending).min() else { return false };
        self.now = next;
        for index in 0..self.workers.len() {
            let worker = &mut self.workers[index];
            if worker.busy.as_ref().is_some_and(|(at, _)| *at <= next)
                && let Some((_, outcome)) = worker.busy.take()
            {
                let effects = worker.scheduler.apply(outcome, next);
                self.handle_notices(index, effects);
            }
        }
        true
    }

    /// Starts the next call of an idle worker, if there is one.
    fn start(&mut self, index: usize) {
        loop {
            let worker = &mut self.workers[index];
            if worker.busy.is_some() || !worker.scheduler.has_work() {
                return;
            }
            let plan = worker.scheduler.plan(self.now);
            let outcome = worker.backend.run(&plan);
            if !outcome.elapsed.is_zero() {
                worker.busy = Some((self.now + outcome.elapsed, outcome));
                return;
            }
            // A plan without rows takes no time.
            let effects = worker.scheduler.apply(outcome, self.now);
            let idle = plan.call.is_none() && plan.ops.is_empty() && effects.is_empty();
            self.handle_notices(index, effects);
            if idle {
                return;
            }
        }
    }

    fn send(&mut self, at: Duration, user: usize, turn: usize) {
        let script = &self.load.scripts[user];
        let which = turn % script.turns.len();
        let (request, prompt) = (&script.turns[which].request, &self.load.prompts[user][which]);
        let record = Record {
            user,
            kind: script.kind,
            sent: at,
            pieces: Vec::new(),
            ended: at,
            outcome: Outcome::Done,
            n_prompt_tokens: prompt.len(),
            n_cached_tokens: 0,
            n_drafted_tokens: 0,
            n_accepted_tokens: 0,
            n_output_tokens: 0,
            queue: None,
        };
        if prompt.is_empty() || prompt.len() + request.max_tokens as usize > self.n_ctx {
            let why = format!(
                "a prompt of {} tokens with {} of output does not fit into the {} of a slot",
                prompt.len(),
                request.max_tokens,
                self.n_ctx
            );
            self.records.push(Record { outcome: Outcome::Failed(why), ..record });
            self.awaited -= usize::from(!script.background);
            return self.follow(user, turn + 1, at);
        }
        let load = |worker: &Worker| WorkerLoad { unfinished: worker.unfinished, totals: worker.scheduler.totals() };
        let loads: Vec<WorkerLoad> = self.workers.iter().map(load).collect();
        let index = self.router.choose(prompt, &loads);
        let worker = &mut self.workers[index];
        self.sent += 1;
        worker.unfinished += 1;
        self.running.insert(self.sent, (index, turn, record));
        worker.scheduler.submit(NewSequence {
            id: self.sent,
            prompt: prompt.clone(),
            params: Arc::new(SamplingParams::default().max_tokens(request.max_tokens).ignore_eos(true)),
            matcher: None,
            markup: Arc::default(),
            prefix_reuse: true,
            score_from: None,
            report_progress: false,
            priority: if request.batch { Priority::Batch } else { Priority::Interactive },
            submitted: at,
            queue_deadline: None,
            deadline: None,
        });
    }

    fn handle_notices(&mut self, worker: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Event { id, event: Event::Delta(delta) } if delta.token.is_some() => {
                    if let Some((.., record)) = self.running.get_mut(&id) {
                        record.pieces.push(self.now);
                    }
                }
                Effect::Event { id, event: Event::Finished(finish) } => self.end(worker, id, &finish),
                _ => {}
            }
        }
    }

    fn end(&mut self, worker: usize, id: RequestId, finish: &Finish) {
        let Some((_, turn, mut record)) = self.running.remove(&id) else { return };
        self.workers[worker].unfinished -= 1;
        record.ended = self.now;
        record.n_cached_tokens = finish.timings.n_cached_tokens;
        record.n_drafted_tokens = finish.timings.n_drafted_tokens;
        record.n_accepted_tokens = finish.timings.n_accepted_tokens;
        record.n_output_tokens = finish.timings.n_output_tokens;
        record.queue = Some(finish.timings.queue);
        if !matches!(finish.reason, FinishReason::Stop | FinishReason::Length) {
            record.outcome = Outcome::Failed(finish.reason.as_str().to_owned());
        }
        self.awaited -= usize::from(!self.load.scripts[record.user].background);
        self.follow(record.user, turn + 1, self.now);
        self.records.push(record);
    }

    /// The next turn of a user, after the think time.
    fn follow(&mut self, user: usize, turn: usize, since: Duration) {
        if let Some(next) = self.load.scripts[user].next(turn, self.awaited > 0) {
            self.due.push(Reverse((since + next.think, user, turn)));
        }
    }
}
