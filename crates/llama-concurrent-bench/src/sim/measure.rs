//! Measures a calibration: some seconds of decoding and prefill on this machine, with one thread and with all threads.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use llama_concurrent::{
    Engine, EngineConfig, Event, Flow, Prompt, Request, Result, SamplingParams, Speculation, Strategy, Token,
};
use llama_concurrent_gguf::Header;

use super::{Calibration, ModelCost, Rates, Timing, WorkerResources, calibration::REMOTE, probe, timing::rate};
use crate::stats::quantile;

/// Rows of decode calls with one thread.
const DECODE_ROWS: [usize; 10] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];
/// With all threads: one row, which memory limits, and some that arithmetic does.
const DECODE_ROWS_TOGETHER: [usize; 4] = [1, 8, 16, 32];
/// Rows of prefill calls. If no request decodes, the engine computes this many in one call.
const PREFILL_ROWS: [usize; 4] = [16, 32, 64, 128];
/// Sequences of the calls with a long context.
const LONG_ROWS: usize = 8;
const LONG: usize = 512;
/// Calls of each kind, of which the median counts.
const DECODES: usize = 5;
const PREFILLS: usize = 1;
const PASSES: usize = 2;
const SHORT: usize = 8;
/// The maximum plausible rate of attention: a higher one means that the time was too short to measure.
const MOST_GMACS: f64 = 1000.0;

/// Measures a model on this machine with one thread, and with as many as the configuration has. `report` gets a description of the
/// current step.
///
/// # Errors
/// Those of loading the model, and of generating with it.
pub fn measure(path: &Path, config: &EngineConfig, report: &dyn Fn(&str)) -> Result<Calibration> {
    report("loading");
    let alone = Bench::new(path, config, Some(1))?;
    let model = ModelCost::new(alone.engine.model(), config.type_k.bytes_per_element());
    let sampling = probe::sampling_time(alone.engine.token_table());
    let source = alone.describe();

    let together = Bench::new(path, config, config.threads)?;
    let threads = together.engine.stats().threads;
    let shared_rows = if threads > 1 { &DECODE_ROWS_TOGETHER[..] } else { &[] };
    let (mut decode, mut prefill, mut shared) = (Vec::new(), Vec::new(), Vec::new());
    // Alternately, because the speed of a machine varies over minutes.
    for pass in 1..=PASSES {
        let what = |what: &str| report(&format!("{what}, pass {pass} of {PASSES}"));
        what("decoding with one thread");
        alone.pass(&mut decode, &DECODE_ROWS, |rows| alone.decode(rows, SHORT))?;
        what("decoding with all threads");
        together.pass(&mut shared, shared_rows, |rows| together.decode(rows, SHORT))?;
        what("prefill with one thread");
        alone.pass(&mut prefill, &PREFILL_ROWS, |rows| alone.prefill(rows))?;
        together.pass(&mut shared, shared_rows, |rows| together.decode(rows, SHORT))?;
    }
    drop(together);
    report("long contexts with one thread");
    let long = alone.long_context();
    let at = |points: &[(usize, f64)], rows| points.iter().find(|point| point.0 == rows).map_or(0.0, |point| point.1);
    let extra_decode = alone.decode(LONG_ROWS, long)? - at(&decode, LONG_ROWS);
    let positions = (LONG_ROWS * (long - SHORT)) as f64;
    let decode_attention = attention_rate(model.attention(positions), extra_decode);
    // A long prompt is computed in calls of about as many rows as the largest above, each of which has its own triangle.
    let last = *prefill.last().unwrap_or(&(1, 0.0));
    let calls = long as f64 / last.0 as f64;
    let extra_prefill = alone.prefill(long)? - calls * last.1;
    let positions = (long * long) as f64 / 2.0 - calls * (last.0 * last.0) as f64 / 2.0;
    let prefill_attention = attention_rate(model.attention(positions), extra_prefill);
    drop(alone);

    report("memory");
    let (core_bandwidth, stream_bandwidth) = (probe::bandwidth(1), probe::bandwidth(threads));
    let barrier = if threads > 1 { probe::barrier() } else { 0.0 };
    // Kernels that fetch ahead read faster than the plain sum of the probe.
    let reached = |seconds: f64| model.weight_bytes(1.0) / seconds * 1e-9;
    let core_bandwidth = core_bandwidth.max(reached(at(&decode, 1)));
    let without_choice = |points: &[(usize, f64)], outputs: fn(usize) -> usize| -> Vec<(usize, f64)> {
        points.iter().map(|&(rows, seconds)| (rows, seconds - outputs(rows) as f64 * sampling)).collect()
    };
    let mut calibration = Calibration {
        source,
        cores: threads,
        decode: Rates::of(&without_choice(&decode, |rows| rows), |rows| model.products(rows, rows), decode_attention),
        prefill: Rates::of(&without_choice(&prefill, |_| 1), |rows| model.products(rows, 1.0), prefill_attention),
        core_bandwidth,
        node_bandwidth: stream_bandwidth.max(core_bandwidth),
        loss_per_doubling: 0.0,
        barrier_us: barrier * 1e6,
        sampling_us: sampling * 1e6,
        remote: REMOTE,
    };
    Together { threads, model, decode: &decode, shared: &shared }.fit(&mut calibration);
    Ok(calibration)
}

