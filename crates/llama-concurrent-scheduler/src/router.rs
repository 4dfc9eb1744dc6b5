//! Which worker gets a request: the one that is expected to finish it first.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use llama_concurrent_types::{Token, WorkerTotals};

/// Tokens of one block; prompts are compared block by block.
const BLOCK: usize = 32;
/// Output tokens of a request while none has ended yet.
const TYPICAL_OUTPUT: f64 = 128.0;
/// Costs in seconds until there are measured ones; only their ratio matters then.
const TYPICAL_PROMPT_TOKEN: f64 = 0.003;
const TYPICAL_DECODE_TOKEN: f64 = 0.01;

/// Chooses among the workers of an engine, and remembers which prompts it sent where.
#[derive(Debug)]
pub struct Router {
    /// Slots of each worker.
    slots: usize,
    /// The prefixes of the prompts that each worker got; empty with one worker, or where prefixes are not reused.
    prefixes: Vec<PrefixIndex>,
}

/// What a worker has to do, and what it has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorkerLoad {
    /// Requests that were sent to it and have not ended.
    pub unfinished: usize,
    /// Its totals; they tell how fast it is.
    pub totals: WorkerTotals,
}

impl Router {
    /// For a number of workers with `slots` slots of `n_ctx` tokens each.
    pub fn new(workers: usize, slots: usize, n_ctx: usize, prefix_reuse: bool) -> Self {
        let capacity = if prefix_reuse && workers > 1 { (slots * n_ctx).div_ceil(BLOCK) } else { 0 };
        let prefixes = (0..workers).map(|_| PrefixIndex { capacity, ..PrefixIndex::default() }).collect();
        Self { slots, prefixes }
    }

    /// The index of the worker for a prompt; `loads` has one entry for each worker.
    pub fn choose(&mut self, prompt: &[Token], loads: &[WorkerLoad]) -> usize {
        if loads.len() < 2 {
            return 0;
        }
        let hashes = block_hashes(prompt);
        let cached: Vec<usize> = self.prefixes.iter().map(|prefixes| prefixes.matching(&hashes) * BLOCK).collect();
        let index = least_latency(prompt.len(), &cached, loads, self.slots);
        self.prefixes[index].insert(&hashes);
        index
    }
}

impl WorkerLoad {
    /// Seconds until a request with this many uncached prompt tokens is done: its wait for a slot, its prefill, and an answer of
    /// average length decoded beside the other running requests.
    fn latency(&self, slots: usize, new_tokens: usize) -> f64 {
        let totals = &self.totals;
        let each = |busy: f64, count: u64, otherwise: f64| if count == 0 { otherwise } else { busy / count as f64 };
        let (prefill, decode) = (totals.prefill.busy.as_secs_f64(), totals.decode.busy.as_secs_f64());
        let ended = totals.requests.finished();
        let prompt_token = each(prefill, totals.prefill.rows, TYPICAL_PROMPT_TOKEN);
        let decode_token = each(decode, totals.decode.rows, TYPICAL_DECODE_TOKEN);
        let output = each(totals.output_tokens as f64, ended, TYPICAL_OUTPUT);
        let request = each(prefill + decode, ended, output * decode_token);
        let ahead = (self.unfinished + 1).saturating_sub(slots) as f64;
        let beside = (self.unfinished + 1).min(slots) as f64;
        ahead * request + new_tokens as f64 * prompt_token + output * decode_token * beside
    }
}

/// The worker with the least latency for a prompt of `n_prompt` tokens, of which each has some cached; the first of equals.
fn least_latency(n_prompt: usize, cached: &[usize], loads: &[WorkerLoad], slots: usize) -> usize {
    let latency = |i: usize| loads[i].latency(slots, n_prompt.saturating_sub(cached[i]));
    (0..loads.len()).min_by(|&a, &b| latency(a).total_cmp(&latency(b))).unwrap_or(0)
}

/// A hash for each prefix of a prompt that consists of whole blocks.
fn block_hashes(prompt: &[Token]) -> Vec<u64> {
    let mut hasher = DefaultHasher::new();
    let hash = |block: &[Token]| {
        block.hash(&mut hasher);
        hasher.finish()
    };
    prompt.chunks_exact(BLOCK).map(hash).collect()
}

/// Prefixes of prompts, the oldest forgotten. A guess at what a worker's slots still hold: a wrong one costs time, nothing else.
#[derive(Debug, Default)]
struct PrefixIndex {
    capacity: usize,
    recent: HashSet<u64>,
    older: HashSet<u64>,
}

