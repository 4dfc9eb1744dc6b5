//! A worker without a thread, for tests.

use std::{collections::HashMap, sync::Arc, time::Duration};

use llama_concurrent_types::{Delta, Embedding, Pooling, Priority, PromptProgress, SamplingParams, Speculation, Token};

use super::super::*;
use crate::{
    backend::{Backend, Call, DraftCall, EmbedCall, EmbedLimits},
    sim::{SimBackend, SimCost, SimWindow},
};

pub const N_VOCAB: Token = 40;
/// Tokens 0 and 1 end a generation; the others are letters.
pub const END: [Token; 2] = [0, 1];

pub fn vocab() -> Arc<TokenTable> {
    let pieces = (0..N_VOCAB).map(|t| if t < 2 { vec![] } else { vec![b'a' + (t % 26) as u8] });
    Arc::new(TokenTable::new(pieces, END.to_vec()))
}

/// A worker without a thread: scheduler, backend and a clock that the backend's costs move.
pub struct Rig {
    pub scheduler: Scheduler,
    pub backend: SimBackend,
    pub now: Duration,
    pub heard: HashMap<RequestId, Heard>,
    /// How often a text left the queue, and its vector or why there is none.
    pub vectors: HashMap<RequestId, (usize, Vec<Result<Embedding, FinishReason>>)>,
    pub calls: Vec<(Call, Duration)>,
    pub embed_calls: Vec<(EmbedCall, Duration)>,
    pub draft_calls: Vec<DraftCall>,
    pub swaps: usize,
}

#[derive(Default)]
pub struct Heard {
    pub left_queue: usize,
    pub tokens: Vec<Token>,
    pub text: String,
    pub finish: Option<Finish>,
    /// The tokens of the prompt that were asked about, each with the log probability of it.
    pub scored: Option<Vec<(Token, Option<f32>)>>,
    /// How far its prompt was, as it was told: from what was there to all of it, before every token.
    pub progress: Vec<PromptProgress>,
}

pub struct Setup {
    pub contexts: usize,
    pub slots: usize,
    pub n_ctx: usize,
    pub max_stall_ms: u64,
    pub prefix_reuse: bool,
    pub window: Option<SimWindow>,
    pub reproducible: bool,
    /// So many whole texts are embedded in a call, instead of parts of one.
    pub whole_texts: Option<usize>,
    pub speculation: Option<Speculation>,
    /// As [`SimBackend::repeats`].
    pub repeats: Option<usize>,
    /// As [`SimBackend::draft_model`].
    pub draft_model: Option<u64>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            contexts: 1,
            slots: 4,
            n_ctx: 256,
            max_stall_ms: 500,
            prefix_reuse: true,
            window: None,
            reproducible: false,
            whole_texts: None,
            speculation: None,
            repeats: None,
            draft_model: None,
        }
    }
}

impl Rig {
    pub fn new(setup: Setup) -> Self {
        let shape = PoolShape { contexts: setup.contexts, slots: setup.slots, n_ctx: setup.n_ctx, n_batch: 512 };
        let embed = match setup.whole_texts {
            Some(texts) => EmbedLimits { texts, rows: 64, whole: true },
            None => EmbedLimits { texts: 1, rows: shape.n_batch, whole: false },
        };
        let config = SchedulerConfig {
            shape,
            max_stall: Duration::from_millis(setup.max_stall_ms),
            batch_aging: Duration::from_secs(10),
            park_after: Duration::from_millis(250),
            prefix_reuse: setup.prefix_reuse,
            window: setup.window.map_or(0, |window| window.positions),
            compact: true,
            reproducible: setup.reproducible,
            embed,
            speculation: setup.speculation,
            has_draft_model: setup.draft_model.is_some(),
        };
        let mut backend = SimBackend::new(shape, SimCost::default(), N_VOCAB);
        backend.window = setup.window;
        backend.embed_limits = embed;
        backend.repeats = setup.repeats;
        backend.draft_model = setup.draft_model;
        backend.forces = setup.speculation.is_some();
        Self {
            scheduler: Scheduler::new(config, vocab()),
            backend,
            now: Duration::ZERO,
            heard: HashMap::new(),
            vectors: HashMap::new(),
            calls: Vec::new(),
            embed_calls: Vec::new(),
            draft_calls: Vec::new(),
            swaps: 0,
        }
    }

    pub fn submit(&mut self, id: RequestId, prompt: Vec<Token>, max_tokens: u32) {
        self.submit_with(
            id,
            prompt,
            Priority::Interactive,
            SamplingParams::default().max_tokens(max_tokens).ignore_eos(true),
        );
    }

    pub fn submit_with(&mut self, id: RequestId, prompt: Vec<Token>, priority: Priority, params: SamplingParams) {
        self.submit_new(id, prompt, priority, None, params);
    }

    /// A prompt whose tokens are asked about from a position on.
    pub fn submit_scored(&mut self, id: RequestId, prompt: Vec<Token>, from: usize, params: SamplingParams) {
        self.submit_new(id, prompt, Priority::Interactive, Some(from), params);
    }

    fn submit_new(
        &mut self,
        id: RequestId,
        prompt: Vec<Token>,
        priority: Priority,
        score_from: Option<usize>,
        params: SamplingParams,
    ) {
        self.heard.insert(id, Heard::default());
        self.scheduler.submit(NewSequence {
            id,
            prompt,
            params: Arc::new(params),
            matcher: None,
            markup: Arc::default(),
            prefix_reuse: true,
            score_from,
            report_progress: true,
            priority,
            submitted: self.now,
            queue_deadline: None,
            deadline: None,
        });
    }