fn attention_rate(products: f64, seconds: f64) -> f64 {
    if seconds <= 0.0 { MOST_GMACS } else { rate(products, seconds).min(MOST_GMACS) }
}

/// What several threads did, compared with one.
struct Together<'a> {
    threads: usize,
    model: ModelCost,
    decode: &'a [(usize, f64)],
    shared: &'a [(usize, f64)],
}

impl Together<'_> {
    /// The loss from calls that arithmetic limits; the bandwidth from a call of one row, if it takes longer than that loss
    /// explains.
    fn fit(&self, calibration: &mut Calibration) {
        let resources = WorkerResources { threads: self.threads, nodes: 1, weights: f64::INFINITY, kv: f64::INFINITY };
        let waiting = Timing::new(self.model, calibration, resources, 0).waiting();
        let serial = |rows: usize| rows as f64 * calibration.sampling_us * 1e-6;
        // How many times longer each thread works than its share of the single-threaded time.
        let longer = |&(rows, seconds): &(usize, f64)| {
            let one = self.decode.iter().find(|point| point.0 == rows)?.1 - serial(rows);
            Some((rows, seconds, (seconds - serial(rows) - waiting) * self.threads as f64 / one))
        };
        let points: Vec<_> = self.shared.iter().filter_map(longer).collect();
        let doublings = (self.threads as f64).log2();
        let losses: Vec<f64> =
            points.iter().filter(|point| point.0 > 1).map(|(.., longer)| (longer - 1.0) / doublings).collect();
        let loss = quantile(&losses, 0.5).clamp(0.0, 1.0);
        calibration.loss_per_doubling = loss;
        if let Some((_, seconds, longer)) = points.iter().find(|point| point.0 == 1) {
            let reached = self.model.weight_bytes(1.0) / seconds * 1e-9;
            let by_memory = *longer > 1.0 + loss * doublings;
            let at_least = if by_memory { reached } else { calibration.node_bandwidth };
            calibration.node_bandwidth = at_least.max(reached);
        }
    }
}

/// An engine to be measured.
struct Bench {
    engine: Engine,
    n_ctx: usize,
    /// The seed of new texts, so that no part of them is cached.
    seeds: AtomicUsize,
}

impl Bench {
    fn new(path: &Path, config: &EngineConfig, threads: Option<usize>) -> Result<Self> {
        let n_ctx = (LONG + 128).min(Header::read(path)?.check_model()?.n_ctx_train as usize);
        let config = config
            .clone()
            .strategy(Strategy::Batched)
            .workers(None)
            .slots(32)
            .n_ctx(n_ctx)
            .threads(threads)
            // All prompts before the first decode.
            .max_stall(Duration::from_secs(3600))
            .reproducible(false);
        let bench = Self { engine: Engine::load(path, config)?, n_ctx, seeds: AtomicUsize::new(1) };
        // The first calls touch memory for the first time.
        bench.decode(2, SHORT)?;
        Ok(bench)
    }

