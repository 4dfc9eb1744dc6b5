//! Which worker gets a request: the one that will be done with it first, as far as that can be told.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError, atomic::Ordering},
};

use crate::{metrics::WorkerTotals, request::Token, worker::WorkerShared};

/// Beginnings of prompts are compared in steps of so many tokens.
const BLOCK: usize = 32;
/// Output tokens of a request where none has ended yet.
const TYPICAL_OUTPUT: f64 = 128.0;
/// Costs in seconds until there are measured ones; only their ratio matters then.
const TYPICAL_PROMPT_TOKEN: f64 = 0.003;
const TYPICAL_ROW: f64 = 0.01;

/// Chooses among the workers of an engine, and remembers what prompts it gave them.
pub(crate) struct Router {
    slots: usize,
    /// For each worker the beginnings of prompts that it got; nothing with one worker, or where prefixes are not reused.
    remembered: Mutex<Vec<Beginnings>>,
}

impl Router {
    /// For so many workers with so many slots of `n_ctx` tokens each.
    pub(crate) fn new(workers: usize, slots: usize, n_ctx: usize, prefix_reuse: bool) -> Self {
        let room = if prefix_reuse && workers > 1 { (slots * n_ctx).div_ceil(BLOCK) } else { 0 };
        let remembered = (0..workers).map(|_| Beginnings { room, ..Beginnings::default() }).collect();
        Self { slots, remembered: Mutex::new(remembered) }
    }

    /// The index of the worker for a prompt.
    pub(crate) fn choose<'a>(&self, prompt: &[Token], workers: impl Iterator<Item = &'a WorkerShared>) -> usize {
        let outlooks: Vec<Outlook> = workers.map(|worker| Outlook::of(worker, self.slots)).collect();
        if outlooks.len() < 2 {
            return 0;
        }
        let hashes = block_hashes(prompt);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let known: Vec<usize> = remembered.iter().map(|beginnings| beginnings.known(&hashes) * BLOCK).collect();
        let index = soonest(prompt.len(), &known, &outlooks);
        remembered[index].remember(&hashes);
        index
    }
}

/// What a worker has to do, and how fast it does such things.
#[derive(Clone, Copy, Debug)]
struct Outlook {
    unfinished: usize,
    slots: usize,
    totals: WorkerTotals,
}

impl Outlook {
    fn of(worker: &WorkerShared, slots: usize) -> Self {
        Self { unfinished: worker.load.load(Ordering::Relaxed), slots, totals: worker.totals() }
    }

    /// Seconds until a request is done that brings so many tokens which are not computed yet: its turn, its prompt, and an
    /// answer as long as others were, beside those that run.
    fn seconds(&self, new_tokens: usize) -> f64 {
        let totals = &self.totals;
        let each = |busy: f64, count: u64, otherwise: f64| if count == 0 { otherwise } else { busy / count as f64 };
        let (prefill, decode) = (totals.prefill.busy.as_secs_f64(), totals.decode.busy.as_secs_f64());
        let ended = totals.requests.finished();
        let prompt_token = each(prefill, totals.prefill.rows, TYPICAL_PROMPT_TOKEN);
        let row = each(decode, totals.decode.rows, TYPICAL_ROW);
        let output = each(totals.output_tokens as f64, ended, TYPICAL_OUTPUT);
        let request = each(prefill + decode, ended, output * row);
        let ahead = (self.unfinished + 1).saturating_sub(self.slots) as f64;
        let beside = (self.unfinished + 1).min(self.slots) as f64;
        ahead * request + new_tokens as f64 * prompt_token + output * row * beside
    }
}

/// The worker with the least time for a prompt of `n_prompt` tokens, of which each knows some; the first of equals.
fn soonest(n_prompt: usize, known: &[usize], outlooks: &[Outlook]) -> usize {
    let seconds = |i: usize| outlooks[i].seconds(n_prompt.saturating_sub(known[i]));
    (0..outlooks.len()).min_by(|&a, &b| seconds(a).total_cmp(&seconds(b))).unwrap_or(0)
}

/// A number for each beginning of a prompt that consists of whole blocks.
fn block_hashes(prompt: &[Token]) -> Vec<u64> {
    let mut hasher = DefaultHasher::new();
    let hash = |block: &[Token]| {
        block.hash(&mut hasher);
        hasher.finish()
    };
    prompt.chunks_exact(BLOCK).map(hash).collect()
}