    /// A text to embed; its vectors are added up.
    pub fn embed(&mut self, id: RequestId, tokens: Vec<Token>) {
        self.embed_by(id, tokens, Pooling::Mean);
    }

    pub fn embed_by(&mut self, id: RequestId, tokens: Vec<Token>, pooling: Pooling) {
        self.embed_new(id, tokens, pooling, Priority::Interactive, None);
    }

    pub fn embed_new(
        &mut self,
        id: RequestId,
        tokens: Vec<Token>,
        pooling: Pooling,
        priority: Priority,
        deadline: Option<Duration>,
    ) {
        self.vectors.entry(id).or_default();
        self.scheduler.embed(NewEmbedding {
            id,
            tokens,
            pooling,
            normalize: false,
            priority,
            submitted: self.now,
            queue_deadline: None,
            deadline,
        });
    }

    /// The worker's three lines, and a record of what came of them. Whether anything was computed.
    pub fn step(&mut self) -> bool {
        let plan = self.scheduler.plan(self.now);
        self.scheduler.check_invariants();
        let outcome = self.backend.run(&plan);
        self.now += outcome.elapsed;
        let effects = self.scheduler.apply(outcome, self.now);
        self.scheduler.check_invariants();
        self.hear(effects);
        let worked = !plan.is_idle();
        self.draft_calls.extend(plan.draft);
        self.embed_calls.extend(plan.embed.map(|call| (call, self.now)));
        self.swaps += plan.ops.iter().filter(|op| matches!(op, Op::Swap { .. })).count();
        self.calls.extend(plan.call.map(|call| (call, self.now)));
        worked
    }

    fn hear(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::LeftQueue { id } => match self.vectors.get_mut(&id) {
                    Some((left_queue, _)) => *left_queue += 1,
                    None => self.heard.get_mut(&id).unwrap().left_queue += 1,
                },
                Effect::Event { id, event } if self.vectors.contains_key(&id) => {
                    let (_, results) = self.vectors.get_mut(&id).unwrap();
                    match event {
                        Event::Embedding(embedding) => results.push(Ok(*embedding)),
                        Event::Finished(finish) if finish.reason == FinishReason::Stop => {
                            assert_eq!(results.len(), 1, "one vector before the end");
                            assert_eq!(finish.timings.n_prompt_tokens, results[0].as_ref().unwrap().n_prompt_tokens);
                        }
                        Event::Finished(finish) => results.push(Err(finish.reason)),
                        other => panic!("{other:?}"),
                    }
                }
                Effect::Event { id, event } => {
                    let heard = self.heard.get_mut(&id).unwrap();
                    assert!(heard.finish.is_none(), "nothing follows the end");
                    match event {
                        Event::Progress(progress) => {
                            assert!(heard.scored.is_none() && heard.tokens.is_empty(), "before all else");
                            let before =
                                heard.progress.last().map_or(progress.n_cached_tokens, |p| p.n_computed_tokens);
                            assert!(before <= progress.n_computed_tokens, "it never goes back");
                            assert!(progress.n_computed_tokens <= progress.n_prompt_tokens);
                            heard.progress.push(progress);
                        }
                        Event::Prompt(tokens) => {
                            assert!(heard.scored.is_none() && heard.tokens.is_empty(), "once, before every token");
                            let each = tokens.iter().map(|one| (one.token, one.logprobs.as_ref().map(|l| l.logprob)));
                            heard.scored = Some(each.collect());
                        }
                        Event::Delta(Delta { text, token, index, .. }) => {
                            assert_eq!(index, heard.tokens.len());
                            let computed = heard.progress.last().map(|p| p.n_prompt_tokens - p.n_computed_tokens);
                            assert_eq!(computed, Some(0), "the whole prompt was told");
                            heard.text.push_str(&text);
                            heard.tokens.extend(token);
                        }
                        Event::Finished(finish) => heard.finish = Some(*finish),
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
    }

    pub fn run_until_idle(&mut self) {
        for _ in 0..100_000 {
            if !self.step() && !self.scheduler.has_work() {
                return;
            }
        }
        panic!("the scheduler does not come to rest");
    }

    pub fn reason(&self, id: RequestId) -> FinishReason {
        self.heard[&id].finish.as_ref().expect("finished").reason
    }

    pub fn timings(&self, id: RequestId) -> &llama_concurrent_types::Timings {
        &self.heard[&id].finish.as_ref().expect("finished").timings
    }
}

/// What is told of the prompt's tokens from a position on when nothing interferes.
pub fn scored_alone(prompt: &[Token], from: usize) -> Vec<(Token, Option<f32>)> {
    let of = |at: usize| (prompt[at], (at > 0).then(|| SimBackend::logprob(&prompt[..=at])));
    (from..prompt.len()).map(of).collect()
}

/// What a prompt continues with when nothing interferes.
pub fn alone(prompt: &[Token], n: usize) -> Vec<Token> {
    alone_repeating(prompt, n, None)
}

/// The same with a text that [repeats](SimBackend::repeats) like this.
pub fn alone_repeating(prompt: &[Token], n: usize, repeats: Option<usize>) -> Vec<Token> {
    let mut tokens = prompt.to_vec();
    for _ in 0..n {
        tokens.push(SimBackend::next_token(&tokens, repeats, N_VOCAB));
    }
    tokens.split_off(prompt.len())
}

pub fn prompt(seed: usize, len: usize) -> Vec<Token> {
    (0..len).map(|i| 2 + ((i * 7 + seed * 13 + i * i * seed) % 38) as Token).collect()
}