    fn describe(&self) -> String {
        let (model, stats) = (self.engine.model(), self.engine.stats());
        let name = model.name.as_deref().unwrap_or("a model without a name");
        let kernels =
            if stats.kernels == "off" { "ggml's kernels".into() } else { format!("kernels {}", stats.kernels) };
        format!("measured with {name} ({}), {kernels}", model.file_type)
    }

    /// Tokens of the long context, shorter for models that were trained with less.
    fn long_context(&self) -> usize {
        LONG.min(self.n_ctx.saturating_sub(64)).max(2 * SHORT)
    }

    /// Measures again and keeps the best: a disturbance only makes a measurement longer, and may last for all its calls.
    fn pass(&self, points: &mut Vec<(usize, f64)>, rows: &[usize], time: impl Fn(usize) -> Result<f64>) -> Result<()> {
        for &rows in rows {
            let seconds = time(rows)?;
            match points.iter_mut().find(|point| point.0 == rows) {
                Some((_, best)) => *best = best.min(seconds),
                None => points.push((rows, seconds)),
            }
        }
        Ok(())
    }

    /// Seconds of a decode call of `rows` rows at a position: the median gap between two tokens.
    fn decode(&self, rows: usize, positions: usize) -> Result<f64> {
        let common = positions.saturating_sub(SHORT);
        let requests: Vec<Vec<Token>> =
            (0..rows).map(|_| [self.tokens(0, common), self.tokens(self.next_seed(), SHORT)].concat()).collect();
        let times = self.run(requests, DECODES + 3)?;
        let from = times.iter().filter_map(|own| own.first()).max().copied();
        let to = times.iter().filter_map(|own| own.last()).min().copied();
        // The gaps while all were decoding. On a busy machine there may be none; then any gap is used.
        let gaps = |from, to| -> Vec<f64> {
            let pairs = times[0].windows(2).filter(|pair| Some(pair[0]) >= from && Some(pair[1]) <= to);
            pairs.map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
        };
        let mut together = gaps(from, to);
        if together.is_empty() {
            together = gaps(None, times[0].last().copied());
        }
        Ok(quantile(&together, 0.5))
    }

    /// Seconds until the first token of a prompt.
    fn prefill(&self, rows: usize) -> Result<f64> {
        let once = |_| {
            let begin = Instant::now();
            let times = self.run(vec![self.tokens(self.next_seed(), rows)], 1)?;
            Ok(times[0].first().map_or(0.0, |first| (*first - begin).as_secs_f64()))
        };
        let turns = if rows > 128 { 1 } else { PREFILLS };
        let times = (0..turns).map(once).collect::<Result<Vec<f64>>>()?;
        Ok(quantile(&times, 0.5))
    }

    fn next_seed(&self) -> usize {
        self.seeds.fetch_add(1, Ordering::Relaxed)
    }

    /// Pseudo-random tokens, determined by the seed.
    fn tokens(&self, seed: usize, n: usize) -> Vec<Token> {
        let n_vocab = self.engine.token_table().len() as u64;
        let mix = |value: u64| value.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
        (0..n).map(|i| (mix(mix((seed * 4096 + i) as u64 + 1)) % n_vocab) as Token).collect()
    }

    /// When each token of each request arrived.
    fn run(&self, prompts: Vec<Vec<Token>>, max_tokens: usize) -> Result<Vec<Vec<Instant>>> {
        let params = SamplingParams::default().max_tokens(max_tokens as u32).ignore_eos(true);
        // A row for each sequence, whatever it writes.
        let params = params.speculation(Speculation::Off);
        let (ended, ends) = mpsc::channel();
        let mut all = Vec::new();
        for prompt in prompts {
            let times = Arc::new(Mutex::new(Vec::new()));
            all.push(times.clone());
            let ended = ended.clone();
            let sink = move |event: Event| {
                match event {
                    Event::Delta(delta) if delta.token.is_some() => {
                        times.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                    }
                    // The receiver is gone if a later request was refused.
                    Event::Finished(finish) => drop(ended.send(finish.error)),
                    _ => {}
                }
                Flow::Continue
            };
            self.engine.submit_to(&Request::new(Prompt::Tokens(prompt)).params(params.clone()), Box::new(sink))?;
        }
        drop(ended);
        ends.into_iter().find_map(|error| error).map_or(Ok(()), Err)?;
        Ok(all.iter().map(|times| times.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect())
    }
}