/// Beginnings of prompts, the oldest forgotten. A guess at what a worker's slots still hold: wrong ones cost time, nothing else.
#[derive(Default)]
struct Beginnings {
    room: usize,
    recent: HashSet<u64>,
    older: HashSet<u64>,
}

impl Beginnings {
    /// Leading blocks that are known.
    fn known(&self, hashes: &[u64]) -> usize {
        hashes.iter().take_while(|hash| self.recent.contains(hash) || self.older.contains(hash)).count()
    }

    fn remember(&mut self, hashes: &[u64]) {
        if self.room == 0 {
            return;
        }
        if self.recent.len() + hashes.len() > self.room {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.extend(hashes.iter().take(self.room));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::{CallTotals, RequestTotals};

    fn outlook(unfinished: usize) -> Outlook {
        Outlook { unfinished, slots: 4, totals: WorkerTotals::default() }
    }

    /// One that needs so many milliseconds for a row, and as many for a prompt token.
    fn measured(unfinished: usize, ms: u64) -> Outlook {
        let calls = CallTotals { calls: 100, rows: 100, busy: Duration::from_millis(100 * ms) };
        let requests = RequestTotals { length: 1, ..RequestTotals::default() };
        let totals =
            WorkerTotals { decode: calls, prefill: calls, requests, output_tokens: 100, ..WorkerTotals::default() };
        Outlook { unfinished, slots: 4, totals }
    }

    #[test]
    fn the_shortest_wait_wins() {
        let choose = |outlooks: &[Outlook]| soonest(100, &vec![0; outlooks.len()], outlooks);
        assert_eq!(choose(&[outlook(0), outlook(0)]), 0, "the first of equals");
        assert_eq!(choose(&[outlook(1), outlook(0)]), 1);
        assert_eq!(choose(&[outlook(9), outlook(5), outlook(7)]), 1);
        assert_eq!(choose(&[measured(2, 30), measured(3, 10)]), 1, "a faster worker may have more to do");
        assert_eq!(choose(&[measured(2, 10), measured(12, 10)]), 0, "a free slot is better than a queue");
    }

    #[test]
    fn a_known_beginning_wins_until_the_worker_is_busy() {
        let choose = |n_prompt, busy| soonest(n_prompt, &[0, n_prompt - 20], &[measured(0, 10), measured(busy, 10)]);
        assert_eq!(choose(600, 0), 1);
        assert_eq!(choose(600, 3), 1, "500 tokens of prompt cost more than three rows beside");
        assert_eq!(choose(600, 9), 0, "waiting for a slot costs more");
        assert_eq!(choose(50, 2), 0, "a short beginning is not worth it");
    }

    #[test]
    fn beginnings_are_remembered_and_forgotten() {
        let prompt = |seed: Token| (0..96).map(|i| seed + i).collect::<Vec<Token>>();
        let mut longer = prompt(0);
        longer.truncate(70);
        longer.extend([7; 50]);
        let mut beginnings = Beginnings { room: 6, ..Beginnings::default() };
        beginnings.remember(&block_hashes(&prompt(0)));
        assert_eq!(beginnings.known(&block_hashes(&longer)), 2, "whole blocks only");
        assert_eq!(beginnings.known(&block_hashes(&prompt(1))), 0);
        for seed in 1..5 {
            beginnings.remember(&block_hashes(&prompt(seed * 1000)));
        }
        assert_eq!(beginnings.known(&block_hashes(&prompt(0))), 0);
        assert_eq!(beginnings.known(&block_hashes(&prompt(4000))), 3);
        let mut off = Beginnings::default();
        off.remember(&block_hashes(&prompt(0)));
        assert_eq!(off.known(&block_hashes(&prompt(0))), 0);
    }

    #[test]
    fn requests_with_one_beginning_go_to_one_worker_and_others_elsewhere() {
        let workers = [WorkerShared::new(0, 4), WorkerShared::new(4, 4)];
        let router = Router::new(2, 4, 2048, true);
        let prompt = |seed: Token, end: Token| (0..1024).map(|i| seed + i).chain([end; 8]).collect::<Vec<Token>>();
        let choose = |prompt: &[Token]| {
            let index = router.choose(prompt, workers.iter());
            workers[index].load.fetch_add(1, Ordering::Relaxed);
            index
        };
        let first = choose(&prompt(0, 1));
        let other = choose(&prompt(50_000, 1));
        assert_ne!(first, other);
        assert_eq!(choose(&prompt(0, 2)), first);
        assert_eq!(choose(&prompt(50_000, 2)), other);
    }
}