impl PrefixIndex {
    /// Leading blocks that are known.
    fn matching(&self, hashes: &[u64]) -> usize {
        hashes.iter().take_while(|hash| self.recent.contains(hash) || self.older.contains(hash)).count()
    }

    fn insert(&mut self, hashes: &[u64]) {
        if self.capacity == 0 {
            return;
        }
        if self.recent.len() + hashes.len() > self.capacity {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.extend(hashes.iter().take(self.capacity));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use llama_concurrent_types::{CallTotals, RequestTotals};

    fn unmeasured(unfinished: usize) -> WorkerLoad {
        WorkerLoad { unfinished, totals: WorkerTotals::default() }
    }

    /// One that needs so many milliseconds for a row, and as many for a prompt token.
    fn measured(unfinished: usize, ms: u64) -> WorkerLoad {
        let calls = CallTotals { calls: 100, rows: 100, busy: Duration::from_millis(100 * ms) };
        let requests = RequestTotals { length: 1, ..RequestTotals::default() };
        let mut totals = WorkerTotals::default();
        (totals.decode, totals.prefill, totals.requests, totals.output_tokens) = (calls, calls, requests, 100);
        WorkerLoad { unfinished, totals }
    }

    #[test]
    fn the_shortest_wait_wins() {
        let choose = |loads: &[WorkerLoad]| least_latency(100, &vec![0; loads.len()], loads, 4);
        assert_eq!(choose(&[unmeasured(0), unmeasured(0)]), 0, "the first of equals");
        assert_eq!(choose(&[unmeasured(1), unmeasured(0)]), 1);
        assert_eq!(choose(&[unmeasured(9), unmeasured(5), unmeasured(7)]), 1);
        assert_eq!(choose(&[measured(2, 30), measured(3, 10)]), 1, "a faster worker may have more to do");
        assert_eq!(choose(&[measured(2, 10), measured(12, 10)]), 0, "a free slot is better than a queue");
    }

    #[test]
    fn a_known_prefix_wins_until_the_worker_is_busy() {
        let choose =
            |n_prompt, busy| least_latency(n_prompt, &[0, n_prompt - 20], &[measured(0, 10), measured(busy, 10)], 4);
        assert_eq!(choose(600, 0), 1);
        assert_eq!(choose(600, 3), 1, "500 tokens of prompt cost more than three rows beside");
        assert_eq!(choose(600, 9), 0, "waiting for a slot costs more");
        assert_eq!(choose(50, 2), 0, "a short prefix is not worth it");
    }

    #[test]
    fn prefixes_are_remembered_and_forgotten() {
        let prompt = |seed: Token| (0..96).map(|i| seed + i).collect::<Vec<Token>>();
        let mut longer = prompt(0);
        longer.truncate(70);
        longer.extend([7; 50]);
        let mut prefixes = PrefixIndex { capacity: 6, ..PrefixIndex::default() };
        prefixes.insert(&block_hashes(&prompt(0)));
        assert_eq!(prefixes.matching(&block_hashes(&longer)), 2, "whole blocks only");
        assert_eq!(prefixes.matching(&block_hashes(&prompt(1))), 0);
        for seed in 1..5 {
            prefixes.insert(&block_hashes(&prompt(seed * 1000)));
        }
        assert_eq!(prefixes.matching(&block_hashes(&prompt(0))), 0);
        assert_eq!(prefixes.matching(&block_hashes(&prompt(4000))), 3);
        let mut off = PrefixIndex::default();
        off.insert(&block_hashes(&prompt(0)));
        assert_eq!(off.matching(&block_hashes(&prompt(0))), 0);
    }

    #[test]
    fn requests_with_one_prefix_go_to_one_worker_and_others_elsewhere() {
        let mut loads = [WorkerLoad::default(); 2];
        let mut router = Router::new(2, 4, 2048, true);
        let prompt = |seed: Token, end: Token| (0..1024).map(|i| seed + i).chain([end; 8]).collect::<Vec<Token>>();
        let mut choose = |prompt: &[Token]| {
            let index = router.choose(prompt, &loads);
            loads[index].unfinished += 1;
            index
        };
        let first = choose(&prompt(0, 1));
        let other = choose(&prompt(50_000, 1));
        assert_ne!(first, other);
        assert_eq!(choose(&prompt(0, 2)), first);
        assert_eq!(choose(&prompt(50_000, 2)), other);
    }
}
